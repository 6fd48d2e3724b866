"""What a user's network cannot go through, said as soon as it is built and not hours later.

The config alone tells it of a family of networks; of a model of the user's own, the layers have to be seen. No stage
does this: its artifact would hang on every section of the config, and training with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from data.contract import ConfigError
from models.own_model_config import OWN_MODELS
from pipeline.artifacts import SavedModel
from pipeline.config import RunConfig
from pipeline.config_reading.recurrent_checks import lstm_has_it
from pipeline.lineage import config_allows_code
from pipeline.planner import Plan
from pipeline.store import Artifact


def check_built(plan: Plan, built: Callable[[], Artifact]) -> None:
    """Checks a user's network against the later stages of a run; of other networks the config was checked.

    Args:
        plan: of the run; where all its stages are there already, nothing is looked at.
        built: returns the artifact of stage `build`, once it may be loaded.

    Raises:
        ConfigError: no node of it can be removed, a layer cannot be rounded in training, or its LSTM does not have the
            bits, scales or encoding asked for.
    """
    later = [planned for planned in plan.stages if planned.stage.name not in ("ingest", "build")]
    if not isinstance(plan.config.model, OWN_MODELS) or all(planned.state == "cached" for planned in later):
        return
    model = SavedModel.open(built().folder, "build", allow_code=config_allows_code(plan.config))
    check_network(model.load(), plan.config)


def check_network(model: Any, config: RunConfig) -> None:
    """Checks a network against a config.

    Args:
        model: a functional Keras model.
        config: of the run.

    Raises:
        ConfigError: as `check_built`.
    """
    from models.legacy_keras import keras
    from models.pruning.gradual import removable_nodes
    from models.quantization import check_aware

    search, quantize = config.search, config.quantize
    if search is not None and any("node" in unit for unit in search.unit):
        removable_nodes(model, "search.unit")
    if search is None and config.prune is not None and "node" in config.prune.units:
        removable_nodes(model)
    if (search is None and quantize is not None and quantize.aware is not None) or (
        search is not None and True in search.aware
    ):
        check_aware(model)
    if any(type(layer) is keras.layers.LSTM for layer in model._flatten_layers()):
        for found in lstm_has_it(config):
            raise ConfigError(f"{'.'.join(map(str, found.location))}: {found.message}")
