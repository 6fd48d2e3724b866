"""RunConfig: everything one YAML file says about a run, composed of the sections each room declares."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from data.config import DataConfig
from data.contract import FrozenConfig
from models.classical_config import BaselinesConfig, ClassWeights
from models.compression_config import ClusterConfig, ConvertConfig, PruneConfig, QuantizeConfig, SearchConfig
from models.config import METRICS, MetricName, ModelConfig, OptimizerConfig, PretrainConfig, TaskName, TrainConfig
from models.task_config import ClusteringConfig, ReconstructionConfig
from models.tuning_config import TuneConfig
from pipeline.config_reading.checks import disagreements
from pipeline.config_reading.disagreement import DisagreementError
from pipeline.engine_config import LocalEngineConfig, RayEngineConfig
from pipeline.remote.config import RemoteConfig


class ExportConfig(FrozenConfig):
    """What the bundle proves, and with how many rows."""

    golden_rows: int = Field(default=32, ge=1, le=10_000)
    """Rows of the test split whose inputs and outputs are kept as golden vectors; all of them where there are fewer."""

    c_golden_rows: int = Field(default=4, ge=1, le=256)
    """How many of those also go into the C header, for a test on the device."""

    latency_repeats: int = Field(default=200, ge=1, le=100_000)
    """Timed inferences that the median latency is taken over."""


class TargetConfig(FrozenConfig):
    """What the model must meet, judged on the validation split; a limit that is left out is not judged."""

    max_score_drop: Annotated[float, Field(ge=0.0)] | None = None
    """How far the score may fall below the dense float model's, in units of the score (0.01: one point of accuracy)."""

    min_score: Annotated[float, Field(le=1.0)] | None = None
    """Lowest score of `model.tflite`, by `metric`."""

    max_model_bytes: Annotated[int, Field(ge=1)] | None = None
    """Largest `model.tflite`, in bytes."""

    max_gzip_bytes: Annotated[int, Field(ge=1)] | None = None
    """Largest `model.tflite` after gzip, in bytes."""

    max_arena_bytes: Annotated[int, Field(ge=1)] | None = None
    """Most working memory in bytes, measured by TFLite Micro on this host."""

    max_latency_us: Annotated[float, Field(gt=0.0)] | None = None
    """Longest median inference in microseconds: LiteRT, one thread, this machine."""


def _implied_pretrain(validated: dict[str, Any]) -> PretrainConfig | None:
    """Returns the section `pretrain` of a config that leaves it out: defaults where layers train one by one."""
    train = validated.get("train")
    return PretrainConfig() if isinstance(train, TrainConfig) and train.mode == "layer_wise" else None


def _implied_reconstruction(validated: dict[str, Any]) -> ReconstructionConfig | None:
    """Returns the section `reconstruction` of a config that leaves it out: defaults where that is the task."""
    return ReconstructionConfig() if validated.get("task") == "reconstruction" else None


class RunConfig(FrozenConfig):
    """One run. A section that is left out means its stage is skipped, or does its work with defaults."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)
    """Name of the run and of its folder below the work directory: small letters, digits, `_` and `-`."""

    seed: int = Field(default=1, ge=0, le=2**31 - 1)
    """What every random choice of the run derives from; the same seed gives the same model."""

    task: TaskName
    """What is learned: to predict one of several classes, or a number; or, without labels, to give rows back and to
    tell abnormal ones by the error (`reconstruction`), or which rows belong together (`clustering`)."""

    metric: MetricName | None = None
    """The score that decides, of epochs, trials and targets, higher is better. Classification: `accuracy`,
    `balanced_accuracy` (the mean over the classes), `macro_f1`. Regression: `r2`, `d2` (as R², of absolute errors).
    Reconstruction: `r2` over all numbers of the rows. Clustering: `silhouette`, in the space of the inputs. The first
    of each when left out."""

    data: DataConfig
    """Where the rows come from and how they are split."""

    model: ModelConfig
    """The network, or a classical model in its place."""

    baselines: BaselinesConfig | None = None
    """Classical models on the same splits, beside the run's own; none when left out."""

    reconstruction: ReconstructionConfig | None = Field(default_factory=_implied_reconstruction)
    """When a row is called abnormal; only with `task: reconstruction`, and then with defaults when left out."""

    clustering: ClusteringConfig | None = None
    """How rows are clustered; only with `task: clustering`, which needs it."""

    train: TrainConfig = TrainConfig()
    """Training of the whole network; runs with defaults when left out."""

    pretrain: PretrainConfig | None = Field(default_factory=_implied_pretrain)
    """Layer-wise pretraining; only with `train.mode: layer_wise`, and then with defaults when left out."""

    tune: TuneConfig | None = None
    """Search for a better regularization, learning rate, network; skipped when left out."""

    prune: PruneConfig | None = None
    """Pruning; skipped when left out."""

    cluster: ClusterConfig | None = None
    """Clustering of the weights; skipped when left out."""

    search: SearchConfig | None = None
    """Search for the smallest compressed model that meets `target`; the fixed chain of the sections below when left
    out."""

    quantize: QuantizeConfig | None = None
    """Precision of the chosen model; float32 when left out."""

    convert: ConvertConfig = ConvertConfig()
    """Conversion to TFLite; runs with defaults when left out."""

    export: ExportConfig = ExportConfig()
    """The bundle and its checks; runs with defaults when left out."""

    target: TargetConfig = TargetConfig()
    """Limits the model must meet; none when left out."""

    remote: RemoteConfig = RemoteConfig()
    """How sources at URLs are read; with defaults when left out."""

    engine: LocalEngineConfig | RayEngineConfig | None = Field(default=None, discriminator="kind")
    """Where trials run, and with `kind: ray` the workers of `train`; when left out, trials run one after the other in
    the run's own process."""

    @property
    def trials_at_once(self) -> int:
        """Trials or candidates that may be out at once, at most; 0 where there are none."""
        tuned = 0 if self.tune is None else self.tune.batch_trials
        if self.search is None:
            return tuned
        return max(tuned, 1 if self.target.max_latency_us is not None else self.search.candidates)

    @property
    def score_name(self) -> MetricName:
        """What a score of this run is."""
        return METRICS[self.task][0] if self.metric is None else self.metric

    @property
    def at_once(self) -> PruneConfig | None:
        """Section `prune` as `tune.objective: pruned_score` judges by it: at once, without training; else None."""
        if self.prune is None or self.tune is None or self.tune.objective == "score":
            return None
        without_training = {
            "epochs": 0,
            "recovery_epochs": 0,
            "steps": None,
            "update_steps": PruneConfig.model_fields["update_steps"].default,
            "optimizer": OptimizerConfig(),
            "distillation": None,
        }
        return self.prune.model_copy(update=without_training)

    @property
    def class_weights(self) -> ClassWeights | None:
        """Weight of each class that the run's own model learns with."""
        own: ClassWeights | None = getattr(self.model, "class_weights", None)
        return self.train.class_weights if own is None else own

    @field_validator("engine", mode="before")
    @classmethod
    def _local_unless_said(cls, value: Any) -> Any:
        return {"kind": "local", **value} if isinstance(value, dict) else value

    @field_validator("name")
    @classmethod
    def _leave_the_store_alone(cls, name: str) -> str:
        if name == "store":
            raise ValueError("expected another name than 'store', got the folder of all artifacts. Rename the run.")
        return name

    @model_validator(mode="after")
    def _sections_agree(self) -> RunConfig:
        found = disagreements(self)
        if found:
            raise DisagreementError(found)
        return self
