"""What the sections of a config must agree on, beyond what each field says by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from data.config import ArraysData, BuiltinData, IdxData, ImagesData, TableData, known_input_shape
from data.contract import ConfigError, FrozenConfig
from models.compression_config import LayerPrecision, PruneConfig, QuantizeConfig
from models.config import CnnConfig
from models.shapes import check_shapes

if TYPE_CHECKING:
    from pipeline.config import RunConfig

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Disagreement:
    """Two fields that are right alone and wrong together.

    Attributes:
        location: where a user would mend it, as keys and list positions.
        message: `expected <rule>, got <value>. <what to do>`.
        involves: the other fields the rule looked at; where one of them is wrong itself, this is not said.
    """

    location: Location
    message: str
    involves: tuple[Location, ...] = ()


class DisagreementError(ValueError):
    """All disagreements of a config at once; pydantic carries it inside its ValidationError."""

    def __init__(self, found: list[Disagreement]) -> None:
        super().__init__("\n".join(f"{'.'.join(map(str, each.location))}: {each.message}" for each in found))
        self.found = found


def disagreements(config: RunConfig) -> list[Disagreement]:
    """Returns everything about which the sections of `config` disagree; empty when all is well."""
    checks = (
        _task_fits_data,
        _names_are_given,
        _columns_differ,
        _family_fits_data,
        _mode_fits_model,
        _nothing_is_ignored,
        _training_fits_task,
        _pruning_adds_up,
        _quantization_adds_up,
        _search_is_alone,
        _export_adds_up,
        _lists_hold_each_once,
    )
    return [each for check in checks for each in check(config)]


def _task_fits_data(config: RunConfig) -> Iterator[Disagreement]:
    data = config.data
    involves: tuple[Location, ...] = (("data", "source"), ("data", "name"))
    if isinstance(data, BuiltinData):
        fitting = "regression" if data.name == "diabetes" else "classification"
        if config.task != fitting:
            message = f"expected '{fitting}' with the data set '{data.name}', got '{config.task}'."
            yield Disagreement(("task",), message, involves)
    elif isinstance(data, ImagesData | IdxData) and config.task == "regression":
        message = (
            f"expected 'classification' with the source '{data.source}', got 'regression'. "
            "Its labels are classes; numbers to predict come with 'table' or 'arrays'."
        )
        yield Disagreement(("task",), message, involves)


def _names_are_given(config: RunConfig) -> Iterator[Disagreement]:
    for key in ("path", "target", "x", "y"):
        value = getattr(config.data, key, None)
        if value is not None and (not value or "\0" in value):
            yield Disagreement(("data", key), f"expected a name, got {value!r}.")


def _columns_differ(config: RunConfig) -> Iterator[Disagreement]:
    data = config.data
    if not isinstance(data, TableData):
        return
    if data.features is not None and not data.features:
        yield Disagreement(
            ("data", "features"), "expected at least one column, got []. Leave the key out to learn from all columns."
        )
    for name in ("features", "drop"):
        columns = getattr(data, name) or ()
        for position, column in enumerate(columns):
            if column == data.target:
                message = f"expected a column other than data.target, got '{column}'. Take it out of the list."
                yield Disagreement(("data", name, position), message, (("data", "target"),))
            elif name == "drop" and column in (data.features or ()):
                message = f"expected a column that is not in data.features, got '{column}'. Take it out of one list."
                yield Disagreement(("data", name, position), message, (("data", "features"),))
    if data.target in data.types:
        message = "expected columns other than data.target, got it. Take it out: what the target is, `task` says."
        yield Disagreement(("data", "types", data.target), message, (("data", "target"),))
    if data.group is not None and data.group == data.target:
        message = f"expected a column other than data.target, got '{data.group}'."
        yield Disagreement(("data", "group"), message, (("data", "target"),))


def _family_fits_data(config: RunConfig) -> Iterator[Disagreement]:
    shape = known_input_shape(config.data)
    if isinstance(config.data, ArraysData) and config.data.kind == "vector":
        shape = (-1,)
    if shape is None:
        return
    if isinstance(config.model, CnnConfig) and len(shape) == 1:
        message = (
            "expected mlp for a vector, got cnn: the data's rows are vectors of numbers, not images. "
            "Set model.family to mlp, or give the data as images."
        )
        yield Disagreement(("model", "family"), message, (("data",), ("model",)))
        return
    try:
        check_shapes(config.model, shape)
    except ConfigError as error:
        location, message = split_location(str(error))
        yield Disagreement(location, message, (("data",), ("model",)))


def split_location(text: str) -> tuple[Location, str]:
    """Takes the location off a message `model.blocks[2].kernel: expected …`."""
    head, separator, rest = text.partition(": ")
    if not separator or " " in head:
        return ("model",), text
    parts = head.replace("[", ".").replace("]", "").split(".")
    return tuple(int(part) if part.isdigit() else part for part in parts), rest


def _mode_fits_model(config: RunConfig) -> Iterator[Disagreement]:
    layer_wise = config.train.mode == "layer_wise"
    mode: Location = ("train", "mode")
    if layer_wise and isinstance(config.model, CnnConfig):
        message = "expected 'end_to_end' with a cnn, got 'layer_wise'. Layers are pretrained one by one in an mlp only."
        yield Disagreement(mode, message, (("model", "family"),))
    if layer_wise and config.pretrain is None:
        message = "expected a section with train.mode: layer_wise, got null. Leave it out to take the defaults."
        yield Disagreement(("pretrain",), message, (mode,))
    if not layer_wise and config.pretrain is not None:
        message = (
            f"expected no such section with train.mode: {config.train.mode}, got one. "
            "Say `train: {mode: layer_wise}`, or take `pretrain` out."
        )
        yield Disagreement(("pretrain",), message, (mode,))


def _nothing_is_ignored(config: RunConfig) -> Iterator[Disagreement]:
    """A field that nothing will read; its default may be written out, as it is in a resolved config."""
    pretrain, prune = config.pretrain, config.prune
    kind = "denoising_autoencoder"
    if pretrain is not None and pretrain.kind != kind and _is_chosen(pretrain, "corruption_fraction"):
        message = (
            f"expected it with pretrain.kind: {kind} alone, got {pretrain.corruption_fraction:g} with {pretrain.kind}. "
            "Take the key out, or choose that kind."
        )
        yield Disagreement(("pretrain", "corruption_fraction"), message, (("pretrain", "kind"),))
    if prune is not None and config.search is None:
        yield from _unread_by_pruning(prune)


def _unread_by_pruning(prune: PruneConfig) -> Iterator[Disagreement]:
    if prune.scope != "global" and _is_chosen(prune, "min_layer_density"):
        message = (
            f"expected it with prune.scope: global alone, got {prune.min_layer_density:g} with {prune.scope}, "
            "where each layer keeps as much as the others. Take the key out, or choose that scope."
        )
        yield Disagreement(("prune", "min_layer_density"), message, (("prune", "scope"),))
    rules = (
        ("node" in prune.units, "prune.unit: node", ("criterion", "criterion_rows", "steps", "multiple")),
        ("weight" in prune.units, "prune.unit: weight", ("update_steps",)),
        (prune.units == ("node", "weight"), "prune.unit: [node, weight]", ("weight_sparsity",)),
        (prune.sparsity == "auto", "prune.sparsity: auto", ("sensitivity",)),
        (prune.sparsity != "auto", "prune.sparsity as a number", ("scope", "min_layer_density")),
    )
    for held, where, names in rules:
        for name in names:
            if not held and _is_chosen(prune, name):
                message = f"expected it with {where} alone, got it with another. Nothing would read it: take it out."
                yield Disagreement(("prune", name), message, (("prune", "unit"), ("prune", "sparsity")))


def _is_chosen(section: FrozenConfig, name: str) -> bool:
    return name in section.model_fields_set and getattr(section, name) != type(section).model_fields[name].default


def _training_fits_task(config: RunConfig) -> Iterator[Disagreement]:
    location: Location = ("train", "class_weights")
    weights = config.train.class_weights
    if weights is None:
        return
    if config.task == "regression":
        message = "expected no class weights with task: regression, got some. Take the key out."
        yield Disagreement(location, message, (("task",),))
    elif isinstance(weights, dict) and not weights:
        message = "expected a weight for each class, got {}. Leave the key out for equal weights."
        yield Disagreement(location, message, (location,))


def _pruning_adds_up(config: RunConfig) -> Iterator[Disagreement]:
    prune = config.prune
    if prune is None or config.search is not None:
        return
    if prune.units not in (("node",), ("weight",), ("node", "weight")):
        message = f"expected node, weight or [node, weight], got [{', '.join(prune.units)}]. Nodes go first."
        yield Disagreement(("prune", "unit"), message)
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


def _quantization_adds_up(config: RunConfig) -> Iterator[Disagreement]:
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
        message = (
            "expected it with precision int8 alone, without layers and dense_scales, got others. "
            "Take them out, or quantize.aware: ranges then come from calibration."
        )
        yield Disagreement(("quantize", "aware"), message, (asked, ("quantize", "layers")))


def _search_is_alone(config: RunConfig) -> Iterator[Disagreement]:
    """What a search tries is not also fixed."""
    if config.search is None:
        return
    involves: tuple[Location, ...] = (("search",),)
    if config.quantize is not None and config.quantize != QuantizeConfig(aware=config.quantize.aware):
        message = "expected no more than aware with search, got more. Say what to try in search.precision and encoding."
        yield Disagreement(("quantize",), message, involves)
    if config.cluster is not None and _is_chosen(config.cluster, "clusters"):
        message = "expected no clusters with search, which tries them, got some. Take it out; see search.clusters."
        yield Disagreement(("cluster", "clusters"), message, involves)
    sparse, clustered = {"weight", "node_and_weight"} & set(config.search.unit), max(config.search.clusters) > 0
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
        if config.prune is not None and _is_chosen(config.prune, name):
            message = f"expected no {name} with search, which tries them, got one. Take it out; see search."
            yield Disagreement(("prune", name), message, involves)


def _export_adds_up(config: RunConfig) -> Iterator[Disagreement]:
    export = config.export
    if export.c_golden_rows > export.golden_rows:
        message = f"expected at most export.golden_rows ({export.golden_rows}), got {export.c_golden_rows}."
        yield Disagreement(("export", "c_golden_rows"), message, (("export", "golden_rows"),))


def _lists_hold_each_once(config: RunConfig) -> Iterator[Disagreement]:
    lists: list[tuple[Location, tuple[Any, ...]]] = [(("convert", "variants"), config.convert.variants)]
    if config.tune is not None:
        lists.append((("tune", "penalties"), config.tune.penalties))
    if config.search is not None:
        names = ("unit", "scope", "precision", "clusters", "encoding", "aware")
        lists += [(("search", name), getattr(config.search, name)) for name in names]
    for location, given in lists:
        for position, value in enumerate(given):
            if value in given[:position]:
                yield Disagreement((*location, position), f"expected each once, got '{value}' again. Take it out.")
