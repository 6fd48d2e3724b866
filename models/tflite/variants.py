"""Every variant of a network as a .tflite file: which of the ways to make one is taken."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import ConversionError
from models.compression_config import LayerPrecision, QuantizeConfig, Variant
from models.quantization import convert_aware
from models.tflite.convert import convert
from models.tflite.interpreter import LiteRT
from models.tflite.micro import MicroFailure, run_micro
from models.tflite.micro_encodings import Encoded, Encoding, encode
from models.tflite.mixed_precision import Recipe, quantize

_ROWS_COMPARED = 32
"""Rows on which an encoded file is compared with the dense one at once; the export gate compares more."""

_ENCODINGS: dict[Variant, Encoding] = {"int8_sparse_micro": "sparse", "int8_tables_micro": "tables"}


@dataclass
class VariantMaker:
    """Makes the variants of one network; what several of them start from is made once.

    Attributes:
        model: a Keras model.
        calibration: (rows, *input_shape) float32, real training rows.
        input_range: `Schema.input_range`.
        chosen: how the handed-over variant is to be; its layers and scales apply to that one alone.
        ranges: of activations, where the model was trained with rounding; int8 then takes them.
        clustered: whether kernels hold few values: one scale for each dense kernel then, so that they stay few.
        arena_limit_bytes: most arena that an encoded variant may take; None: any.
    """

    model: Any
    calibration: NDArray[np.float32]
    input_range: tuple[float, float] | None
    chosen: QuantizeConfig | None = None
    ranges: dict[str, tuple[float, float]] | None = None
    clustered: bool = False
    arena_limit_bytes: int | None = None
    encodings: dict[Variant, Encoded] = field(default_factory=dict)
    """What was encoded, by variant, once it is made."""
    _made: dict[Variant, bytes] = field(default_factory=dict)

    def make(self, variant: Variant) -> bytes:
        """Returns the bytes of a variant's file.

        Raises:
            ConfigError: `quantize.layers` names a layer that there is not.
            ConversionError: it cannot be made; why. Not for an arena beyond the limit, which is a target's to judge.
        """
        if variant not in self._made:
            self._made[variant] = self._make(variant)
        return self._made[variant]

    def _make(self, variant: Variant) -> bytes:
        if variant == "int8_sparse_micro" or variant == "int8_tables_micro":
            return self._encoded(variant)
        if variant == "float32" or variant == "float16" or variant == "dynamic_range":
            return convert(self.model, variant, None)
        return self._of_integers(variant)

    def _of_integers(self, variant: LayerPrecision) -> bytes:
        config = self.chosen if self.chosen is not None and self.chosen.precision == variant else None
        if variant == "int8" and (config is None or config.is_plain):
            if self.ranges is not None:
                return convert_aware(self.model, self.ranges)
            if not self.clustered:
                return convert(self.model, variant, self.calibration)
        recipe = Recipe(variant) if config is None else Recipe(variant, config.layers, config.dense_scales)
        if self.clustered and recipe.dense_scales == "auto":
            recipe = replace(recipe, dense_scales="tensor")
        return quantize(self.make("float32"), recipe, self.calibration, self.input_range)

    def _encoded(self, variant: Variant) -> bytes:
        """Encodes the int8 file; on some calibration rows TFLite Micro must then answer the same, bit for bit."""
        dense = self.make("int8")
        encoding = _ENCODINGS[variant]
        try:
            encoded = encode(dense, encoding, arena_limit_bytes=self.arena_limit_bytes)
        except ConversionError:
            if self.arena_limit_bytes is None:
                raise
            # No kernel fits the limit. Where it was the limit alone, `target` tells that it is missed.
            encoded = encode(dense, encoding)
        rows = LiteRT(dense).quantize(self.calibration[:_ROWS_COMPARED])
        plain, packed = run_micro(dense, rows), run_micro(encoded.model, rows)
        for result in (plain, packed):
            if isinstance(result, MicroFailure):
                raise ConversionError(
                    f"quantize.encoding: expected TFLite Micro to run {variant}, got: {result.reason}. Leave it out."
                )
        if not np.array_equal(plain.outputs, packed.outputs):  # type: ignore[union-attr]  # no failure, see above
            raise ConversionError(
                f"quantize.encoding: expected {variant} to answer as int8 does, bit for bit, got other answers. "
                "Leave it out."
            )
        self.encodings[variant] = encoded
        return encoded.model
