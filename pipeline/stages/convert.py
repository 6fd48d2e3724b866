"""Stage convert: a Keras model -> TFLite variants."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import ConversionError
from data.dataset import Dataset
from models.compression_config import ENCODED, ConvertConfig, QuantizeConfig, Variant
from models.legacy_keras import use_determinism
from models.measurements import zstd_bytes
from models.tasks import Task
from models.tflite.calibration import calibration_rows
from models.tflite.interpreter import LiteRT, latency_us
from models.tflite.runtimes import LITERT, TFLITE_MICRO, XNNPACK, RuntimeSupport, runtime_support
from models.tflite.variants import VariantMaker
from pipeline.artifacts import SavedModel
from pipeline.ledger import LedgerRow
from pipeline.lessons import validation
from pipeline.measure import ledger_row
from pipeline.workspace import Outcome, Workspace

LATENCY_REPEATS = 200
"""Timed inferences of each variant."""

MICRO_ALONE = "Only TFLite Micro unpacks its weights"
"""Why LiteRT does not run an encoded variant."""

_MAY_FAIL: tuple[Variant, ...] = ("int16x8", "int4", *ENCODED.values())


@dataclass(frozen=True)
class Inputs:
    """What the stage takes."""

    dataset: Dataset
    model: SavedModel


@dataclass(frozen=True)
class Config:
    """Sections of the config that are read; without `quantize`, the float32 variant is chosen."""

    quantize: QuantizeConfig | None
    convert: ConvertConfig
    max_arena_bytes: int | None


def convert(inputs: Inputs, config: Config, workspace: Workspace) -> Outcome:
    """Converts the model to every variant asked for, and scores each file on validation.

    A variant beside the chosen one that cannot be made is told with its reason.

    Raises:
        ConfigError: `quantize.layers` names a layer that there is not.
        ConversionError: the chosen variant cannot be made, or LiteRT refuses one.
    """
    use_determinism(workspace.seed_for("convert"))
    inputs = replace(inputs, dataset=inputs.model.rows(inputs.dataset))
    chosen: Variant = "float32" if config.quantize is None else config.quantize.variant
    task = inputs.model.record.as_task()
    maker, score = _maker(inputs, config, workspace), _scorer(inputs, task)
    rows: list[LedgerRow] = []
    told: list[dict[str, Any]] = []
    refused: list[dict[str, str]] = []
    wanted = _wanted(config.convert.variants, chosen)
    for done, variant in enumerate(wanted, start=1):
        try:
            file = maker.make(variant)
        except ConversionError as error:
            if variant == chosen or variant not in _MAY_FAIL:
                raise
            refused.append({"variant": variant, "reason": str(error)})
            continue
        (workspace.output / f"{variant}.tflite").write_bytes(file)
        rows.append(ledger_row("convert", variant, score(_runnable(maker, variant, file)), maker.model, file))
        told.append(_told(inputs, rows[-1], maker, variant, file))
        workspace.progress.step("convert", done, len(wanted), {"bytes": len(file), task.metric: rows[-1].score})
    details = {
        "chosen": chosen,
        "calibration_rows": min(config.convert.calibration_rows, len(inputs.dataset.split("train"))),
        "variants": told,
        "refused": refused,
    }
    return Outcome(tuple(rows), details)


def _wanted(variants: tuple[Variant, ...], chosen: Variant) -> list[Variant]:
    """The variants to make, each once; an encoded one brings int8, which LiteRT runs in its place."""
    asked = (*variants, chosen)
    twins: tuple[Variant, ...] = ("int8",) if set(asked) & set(ENCODED.values()) else ()
    return list(dict.fromkeys((*twins, *asked)))


def _maker(inputs: Inputs, config: Config, workspace: Workspace) -> VariantMaker:
    dataset = inputs.dataset
    calibration = calibration_rows(
        lambda rows: dataset.inputs("train", rows),
        len(dataset.split("train")),
        dataset.schema.input_range,
        config.convert.calibration_rows,
        workspace.seed_for("convert", "calibration"),
    )
    return VariantMaker(
        model=inputs.model.load(),
        calibration=calibration,
        input_range=dataset.schema.input_range,
        chosen=config.quantize,
        ranges=inputs.model.ranges(),
        clustered=bool(inputs.model.clusters()),
        arena_limit_bytes=config.max_arena_bytes,
    )


def _scorer(inputs: Inputs, task: Task) -> Callable[[bytes], float]:
    """Scores files on validation rows in LiteRT; the same file, which two variants may share, once."""
    x, y = validation(inputs.dataset, task)

    @functools.cache
    def score(file: bytes) -> float:
        return task.score(y, LiteRT(file).predict(x))

    return score


def _runnable(maker: VariantMaker, variant: Variant, file: bytes) -> bytes:
    """The file that LiteRT runs: of an encoded variant int8, whose answers are the same (`VariantMaker` saw to it)."""
    return maker.make("int8") if variant in ENCODED.values() else file


def _told(inputs: Inputs, row: LedgerRow, maker: VariantMaker, variant: Variant, file: bytes) -> dict[str, Any]:
    """What a variant weighs and costs: for a device, where TFLite Micro runs it, and in LiteRT on this machine."""
    x: NDArray[np.float32] = inputs.dataset.inputs("validation")
    encoded = maker.encodings.get(variant)
    if encoded is None:
        litert, xnnpack, micro = runtime_support(file, x[:1])
    else:
        litert, xnnpack = (RuntimeSupport(name, runs=False, reason=MICRO_ALONE) for name in (LITERT, XNNPACK))
        micro = RuntimeSupport(TFLITE_MICRO, runs=True, arena_bytes=encoded.arena_bytes)
    return {
        "precision": variant,
        "file": f"{variant}.tflite",
        "bytes": row.tflite_bytes,
        "gzip_bytes": row.tflite_gzip_bytes,
        "zstd_bytes": zstd_bytes(file),
        "score": row.score,
        "arena_bytes": micro.arena_bytes,
        "arena_reason": micro.reason,
        "latency_us": round(latency_us(file, x, LATENCY_REPEATS), 3) if litert.runs else None,
        "litert_reason": litert.reason,
        "xnnpack_reason": xnnpack.reason,
        "encoded": None
        if encoded is None
        else {"layers": [asdict(layer) for layer in encoded.layers], "left_out": dict(encoded.left_out)},
    }
