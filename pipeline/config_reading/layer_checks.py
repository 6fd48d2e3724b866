"""Whether the layers that a config names are those of its network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from data.config import known_input_shape
from models.autoencoder_config import AutoencoderConfig
from models.classical_config import CLASSICAL
from models.config import CnnConfig, MlpConfig
from models.layer_names import kernel_layers
from models.own_model_config import OWN_MODELS
from models.rnn_config import RnnConfig
from models.tuning_config import UnitsRange
from pipeline.config_reading.disagreement import Disagreement
from pipeline.config_reading.likeness import nearest

if TYPE_CHECKING:
    from models.config import NetworkConfig
    from pipeline.config import RunConfig


def layers_are_there(config: RunConfig) -> Iterator[Disagreement]:
    """Layers that get bits of their own are those of the network, or of one that `tune` may choose in its place.

    Of a model of one's own, and of shortcuts where `tune` varies filters, the stage `convert` alone can tell.
    """
    if config.quantize is None or not config.quantize.layers or isinstance(config.model, OWN_MODELS + CLASSICAL):
        return
    shape = known_input_shape(config.data)
    channels = None if shape is None or shape[-1] < 0 else shape[-1]
    networks = _networks(config, config.model)
    known = list(dict.fromkeys(name for each in networks for name in kernel_layers(each, config.task, channels)))
    for name in config.quantize.layers if known else ():
        if name not in known:
            near = nearest(name, known)
            hint = "" if near is None else f" (the nearest is {near!r})"
            message = (
                f"expected a layer that has weights in the model, got {name!r}{hint}. Choose of {', '.join(known)}."
            )
            yield Disagreement(("quantize", "layers", name), message, (("model",), ("task",), ("tune", "space")))


def _networks(config: RunConfig, model: NetworkConfig) -> list[NetworkConfig]:
    """The run's own network and those of other layers that trials may have; none where they cannot be listed."""
    space = None if config.tune is None else config.tune.space
    found = [model]
    if space is None:
        return found
    if space.units is not None and isinstance(model, MlpConfig | RnnConfig | AutoencoderConfig):
        ranges = tuple(each.min for each in space.units if isinstance(each, UnitsRange))
        networks = (ranges,) if ranges else space.units
        found += [model.model_copy(update={"units": units}) for units in networks]
    if space.filters is not None and isinstance(model, CnnConfig):
        # What is added to what, and so whether a shortcut is there, goes by the numbers of filters.
        found = [] if any(block.residual for block in model.blocks) else found
    return found
