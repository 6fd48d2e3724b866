"""The sections of a config that describe networks and how they learn."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from data.contract import FrozenConfig

ClassWeights = Literal["balanced"] | dict[str, Annotated[float, Field(gt=0.0, le=1e6)]]
Units = Annotated[int, Field(ge=1, le=4096)]
Activation = Literal["relu", "relu6", "sigmoid", "tanh"]
TaskName = Literal["classification", "regression"]

# ----------------------------------------------------------------------------------------- model


class MlpConfig(FrozenConfig):
    """A multilayer perceptron: dense layers on the flattened input."""

    family: Literal["mlp"]
    """Kind of network."""

    units: tuple[Units, ...] = Field(default=(64, 64, 32), min_length=1, max_length=16)
    """Neurons of each hidden layer."""

    activation: Activation = "relu"
    """Activation of the hidden layers."""


class BlockConfig(FrozenConfig):
    """One block of a convolutional network: convolution, batch normalization, activation, pooling."""

    filters: Annotated[int, Field(ge=1, le=1024)]
    """Filters of the convolution."""

    kernel: Annotated[int, Field(ge=1, le=11)] = 3
    """Side of the square kernel in pixels."""

    stride: Annotated[int, Field(ge=1, le=4)] = 1
    """Step of the convolution in pixels."""

    padding: Literal["same", "valid"] = "same"
    """`same` keeps height and width at stride 1; `valid` takes the border away."""

    separable: bool = False
    """Depthwise convolution, then a 1x1 convolution, each batch-normalized and activated."""

    batch_normalization: bool = True
    """Normalize before the activation; folded into the convolution on conversion."""

    pool: Annotated[int, Field(ge=1, le=8)] = 1
    """Side of the max pooling in pixels; 1: none."""


class CnnConfig(FrozenConfig):
    """A convolutional network: blocks, then global average pooling or a dense head."""

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
    """Activation of blocks and dense layers."""


ModelConfig = Annotated[MlpConfig | CnnConfig, Field(discriminator="family")]

# -------------------------------------------------------------------------------------- training


class OptimizerConfig(FrozenConfig):
    """Which gradient descent, and how fast."""

    name: Literal["sgd", "momentum", "adam"] = "adam"
    """Plain gradient descent, with momentum 0.9, or Adam (Kingma & Ba 2015)."""

    learning_rate: float = Field(default=0.002, gt=0.0, le=10.0)
    """Step size at the start."""

    schedule: Literal["constant", "cosine"] = "cosine"
    """`cosine`: falls to 0 over the whole training (Loshchilov & Hutter 2017)."""


class StopConfig(FrozenConfig):
    """Rules that end a training before its last epoch."""

    patience: int | None = Field(default=None, ge=1)
    """Epochs without a better validation score before training ends; none when left out."""

    loss_below: float | None = Field(default=None, gt=0.0)
    """Ends the training once an epoch's mean training loss is below this; off when left out."""


class GradientDescentFields(FrozenConfig):
    """What every stage that trains by itself can be told."""

    batch_size: int = Field(default=64, ge=1, le=65536)
    """Rows a gradient is taken over."""

    optimizer: OptimizerConfig = OptimizerConfig()
    """Which gradient descent."""


class RegularizationConfig(FrozenConfig):
    """A penalty on the kernels, added to the loss: l1 * sum|w| + l2 * sum w^2."""

    l1: float = Field(default=0.0, ge=0.0)
    """Strength of the sum of absolute values."""

    l2: float = Field(default=0.0, ge=0.0)
    """Strength of the sum of squares."""


class TrainConfig(GradientDescentFields):
    """Training the whole network on labeled rows."""

    mode: Literal["end_to_end", "layer_wise"] = "end_to_end"
    """`layer_wise`: the stage `pretrain` runs first, and this one fine-tunes."""

    epochs: int = Field(default=20, ge=1, le=100_000)
    """Most passes over the training rows."""

    stop: StopConfig = StopConfig()
    """Rules that end the training earlier."""

    class_weights: ClassWeights | None = None
    """Weight of each class in the loss, while pruning too: `balanced` (inverse frequency), or by class name; all 1 when
    left out. What decides between epochs and trials stays the plain score."""

    regularization: RegularizationConfig = RegularizationConfig()
    """Penalty on the kernels while training; `tune` looks for a better one."""


class PretrainConfig(GradientDescentFields):
    """Greedy layer-wise pretraining, one hidden layer after the other."""

    kind: Literal["autoencoder", "denoising_autoencoder", "supervised"] = "autoencoder"
    """What each layer learns from: its input, clean or corrupted, or the labels (Bengio 2007, Vincent 2010)."""

    epochs: int = Field(default=10, ge=1, le=100_000)
    """Passes over the training rows for each layer."""

    corruption_fraction: float = Field(default=0.3, ge=0.0, lt=1.0)
    """Denoising: fraction of a layer's inputs set to zero (masking noise)."""


class TuneConfig(FrozenConfig):
    """A search for the regularization that scores best on validation."""

    trials: int = Field(default=8, ge=1, le=10_000)
    """Trainings with other penalties, besides `train`'s own model (trial 0)."""

    epochs: int | None = Field(default=None, ge=1)
    """Epochs of each trial; those of `train` when left out."""

    oracle: Literal["random", "bayesian"] = "bayesian"
    """What proposes the next trial."""

    penalties: tuple[Literal["l1", "l2", "elastic_net"], ...] = Field(default=("l1", "l2", "elastic_net"), min_length=1)
    """Kinds of penalty that are tried."""

    min_strength: float = Field(default=1e-6, gt=0.0)
    """Weakest penalty tried; strengths are drawn on a log scale."""

    max_strength: float = Field(default=1e-2, gt=0.0)
    """Strongest penalty tried."""

    @model_validator(mode="after")
    def _order_strengths(self) -> TuneConfig:
        if self.min_strength >= self.max_strength:
            raise ValueError(
                f"expected min_strength below max_strength, got {self.min_strength} and {self.max_strength}."
            )
        return self
