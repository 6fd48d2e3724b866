"""What the sections on compression must agree on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, get_args

from models.compression_config import LayerPrecision, QuantizeConfig
from models.config import LinearConfig
from models.own_model_config import OWN_MODELS
from pipeline.config_reading.disagreement import Disagreement, Location, is_chosen

if TYPE_CHECKING:
    from pipeline.config import RunConfig


def pruning_adds_up(config: RunConfig) -> Iterator[Disagreement]:
    """Units, steps and the floor of each layer leave something to prune."""
    prune = config.prune
    if prune is not None and prune.inputs == "varying" and isinstance(config.model, OWN_MODELS):
        message = (
            "expected all with a model of your own, got varying. What reads its inputs is not known before it is "
            "built: take it out."
        )
        yield Disagreement(("prune", "inputs"), message, (("model",),))
    elif prune is not None and prune.inputs == "varying" and config.model.family != "mlp":
        article = "an" if config.model.family in ("autoencoder", "rnn") else "a"
        reader = {
            "rnn": "A recurrent layer reads every step",
            "autoencoder": "It gives every input back",
        }.get(config.model.family, "A convolution reads every place")
        message = f"expected all with {article} {config.model.family}, got varying. {reader}; take it out."
        yield Disagreement(("prune", "inputs"), message, (("model", "family"),))
    if prune is None or config.search is not None:
        return
    if prune.units not in (("node",), ("weight",), ("node", "weight")):
        message = f"expected node, weight or [node, weight], got [{', '.join(prune.units)}]. Nodes go first."
        yield Disagreement(("prune", "unit"), message)
    if "node" in prune.units and isinstance(config.model, LinearConfig):
        message = (
            f"expected weight with a linear model, got {' and '.join(prune.units)}. It has no hidden layer whose nodes "
            "could be removed."
        )
        yield Disagreement(("prune", "unit"), message, (("model", "family"),))
    if "node" in prune.units and prune.num_steps > max(1, prune.epochs):
        message = (
            f"expected at most prune.epochs ({prune.epochs}), got {prune.steps}. A step is trained for one or more."
        )
        yield Disagreement(("prune", "steps"), message, (("prune", "epochs"), ("prune", "unit")))
    if isinstance(prune.sparsity, str):
        return
    # Rounding in 1 - 0.9 must not refuse a floor of exactly 0.1.
    if prune.scope == "global" and prune.min_layer_density > 1.0 - prune.sparsity + 1e-9:
        message = (
            f"expected at most 1 - prune.sparsity ({1.0 - prune.sparsity:g}), got {prune.min_layer_density:g}. "
            "What every layer keeps would be more than the network may keep: lower it, or the sparsity."
        )
        yield Disagreement(("prune", "min_layer_density"), message, (("prune", "sparsity"), ("prune", "scope")))


def criterion_has_its_data(config: RunConfig) -> Iterator[Disagreement]:
    """Nodes are not ranked by a batch normalization that does not follow them."""
    prune, model = config.prune, config.model
    if prune is None or prune.criterion != "batch_normalization_scale":
        return
    units = prune.units if config.search is None else config.search.unit
    if not any("node" in unit for unit in units):
        return
    if isinstance(model, OWN_MODELS):
        message = (
            "expected another with a model of your own, got batch_normalization_scale. Its layers are not known "
            "before it is built: choose taylor, l1 or l2."
        )
        yield Disagreement(("prune", "criterion"), message, (("model",), ("prune", "unit")))
        return
    if model.family == "cnn" and not model.head_units and all(block.batch_normalization for block in model.blocks):
        return
    without = {
        "cnn": "dense layers in the head or blocks without it",
        "autoencoder": "an autoencoder, whose bottleneck has none",
    }.get(model.family, f"an {model.family}")
    message = (
        f"expected another where some nodes have no batch normalization, got batch_normalization_scale with {without}. "
        "Choose taylor, l1 or l2."
    )
    yield Disagreement(("prune", "criterion"), message, (("model",), ("prune", "unit")))


def quantization_adds_up(config: RunConfig) -> Iterator[Disagreement]:
    """Layers, scales, encodings and training with rounding are of the precisions that have them."""
    quantize = config.quantize
    if quantize is None:
        return
    asked: Location = ("quantize", "precision")
    integers = quantize.precision in get_args(LayerPrecision)
    if quantize.layers and not integers:
        message = (
            f"expected none with precision {quantize.precision}, got {len(quantize.layers)}. "
            "Choose int8, int16x8 or int4."
        )
        yield Disagreement(("quantize", "layers"), message, (asked,))
    if quantize.dense_scales != "auto" and not integers:
        message = (
            f"expected auto with precision {quantize.precision}, got {quantize.dense_scales}. Floats have no scales."
        )
        yield Disagreement(("quantize", "dense_scales"), message, (asked,))
    if quantize.encoding != "dense" and quantize.precision != "int8":
        message = f"expected dense with precision {quantize.precision}, got {quantize.encoding}. Choose int8."
        yield Disagreement(("quantize", "encoding"), message, (asked,))
    if quantize.aware is not None and not (quantize.precision == "int8" and quantize.is_plain):
        found = [
            f"precision {quantize.precision}" if quantize.precision != "int8" else "",
            "layers" if quantize.layers else "",
            f"dense_scales {quantize.dense_scales}" if quantize.dense_scales != "auto" else "",
        ]
        message = (
            "expected it with precision int8 alone, without layers and dense_scales, got "
            f"{', '.join(filter(None, found))}. Change that, or take quantize.aware out: ranges then come from "
            "calibration."
        )
        yield Disagreement(("quantize", "aware"), message, (asked, ("quantize", "layers")))


def search_is_alone(config: RunConfig) -> Iterator[Disagreement]:
    """What a search tries is not also fixed."""
    if config.search is None:
        return
    involves: tuple[Location, ...] = (("search",),)
    if config.quantize is not None and config.quantize != QuantizeConfig(aware=config.quantize.aware):
        message = "expected no more than aware with search, got more. Say what to try in search.precision and encoding."
        yield Disagreement(("quantize",), message, involves)
    if config.cluster is not None and is_chosen(config.cluster, "clusters"):
        message = "expected no clusters with search, which tries them, got some. Take it out; see search.clusters."
        yield Disagreement(("cluster", "clusters"), message, involves)
    if config.cluster is not None and max(config.search.clusters) == 0:
        message = "expected a number in search.clusters with this section, got none. Add one, or take the section out."
        yield Disagreement(("cluster",), message, involves)
    if config.quantize is not None and config.quantize.aware is not None and True not in config.search.aware:
        message = "expected true in search.aware with this section, got false alone. Add it, or take the section out."
        yield Disagreement(("quantize", "aware"), message, involves)
    # Of an rnn `recurrent_checks` refuses tables: no number of clusters would help.
    clustered = max(config.search.clusters) > 0 or config.model.family == "rnn"
    sparse = {"weight", "node_and_weight"} & set(config.search.unit)
    for encoding, possible, needed in (
        ("sparse", sparse, "weight or node_and_weight in search.unit"),
        ("tables", clustered, "a number of clusters in search.clusters"),
    ):
        if encoding in config.search.encoding and not possible:
            position = config.search.encoding.index(encoding)
            message = f"expected {needed} with '{encoding}', got none. Add it, or take '{encoding}' out."
            yield Disagreement(("search", "encoding", position), message)
    for position, count in enumerate(config.search.clusters):
        if count == 1:
            message = "expected 0 (none) or 2 and more, got 1. A kernel of one value knows nothing."
            yield Disagreement(("search", "clusters", position), message)
    for name in ("unit", "scope", "sparsity", "weight_sparsity"):
        if config.prune is not None and is_chosen(config.prune, name):
            message = f"expected no {name} with search, which tries them, got one. Take it out; see search."
            yield Disagreement(("prune", name), message, involves)
