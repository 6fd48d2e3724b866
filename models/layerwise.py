"""Greedy layer-wise pretraining: each hidden layer learns by itself on what the layers below it answer.

Reference:
    Bengio et al. 2007, Greedy layer-wise training of deep networks, section 2.3 and appendix;
    Vincent et al. 2010, Stacked denoising autoencoders, section 3;
    Masci et al. 2011, Stacked convolutional auto-encoders, section 3;
    Belilovsky et al. 2019, Greedy layerwise learning can scale to ImageNet, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from data.contract import Batches, Checkpoints, Progress, derive_seed
from models.config import PretrainConfig
from models.layer_checkpoints import LayerCheckpoints
from models.layer_parts import parts_of
from models.layer_students import Reconstruction, Student, mean_variance
from models.legacy_keras import clone
from models.tasks import Task
from models.training import Objective, TrainingResult, TrainingSettings, train


@dataclass(frozen=True)
class LayerwiseResult:
    """A pretrained model, and how each layer learned.

    Attributes:
        model: a new model: hidden layers pretrained, the output layer as it was.
        layers: for each hidden layer or block: `layer` (its name), `loss` and `score` (one a finished epoch: mean
            training loss; R² of the reconstruction, or the task's score, on validation), `stopped_by`, `best_epoch`,
            and `macs`, the multiply-accumulates that its training spent.
    """

    model: Any
    layers: list[dict[str, Any]]

    @property
    def macs(self) -> int:
        """Multiply-accumulates that all of it spent."""
        return sum(int(layer["macs"]) for layer in self.layers)


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
    """Pretrains the hidden layers of a multilayer perceptron, or the blocks of a convolutional network and its head.

    Layer k, `h = act(W x + b)`, is trained with a temporary layer on top of it, on the answers x of the finished
    layers below, which are frozen and in inference mode (batch normalization too): a decoder that gives x back
    (`autoencoder`; `denoising_autoencoder`: from a corrupted x), or an output layer that meets the labels
    (`supervised`). A block's decoder brings its answers to the height and width of its own input by repeating
    neighbours, then convolves them; its temporary output layer takes maps as the network's own head does. The decoder
    is sigmoid where x lies in [0, 1] (pixels, sigmoid activations), else linear. Each layer keeps the weights of its
    best epoch on validation. Unlike the papers', decoders are not tied to the encoder, the reconstruction's loss is
    the squared error for sigmoid decoders too (theirs: cross-entropy), and the noise draws each element by itself
    instead of a fixed number of them.

    Args:
        model: an untrained `mlp` or `cnn`; left as it is.
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
        ConfigError: the model is of no family that can be divided into layers.
        TrainingError: as `train`.
    """
    pretrained = clone(model)
    parts = parts_of(pretrained)
    kept = LayerCheckpoints(checkpoints, pretrained, parts)
    for number in range(len(kept.records), len(parts)):
        lesson = _Lesson(pretrained, number, config, task, class_weights)
        result, macs = lesson.learn(batches, validation, derive_seed(seed, parts[number].name), kept, progress)
        kept.finish(parts[number], result, macs)
    return LayerwiseResult(pretrained, kept.records)


@dataclass(frozen=True)
class _Lesson:
    """The training of one part of a network under a temporary layer."""

    model: Any
    number: int
    config: PretrainConfig
    task: Task
    class_weights: tuple[float, ...] | None

    def learn(
        self,
        batches: Batches,
        validation: tuple[Any, NDArray[Any]],
        seed: int,
        checkpoints: LayerCheckpoints,
        progress: Progress | None,
    ) -> tuple[TrainingResult, int]:
        """Trains the part in place; returns how it went, and the multiply-accumulates spent."""
        twin = clone(self.model)
        parts = parts_of(twin)
        part, lower = parts[self.number], parts[self.number - 1] if self.number > 0 else None
        student = Student(twin, part, lower, seed)
        objective: Objective = self.task
        if self.config.kind == "supervised":
            network, macs = student.classifying()
        else:
            denoising = self.config.kind == "denoising_autoencoder"
            network, macs = student.reconstructing(self.config.corruption_fraction if denoising else 0.0)
            objective = Reconstruction(mean_variance(student.frozen, validation[0]))
        settings = TrainingSettings(
            self.config.epochs,
            self.config.optimizer,
            seed,
            stop=self.config.stop,
            class_weights=self.class_weights,
            label=f"pretrain {part.name}",
            section="pretrain",
        )
        result = train(network, batches, validation, objective, settings, checkpoints=checkpoints, progress=progress)
        for name in part.layers:
            self.model.get_layer(name).set_weights(twin.get_layer(name).get_weights())
        return result, macs * _rows_passed(result, settings, batches)


def _rows_passed(result: TrainingResult, settings: TrainingSettings, batches: Batches) -> int:
    """Rows that a training took a gradient over; a last epoch that `stop.steps` cut short counts its whole batches."""
    whole = len(result.history) * batches.num_rows
    return min(whole, settings.num_steps(batches.num_batches) * batches.batch_size)
