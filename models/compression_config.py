"""The sections of a config that say how a trained network is made small."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from data.contract import FrozenConfig
from models.config import GradientDescentFields, OptimizerConfig

NodeCriterion = Literal["l1", "l2", "taylor", "batch_normalization_scale", "mean_activation"]
Precision = Literal["float32", "float16", "dynamic_range", "int8", "int16x8", "int4"]
LayerPrecision = Literal["int8", "int16x8", "int4"]
DenseScales = Literal["auto", "tensor", "channel"]
Encoding = Literal["dense", "sparse", "tables"]
Variant = Literal[
    "float32", "float16", "dynamic_range", "int8", "int16x8", "int4", "int8_sparse_micro", "int8_tables_micro"
]

ENCODED: dict[str, Variant] = {"sparse": "int8_sparse_micro", "tables": "int8_tables_micro"}
"""Encoding of the weights -> the variant that has them so; TFLite Micro alone runs these."""


class DistillationConfig(FrozenConfig):
    """Learning from the model before pruning, besides the labels (Hinton 2015)."""

    fraction: float = Field(default=0.5, gt=0.0, le=1.0)
    """Part of the loss that is the distance from that model's answers; the rest is the labels' loss."""

    temperature: float = Field(default=3.0, ge=1.0, le=100.0)
    """Classification: both models' probabilities are softened by it before they are compared."""


class SensitivityConfig(FrozenConfig):
    """How `sparsity: auto` finds each layer's sparsity: it is pruned alone, without training, and scored."""

    levels: tuple[Annotated[float, Field(gt=0.0, lt=1.0)], ...] = Field(
        default=(0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 0.9375), min_length=1, max_length=32
    )
    """Sparsities that are tried, ascending."""

    max_score_drop: float = Field(default=0.02, gt=0.0)
    """How far the validation score may fall with one layer pruned; the largest such sparsity is the layer's own."""

    @model_validator(mode="after")
    def _order_levels(self) -> SensitivityConfig:
        if list(self.levels) != sorted(set(self.levels)):
            raise ValueError(f"expected levels that rise, got {list(self.levels)}. Sort them, each once.")
        return self


class PruneConfig(GradientDescentFields):
    """Removing what matters least, with training in between and after."""

    unit: (
        Literal["weight", "node"] | Annotated[tuple[Literal["node", "weight"], ...], Field(min_length=2, max_length=2)]
    ) = "weight"
    """What is removed: `weight`: single weights, set to zero; `node`: neurons and filters, for good, which makes the
    model smaller; `[node, weight]`: nodes, then weights of what is left."""

    scope: Literal["global", "local"] = "global"
    """Rank all weights (nodes) of the network together, or within each layer."""

    sparsity: Annotated[float, Field(gt=0.0, lt=1.0)] | Literal["auto"] = 0.5
    """Fraction of the prunable weights that are zero in the end, or of the nodes that are gone; `auto`: each layer's
    own, by `sensitivity`."""

    weight_sparsity: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """With `unit: [node, weight]`: fraction of the weights that are left then; that of `sparsity` when left out."""

    epochs: int = Field(default=4, ge=0, le=100_000)
    """Epochs over which sparsity rises (Zhu & Gupta 2017); the last update falls on their last step. 0: all at once.
    With two units, of each."""

    recovery_epochs: int = Field(default=2, ge=0, le=100_000)
    """Epochs of training after that, masks and nodes fixed. With two units, after both."""

    update_steps: int = Field(default=10, ge=1)
    """Weights: training steps between two updates of the masks."""

    min_layer_density: float = Field(default=0.02, gt=0.0, le=1.0)
    """Global: fraction of each layer's weights (nodes) that always stays, so that no layer dies."""

    inputs: Literal["all", "varying"] = "all"
    """Which inputs the network keeps: `varying`: those that are not the same number in every training row. The others
    go into the biases before anything is pruned, and the bundle lists those that stay. For dense networks (`mlp`)."""

    criterion: NodeCriterion = "taylor"
    """Nodes: what they are ranked by: `l1`, `l2`: norm of their weights; `taylor`: estimated change of the loss
    (Molchanov 2019); `batch_normalization_scale`; `mean_activation`. Weights are ranked by magnitude."""

    criterion_rows: int = Field(default=2048, ge=1)
    """Nodes: training rows that `taylor` and `mean_activation` look at."""

    steps: int | None = Field(default=None, ge=1, le=1000)
    """Nodes: in how many steps they go, `epochs` divided among them; 4, or one an epoch, when left out."""

    multiple: int = Field(default=1, ge=1, le=256)
    """Nodes: what stays in each layer is rounded to a multiple of it, as some kernels like best (4, 8, 16); widths of
    other numbers may also train more slowly."""

    sensitivity: SensitivityConfig = SensitivityConfig()
    """How `sparsity: auto` finds each layer's sparsity."""

    distillation: DistillationConfig | None = None
    """Learn from the unpruned model too; from labels alone when left out."""

    @property
    def num_steps(self) -> int:
        """Steps in which nodes go."""
        return max(1, min(4, self.epochs)) if self.steps is None else self.steps

    @property
    def units(self) -> tuple[str, ...]:
        """What is removed, in order."""
        return (self.unit,) if isinstance(self.unit, str) else self.unit


class ClusterConfig(GradientDescentFields):
    """Few distinct values a kernel, so that each weight is a short index into a table (Han 2016)."""

    clusters: int = Field(default=16, ge=2, le=256)
    """Most distinct values of a kernel, zero counted as one of them where there are zeros; zeros stay."""

    epochs: int = Field(default=2, ge=0, le=100_000)
    """Epochs of training that move the values, not which weight has which. 0: none."""

    initialization: Literal["linear", "k_means++"] = "linear"
    """Where k-means starts: values evenly spaced from the least weight to the greatest (Han 2016), or drawn
    (Arthur & Vassilvitskii 2007)."""

    min_layer_weights: int = Field(default=256, ge=1)
    """Kernels of fewer weights are left as they are, and named: they have little to gain."""

    distillation: DistillationConfig | None = None
    """Learn from the model before compression too; from labels alone when left out."""


class AwareConfig(GradientDescentFields):
    """Quantization-aware training: the network learns to be right when it is rounded (Jacob 2018)."""

    epochs: int = Field(default=2, ge=1, le=100_000)
    """Epochs of training with rounded weights and activations."""

    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=0.0005)
    """Which gradient descent: a trained network needs small steps."""

    distillation: DistillationConfig | None = None
    """Learn from the model before compression too; from labels alone when left out."""


class QuantizeConfig(FrozenConfig):
    """How many bits the chosen model has."""

    precision: Precision = "int8"
    """Arithmetic of `model.tflite`. `int16x8`: weights of 8, activations of 16 bits; `int4`: weights of 4,
    activations of 8."""

    layers: dict[str, LayerPrecision] = Field(default_factory=dict)
    """Layers of other bits than `precision`, by their name in the report: `{output: int16x8}`."""

    dense_scales: DenseScales = "auto"
    """Scales of dense kernels: one each, or one a neuron, nearer to the trained model and 24 bytes a neuron more;
    `auto`: one each for 4 bits and for clustered models, else one a neuron."""

    encoding: Encoding = "dense"
    """How the file stores int8 weights. `sparse`: one bit a weight and the non-zero ones; `tables`: indices into
    tables of few values. Both are smaller in flash, and for TFLite Micro alone, which unpacks them into its arena."""

    aware: AwareConfig | None = None
    """Quantization-aware training before the conversion; ranges from calibration alone when left out."""

    @property
    def variant(self) -> Variant:
        """The variant that `model.tflite` is."""
        return self.precision if self.encoding == "dense" else ENCODED[self.encoding]

    @property
    def is_plain(self) -> bool:
        """Whether every layer has the same bits, and scales as TensorFlow's converter gives them."""
        return not self.layers and self.dense_scales == "auto"


class ConvertConfig(FrozenConfig):
    """Conversion to TFLite."""

    variants: tuple[Variant, ...] = Field(default=("float32", "float16", "dynamic_range", "int8"), min_length=1)
    """Variants written beside the chosen one. Those of `_micro` have their weights encoded, as `quantize.encoding`
    says; one that cannot be made is named in the report with its reason."""

    calibration_rows: int = Field(default=256, ge=1, le=100_000)
    """Training rows that the ranges of int8 activations are measured on."""


# ---------------------------------------------------------------------------------------- search

SearchUnit = Literal["none", "node", "weight", "node_and_weight"]


class SearchConfig(FrozenConfig):
    """A search over chains of compression, all from the one trained model, for the smallest that meets `target`.

    Candidates get a cheap look first (pruned at once, no training), the better quarter a short recovery, the best of
    them the whole of `prune` (successive halving, Jamieson & Talwalkar 2016; a bracket of Hyperband, Li et al. 2018).
    Section `prune`, where it is given, says what every candidate shares: epochs, batch size, optimizer, criterion,
    distillation. Where `target` names no score (`max_score_drop`, `min_score`), the search holds the validation score
    to at most 0.01 below the dense model's: the smallest model of all knows nothing.
    """

    candidates: int = Field(default=40, ge=1, le=10_000)
    """Looks at candidates, cheap ones included, besides the dense model in each precision."""

    refinements: int = Field(default=2, ge=0, le=100)
    """Whole prunings at the end: of the best chain, sparsity halved in between what meets the target and what does
    not."""

    unit: tuple[SearchUnit, ...] = Field(default=("node", "weight", "node_and_weight"), min_length=1)
    """What may be pruned: nodes, weights, nodes and then half of the weights that are left, or nothing."""

    scope: tuple[Literal["global", "local"], ...] = Field(default=("global", "local"), min_length=1)
    """Rankings that are tried."""

    min_sparsity: float = Field(default=0.2, gt=0.0, lt=1.0)
    """Least sparsity that is tried."""

    max_sparsity: float = Field(default=0.9, gt=0.0, lt=1.0)
    """Highest sparsity that is tried."""

    precision: tuple[Precision, ...] = Field(default=("int8",), min_length=1)
    """Precisions that are tried."""

    clusters: tuple[Annotated[int, Field(ge=0, le=256)], ...] = Field(default=(0,), min_length=1)
    """Numbers of clusters that are tried; 0: none. The section `cluster`, where it is given, says the rest."""

    encoding: tuple[Encoding, ...] = Field(default=("dense",), min_length=1)
    """Encodings of int8 weights that are tried: `sparse` of pruned, `tables` of clustered ones; the file then runs in
    TFLite Micro alone."""

    aware: tuple[bool, ...] = Field(default=(False,), min_length=1)
    """Whether int8 candidates get quantization-aware training, whenever they are trained at all; as `cluster`'s."""

    short_epochs: int = Field(default=1, ge=1)
    """Epochs of the short recovery."""

    @model_validator(mode="after")
    def _order_sparsities(self) -> SearchConfig:
        if self.min_sparsity >= self.max_sparsity:
            raise ValueError(
                f"expected min_sparsity below max_sparsity, got {self.min_sparsity} and {self.max_sparsity}."
            )
        return self
