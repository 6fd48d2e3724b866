"""The stages of a run: one explicit tuple, read by planner and runner. Nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.config import RunConfig

_ARRAYS = ("numpy",)
_CONTROL = ("train.control",)
_NETWORK = ("numpy", "tensorflow", "tf_keras", "flatbuffers")
_LEARNING = (*_NETWORK, "scikit-learn")
"""What stages need that know how clusters are learned."""

_TFLITE = ("ai-edge-litert", "ai-edge-quantizer", "tflite-micro", "pyarrow")


@dataclass(frozen=True)
class Stage:
    """One stage of the flow.

    Attributes:
        name: its name; also its module, `pipeline.stages.<name>`, whose function of the same name is
            the stage, and whose `Inputs` and `Config` say what that function takes.
        takes: roles of its inputs, as `producer` tells them apart.
        sections: sections of the config it reads; `section.field` where it reads no more of one.
        libraries: packages whose versions shape what it makes.
        wanted: whether a config asks for it.
        reads_source: whether it reads the raw files of `data`.
        unread: fields (`section.field`) of those sections that it does not look at: they are in no key of it, and the
            stage gets them at their defaults.
    """

    name: str
    takes: tuple[str, ...]
    sections: tuple[str, ...]
    libraries: tuple[str, ...]
    wanted: Callable[[RunConfig], bool]
    reads_source: bool = False
    unread: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """Name of the module that holds the stage's function."""
        return f"pipeline.stages.{self.name}"


def _always(config: RunConfig) -> bool:  # noqa: ARG001 -- one signature for all
    return True


def _is_aware(config: RunConfig) -> bool:
    return config.search is None and config.quantize is not None and config.quantize.aware is not None


STAGES: tuple[Stage, ...] = (
    Stage(
        "ingest",
        takes=(),
        sections=("task", "data"),
        libraries=(*_ARRAYS, "pandas", "pyarrow", "scikit-learn", "pillow", "plotly"),
        wanted=_always,
        reads_source=True,
    ),
    Stage(
        "build",
        takes=("dataset",),
        sections=("task", "metric", "model", "clustering.num_clusters"),
        libraries=_NETWORK,
        wanted=_always,
    ),
    Stage(
        "pretrain",
        takes=("dataset", "built"),
        sections=("pretrain", "train.class_weights", "train.loss"),
        libraries=_LEARNING,
        wanted=lambda config: config.train.mode == "layer_wise",
    ),
    Stage(
        "train",
        takes=("dataset", "start"),
        sections=("train", "clustering"),
        libraries=_LEARNING,
        wanted=_always,
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
        unread=_CONTROL,
    ),
    Stage(
        "tune",
        takes=("dataset", "start", "trained"),
        sections=("train", "tune", "task", "metric", "model", "pretrain", "at_once", "clustering"),
        unread=_CONTROL,
        libraries=(*_NETWORK, "keras-tuner", "scikit-learn", "scipy"),
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
        libraries=(*_NETWORK, "keras-tuner", *_TFLITE),
        wanted=lambda config: config.search is not None,
    ),
    Stage(
        "convert",
        takes=("dataset", "model"),
        sections=("quantize", "convert", "target.max_arena_bytes"),
        libraries=(*_NETWORK, *_TFLITE),
        wanted=lambda config: config.search is None,
    ),
    Stage(
        "export",
        takes=("dataset", "dense", "model", "variants"),
        sections=("export", "target", "reconstruction"),
        libraries=(*_LEARNING, "ai-edge-litert", "tflite-micro"),
        wanted=_always,
    ),
)
"""All stages, in the order they run in."""

STAGE_NAMES = tuple(stage.name for stage in STAGES)


def stages_of(config: RunConfig) -> tuple[Stage, ...]:
    """Returns the stages that a config asks for, in order."""
    return tuple(stage for stage in STAGES if stage.wanted(config))


def producer(role: str, config: RunConfig) -> str:
    """Returns the stage that makes what a role stands for.

    Args:
        role: `dataset`; `built`, the untrained model; `start`, the model training starts from;
            `trained`; `dense`, the model before any compression; `pruned` and `clustered`, the model
            after these stages, or after the last before them; `model`, the model that is converted;
            `variants`.
        config: the run's config.

    Raises:
        KeyError: there is no such role.
    """
    pretrained = config.train.mode == "layer_wise"
    dense = "train" if config.tune is None else "tune"
    searched = config.search is not None
    pruned = dense if config.prune is None else "prune"
    clustered = pruned if config.cluster is None else "cluster"
    converted = "quantize" if _is_aware(config) else clustered
    return {
        "dataset": "ingest",
        "built": "build",
        "start": "pretrain" if pretrained else "build",
        "trained": "train",
        "dense": dense,
        "pruned": pruned,
        "clustered": clustered,
        "model": "search" if searched else converted,
        "variants": "search" if searched else "convert",
    }[role]
