"""The sections of a config that describe networks and how they learn."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from data.contract import FrozenConfig
from models.autoencoder_config import AutoencoderConfig
from models.classical_config import ClassicalConfig, ClassWeights
from models.field_types import Activation, DropoutFraction, Units
from models.own_model_config import BuilderModelConfig, FileModelConfig
from models.rnn_config import RnnConfig

Filters = Annotated[int, Field(ge=1, le=1024)]
LearningRate = Annotated[float, Field(gt=0.0, le=10.0)]
TaskName = Literal["classification", "regression", "reconstruction", "clustering"]
MetricName = Literal["accuracy", "balanced_accuracy", "macro_f1", "r2", "d2", "silhouette"]
LossName = Literal["cross_entropy", "focal", "mse", "mae", "huber"]
BatchSize = Annotated[int, Field(ge=1, le=65536)] | Literal["full"]

METRICS: dict[str, tuple[MetricName, ...]] = {
    "classification": ("accuracy", "balanced_accuracy", "macro_f1"),
    "regression": ("r2", "d2"),
    "reconstruction": ("r2",),
    "clustering": ("silhouette",),
}
"""Scores that fit each task; the first one is taken where a config names none."""

LOSSES: dict[str, tuple[LossName, ...]] = {
    "classification": ("cross_entropy", "focal"),
    "regression": ("mse", "mae", "huber"),
    "reconstruction": ("mse", "mae", "huber"),
    "clustering": ("mse", "mae", "huber"),
}
"""Losses that fit each task; the first one is taken where a config names none."""

# ----------------------------------------------------------------------------------------- model


class LinearConfig(FrozenConfig):
    """One dense layer on the flattened input: logistic, softmax or linear regression by gradient descent."""

    family: Literal["linear"]
    """Kind of network."""


class MlpConfig(FrozenConfig):
    """A multilayer perceptron: dense layers on the flattened input."""

    family: Literal["mlp"]
    """Kind of network."""

    units: tuple[Units, ...] = Field(default=(64, 64, 32), min_length=1, max_length=16)
    """Neurons of each hidden layer."""

    activation: Activation = "relu"
    """Activation of the hidden layers; `leaky_relu` has slope 0.2 below zero."""

    dropout_fraction: DropoutFraction = 0.0
    """Chance of each hidden unit to be left out of a training step (Srivastava 2014); 0: none is."""


class BlockConfig(FrozenConfig):
    """One block of a convolutional network: convolution, batch normalization, activation, pooling."""

    filters: Filters
    """Filters of the convolution."""

    kernel: Annotated[int, Field(ge=1, le=11)] = 3
    """Side of the square kernel in pixels; on series its length in steps."""

    stride: Annotated[int, Field(ge=1, le=4)] = 1
    """Step of the convolution in pixels, or in steps of a series."""

    padding: Literal["same", "valid"] = "same"
    """`same` keeps height and width, or length, at stride 1; `valid` takes the border away."""

    separable: bool = False
    """Depthwise convolution, then a 1x1 convolution, each batch-normalized and activated."""

    residual: bool = False
    """Add the block's input to its convolution before the last activation (He 2016), through a 1x1 convolution where
    their shapes differ."""

    batch_normalization: bool = True
    """Normalize before the activation; folded into the convolution on conversion."""

    pool: Annotated[int, Field(ge=1, le=8)] = 1
    """Side of the max pooling in pixels, or its length in steps of a series; 1: none."""


class CnnConfig(FrozenConfig):
    """A convolutional network on images or along the steps of series: blocks, then a mean or a dense head."""

    family: Literal["cnn"]
    """Kind of network."""

    blocks: tuple[BlockConfig, ...] = Field(
        default=(BlockConfig(filters=16, pool=2), BlockConfig(filters=32, pool=2)),
        min_length=1,
        max_length=32,
    )
    """The blocks, from the input on."""

    head: Literal["global_average", "dense"] = "global_average"
    """How feature maps become a vector: their means, or all of them into dense layers."""

    head_units: tuple[Units, ...] = ()
    """Neurons of dense layers between the blocks' features and the output."""

    activation: Activation = "relu"
    """Activation of blocks and dense layers; `leaky_relu` has slope 0.2 below zero."""

    dropout_fraction: DropoutFraction = 0.0
    """Chance of each feature below a dense layer, the output's included, to be left out of a training step; 0: none
    is."""


NetworkConfig = (
    LinearConfig | MlpConfig | CnnConfig | RnnConfig | AutoencoderConfig | FileModelConfig | BuilderModelConfig
)
ModelConfig = Annotated[NetworkConfig | ClassicalConfig, Field(discriminator="family")]

# -------------------------------------------------------------------------------------- training


class OptimizerConfig(FrozenConfig):
    """Which gradient descent, and how fast."""

    name: Literal["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"] = "adam"
    """Plain gradient descent, with momentum, Nesterov's, RMSprop (Tieleman & Hinton 2012), Adam (Kingma & Ba 2015), or
    Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    learning_rate: LearningRate = 0.002
    """Step size at the start, or at the end of the warm-up."""

    schedule: Literal["constant", "cosine", "step"] = "cosine"
    """`cosine`: falls to 0 over the whole training (Loshchilov & Hutter 2017); `step`: is multiplied by `drop_factor`
    every `drop_epochs`."""

    warmup_steps: int = Field(default=0, ge=0)
    """Steps over which the rate rises from 0 in a straight line, before the schedule begins."""

    drop_epochs: int = Field(default=10, ge=1)
    """Schedule `step`: epochs between two drops."""

    drop_factor: float = Field(default=0.1, gt=0.0, lt=1.0)
    """Schedule `step`: what the rate is multiplied by."""

    momentum: float = Field(default=0.9, ge=0.0, lt=1.0)
    """`momentum` and `nesterov`: share of the last step that is kept."""

    weight_decay: float = Field(default=0.01, ge=0.0, le=1.0)
    """`adamw`: share of each kernel's weights that a step takes away, times the learning rate."""

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> OptimizerConfig:
        rules = (
            (self.schedule == "step", "schedule: step", ("drop_epochs", "drop_factor")),
            (self.name in ("momentum", "nesterov"), "name: momentum or nesterov", ("momentum",)),
            (self.name == "adamw", "name: adamw", ("weight_decay",)),
        )
        for held, where, names in rules:
            for name in names:
                if not held and getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(
                        f"expected {name} with {where} alone, got it with another. Nothing would read it: take it out."
                    )
        return self


class StopConfig(FrozenConfig):
    """Rules that end a training before its last epoch."""

    patience: int | None = Field(default=None, ge=1)
    """Epochs without a better validation score before training ends; none when left out."""

    loss_below: float | None = Field(default=None, gt=0.0)
    """Ends the training once an epoch's mean training loss is below this; off when left out."""

    gradient_norm_below: float | None = Field(default=None, gt=0.0)
    """Ends the training once the norm of the gradient is below this: the root mean square over an epoch's steps, the
    norm itself with `batch_size: full`; off when left out."""

    steps: int | None = Field(default=None, ge=1)
    """Most gradient steps, whatever `epochs` says; none when left out."""


class GradientDescentFields(FrozenConfig):
    """What every stage that trains by itself can be told."""

    batch_size: BatchSize = 64
    """Rows a gradient is taken over; `full`: all training rows, one step an epoch."""

    optimizer: OptimizerConfig = OptimizerConfig()
    """Which gradient descent."""


class LossConfig(FrozenConfig):
    """What is minimized; numbers to predict count in standard deviations of the training targets."""

    name: LossName | None = None
    """Classification: `cross_entropy`, or `focal`, which looks less at easy rows (Lin 2017). Regression, and
    reconstructing the input: `mse`, `mae`, or `huber`. The first of each when left out."""

    label_smoothing_fraction: float = Field(default=0.0, ge=0.0, lt=1.0)
    """`cross_entropy`: share of each label's weight that is spread over all classes (Szegedy 2016)."""

    focal_gamma: float = Field(default=2.0, ge=0.0, le=10.0)
    """`focal`: how much less easy rows count; 0 is cross-entropy."""

    huber_delta: float = Field(default=1.0, gt=0.0)
    """`huber`: error from which on the loss grows in a straight line, in standard deviations of the target; of a
    reconstruction, in units of the model's input."""


Strength = Annotated[float, Field(le=1e6)]
"""Strength of a penalty: at 1e6 all weights are zero after a step, and gradients still have a norm in float32."""


class RegularizationConfig(FrozenConfig):
    """A penalty on the kernels, added to the loss: l1 * sum|w| + l2 * sum w^2."""

    l1: Strength = Field(default=0.0, ge=0.0)
    """Strength of the sum of absolute values; a proximal step after each update makes weights exactly zero."""

    l2: Strength = Field(default=0.0, ge=0.0)
    """Strength of the sum of squares."""


class TrainConfig(GradientDescentFields):
    """Training the whole network on labeled rows."""

    mode: Literal["end_to_end", "layer_wise"] = "end_to_end"
    """`layer_wise`: the stage `pretrain` runs first, and this one fine-tunes; with `mlp` and `cnn`."""

    control: bool = False
    """`layer_wise`: also train the same untrained weights end to end, for the report to compare, on the same budget:
    `epochs`, and pretraining's multiply-accumulates (three forward passes a row for layers that learn, one for frozen
    ones) turned into epochs end to end, rounded up; `stop` does not hold, and the best epoch is kept."""

    epochs: int = Field(default=20, ge=1, le=100_000)
    """Most passes over the training rows."""

    stop: StopConfig = StopConfig()
    """Rules that end the training earlier."""

    loss: LossConfig = LossConfig()
    """What is minimized, while pruning too."""

    class_weights: ClassWeights | None = None
    """Weight of each class in the loss, while pruning too: `balanced` (inverse frequency), or by class name; all 1 when
    left out. What decides between epochs and trials stays the plain score."""

    regularization: RegularizationConfig = RegularizationConfig()
    """Penalty on the kernels while training; `tune` looks for a better one."""

    workers: int = Field(default=1, ge=1, le=1024)
    """Processes that share each batch, on this machine, on the nodes of the Ray cluster that `engine` names, or on the
    machines that `TF_CONFIG` does: each computes the gradient of its rows, and all take the same step. Only this stage
    has them; `batch_size` is that of all together."""

    def as_pretraining_reads(self, pretrain: PretrainConfig) -> TrainConfig:
        """Returns the section with its class weights and its loss left out where layers learn to restore their inputs.

        Labels are then looked at by nobody, and neither is what a wrong one costs.
        """
        if pretrain.kind == "supervised":
            return self
        return self.model_copy(update={"class_weights": None, "loss": LossConfig()})


class PretrainConfig(GradientDescentFields):
    """Greedy layer-wise pretraining, one hidden layer, or block of convolutions, after the other."""

    kind: Literal["autoencoder", "denoising_autoencoder", "supervised"] = "autoencoder"
    """What each layer learns from: its input, clean or corrupted (Bengio 2007, Vincent 2010), or the labels, under an
    output layer of its own (Belilovsky 2019). A block's input is restored at its own height and width."""

    epochs: int = Field(default=10, ge=1, le=100_000)
    """Most passes over the training rows for each layer; its best epoch on validation is kept."""

    stop: StopConfig = StopConfig()
    """Rules that end the training of each layer earlier."""

    corruption_fraction: float = Field(default=0.3, ge=0.0, lt=1.0)
    """Denoising: fraction of a layer's inputs set to zero (masking noise)."""
