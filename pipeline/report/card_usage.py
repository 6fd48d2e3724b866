"""The part of the model card that tells how to use a bundle: preprocessing, firmware, making it again."""

from __future__ import annotations

from typing import Any

from pipeline.bundle_layout import C_NAME
from pipeline.report import wording
from pipeline.report.markdown import fenced, plain
from pipeline.report.record import RunRecord
from pipeline.report.subject import classical_family, model_file

FIRMWARE = f"""\
#include <cstdint>
#include <cstring>

#include "model_data.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

alignas(16) static uint8_t arena[{C_NAME.upper()}_ARENA_BYTES];

// input: {C_NAME.upper()}_INPUT_SIZE numbers of the tensor's type. Returns the output tensor, or null on a failure.
const TfLiteTensor* run_model(const void* input) {{
  static tflite::MicroMutableOpResolver<{C_NAME}_operator_count> resolver;
  static tflite::MicroInterpreter interpreter(tflite::GetModel({C_NAME}_model), resolver, arena, sizeof(arena));
  // Registers the model's operators, and no others; once.
  static const bool ready = {C_NAME}_add_operators(resolver) && interpreter.AllocateTensors() == kTfLiteOk;
  if (!ready) return nullptr;
  std::memcpy(interpreter.input(0)->data.raw, input, interpreter.input(0)->bytes);
  return interpreter.Invoke() == kTfLiteOk ? interpreter.output(0) : nullptr;
}}
"""
"""How firmware runs the model of any bundle, complete; docs/bundle.md shows the same."""


FIRMWARE_IN_C = f"""\
#include "model.h"

// input: {C_NAME.upper()}_INPUT_SIZE floats. Returns the line of labels.txt, from 0.
int classify(const float *input) {{
  float output[{C_NAME.upper()}_OUTPUT_SIZE];
  {C_NAME}_predict(input, output);
  return {C_NAME}_decide(output);
}}
"""
"""How firmware runs a classical model of classes, complete."""

NUMBER_IN_C = f"""\
#include "model.h"

// input: {C_NAME.upper()}_INPUT_SIZE floats. Returns the standardized number.
float number(const float *input) {{
  float output[{C_NAME.upper()}_OUTPUT_SIZE];
  {C_NAME}_predict(input, output);
  return output[0];
}}
"""
"""The same for numbers."""

_PIXELS = {
    "int8": "the int8 input is `pixel - 128`, exactly",
    "int16": "the int16 input is `pixel * 128`, exactly",
}


def is_image(record: RunRecord) -> bool:
    """Whether the model eats images."""
    return bool(record.profile["input_kind"] == "image")


def takes_some_inputs(record: RunRecord) -> bool:
    """Whether inputs that never change were taken from the model."""
    told = record.details("prune").get("inputs")
    return told is not None and told["after"] < told["before"]


def preprocessing_part(record: RunRecord) -> str:
    """Says how a raw row becomes the model's input."""
    title = "## Preprocessing\n\n"
    eaten = record.summary["input"]["dtype"]
    if is_image(record):
        shape = record.profile["input_shape"]
        meant = _PIXELS.get(eaten, "the float input is `pixel / 255`")
        taken = (
            f" Of these, the model takes {record.summary['input']['shape'][-1]:,d} in a row, which "
            "`penjing_preprocess` of `preprocessing.c` picks."
            if takes_some_inputs(record)
            else ""
        )
        return (
            f"{title}Bring the image to {shape[0]} × {shape[1]} pixels of {wording.plural(shape[2], 'channel')}, each "
            f"from 0 to 255; {meant}.{taken} `preprocessing.json` says how Penjing did it."
        )
    quantized = eaten != "float32"
    fed = (
        "quantize its result by the scale and zero point in `model_data.h`" if quantized else "feed its result as it is"
    )
    answer = (
        "" if record.task != "regression" else " `penjing_postprocess` turns the model's answer into the target's unit."
    )
    if record.profile["input_kind"] == "series":
        return (
            f"{title}Keep the last {record.profile['input_shape'][0]:,d} steps of all channels, in the order and the "
            f"units of the training data. `preprocessing.c` turns such a window into the model's input "
            f"(`penjing_preprocess`); {fed}.{answer} `preprocessing.json` holds the same figures: mean and scale "
            "of each channel, fitted on training windows."
        )
    return (
        f"{title}`preprocessing.c` turns a raw row into the model's input (`penjing_preprocess`); {fed}.{answer} "
        "`preprocessing.json` holds the same figures: imputation, scale and category codes, fitted on training rows."
    )


def device_part(record: RunRecord) -> str:
    """Shows how to run the model in TFLite Micro, with the names of its C files."""
    title = "## On a device"
    if classical_family(record) is not None:
        return _device_in_c(record, title)
    if record.summary.get("arena_bytes") is None:
        return f"{title}\n\nTFLite Micro did not run this model on the host; `model.tflite` runs in LiteRT."
    files = (
        "`model_data.cc`"
        if is_image(record) and not takes_some_inputs(record)
        else "`model_data.cc` and `preprocessing.c`"
    )
    text = (
        f"Compile {files} into the firmware. `golden/` holds inputs and the outputs that must come out; its "
        "header is for a test at start-up."
    )
    if record.task == "reconstruction":
        text += (
            f" `reconstruction.h` has the threshold, and `{C_NAME}_is_abnormal(input, output)` for after an inference; "
            "keep a copy of the input, whose memory the arena may use again."
        )
    return "\n\n".join([title, text, fenced(FIRMWARE, "cpp")])


def _device_in_c(record: RunRecord, title: str) -> str:
    files = "`model.c`" if is_image(record) else "`model.c` and `preprocessing.c`"
    text = (
        f"Compile {files} into the firmware, as C99 or later, and link the mathematics library. There is no memory to "
        "allocate. `golden/` holds inputs and what must come out, but for the last digits of float arithmetic; its "
        "header is for a test at start-up."
    )
    return "\n\n".join([title, text, fenced(FIRMWARE_IN_C if record.task == "classification" else NUMBER_IN_C, "c")])


def reproduce_part(record: RunRecord) -> str:
    """Says how to make the bundle again."""
    versions: list[tuple[str, Any]] = sorted(record.versions.items())
    return "\n\n".join(
        [
            "## Reproducibility",
            f"The same config, data and kind of machine give the same `{model_file(record)}`, bit for bit "
            f"(seed {record.seed}). `SHA256SUMS` has the digest of every file of the bundle.",
            fenced(record.command, "sh"),
            "Versions: " + ", ".join(f"{plain(library)} {plain(version)}" for library, version in versions) + ".",
            fenced(record.config_text, "yaml"),
        ]
    )
