"""Says of other rows, read as the training data was, what errors tell of the section `data`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from data.contract import DataError

UNLABELED_FIELDS = ("path", "x", "skip_unreadable")
"""Fields that `data.unlabeled` has as `data` has them."""

UNLABELED_ADVICE = {"data.types": "Correct the file: its values must be of the types that the labeled rows have."}


INPUT_ADVICE = {
    "data.types": "Correct the input: its values must be of the types the model learned from.",
    "data.channels": "Correct the input: each channel of the model must be a column of numbers.",
    "data.missing": "Fill them in: the model needs a value of each channel.",
    "data.window": "Take the short ones out, or record longer ones: the model takes that many steps at once.",
    "data.time": "Correct the times, put each recording into a file of its own, or leave the column out.",
}
"""What to do about an input where the advice on training data is to change the config."""


def retold(error: DataError, field: str, path: Path | None, advice: Mapping[str, str]) -> DataError:
    """Returns an error on a field of `data` as one on other rows, where they lie, and what can be done about them.

    Args:
        error: `<field>: expected <rule>, got <value>. <what to do>`.
        field: what it is to begin with.
        path: where the rows lie, added where the error does not name it; None where it always does.
        advice: field of `data` -> what to do instead: what would mend `data` does not mend other rows.
    """
    told_of, _, told = str(error).partition(": ")
    rule, _, what_to_do = told.rpartition(". ")
    named = path is None or str(path) in rule or f"'{path.name}" in rule
    where = "" if named else f", in {str(path)!r}"
    return DataError(f"{field}: {rule}{where}. {advice.get(told_of, what_to_do)}")


@contextmanager
def about_unlabeled(path: Path | None = None) -> Iterator[None]:
    """Says of `data.unlabeled` what is told of `data`, or of the input of a prediction.

    Args:
        path: where the rows without labels lie; None where errors name it.
    """
    try:
        yield
    except DataError as error:
        told_of = str(error).partition(": ")[0]
        if told_of.startswith("data.unlabeled"):
            raise
        name = told_of.removeprefix("data.")
        field = f"data.unlabeled.{name if name in UNLABELED_FIELDS else 'path'}"
        text = str(retold(error, field, path, UNLABELED_ADVICE))
        raise DataError(re.sub(rf"\bdata\.({'|'.join(UNLABELED_FIELDS)})\b", r"data.unlabeled.\1", text)) from error


def about_input(error: DataError, path: Path) -> DataError:
    """Says of the input of a prediction what is told of training data: there is no config to be mended."""
    return retold(error, "input", path, INPUT_ADVICE) if str(error).startswith("data.") else error
