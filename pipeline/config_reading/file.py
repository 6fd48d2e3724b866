"""Reads a run's config from a YAML file and overrides, and reports all that is wrong with it at once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from data.contract import ConfigError, DataError, PenjingError
from data.paths import is_url
from models.own_model_config import BuilderModelConfig, with_implied_family
from pipeline.config import RunConfig
from pipeline.config_reading.disagreement import split_location
from pipeline.config_reading.document import Document, YamlError, read_document
from pipeline.config_reading.messages import Fault, faults_of, nothing_given, shown, unavailable_faults
from pipeline.config_reading.overrides import OverrideError, apply_override
from pipeline.config_reading.problems import ConfigErrors, Problem
from pipeline.config_reading.schema import dotted
from pipeline.config_reading.text import read_text

__all__ = ["ConfigErrors", "LoadedConfig", "Problem", "load_config"]

Location = tuple[str | int, ...]

MAX_FAULTS = 200
"""Faults that are told at most: each is compared with all others, and who has as many begins anew."""

MAX_ROUNDS = 8
"""How often a config is mended and looked at again for what an earlier fault hid."""


@dataclass(frozen=True)
class LoadedConfig:
    """A config that is right as far as can be known without opening the data.

    Attributes:
        config: the run's config; relative paths (`data.path`, `model.file`, …) are made absolute, `~` is expanded.
        path: the file it was read from, as given.
        text: the file's text, comments included.
        written: what the file and the overrides say, as plain values, paths as they were written.
        resolved: the whole config as plain values, defaults included; loads as a config again.
        overrides: the overrides, as given.
        source: where each value comes from.
    """

    config: RunConfig
    path: Path
    text: str
    written: dict[str, Any]
    resolved: dict[str, Any]
    overrides: tuple[str, ...]
    source: _Source = field(repr=False, compare=False)

    @contextmanager
    def placed(self) -> Iterator[None]:
        """Puts the file and line, or the override, before errors that begin with a field of the config.

        Raises:
            PenjingError: the same error, told with its place; errors of other kinds pass as they are.
        """
        try:
            yield
        except PenjingError as error:
            location, message = split_location(str(error))
            named = message != str(error) and location[0] in RunConfig.model_fields
            if named and error.exit_code in (ConfigError.exit_code, DataError.exit_code):
                error.args = (f"{self.source.origin(location)}: {error}",)
            raise


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Reads a config from a file, sets the overrides, and checks all of it.

    A relative path in the file (`data.path`, `model.file`) counts from the file's folder, one in an override from the
    current folder.

    Args:
        path: a YAML 1.2 file in UTF-8, of at most 1 MiB.
        overrides: `a.b=value` each, the value in YAML; `a.b=null` unsets, lists by position.

    Returns:
        The config and where it comes from.

    Raises:
        ConfigErrors: with every problem of the file and of the overrides.
    """
    source = _Source(Path(path))
    text = read_text(source.path)
    try:
        source.document = read_document(text)
    except YamlError as error:
        where = f"{path}:{error.line}" if error.column is None else f"{path}:{error.line}:{error.column}"
        raise ConfigErrors([Problem(error.line, "", error.message, where)]) from error
    if not isinstance(source.document.value, dict):
        raise ConfigErrors([_not_a_mapping(source)])
    problems = source.apply(overrides)
    written = deepcopy(source.document.value)
    config, faults = _validate(source.document)
    problems += [source.problem(fault) for fault in faults]
    if config is not None and not problems:
        config, problems = _with_absolute_paths(config, source)
    if config is None or problems:
        # Sorting is stable: faults of one line stay in the order they were found in.
        raise ConfigErrors(sorted(problems, key=lambda problem: (problem.line is None, problem.line or 0)))
    return LoadedConfig(config, source.path, text, written, config.model_dump(mode="json"), tuple(overrides), source)


@dataclass
class _Source:
    """Where each value of a config comes from: a line of the file, or an override."""

    path: Path
    document: Document = field(default_factory=Document)
    overridden: dict[Location, str] = field(default_factory=dict)

    def apply(self, overrides: Sequence[str]) -> list[Problem]:
        problems = []
        for override in overrides:
            try:
                location = apply_override(self.document, override)
            except OverrideError as error:
                problems.append(Problem(None, "", str(error), f"override {override}"))
            else:
                for other in [each for each in self.overridden if each[: len(location)] == location]:
                    del self.overridden[other]
                self.overridden[location] = f"override {override}"
        return problems

    def override_of(self, location: Location) -> str | None:
        """Returns the override that a place comes from; None where it comes from the file."""
        for length in range(len(location), 0, -1):
            if location[:length] in self.overridden:
                return self.overridden[location[:length]]
            if location[:length] in self.document.lines:
                return None
        return None

    def origin(self, location: Location) -> str:
        """Returns `FILE:LINE` of a place, or `override a.b=value`."""
        override = self.override_of(location)
        return f"{self.path}:{self._line_of(location)}" if override is None else override

    def problem(self, fault: Fault) -> Problem:
        override = self.override_of(fault.location)
        if isinstance(fault, _FoundFault):
            line = fault.line
        elif override is not None:
            return Problem(None, dotted(fault.location), fault.message, override)
        else:
            line = self._line_of(fault.location)
        return Problem(line, dotted(fault.location), fault.message, f"{self.path}:{line}")

    def _line_of(self, location: Location) -> int:
        for length in range(len(location), 0, -1):
            line = self.document.lines.get(location[:length])
            if line is not None:
                return line
        return 1


@dataclass(frozen=True)
class _FoundFault(Fault):
    """A fault whose line the reader knows better: the second of two equal keys."""

    line: int = 1


def _validate(document: Document) -> tuple[RunConfig | None, list[Fault]]:
    """Validates a document, mends a copy of it and validates again, until nothing new comes to light.

    pydantic compares sections only once each is right by itself, and looks into a section of several
    kinds only once its kind is known; mending shows a user all of it at once.
    """
    known: list[Fault] = [
        _FoundFault(
            each.location,
            nothing_given(each.location, document.value) if each.empty else each.message,
            line=each.line,
        )
        for each in document.findings[:MAX_FAULTS]
    ]
    known += [each for each in islice(unavailable_faults(document.value), MAX_FAULTS) if not _hidden_by(each, known)]
    trial = deepcopy(document.value)
    if "model" in trial:
        trial["model"] = with_implied_family(trial["model"])
    fresh = list(known)
    for _ in range(MAX_ROUNDS):
        for fault in fresh:
            _mend(trial, fault)
        try:
            config = RunConfig.model_validate_json(json.dumps(trial))
        except ValidationError as error:
            found = faults_of(error.errors()[:MAX_FAULTS], trial)
            fresh = [each for each in found if not _hidden_by(each, known)]
            known += fresh
        else:
            return (None if known else config), known
        if len(known) >= MAX_FAULTS:
            message = f"expected a config with fewer faults, got {MAX_FAULTS} or more. Mend these first."
            return None, [*known, Fault((), message)]
        if not fresh:
            break
    return None, known


def _mend(trial: dict[str, Any], fault: Fault) -> None:
    """Puts the nearest word in place of a wrong one, or takes the wrong value out, lists as a whole."""
    keys = list(fault.location)
    while keys and isinstance(keys[-1], int):
        keys.pop()
    container: Any = trial
    for key in keys[:-1]:
        inside = key < len(container) if isinstance(container, list) and isinstance(key, int) else key in container
        if not inside or not isinstance(container[key], dict | list):
            return
        container = container[key]
    if keys and isinstance(container, dict) and keys[-1] in container:
        if fault.mended_by is not None and len(keys) == len(fault.location):
            container[keys[-1]] = fault.mended_by
        else:
            del container[keys[-1]]
    if fault.location == ("name",):
        # No rule but its own looks at the name; any name lets the other sections be compared.
        trial["name"] = "unnamed"


def _hidden_by(fault: Fault, known: Sequence[Fault]) -> bool:
    """Whether a fault only follows from one that is known already."""
    for other in known:
        if fault.location[: len(other.location)] == other.location:
            return True
        if not other.superfluous and any(_overlap(place, other.location) for place in fault.involves):
            return True
    return False


def _overlap(one: Location, other: Location) -> bool:
    length = min(len(one), len(other))
    return one[:length] == other[:length]


_PATHS: tuple[Location, ...] = (
    ("data", "path"),
    ("data", "unlabeled", "path"),
    ("model", "file"),
    ("model", "folder"),
)
"""Places of paths."""


def _with_absolute_paths(config: RunConfig, source: _Source) -> tuple[RunConfig, list[Problem]]:
    problems = []
    for location in _PATHS:
        written: Any = config
        for part in location:
            written = getattr(written, str(part), None)
        if written is None and location[-1] == "folder" and isinstance(config.model, BuilderModelConfig):
            written = str(source.path.absolute().parent)
        if written is None or is_url(written):
            continue
        try:
            config = _replaced(config, location, _absolute(written, location, source))
        except RuntimeError:
            message = f"expected a home folder that exists, got {shown(written)}. Write the whole path."
            problems.append(source.problem(Fault(location, message)))
    return config, problems


def _replaced(section: Any, location: Location, value: str) -> Any:
    """Returns a section with the value at a location replaced."""
    name = str(location[0])
    inner = value if len(location) == 1 else _replaced(getattr(section, name), location[1:], value)
    return section.model_copy(update={name: inner})


def _absolute(written: str, location: Location, source: _Source) -> str:
    """Returns a path that was written at a location, absolute.

    Raises:
        RuntimeError: `~` stands for a home folder that is not there.
    """
    # What is typed is completed by a shell from where it stands; a file's words travel with the file.
    folder = source.path.absolute().parent if source.override_of(location) is None else Path.cwd()
    return os.path.abspath(folder / Path(written).expanduser())  # noqa: PTH100 - pathlib keeps no links without `..`


def _not_a_mapping(source: _Source) -> Problem:
    value = source.document.value
    if value is None:
        message = "expected name, task, data and model at least, got an empty file. Start from configs/digits.yaml."
        return Problem(None, "", message, str(source.path))
    got = "a list" if isinstance(value, list) else shown(value)
    return Problem(1, "", f"expected keys with values (name: …, task: …), got {got}.", f"{source.path}:1")
