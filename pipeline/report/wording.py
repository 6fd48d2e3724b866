"""How numbers and names are written for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

ABSENT = "–"

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
METRIC_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "r2": "R²",
    "d2": "D²",
    "silhouette": "silhouette",
}


def count(value: float | None) -> str:
    """Writes a whole number with thousands separators: `12,345`."""
    return ABSENT if value is None else f"{value:,.0f}"


def score(value: float | None) -> str:
    """Writes a score with four decimals: `0.9722`."""
    return ABSENT if value is None else f"{value:.4f}".replace("-", "−")


def signed(value: float) -> str:
    """Writes a difference of scores with its sign: `+0.0031`, `−0.0100`, `±0`."""
    text = f"{abs(value):.4f}"
    if float(text) == 0.0:
        return "±0"
    return f"+{text}" if value > 0 else f"−{text}"


def fraction(value: float | None) -> str:
    """Writes a fraction as a percentage for reading: `12.5 %`."""
    return ABSENT if value is None else f"{value * 100:.1f} %"


def bytes_of(value: float | None) -> str:
    """Writes a size, in bytes and never rounded: `9,104 bytes`."""
    return ABSENT if value is None else f"{value:,.0f} bytes"


def seconds(value: float | None) -> str:
    """Writes a duration: `0.4 s`, `12 s`, `3 min 05 s`."""
    if value is None:
        return ABSENT
    if value < 10:
        return f"{value:.1f} s"
    if value < 60:
        return f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest:02d} s"


def figure(value: Any, digits: int = 6) -> str:
    """Writes any measured figure: whole numbers with separators, others to so many digits, lists one by one."""
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,d}".replace("-", "−")
    if isinstance(value, float):
        return _real(value, digits)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {figure(each, digits)}" for key, each in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(figure(each, digits) for each in value) or "none"
    return str(value)


def _real(value: float, digits: int) -> str:
    """Writes a real number: `1,930`, `1,101.50`, `0.0124`, `3.1 × 10⁻⁶`."""
    if abs(value) < 1e15 and (value.is_integer() or abs(value) >= 1000):
        return f"{value:,.{0 if value.is_integer() else 2}f}".replace("-", "−")
    mantissa, exponential, exponent = f"{value:.{digits}g}".partition("e")
    mantissa = mantissa.replace("-", "−")
    if not exponential:
        return mantissa
    return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}"


def named_figure(name: str, value: Any) -> str:
    """Writes a figure with the unit that its field's name ends in, e.g. `max_model_bytes`."""
    text = figure(value)
    if value is None:
        return text
    for ending, unit in (("_bytes", "bytes"), ("_us", "µs"), ("_ms", "ms"), ("_seconds", "s")):
        if name.endswith(ending):
            return f"{text} {unit}"
    return text


def source(described: Mapping[str, Any]) -> str:
    """Writes where the rows come from: `table, file: flats.csv`; what was left out is not told."""
    kind = [str(described["source"])] if "source" in described else []
    others = [
        f"{words(key)}: {figure(value)}" for key, value in described.items() if key != "source" and value is not None
    ]
    return ", ".join(kind + others) or ABSENT


def model_input(kind: str, shape: str) -> str:
    """Writes what a model eats: `image, 8 × 8 × 1`, `vector of 4 features`, `windows of 64 × 3, steps × channels`."""
    if kind == "series":
        return f"windows of {shape}, steps × channels"
    return f"image, {shape}" if kind == "image" else f"vector of {shape} features"


def words(name: str) -> str:
    """Writes a field's name as words: `max_score_drop` -> `max score drop`."""
    return name.replace("_", " ")


def capital(text: str) -> str:
    """Writes a text with a capital at its beginning."""
    return text[:1].upper() + text[1:]


def metric(name: str) -> str:
    """Writes a metric's name: `accuracy`, `R²`."""
    return METRIC_NAMES.get(name, name)


def family(name: str) -> str:
    """Writes a family as it stands in a sentence: `MLP`, `SVM`, `random forest`, `autoencoder`."""
    return name.upper() if name in ("mlp", "cnn", "rnn", "svm") else words(name)


def baseline(name: str) -> str:
    """Writes a baseline as it stands in a sentence: `RBF SVM`, `random forest`."""
    return words(name).replace("rbf", "RBF").replace("svm", "SVM")


def with_article(noun: str) -> str:
    """Writes a noun with its indefinite article; names that are spelt out (`MLP`) go by their first letter's sound."""
    spelt = noun[:2].isupper()
    vowel = noun[:1] in "AEFHILMNORSX" if spelt else noun[:1].lower() in "aeiou"
    return f"{'an' if vowel else 'a'} {noun}"


def network(section: Mapping[str, Any]) -> str:
    """Writes what a section `model` stands for: `an MLP`, `a network from net.keras`, `a network by nets:network`."""
    if section.get("family") == "file":
        return f"a network from {PurePath(str(section['file'])).name}"
    if section.get("family") == "builder":
        return f"a network by {section['builder']}"
    return with_article(family(str(section.get("family", "network"))))


def listed(names: list[str]) -> str:
    """Writes names in a sentence: `a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def plural(number: int, one: str, many: str | None = None) -> str:
    """Writes a count with its noun: `1 row`, `1,797 rows`."""
    return f"{number:,d} {one if number == 1 else many or one + 's'}"
