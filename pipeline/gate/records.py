"""What the export gate is given and what it hands back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import Schema
from models.anomaly import Thresholds
from models.tasks import Task
from models.tflite.interpreter import LiteRT
from models.tflite.micro import DEFAULT_TIMEOUT_SECONDS

LITERT = "LiteRT"
TFLITE_MICRO = "TFLite Micro"


@dataclass(frozen=True)
class Check:
    """One thing the gate looked at.

    Attributes:
        name: what was looked at.
        passed: whether the model may be handed over, as far as this check goes.
        figure: what was measured.
        limit: what it had to be.
        stage: the stage that a failure comes from.
        message: one sentence; of a failure, with what to do.
    """

    name: str
    passed: bool
    figure: float | str
    limit: float | str
    stage: str
    message: str


@dataclass(frozen=True)
class Golden:
    """Golden vectors as they were written to the bundle.

    Attributes:
        inputs: (rows, *input_shape) float32, as the Keras model eats them.
        quantized: the same rows in the model's own input type.
        outputs: (rows, *output_shape) in its own output type.
        runtime: who gave the outputs: `TFLite Micro` where it runs the model, else `LiteRT`.
    """

    inputs: NDArray[np.float32]
    quantized: NDArray[Any]
    outputs: NDArray[Any]
    runtime: str


@dataclass(frozen=True)
class GateInputs:
    """Everything the gate needs to judge one TFLite file.

    Attributes:
        model: bytes of the .tflite file.
        precision: `float32`, `float16`, `dynamic_range`, `int8`, `int16x8` or `int4`: the coarsest of its layers.
        schema: of the dataset.
        task: how outputs become decisions.
        x: (rows, *input_shape) float32, held-out rows as the Keras model eats them; at least one.
        keras_outputs: (rows, outputs) float32, what the Keras model that was converted answers to `x`.
        masks: per pruned layer its mask in Keras' order, True where kept; empty without pruning.
        kernels: the converted Keras model's kernels of those layers: they tell whether a zero was
            lost by `prune` or by `convert`; without them, `prune` is named.
        golden: golden vectors to replay, if they have been written.
        unpacked: where weights are encoded for TFLite Micro: the same model with plain weights, which is what LiteRT
            runs; None where `model` is plain itself.
        clusters: per clustered layer how many distinct values its kernel may have; empty without clustering.
        thresholds: reconstruction: errors above which a row is abnormal; else None.
        source_stage: stage that yielded the Keras model.
        micro_rows: rows run through TFLite Micro, whose kernels are slow on a PC: evenly spaced over `x`, which
            may be sorted by class.
        micro_timeout_seconds: how long that may take.
    """

    model: bytes
    precision: str
    schema: Schema
    task: Task
    x: NDArray[np.float32]
    keras_outputs: NDArray[np.float32]
    masks: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    kernels: Mapping[str, NDArray[np.float32]] | None = None
    golden: Golden | None = None
    unpacked: bytes | None = None
    clusters: Mapping[str, int] = field(default_factory=dict)
    thresholds: Thresholds | None = None
    source_stage: str = "train"
    micro_rows: int = 256
    micro_timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS

    @property
    def runnable(self) -> bytes:
        """The file that LiteRT runs."""
        return self.model if self.unpacked is None else self.unpacked


@dataclass(frozen=True)
class Answers:
    """What LiteRT, without default delegates, answers to the held-out rows.

    Attributes:
        runtime: the interpreter that answered.
        quantized: the rows in the model's own input type.
        outputs: (rows, outputs) in its own output type.
        values: (rows, outputs) float32, the same dequantized.
    """

    runtime: LiteRT
    quantized: NDArray[Any]
    outputs: NDArray[Any]
    values: NDArray[np.float32]


@dataclass(frozen=True)
class GateReport:
    """What the gate found.

    Attributes:
        checks: each check made, in order.
        agreement: fraction of rows that LiteRT and Keras decide alike; None where nothing is decided.
        max_abs_error: largest difference between an output of LiteRT and of Keras; NaN where none was got.
        micro_max_steps: largest difference between TFLite Micro and LiteRT in steps of the output;
            None where TFLite Micro does not run the model or its output is float.
        arena_bytes: working memory TFLite Micro took on this host; None where it does not run the model.
        micro_reason: then: why; else None.
        micro_outputs: (micro_rows, outputs) in the model's own type; None where it does not run the model.
        xnnpack_steps: largest difference that XNNPACK makes, in steps (float models: in output units).
        litert_outputs: (rows, outputs) in the model's own type; None where the file could not be run.
    """

    checks: tuple[Check, ...]
    agreement: float | None = None
    max_abs_error: float = float("nan")
    micro_max_steps: int | None = None
    arena_bytes: int | None = None
    micro_reason: str | None = None
    micro_outputs: NDArray[Any] | None = None
    xnnpack_steps: float = float("nan")
    litert_outputs: NDArray[Any] | None = None

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that were not passed."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def passed(self) -> bool:
        """Whether the model may be handed over."""
        return not self.failures
