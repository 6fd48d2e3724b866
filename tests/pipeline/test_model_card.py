"""The model card: its figures are the record's, and what it tells of the C files is so."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.golden_source import golden_header
from pipeline.bundle_layout import C_NAME
from pipeline.model_card import accuracy_interval, render_model_card
from pipeline.report.card_usage import FIRMWARE
from pipeline.report.markdown import fenced, plain, table
from tests.pipeline.report_records import full_record, regression_record


def headings(card: str) -> list[str]:
    return [line.removeprefix("## ") for line in card.splitlines() if line.startswith("## ")]


def test_the_sections_of_a_card() -> None:
    expected = [
        "Intended use", "Data", "Scores", "Size and work", "How it was verified", "Limits", "Preprocessing",
        "On a device", "Reproducibility",
    ]  # fmt: skip
    assert headings(render_model_card(full_record())) == expected
    assert headings(render_model_card(regression_record())) == expected


def test_figures_are_those_of_the_summary() -> None:
    card = render_model_card(full_record())
    for line in (
        "| dense float model, before any compression (Keras) | 0.9815 |",
        "| the float model that was converted (Keras) | 0.9778 |",
        "| **model.tflite, int8 (LiteRT)** | **0.9741** |",
        "| int8 | 5,896 | 3,204 | 0.9701 | 0.9741 |",
        "| `model.tflite` | 5,896 bytes |",
        "| arena, by TFLite Micro on the 64-bit host | 2,348 bytes |",
        "| max model bytes | met | 12,000 bytes | 5,896 bytes |",
        "| TFLite Micro | passed | Ok. | 1 | 2 |",
    ):
        assert line in card.splitlines()
    assert "stayed at 13,212 bytes (gzipped: 11,731 → 6,742)" in card
    assert "Least often recognised: 8, in 23 of 27 rows (85.2 %)." in card
    assert "decide alike on 99.6 % of the rows" in card


def test_a_failed_check_and_a_missed_target_are_said_first_and_in_bold() -> None:
    rejected = render_model_card(full_record(failed_gate=True))
    assert rejected.splitlines()[2].startswith("**Rejected by the gate.** 4 of 5 checks passed; failed: TFLite Micro")
    assert "| TFLite Micro | **failed** |" in rejected
    missed = render_model_card(regression_record())
    assert missed.splitlines()[2].startswith("**Verified, but a target was missed.**")
    assert "| min score | **missed** | 0.8 | 0.7802 |" in missed


def test_preprocessing_is_that_of_the_input_and_the_precision() -> None:
    whole = full_record()
    assert "8 × 8 pixels of 1 channel, each from 0 to 255; the int8 input is `pixel - 128`" in render_model_card(whole)
    for dtype, told in (("float32", "the float input is `pixel / 255`"), ("int16", "int16 input is `pixel * 128`")):
        eaten = {**whole.summary["input"], "dtype": dtype}
        assert told in render_model_card(replace(whole, summary={**whole.summary, "input": eaten}))
    vector = render_model_card(regression_record())
    assert "`penjing_preprocess`); feed its result as it is." in vector
    assert "`penjing_postprocess` turns the model's answer into the target's unit" in vector


def test_the_c_names_are_those_of_the_c_files() -> None:
    values = np.zeros((1, 2), np.int8)
    assert f" {C_NAME}_golden_inputs[1][2]" in golden_header(C_NAME, values, values, values, "LiteRT")
    card = render_model_card(replace(full_record(), name="fashion-cnn"))
    assert f"tflite::GetModel({C_NAME}_model)" in card
    assert f"arena[{C_NAME.upper()}_ARENA_BYTES]" in card


def test_where_tflite_micro_does_not_run_the_model_no_firmware_is_shown() -> None:
    card = render_model_card(regression_record())
    assert "TFLite Micro did not run this model on the host" in card
    assert "MicroInterpreter" not in card
    assert "| arena, by TFLite Micro on the 64-bit host | not measured |" in card


STUBS = {
    "tensorflow/lite/micro/micro_mutable_op_resolver.h": """
#pragma once
enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
namespace tflite {
template <unsigned int count> struct MicroMutableOpResolver { int AddSoftmax() { return 0; } };
}
""",
    "tensorflow/lite/schema/schema_generated.h": """
#pragma once
namespace tflite {
struct Model {};
inline const Model* GetModel(const void*) { return nullptr; }
}
""",
    "tensorflow/lite/micro/micro_interpreter.h": """
#pragma once
#include <cstddef>
#include <cstdint>
#include "micro_mutable_op_resolver.h"
#include "../schema/schema_generated.h"
struct TfLiteTensor { struct { char* raw; } data; size_t bytes; };
namespace tflite {
struct MicroInterpreter {
  template <typename Resolver> MicroInterpreter(const Model*, const Resolver&, uint8_t*, size_t) {}
  char memory[4] = {0, 0, 0, 0};
  TfLiteTensor tensor{{memory}, 4};
  TfLiteStatus AllocateTensors() { return kTfLiteOk; }
  TfLiteStatus Invoke() { return kTfLiteOk; }
  TfLiteTensor* input(size_t) { return &tensor; }
  TfLiteTensor* output(size_t) { return &tensor; }
};
}
""",
    "model_data.h": """
#define PENJING_ARENA_BYTES 64u
#define PENJING_INPUT_SIZE 4u
extern "C" const unsigned char penjing_model[];
constexpr unsigned int penjing_operator_count = 1;
template <typename Resolver> bool penjing_add_operators(Resolver& resolver) { return resolver.AddSoftmax() == 0; }
""",
}
"""As much of TFLite Micro's interface, and of a bundle's header, as firmware sees."""


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler here")
def test_the_firmware_that_is_shown_is_whole(tmp_path: Path) -> None:
    for name, text in STUBS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    main = (
        'extern "C" const unsigned char penjing_model[1] = {0};\n'
        'int main() {\n  const TfLiteTensor* answer = run_model("abcd");\n'
        '  return answer != nullptr && std::memcmp(answer->data.raw, "abcd", 4) == 0 ? 0 : 1;\n}\n'
    )
    (tmp_path / "main.cc").write_text(FIRMWARE + main)
    command = ["g++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "-I.", "main.cc", "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    assert subprocess.run([tmp_path / "main"], check=False, timeout=10).returncode == 0
    assert FIRMWARE.strip() in render_model_card(full_record())
    assert FIRMWARE in (Path(__file__).resolve().parents[2] / "docs" / "bundle.md").read_text(encoding="utf-8")


def test_files_to_compile_are_those_of_the_bundle() -> None:
    assert "Compile `model_data.cc` into the firmware." in render_model_card(full_record())
    record = regression_record()
    ran = replace(record, summary={**record.summary, "arena_bytes": 1000})
    assert "Compile `model_data.cc` and `preprocessing.c` into the firmware." in render_model_card(ran)


def test_score_stands_beside_what_puts_it_into_proportion() -> None:
    card = render_model_card(full_record())
    assert "Always answering 9, the most frequent class of the training rows, has an accuracy of 0.1019." in card
    assert "In the unit of rent, the mean absolute error is " in render_model_card(regression_record())
    assert "- Source: builtin, name: digits, origin: scikit-learn, load_digits" in card


def test_a_run_without_a_summary_has_no_card() -> None:
    with pytest.raises(
        ValueError, match=r"expected a run with a summary, got one without\. Run the stage export first\."
    ):
        render_model_card(replace(full_record(), summary={}))


def test_the_same_record_gives_the_same_card() -> None:
    assert render_model_card(full_record()) == render_model_card(full_record())


def test_text_of_a_user_stays_text() -> None:
    whole = full_record()
    profile = {**whole.profile, "target": {"name": "a|b\n# c <i>*d*"}, "warnings": ["`x` [y](z)\n## w"]}
    card = render_model_card(replace(whole, profile=profile, command="echo ```"))
    assert "To predict a\\|b # c \\<i\\>\\*d\\* on" in card
    assert "- \\`x\\` \\[y\\](z) ## w" in card
    assert "````sh\necho ```\n````" in card


def test_markdown() -> None:
    assert plain("a\\b") == "a\\\\b"
    assert table(["a", "b"], [("x", "1")], 1) == "| a | b |\n| --- | ---: |\n| x | 1 |"
    assert fenced("\nx\n", "c") == "```c\nx\n```"


def test_the_interval_of_an_accuracy() -> None:
    # Wilson's interval solves |p - q| = z sqrt(q (1 - q) / n) for q: both ends must satisfy it.
    for accuracy, rows in ((0.9741, 270), (0.5, 10), (0.0, 40), (1.0, 40)):
        for end in accuracy_interval(accuracy, rows):
            distance = 1.959964 * np.sqrt(max(0.0, end * (1.0 - end)) / rows)
            assert abs(accuracy - end) == pytest.approx(distance, abs=1e-9)
    assert accuracy_interval(1.0, 40) == pytest.approx((0.91238, 1.0), abs=1e-5)  # n / (n + z²)
