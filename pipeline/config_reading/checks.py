"""What the sections of a config must agree on, beyond what each field says by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from data.config import ArraysData, BuiltinData, IdxData, ImagesData, TableData, known_input_shape
from data.contract import ConfigError
from models.classical_config import CLASSICAL
from models.compression_config import PruneConfig
from models.config import LOSSES, METRICS, CnnConfig, LinearConfig, MlpConfig
from models.own_model_config import OWN_MODELS
from models.rnn_config import RnnConfig
from models.shapes import check_shapes
from pipeline.config_reading.classical_checks import baselines_add_up, classical_adds_up
from pipeline.config_reading.compression_checks import (
    criterion_has_its_data,
    pruning_adds_up,
    quantization_adds_up,
    search_is_alone,
)
from pipeline.config_reading.disagreement import Disagreement, Location, is_chosen, split_location
from pipeline.config_reading.engine_checks import engine_can_be_had, engine_has_work
from pipeline.config_reading.label_checks import labels_are_there, normal_fits_task, unlabeled_rows_are_used
from pipeline.config_reading.layer_checks import layers_are_there
from pipeline.config_reading.own_model_checks import file_stands_for_training, own_model_fits_task
from pipeline.config_reading.recurrent_checks import recurrent_layers_can_do_it
from pipeline.config_reading.remote_checks import urls_add_up
from pipeline.config_reading.series_checks import series_add_up
from pipeline.config_reading.task_checks import (
    autoencoder_adds_up,
    family_fits_task,
    refinement_has_its_steps,
    refinement_is_read,
    sections_fit_task,
)
from pipeline.config_reading.tuning_checks import tuned_lists, tuning_adds_up
from pipeline.config_reading.worker_checks import workers_have_work

if TYPE_CHECKING:
    from pipeline.config import RunConfig


def disagreements(config: RunConfig) -> list[Disagreement]:
    """Returns everything about which the sections of `config` disagree; empty when all is well."""
    checks = (
        _task_fits_data,
        family_fits_task,
        _names_are_given,
        labels_are_there,
        normal_fits_task,
        unlabeled_rows_are_used,
        _columns_differ,
        series_add_up,
        urls_add_up,
        _family_fits_data,
        autoencoder_adds_up,
        classical_adds_up,
        baselines_add_up,
        _mode_fits_model,
        own_model_fits_task,
        file_stands_for_training,
        _nothing_is_ignored,
        _goal_fits_task,
        _training_fits_task,
        sections_fit_task,
        refinement_is_read,
        refinement_has_its_steps,
        pruning_adds_up,
        criterion_has_its_data,
        quantization_adds_up,
        layers_are_there,
        recurrent_layers_can_do_it,
        search_is_alone,
        tuning_adds_up,
        engine_has_work,
        engine_can_be_had,
        workers_have_work,
        _export_adds_up,
        _lists_hold_each_once,
    )
    return [each for check in checks for each in check(config)]


def _task_fits_data(config: RunConfig) -> Iterator[Disagreement]:
    data = config.data
    involves: tuple[Location, ...] = (("data", "source"), ("data", "name"))
    if config.task not in ("classification", "regression"):
        return
    if isinstance(data, BuiltinData):
        fitting = "regression" if data.predicts_numbers else "classification"
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
    for place, section in ((("data",), config.data), (("data", "unlabeled"), config.data.unlabeled)):
        for key in ("path", "target", "x", "y", "time", "group"):
            value = getattr(section, key, None)
            if value is not None and (not value or "\0" in value):
                yield Disagreement((*place, key), f"expected a name, got {value!r}.")


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
    if data.target is not None and data.target in data.types:
        message = "expected columns other than data.target, got it. Take it out: what the target is, `task` says."
        yield Disagreement(("data", "types", data.target), message, (("data", "target"),))
    if data.group is not None and data.group == data.target:
        message = f"expected a column other than data.target, got '{data.group}'."
        yield Disagreement(("data", "group"), message, (("data", "target"),))


def _family_fits_data(config: RunConfig) -> Iterator[Disagreement]:
    shape = known_input_shape(config.data)
    if isinstance(config.data, ArraysData) and config.data.kind == "vector":
        shape = (-1,)
    if shape is None or isinstance(config.model, OWN_MODELS + CLASSICAL):
        return
    if isinstance(config.model, CnnConfig | RnnConfig) and len(shape) == 1:
        name, rows = ("cnn", "images") if isinstance(config.model, CnnConfig) else ("rnn", "images or series")
        message = (
            f"expected mlp for a vector, got {name}: the data's rows are vectors of numbers, not {rows}. "
            "Set model.family to mlp, or give the data as images or series."
        )
        yield Disagreement(("model", "family"), message, (("data",), ("model",)))
        return
    try:
        check_shapes(config.model, shape)
    except ConfigError as error:
        location, message = split_location(str(error))
        yield Disagreement(location, message, (("data",), ("model",)))


def _mode_fits_model(config: RunConfig) -> Iterator[Disagreement]:
    layer_wise = config.train.mode == "layer_wise"
    mode: Location = ("train", "mode")
    if layer_wise and isinstance(config.model, LinearConfig):
        message = "expected 'end_to_end' with a linear model, got 'layer_wise'. It has no hidden layer to pretrain."
        yield Disagreement(mode, message, (("model", "family"),))
    elif layer_wise and not isinstance(config.model, MlpConfig | CnnConfig):
        model = "a model of your own" if isinstance(config.model, OWN_MODELS) else config.model.family
        message = f"expected 'end_to_end' with {model}, got 'layer_wise'. Layers are pretrained in mlp and cnn alone."
        yield Disagreement(mode, message, (("model",),))
    if not layer_wise and config.train.control:
        message = (
            f"expected it with train.mode: layer_wise alone, got true with {config.train.mode}. "
            "Training end to end is its own control: take the key out."
        )
        yield Disagreement(("train", "control"), message, (mode,))
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
    if pretrain is not None and pretrain.kind != kind and is_chosen(pretrain, "corruption_fraction"):
        message = (
            f"expected it with pretrain.kind: {kind} alone, got {pretrain.corruption_fraction:g} with {pretrain.kind}. "
            "Take the key out, or choose that kind."
        )
        yield Disagreement(("pretrain", "corruption_fraction"), message, (("pretrain", "kind"),))
    if prune is not None and config.search is None:
        yield from _unread_by_pruning(prune)


def _unread_by_pruning(prune: PruneConfig) -> Iterator[Disagreement]:
    if prune.scope != "global" and is_chosen(prune, "min_layer_density"):
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
            if not held and is_chosen(prune, name):
                message = f"expected it with {where} alone, got it with another. Nothing would read it: take it out."
                yield Disagreement(("prune", name), message, (("prune", "unit"), ("prune", "sparsity")))


def _goal_fits_task(config: RunConfig) -> Iterator[Disagreement]:
    """Loss and metric, and the fields of a loss that is not chosen."""
    loss, task = config.train.loss, config.task
    chosen = LOSSES[task][0] if loss.name is None else loss.name
    if chosen not in LOSSES[task]:
        message = f"expected {_one_of(LOSSES[task])} with task: {task}, got '{chosen}'."
        yield Disagreement(("train", "loss", "name"), message, (("task",),))
    if config.score_name not in METRICS[task]:
        message = f"expected {_one_of(METRICS[task])} with task: {task}, got '{config.score_name}'."
        yield Disagreement(("metric",), message, (("task",),))
    owners = (("label_smoothing_fraction", "cross_entropy"), ("focal_gamma", "focal"), ("huber_delta", "huber"))
    for name, owner in owners:
        if chosen != owner and is_chosen(loss, name):
            message = (
                f"expected it with train.loss.name: {owner} alone, got it with {chosen}. "
                "Nothing would read it: take it out."
            )
            yield Disagreement(("train", "loss", name), message, (("train", "loss", "name"), ("task",)))


def _one_of(names: tuple[str, ...]) -> str:
    return " or ".join(f"'{name}'" for name in names)


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


def _export_adds_up(config: RunConfig) -> Iterator[Disagreement]:
    export = config.export
    if export.c_golden_rows > export.golden_rows:
        message = f"expected at most export.golden_rows ({export.golden_rows}), got {export.c_golden_rows}."
        yield Disagreement(("export", "c_golden_rows"), message, (("export", "golden_rows"),))


def _lists_hold_each_once(config: RunConfig) -> Iterator[Disagreement]:
    lists: list[tuple[Location, tuple[Any, ...]]] = [(("convert", "variants"), config.convert.variants)]
    lists += tuned_lists(config)
    if config.search is not None:
        names = ("unit", "scope", "precision", "clusters", "encoding", "aware")
        lists += [(("search", name), getattr(config.search, name)) for name in names]
    for location, given in lists:
        for position, value in enumerate(given):
            if value in given[:position]:
                yield Disagreement(
                    (*location, position), f"expected each once, got '{_written(value)}' again. Take it out."
                )


def _written(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)
