"""The YAML reader: values by YAML 1.2's core schema, lines, and refusal of what is no config."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config_reading.document import MAX_VALUES, YamlError, read_document


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("+5", 5),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("1e-6", 1e-6),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("yes", "yes"),
        ("on", "on"),
        ("1_000", "1_000"),
        ("2024-01-31", "2024-01-31"),
        ("12:30:00", "12:30:00"),
        ("'5'", "5"),
        ("!!str 5", "5"),
        ("! 5", "5"),
        ("[1, [a, 2.5], {b: c}]", [1, ["a", 2.5], {"b": "c"}]),
        ("|\n  two\n  lines\n", "two\nlines\n"),
    ],
)
def test_values_follow_the_core_schema(text: str, value: Any) -> None:
    read = read_document(f"key: {text}").value["key"]
    assert read == value
    assert type(read) is type(value)


def test_nan_is_a_number() -> None:
    assert math.isnan(read_document("a: .NaN").value["a"])


def test_keys_are_names_as_written() -> None:
    assert read_document("{0: a, true: b, 1.50: c, null: d}").value == {"0": "a", "true": "b", "1.50": "c", "null": "d"}


def test_lines_of_keys_and_items() -> None:
    document = read_document("a: 1\nb:\n  - x\n  - c: 2\n    d: 3\n# note\ne: {f: 4,\n    g: 5}\n")
    assert document.lines == {
        ("a",): 1,
        ("b",): 2,
        ("b", 0): 3,
        ("b", 1): 4,
        ("b", 1, "c"): 4,
        ("b", 1, "d"): 5,
        ("e",): 7,
        ("e", "f"): 7,
        ("e", "g"): 8,
    }


def test_every_duplicate_is_found_and_the_first_value_stands() -> None:
    document = read_document("a: 1\nb: {c: 1, c: 2}\na: 2\na: 3\n")
    assert document.value == {"a": 1, "b": {"c": 1}}
    assert [(each.line, each.location) for each in document.findings] == [(2, ("b", "c")), (3, ("a",)), (4, ("a",))]
    assert document.findings[1].message == "expected each key once, got it again (first on line 1). Take one out."


def test_a_key_without_a_value_is_found_and_an_explicit_null_is_not() -> None:
    document = read_document("a:\nb: null\nc: ~\nd: ''\n")
    assert [each.location for each in document.findings] == [("a",)]


def test_aliases_are_written_out() -> None:
    assert read_document("a: &x {b: 1}\nc: *x\n").value == {"a": {"b": 1}, "c": {"b": 1}}


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n"])
def test_empty_documents(text: str) -> None:
    assert read_document(text).value is None


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 10)}]\n" for i in range(9)
)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a:\n\tb: 1\n", 2, "expected spaces, got a tab. Indent with spaces."),
        ("a: 1\nb: c: d\n", 2, "mapping values are not allowed here"),
        ("a: [1,\nb: 2\n", 3, "expected YAML, got what is none"),
        ("a: 'x\n", 2, "expected YAML, got what is none"),
        ("a: 1\nb: !!python/object/apply:os.system [x]\n", 2, "expected plain values, got the tag"),
        ("a: !!int 5", 1, "expected plain values, got the tag"),
        ("a: !mine {b: 1}", 1, "expected plain values, got the tag !mine"),
        ("a: *nowhere", 1, "expected an anchor that ended above, got *nowhere."),
        ("a: &x [*x]", 1, "expected an anchor that ended above, got *x."),
        (LAUGHS, 4, f"expected at most {MAX_VALUES} values, got more."),
        ("a: [" + "1," * 30_000 + "]", 1, f"expected at most {MAX_VALUES} values, got more."),
        ("[" * 500_000, 1, "levels of nesting, got more."),
        ("a: 1\n---\nb: 2\n", 2, "expected one document, got a second"),
        ("%YAML 1.1\n---\na: 1\n", 2, "expected YAML 1.2, got %YAML 1.1."),
        ("a: 1\nb: \x00", 2, "expected text, got the control character '\\x00'."),
        ('a: "\\ud800"', 1, "got half of a surrogate pair"),
        ("a: " + "9" * 5000, 1, "expected a number of at most 300 characters, got 5000."),
        ("{[a]: 1}", 1, "expected a word as the key, got a list or a mapping."),
    ],
)
def test_what_is_refused(text: str, line: int, message: str) -> None:
    start = time.perf_counter()
    with pytest.raises(YamlError) as caught:
        read_document(text)
    assert message in caught.value.message
    # Billion laughs stop where the count is passed, which is in one of the later lists.
    assert caught.value.line == line or (text is LAUGHS and caught.value.line <= 10)
    assert time.perf_counter() - start < 5.0


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab:-[]{},&*!|>'\"#%@`?\n\t \\0x.1~é\x00\x85\ufeff"), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_document(text)
    except YamlError as error:
        assert error.line >= 1
