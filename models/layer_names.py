"""Names of the layers with a kernel that a network would have, worked out without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence

from models.autoencoder_config import AutoencoderConfig
from models.config import CnnConfig, MlpConfig, NetworkConfig
from models.own_model_config import BuilderModelConfig, FileModelConfig
from models.rnn_config import RnnConfig

_OUTPUT = "output"


def kernel_layers(config: NetworkConfig, task: str, num_channels: int | None = None) -> list[str]:
    """Lists the layers whose bits can be chosen, as they are named in the .tflite file.

    Args:
        config: the section `model`.
        task: what is learned; a clustering's autoencoder ends at its bottleneck, with the clusters on top.
        num_channels: of an input; None where only the data can tell. A first block with a shortcut is then listed with
            it, though there may be none.

    Returns:
        Names; none for models of one's own, which only their building can tell.
    """
    if isinstance(config, FileModelConfig | BuilderModelConfig):
        return []
    if isinstance(config, AutoencoderConfig):
        return _of_an_autoencoder(config, task)
    if isinstance(config, MlpConfig):
        return [*_dense(config.units), _OUTPUT]
    if isinstance(config, CnnConfig):
        return [*_of_blocks(config, num_channels), *_dense(config.head_units), _OUTPUT]
    if isinstance(config, RnnConfig):
        return [*_recurrent(config), *_dense(config.head_units), _OUTPUT]
    return [_OUTPUT]


def _dense(units: Sequence[int]) -> list[str]:
    return [f"dense_{number}" for number, _ in enumerate(units, start=1)]


def _recurrent(config: RnnConfig) -> list[str]:
    sides = ("_forward", "_backward") if config.bidirectional else ("",)
    return [f"{config.cell}_{number}{side}" for number, _ in enumerate(config.units, start=1) for side in sides]


def _of_blocks(config: CnnConfig, num_channels: int | None) -> list[str]:
    found, channels = [], num_channels
    for number, block in enumerate(config.blocks, start=1):
        found += [f"block_{number}_{part}" for part in (("depthwise", "pointwise") if block.separable else ("conv",))]
        if block.residual and (block.stride > 1 or channels != block.filters):
            found.append(f"block_{number}_shortcut")
        channels = block.filters
    return found


def _of_an_autoencoder(config: AutoencoderConfig, task: str) -> list[str]:
    dense = config.kind == "dense"
    numbers = range(1, len(config.units if dense else config.blocks) + 1)
    part = "" if dense else "_conv"
    encoder = [*(f"encoder_{number}{part}" for number in numbers), "bottleneck"]
    if task == "clustering":
        return [*encoder, _OUTPUT]
    decoder = [f"decoder_{number}{part}" for number in reversed(numbers)]
    return [*encoder, *decoder, _OUTPUT] if dense else [*encoder, "decoder_input", *decoder]
