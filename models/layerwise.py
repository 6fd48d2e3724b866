"""Greedy layer-wise pretraining: each hidden layer learns by itself on what the layers below it answer.

Reference:
    Bengio et al. 2007, Greedy layer-wise training of deep networks, section 2.3 and appendix;
    Vincent et al. 2010, Stacked denoising autoencoders, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from data.contract import Batches, Checkpoints, ConfigError, Progress, derive_seed
from models.activations import activation_name
from models.architectures.dropout import StatelessDropout
from models.config import PretrainConfig
from models.layer_batches import LayerBatches, activations
from models.legacy_keras import clone, keras
from models.tasks import Reconstruction, Task
from models.training import Objective, TrainingResult, TrainingSettings, train

IMAGE_RANK = 4


@dataclass(frozen=True)
class LayerwiseResult:
    """A pretrained model, and how each layer learned.

    Attributes:
        model: a new model: hidden layers pretrained, the output layer as it was.
        layers: for each hidden layer: `layer` (its name), `loss` and `score` (one a finished epoch:
            mean training loss; R² of the reconstruction, or the task's score, on validation).
    """

    model: Any
    layers: list[dict[str, Any]]


def pretrain(
    model: Any,
    batches: Batches,
    validation: tuple[Any, NDArray[Any]],
    config: PretrainConfig,
    task: Task,
    seed: int,
    *,
    class_weights: tuple[float, ...] | None = None,
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
) -> LayerwiseResult:
    """Pretrains the hidden layers of a multilayer perceptron, from the input on.

    Layer k, `h = act(W x + b)`, is trained with a temporary layer on top of it, on the answers x of the
    finished layers below: a decoder that gives x back (`autoencoder`; `denoising_autoencoder`: from a
    corrupted x), or an output layer that meets the labels (`supervised`). The decoder is sigmoid where
    x lies in [0, 1] (pixels, sigmoid activations), else linear. Each layer keeps the weights of its best
    epoch on validation. Unlike the papers', decoders are not tied to the encoder, the reconstruction's loss
    is the squared error for sigmoid decoders too (theirs: cross-entropy), and the noise draws each element
    by itself instead of a fixed number of them.

    Args:
        model: an untrained `mlp`; left as it is.
        batches: training rows; labels are used by `supervised` alone.
        validation: (x, y), x (rows, *input_shape) float32 as the model eats it.
        config: what each layer learns from, and how long.
        task: labels' loss and score.
        seed: of the temporary layers and the noise.
        class_weights: weight of each class code in the loss of `supervised`; None: all 1.
        checkpoints: where finished layers and the current one's training are kept.
        progress: told of each epoch of each layer.

    Returns:
        A new model and each layer's curves.

    Raises:
        ConfigError: the model has other layers than dense ones.
        TrainingError: as `train`.
    """
    pretrained = clone(model)
    hidden = _hidden_layers(pretrained)
    kept = LayerCheckpoints(checkpoints, hidden)
    for number, layer in enumerate(hidden[len(kept.records) :], start=len(kept.records) + 1):
        lesson = _Lesson(
            pretrained, hidden[: number - 1], layer, config, task, derive_seed(seed, layer.name), class_weights
        )
        result = lesson.learn(batches, validation, kept, progress)
        kept.finish_layer(layer, result)
    return LayerwiseResult(pretrained, kept.records)


class LayerCheckpoints:
    """Checkpoints of one layer's training that carry the finished layers along.

    Args:
        checkpoints: where; None: nowhere.
        hidden: the hidden layers; those kept as finished get their weights back.
    """

    def __init__(self, checkpoints: Checkpoints | None, hidden: Sequence[Any]) -> None:
        self._checkpoints = checkpoints
        self._finished: dict[str, NDArray[Any]] = {}
        self._current: tuple[dict[str, NDArray[Any]], dict[str, Any]] | None = None
        self.records: list[dict[str, Any]] = []
        self._names = [layer.name for layer in hidden]
        kept = None if checkpoints is None else checkpoints.load()
        if kept is not None:
            arrays, state = kept
            self.records = list(state["layers"])
            self._finished = {name: array for name, array in arrays.items() if name.startswith("finished/")}
            for layer in hidden[: len(self.records)]:
                layer.set_weights([self._finished[f"finished/{layer.name}/{i}"] for i in range(len(layer.weights))])
            if state["current"] is not None:
                names = [name for name in arrays if name.startswith("current/")]
                self._current = ({name.removeprefix("current/"): arrays[name] for name in names}, state["current"])

    def save(self, arrays: Mapping[str, NDArray[Any]], state: Mapping[str, Any]) -> None:
        """Replaces the kept state of the current layer's training."""
        self._current = (dict(arrays), dict(state))
        self._write()

    def load(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
        """Returns the kept state of the current layer's training, or None."""
        return self._current

    def finish_layer(self, layer: Any, result: TrainingResult) -> None:
        """Keeps a layer as finished; the next one starts without a state."""
        self._finished |= {f"finished/{layer.name}/{i}": array for i, array in enumerate(layer.get_weights())}
        losses, scores = ([getattr(record, name) for record in result.history] for name in ("loss", "score"))
        self.records.append({"layer": layer.name, "loss": losses, "score": scores})
        self._current = None
        self._write()

    def _write(self) -> None:
        if self._checkpoints is None:
            return
        arrays, state = ({}, None) if self._current is None else self._current
        current = {f"current/{name}": array for name, array in arrays.items()}
        kept = {"layers": self.records, "current": state, "resumes_at": self._resumes_at(state)}
        self._checkpoints.save(self._finished | current, kept)

    def _resumes_at(self, state: Mapping[str, Any] | None) -> str:
        if len(self.records) == len(self._names):
            return "the end of pretraining"
        layer = self._names[len(self.records)]
        return layer if state is None else f"{layer}, {state['resumes_at']}"


@dataclass(frozen=True)
class _Lesson:
    """The training of one hidden layer under a temporary one."""

    model: Any
    below: Sequence[Any]
    layer: Any
    config: PretrainConfig
    task: Task
    seed: int
    class_weights: tuple[float, ...] | None

    def learn(
        self,
        batches: Batches,
        validation: tuple[Any, NDArray[Any]],
        checkpoints: LayerCheckpoints,
        progress: Progress | None,
    ) -> TrainingResult:
        reconstruct = self.config.kind != "supervised"
        corruption = self.config.corruption_fraction if self.config.kind == "denoising_autoencoder" else 0.0
        below = [(*layer.get_weights(), activation_name(layer.activation)) for layer in self.below]
        x = activations(validation[0], below)
        student = self._student(x.shape[1])
        objective: Objective = Reconstruction() if reconstruct else self.task
        result = train(
            student,
            LayerBatches(batches, below, reconstruct, corruption, derive_seed(self.seed, "noise")),
            (x, x if reconstruct else validation[1]),
            objective,
            TrainingSettings(
                self.config.epochs,
                self.config.optimizer,
                self.seed,
                class_weights=self.class_weights,
                label=f"pretrain {self.layer.name}",
            ),
            checkpoints=checkpoints,
            progress=progress,
        )
        self.layer.set_weights(student.get_layer(self.layer.name).get_weights())
        return result

    def _student(self, features: int) -> Any:
        """A copy of the layer, and the temporary layer on top of it."""
        inputs = keras.Input(shape=(features,), name="input")
        copy = type(self.layer).from_config(self.layer.get_config())
        hidden = copy(inputs)
        copy.set_weights(self.layer.get_weights())
        top = self._decoder(features) if self.config.kind != "supervised" else self._output()
        return keras.Model(inputs, top(hidden), name=f"pretrain_{self.layer.name}")

    def _decoder(self, features: int) -> Any:
        lower = activation_name(self.below[-1].activation) if self.below else None
        pixels = lower is None and len(self.model.input_shape) == IMAGE_RANK
        return keras.layers.Dense(
            features,
            activation="sigmoid" if pixels or lower == "sigmoid" else "linear",
            kernel_initializer=keras.initializers.GlorotUniform(seed=derive_seed(self.seed, "decoder")),
            name="decoder",
        )

    def _output(self) -> Any:
        config = self.model.layers[-1].get_config()
        initializer = keras.initializers.GlorotUniform(seed=derive_seed(self.seed, "output"))
        return keras.layers.Dense.from_config(config | {"kernel_initializer": initializer, "name": "temporary_output"})


def _hidden_layers(model: Any) -> list[Any]:
    """The dense layers below the output, from the input on."""
    for layer in model.layers:
        if type(layer) not in (keras.layers.InputLayer, keras.layers.Flatten, keras.layers.Dense, StatelessDropout):
            raise ConfigError(
                f"train.mode: expected end_to_end for a model with a layer of type {type(layer).__name__} "
                f"({layer.name}), got layer_wise. Layer-wise pretraining is built for mlp."
            )
    return [layer for layer in model.layers if type(layer) is keras.layers.Dense][:-1]
