"""Running a TFLite file with LiteRT, one row at a time, as a device does. TensorFlow is not imported."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from data.contract import ConversionError

_LATENCY_WARM_UP = 20  # runs before the clock starts: the first few touch memory for the first time


@dataclass(frozen=True)
class TensorInfo:
    """The input or output of a TFLite model.

    Attributes:
        dtype: type of its elements.
        shape: its shape, the batch dimension of 1 included.
        scale: real value of one integer step, float32 exact; 0.0 where the tensor is not quantized.
        zero_point: the integer that means 0.0; 0 where the tensor is not quantized.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    scale: float
    zero_point: int

    @property
    def quantized(self) -> bool:
        """Whether its elements are integers that stand for real numbers."""
        return self.scale != 0.0


class LiteRT:
    """A TFLite model in the LiteRT interpreter.

    Rows go through one by one. A batch would run too, but in float its matrix products add in
    another order, so that an output would depend on how many rows were asked for (by 3e-7, as
    measured in docs/runtimes.md); the price is about 5 microseconds a row.

    Args:
        model: bytes of a .tflite file.
        default_delegates: False: LiteRT's own kernels; True: XNNPACK takes over what it can, as
            LiteRT does on a phone or a server when nothing is said.
        num_threads: threads a kernel may use.

    Example:
        >>> runtime = LiteRT(path.read_bytes())
        >>> probabilities = runtime.predict(x)

    Raises:
        ConversionError: the bytes are no TFLite model, or one that LiteRT cannot run.
    """

    def __init__(self, model: bytes, *, default_delegates: bool = False, num_threads: int = 1) -> None:
        if len(model) == 0:
            raise ConversionError("model.tflite: expected a TFLite file, got 0 bytes. Convert the model again.")
        resolver = OpResolverType.AUTO if default_delegates else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            self._interpreter = Interpreter(
                model_content=model, num_threads=num_threads, experimental_op_resolver_type=resolver
            )
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ConversionError(
                f"model.tflite: expected a TFLite file that LiteRT can run, got {error}. Convert the model again."
            ) from error
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ConversionError(
                f"model.tflite: expected one input and one output, got {len(inputs)} and {len(outputs)}. "
                f"Split it into models of one each."
            )
        self._input_index, self._output_index = inputs[0]["index"], outputs[0]["index"]
        self._input, self._output = _tensor_info(inputs[0]), _tensor_info(outputs[0])

    @property
    def input(self) -> TensorInfo:
        """What the model eats."""
        return self._input

    @property
    def output(self) -> TensorInfo:
        """What the model answers."""
        return self._output

    def quantize(self, x: NDArray[np.float32]) -> NDArray[Any]:
        """Turns float inputs into the model's own type: `clip(round(x / scale) + zero_point)`.

        Computed in float32 with halves rounded away from zero, as C's `roundf` does, so that
        firmware reaches the same integers.

        Args:
            x: (rows, *input_shape) float32, as the Keras model eats it.

        Returns:
            Array of the same shape in `input.dtype`; float models get float32 back unchanged.

        Raises:
            ConversionError: x holds NaN or infinity, which no integer stands for.
        """
        x = np.asarray(x, dtype=np.float32)
        if not self._input.quantized:
            return x
        if not np.isfinite(x).all():
            raise ConversionError(
                "model.tflite: expected finite input, got NaN or infinity. Preprocess rows before running them."
            )
        steps = x / np.float32(self._input.scale)
        # The half is added in float64: in float32 the sum itself would be rounded, and 0.49999997 become 1.
        rounded = np.copysign(np.floor(np.abs(steps.astype(np.float64)) + 0.5), steps).astype(np.float32)
        limits = np.iinfo(self._input.dtype)
        integers: NDArray[Any] = np.clip(rounded + np.float32(self._input.zero_point), limits.min, limits.max)
        return integers.astype(self._input.dtype)

    def dequantize(self, outputs: NDArray[Any]) -> NDArray[np.float32]:
        """Turns outputs of the model's own type into real numbers: `(q - zero_point) * scale`.

        Args:
            outputs: (rows, outputs) in `output.dtype`.

        Returns:
            (rows, outputs) float32.

        Reference:
            Jacob et al. 2018, equation 1.
        """
        if not self._output.quantized:
            return outputs.astype(np.float32, copy=False)
        shifted = outputs.astype(np.float32) - np.float32(self._output.zero_point)
        return shifted * np.float32(self._output.scale)

    def invoke(self, x: NDArray[Any]) -> NDArray[Any]:
        """Runs any number of rows, each alone: what a recurrent layer remembers of a row is gone before the next.

        Args:
            x: (rows, *input_shape) in `input.dtype`.

        Returns:
            (rows, *output_shape) in `output.dtype`.

        Raises:
            ConversionError: x has another type or shape, or an operator fails.
        """
        if x.dtype != self._input.dtype or x.shape[1:] != self._input.shape[1:]:
            raise ConversionError(
                f"model.tflite: expected rows of {self._input.dtype} {self._input.shape[1:]}, got {x.dtype} "
                f"{x.shape[1:]}. Quantize rows with `quantize` first."
            )
        outputs = np.empty((len(x), *self._output.shape[1:]), dtype=self._output.dtype)
        try:
            for index, row in enumerate(x):
                self._interpreter.reset_all_variables()
                self._interpreter.set_tensor(self._input_index, row[np.newaxis])
                self._interpreter.invoke()
                outputs[index] = self._interpreter.get_tensor(self._output_index)[0]
        except (ValueError, RuntimeError) as error:
            raise ConversionError(
                f"model.tflite: expected a model that LiteRT can run, got {error}. Convert the model again."
            ) from error
        return outputs

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Runs float rows: quantize, invoke, dequantize.

        Args:
            x: (rows, *input_shape) float32, as the Keras model eats it.

        Returns:
            (rows, *output_shape) float32.

        Raises:
            ConversionError: as `quantize` and `invoke`.
        """
        return self.dequantize(self.invoke(self.quantize(x)))

    def durations(self, x: NDArray[Any], runs: int) -> NDArray[np.float64]:
        """Times single inferences, without copying rows in or out.

        Args:
            x: (rows, *input_shape) in `input.dtype`, taken in turn.
            runs: inferences.

        Returns:
            (runs,) float64, seconds each took.
        """
        seconds = np.empty(runs)
        for run in range(runs):
            self._interpreter.reset_all_variables()
            self._interpreter.set_tensor(self._input_index, x[run % len(x)][np.newaxis])
            start = time.perf_counter()
            self._interpreter.invoke()
            seconds[run] = time.perf_counter() - start
        return seconds


def latency_us(model: bytes, x: NDArray[np.float32], repeats: int = 200) -> float:
    """Measures how long one inference takes on this machine: one thread, one row, LiteRT's default kernels.

    Only the interpreter's `invoke` is timed: neither quantizing the row nor copying it in or out.

    Args:
        model: bytes of a .tflite file.
        x: (rows, *input_shape) float32, real rows, taken in turn.
        repeats: timed runs, after 20 that are not.

    Returns:
        Median of the runs in microseconds.

    Raises:
        ConversionError: as `LiteRT`; or there is no row, or no run.
    """
    if len(x) == 0 or repeats < 1:
        raise ConversionError(
            f"latency: expected at least one row and one run, got {len(x)} and {repeats}. Pass rows of the test split."
        )
    runtime = LiteRT(model, default_delegates=True)
    rows = runtime.quantize(x[: min(len(x), repeats)])
    return float(np.median(runtime.durations(rows, _LATENCY_WARM_UP + repeats)[_LATENCY_WARM_UP:]) * 1e6)


def _tensor_info(details: dict[str, Any]) -> TensorInfo:
    scale, zero_point = details["quantization"]
    return TensorInfo(
        dtype=np.dtype(details["dtype"]),
        shape=tuple(int(size) for size in details["shape"]),
        scale=float(scale),
        zero_point=int(zero_point),
    )
