"""The stages of a run: one explicit tuple, read by planner and runner. Nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from models.classical_config import CLASSICAL
from models.own_model_config import FileModelConfig
from pipeline.config import RunConfig

_ARRAYS = ("numpy",)
_CONTROL = ("train.control",)
_ALONE = (*_CONTROL, "train.workers")
"""What stages do not look at that train as the stage `train` does, but on one worker."""

_NETWORK = ("numpy", "tensorflow", "tf_keras", "flatbuffers")
_LEARNING = (*_NETWORK, "scikit-learn")
"""What stages need that know how clusters are learned."""

_MODEL_FILES = ("h5py", "protobuf")
_CLASSICAL = ("numpy", "scikit-learn", "joblib")
_TFLITE = ("ai-edge-litert", "ai-edge-quantizer", "tflite-micro", "pyarrow")


@dataclass(frozen=True)
class Stage:
    """One stage of the flow.

    Attributes:
        name: its name; the function of that name in its module is the stage, and the module's `Inputs` and `Config` say
            what that function takes.
        takes: roles of its inputs, as `producer` tells them apart.
        sections: sections of the config it reads; `section.field` where it reads no more of one.
        libraries: packages whose versions shape what it makes.
        wanted: whether a config asks for it.
        reads: section that names raw files it reads, or code of the user's that it runs; None where there is none.
        unread: fields (`section.field`) of those sections that it does not look at: they are in no key of it, and the
            stage gets them at their defaults.
        seen: the config as the stage looks at it, where that depends on other sections.
    file: module in `pipeline.stages`, where it is not called like the stage.
    """

    name: str
    takes: tuple[str, ...]
    sections: tuple[str, ...]
    libraries: tuple[str, ...]
    wanted: Callable[[RunConfig], bool]
    reads: Literal["data", "model"] | None = None
    unread: tuple[str, ...] = ()
    seen: Callable[[RunConfig], RunConfig] | None = None
    file: str | None = None

    @property
    def module(self) -> str:
        """Name of the module that holds the stage's function."""
        return f"pipeline.stages.{self.name if self.file is None else self.file}"


def _always(config: RunConfig) -> bool:  # noqa: ARG001 -- one signature for all
    return True


def is_classical(config: RunConfig) -> bool:
    """Whether the model of a config is fitted by scikit-learn: no stage of it knows a network."""
    return isinstance(config.model, CLASSICAL)


def _is_network(config: RunConfig) -> bool:
    return not is_classical(config)


def _is_trained(config: RunConfig) -> bool:
    """A model from a file is trained already, unless the config asks for more."""
    return _is_network(config) and (not isinstance(config.model, FileModelConfig) or config.model.fine_tune)


def _is_aware(config: RunConfig) -> bool:
    return config.search is None and config.quantize is not None and config.quantize.aware is not None


def _as_pretraining_reads(config: RunConfig) -> RunConfig:
    if config.pretrain is None:
        return config
    return config.model_copy(update={"train": config.train.as_pretraining_reads(config.pretrain)})


STAGES: tuple[Stage, ...] = (
    Stage(
        "ingest",
        takes=(),
        sections=("task", "data"),
        libraries=(*_ARRAYS, "pandas", "pyarrow", "scikit-learn", "pillow", "plotly"),
        wanted=_always,
        reads="data",
    ),
    Stage(
        "fit",
        takes=("dataset",),
        sections=("task", "metric", "model"),
        libraries=_CLASSICAL,
        wanted=is_classical,
    ),
    Stage(
        "baselines",
        takes=("dataset",),
        sections=("task", "metric", "baselines", "class_weights"),
        libraries=_CLASSICAL,
        wanted=lambda config: config.baselines is not None,
    ),
    Stage(
        "build",
        takes=("dataset",),
        sections=("task", "metric", "model", "clustering.num_clusters"),
        libraries=(*_NETWORK, *_MODEL_FILES),
        wanted=_is_network,
        reads="model",
    ),
    Stage(
        "pretrain",
        takes=("dataset", "built"),
        sections=("pretrain", "train.class_weights", "train.loss"),
        libraries=_LEARNING,
        wanted=lambda config: config.train.mode == "layer_wise",
        seen=_as_pretraining_reads,
    ),
    Stage(
        "train",
        takes=("dataset", "start"),
        sections=("train", "clustering"),
        libraries=_LEARNING,
        wanted=_is_trained,
        unread=_CONTROL,
    ),
    Stage(
        "probe",
        takes=("dataset", "built", "start", "trained"),
        sections=(),
        libraries=(*_NETWORK, "scikit-learn", "scipy"),
        wanted=lambda config: config.train.mode == "layer_wise",
    ),
    Stage(
        "control",
        takes=("dataset", "built", "trained"),
        sections=("train",),
        libraries=(*_NETWORK, "scikit-learn", "scipy"),
        wanted=lambda config: config.train.control,
        unread=_ALONE,
    ),
    Stage(
        "tune",
        takes=("dataset", "start", "trained"),
        sections=("train", "tune", "task", "metric", "model", "pretrain", "at_once", "clustering"),
        unread=_ALONE,
        libraries=(*_NETWORK, *_MODEL_FILES, "keras-tuner", "scikit-learn", "scipy"),
        wanted=lambda config: config.tune is not None,
    ),
    Stage(
        "prune",
        takes=("dataset", "dense"),
        sections=("prune",),
        libraries=_LEARNING,
        wanted=lambda config: config.prune is not None and config.search is None,
    ),
    Stage(
        "cluster",
        takes=("dataset", "dense", "pruned"),
        sections=("cluster",),
        libraries=_LEARNING,
        wanted=lambda config: config.cluster is not None and config.search is None,
    ),
    Stage(
        "quantize",
        takes=("dataset", "dense", "clustered"),
        sections=("quantize.aware", "convert.calibration_rows"),
        libraries=_LEARNING,
        wanted=_is_aware,
    ),
    Stage(
        "search",
        takes=("dataset", "dense"),
        sections=("search", "prune", "cluster", "quantize.aware", "convert", "target"),
        libraries=(*_LEARNING, "keras-tuner", *_TFLITE),
        wanted=lambda config: config.search is not None,
    ),
    Stage(
        "convert",
        takes=("dataset", "model"),
        sections=("quantize", "convert", "target.max_arena_bytes"),
        libraries=(*_NETWORK, *_TFLITE),
        wanted=lambda config: config.search is None and _is_network(config),
    ),
    Stage(
        "export",
        takes=("dataset", "dense", "model", "variants", "baselines"),
        sections=("export", "target", "reconstruction"),
        libraries=(*_LEARNING, "ai-edge-litert", "tflite-micro"),
        wanted=_is_network,
    ),
    Stage(
        "export",
        takes=("dataset", "fitted", "baselines"),
        sections=("export", "target", "model"),
        libraries=(*_CLASSICAL, "flatbuffers", "ai-edge-litert", "tflite-micro", "pyarrow"),
        wanted=is_classical,
        file="export_classical",
    ),
)
"""All stages, in the order they run in."""

STAGE_NAMES = tuple(dict.fromkeys(stage.name for stage in STAGES))


def stages_of(config: RunConfig) -> tuple[Stage, ...]:
    """Returns the stages that a config asks for, in order."""
    return tuple(stage for stage in STAGES if stage.wanted(config))


def producer(role: str, config: RunConfig) -> str | None:
    """Returns the stage that makes what a role stands for; None for baselines that are not asked for.

    Args:
        role: `dataset`; `built`, the untrained model; `start`, the model training starts from;
            `trained`; `dense`, the model before any compression; `pruned` and `clustered`, the model
            after these stages, or after the last before them; `model`, the model that is converted;
            `variants`; `fitted`, the classical model of a run without a network; `baselines`.
        config: the run's config.

    Raises:
        KeyError: there is no such role.
    """
    pretrained = config.train.mode == "layer_wise"
    trained = "train" if _is_trained(config) else "build"
    dense = trained if config.tune is None else "tune"
    searched = config.search is not None
    pruned = dense if config.prune is None else "prune"
    clustered = pruned if config.cluster is None else "cluster"
    converted = "quantize" if _is_aware(config) else clustered
    return {
        "dataset": "ingest",
        "baselines": None if config.baselines is None else "baselines",
        "fitted": "fit",
        "built": "build",
        "start": "pretrain" if pretrained else "build",
        "trained": trained,
        "dense": dense,
        "pruned": pruned,
        "clustered": clustered,
        "model": "search" if searched else converted,
        "variants": "search" if searched else "convert",
    }[role]
