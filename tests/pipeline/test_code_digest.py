"""What counts as a stage's code: on small trees made for the question, and on this project's own."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from textwrap import dedent

import pytest

from pipeline.code_digest import DECLARATIONS, ROOMS, ROOT, Code
from pipeline.stages.catalog import STAGES

CONTRACT = """
    from typing import Protocol
    class Base:
        '''The root of all configs.'''
    class Stranger(Base):
        field = 1
    LIMIT = 4
"""
CONFIG = '''
    """Sections."""
    from data.contract import Base as Root, Stranger
    from data.contract import LIMIT
    class First(Root):
        """One section."""
        rows: int = LIMIT
        """How many."""
    class Second(Root):
        other: int = 2
    class Third(Stranger):
        pass
    Either = First | Second
'''
STAGE = '''
    """A stage."""
    import numpy
    from models.config import First
    from models.work import work
    def stage(config: First) -> int:
        """Does it."""
        # for a reason
        return work(config.rows)
'''
WORK = """
    def work(rows):
        from data.lazy import lazily
        return lazily(rows)
"""
FILES = {
    "data/__init__.py": "",
    "data/contract.py": CONTRACT,
    "data/lazy.py": "def lazily(rows):\n    return rows + 1\n",
    "data/unused.py": "x = 1\n",
    "models/config.py": CONFIG,
    "models/work.py": WORK,
    "pipeline/stage.py": STAGE,
}


def tree(folder: Path, **changed: str) -> Path:
    """Writes the small project; a changed file's name is spelled with `__` for `/`."""
    files = FILES | {name.replace("__", "/") + ".py": text for name, text in changed.items()}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(dedent(text))
    return folder


def parts(folder: Path, **changed: str) -> dict[str, str]:
    return Code(tree(folder, **changed)).parts([("pipeline.stage", None)])


def changed_parts(folder: Path, **changed: str) -> set[str]:
    """Names of the parts whose digest is not that of the unchanged project."""
    before, after = parts(folder / "before"), parts(folder / "after", **changed)
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def test_follows_imports_lazy_ones_too_and_takes_of_declarations_what_is_used(tmp_path: Path) -> None:
    assert set(parts(tmp_path)) == {
        "pipeline.stage",
        "models.work",
        "models.config:First",
        "data",
        "data.lazy",
        "data.contract:Base",
        "data.contract:LIMIT",
    }


@pytest.mark.parametrize(
    "stage",
    [
        STAGE.replace("A stage.", "Another sentence.").replace("Does it.", "Does it well."),
        STAGE.replace("# for a reason", "# for no reason"),
        STAGE.replace('"""Does it."""\n', "\n\n"),
        STAGE.replace("work(config.rows)", "(work( config.rows ))"),
    ],
)
def test_sentences_comments_and_layout_are_no_code(tmp_path: Path, stage: str) -> None:
    assert changed_parts(tmp_path, pipeline__stage=stage) == set()


def test_sentences_of_config_fields_are_no_code(tmp_path: Path) -> None:
    text = CONFIG.replace("How many.", "How many rows.").replace("One section.", "A section.")
    assert changed_parts(tmp_path, models__config=text) == set()


@pytest.mark.parametrize(
    "stage",
    [
        STAGE.replace("config.rows", "config.rows + 1"),
        STAGE.replace("config.rows", "config.columns"),
        STAGE.replace("import numpy", "import numpy as np"),
        STAGE.replace("return work", "return - work"),
        STAGE + "    VALUE = 'a sentence that is used'\n",
    ],
)
def test_code_is_code(tmp_path: Path, stage: str) -> None:
    assert changed_parts(tmp_path, pipeline__stage=stage) == {"pipeline.stage"}


def test_strings_in_use_count_though_docstrings_do_not(tmp_path: Path) -> None:
    first, second = (f"{STAGE}    VALUE = {text!r}\n" for text in ("one", "two"))
    assert Code(tree(tmp_path / "a", pipeline__stage=first)).parts([("pipeline.stage", None)]) != Code(
        tree(tmp_path / "b", pipeline__stage=second)
    ).parts([("pipeline.stage", None)])


def test_change_far_away_counts(tmp_path: Path) -> None:
    assert changed_parts(tmp_path, data__lazy="def lazily(rows):\n    return rows + 2\n") == {"data.lazy"}
    assert changed_parts(tmp_path, data__unused="x = 2\n") == set()


def test_package_code_counts(tmp_path: Path) -> None:
    before = parts(tmp_path)
    (tmp_path / "data" / "__init__.py").write_text("import os\n")
    after = Code(tmp_path).parts([("pipeline.stage", None)])
    assert {name for name in after if after[name] != before[name]} == {"data"}


def test_another_section_of_the_same_module_changes_nothing(tmp_path: Path) -> None:
    second = CONFIG.replace("other: int = 2", "other: int = 3\n        more: int = 4")
    assert changed_parts(tmp_path, models__config=second) == set()
    first = CONFIG.replace("rows: int = LIMIT", "rows: int = LIMIT + 1")
    assert changed_parts(tmp_path, models__config=first) == {"models.config:First"}


def test_what_a_section_refers_to_counts_under_whatever_name(tmp_path: Path) -> None:
    # First's base class is bound as Root.
    assert changed_parts(tmp_path, data__contract=CONTRACT.replace("LIMIT = 4", "LIMIT = 5")) == {"data.contract:LIMIT"}
    base = CONTRACT.replace("'''The root of all configs.'''", "strict = True")
    assert changed_parts(tmp_path, data__contract=base) == {"data.contract:Base"}
    assert changed_parts(tmp_path, data__contract=CONTRACT.replace("field = 1", "field = 2")) == set()


def test_union_of_sections_brings_all_of_them(tmp_path: Path) -> None:
    found = parts(tmp_path, pipeline__stage=STAGE.replace("First", "Either"))
    assert {"models.config:Either", "models.config:First", "models.config:Second"} <= found.keys()
    assert "models.config:Third" not in found


def test_statements_that_only_act_belong_to_every_name(tmp_path: Path) -> None:
    acting = CONFIG + "    setattr(First, 'rows', 9)\n"
    assert changed_parts(tmp_path, models__config=acting) == {"models.config:First"}


def test_passed_on_names_are_followed_to_their_home(tmp_path: Path) -> None:
    stage = STAGE.replace("from models.config import First", "from models.config import Stranger as First")
    found = parts(tmp_path, pipeline__stage=stage)
    assert "data.contract:Stranger" in found
    assert not any(name.startswith("models.config") for name in found)


@pytest.mark.parametrize(
    "line",
    ["from models.config import *", "import models.config", "from models import config", "import models.config as c"],
)
def test_declarations_imported_as_a_whole_count_as_a_whole(tmp_path: Path, line: str) -> None:
    assert "models.config" in parts(tmp_path, pipeline__stage=STAGE.replace("from models.config import First", line))


def test_name_that_only_running_the_module_would_tell_brings_the_whole_module(tmp_path: Path) -> None:
    hidden = "import sys\nif sys.platform:\n    class First: rows = 1\n"
    assert "models.config" in parts(tmp_path, models__config=hidden)


def test_imports_for_type_checkers_alone_are_not_followed(tmp_path: Path) -> None:
    only_types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from data.unused import x\n"
    found = parts(tmp_path, data__lazy=only_types + "def lazily(rows): return rows\n")
    assert "data.unused" not in found
    otherwise = only_types + "else:\n    from data.unused import x\ndef lazily(rows): return rows\n"
    assert "data.unused" in parts(tmp_path, data__lazy=otherwise)


@pytest.mark.parametrize(
    "line",
    [
        "from . import unused",
        "from .unused import x",
        "import data.unused",
        "from data import unused as u",
        "try:\n    import data.unused\nexcept ImportError:\n    raise",
        "import importlib\nm = importlib.import_module('data.unused')",
        "class A:\n    def f(self):\n        from data.unused import x",
    ],
)
def test_every_way_to_import_is_followed(tmp_path: Path, line: str) -> None:
    assert "data.unused" in parts(tmp_path, data__lazy=f"{line}\ndef lazily(rows): return rows\n")


def test_circles_end_and_unknown_entries_are_refused(tmp_path: Path) -> None:
    found = parts(tmp_path, data__lazy="import models.work\ndef lazily(rows): return rows\n")
    assert {"data.lazy", "models.work"} <= found.keys()
    with pytest.raises(ModuleNotFoundError, match=r"pipeline\.absent is no module of this project"):
        Code(tmp_path).parts([("pipeline.absent", None)])


# --------------------------------------------------------------------------------- this project


def test_every_project_module_that_a_stage_loads_is_part_of_its_code() -> None:
    # TensorFlow stays loaded; the project's modules are loaded anew for each stage.
    program = (
        "import importlib, json, sys\n"
        f"ROOMS = {ROOMS!r}\n"
        "loaded = {}\n"
        "for stage in sys.argv[1:]:\n"
        "    for name in [name for name in sys.modules if name.split('.')[0] in ROOMS]: del sys.modules[name]\n"
        "    importlib.import_module(f'pipeline.stages.{stage}')\n"
        "    loaded[stage] = [name for name in sys.modules if name.split('.')[0] in ROOMS]\n"
        "print(json.dumps(loaded))\n"
    )
    command = [sys.executable, "-c", program, *(stage.name for stage in STAGES)]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    code = Code()
    for name, modules in json.loads(told.stdout.splitlines()[-1]).items():
        parts = code.parts([(f"pipeline.stages.{name}", None)])
        counted = {part.split(":")[0] for part in parts}
        # What a module of declarations imports for other names than the stage's is loaded, and has no say.
        passed = {part.split(":")[0] for part in code.parts((module, None) for module in DECLARATIONS & counted)}
        assert set(modules) - passed <= counted, name
        assert f"pipeline.stages.{name}" in counted
        assert len(modules) > 10


def test_module_of_a_child_process_counts() -> None:
    assert "models.tflite.micro_child" in Code().parts([("pipeline.stages.export", None)])
    assert "models.tflite.micro_child" not in Code().parts([("pipeline.stages.train", None)])


@pytest.mark.parametrize(
    ("file", "old", "new", "stages"),
    [
        (
            "models/compression_config.py",
            "update_steps: int = Field(default=10",
            "update_steps: int = Field(default=11",
            {"tune", "prune", "search"},
        ),
        (
            "models/tuning_config.py",
            "trials: int = Field(default=8",
            "trials: int = Field(default=9",
            {"tune", "search"},
        ),
        (
            "models/compression_config.py",
            "calibration_rows: int = Field(default=256",
            "calibration_rows: int = Field(default=257",
            None,
        ),
        ("models/config.py", '"""Step size at the start, or', '"""How far at first, or', set()),
        ("pipeline/oracles.py", "_POINTS_A_DIMENSION = 3", "_POINTS_A_DIMENSION = 4", {"tune", "search"}),
        # What trials run is named by the searches that run them, though neither imports it.
        ("pipeline/stages/cluster.py", "from __future__", "import os\nfrom __future__", {"cluster", "search"}),
        ("pipeline/stages/build.py", "from __future__", "import os\nfrom __future__", {"build", "tune"}),
        ("models/layerwise.py", '"""', '"""Changed. ', set()),
        ("data/ingest.py", "from __future__", "import os\nfrom __future__", {"ingest"}),
    ],
)
def test_a_change_touches_the_stages_that_read_it(
    tmp_path: Path, file: str, old: str, new: str, stages: set[str] | None
) -> None:
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new, 1))
    before, after = Code(), Code(tmp_path)
    touched = {
        stage.name for stage in STAGES if before.parts([(stage.module, None)]) != after.parts([(stage.module, None)])
    }
    assert touched == stages if stages is not None else "convert" in touched and "train" not in touched


def test_versions_of_the_libraries_that_shape_an_artifact_are_in_its_key() -> None:
    # Reached by every stage, and without a say in what it makes: reading raw rows for `predict`, the flatbuffer schema
    # of the audit, the declarations themselves, what limits threads, and a library that nothing calls.
    bystanders = {
        "pandas",
        "pyarrow",
        "pillow",
        "ai-edge-litert",
        "pydantic",
        "tensorflow-model-optimization",
        "threadpoolctl",
    }
    distributions = packages_distributions()
    code = Code()
    for stage in STAGES:
        needed: set[frozenset[str]] = set()
        for module in {part.split(":")[0] for part in code.parts([(stage.module, None)])}:
            path = code.path(module)
            assert path is not None
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.module is not None:
                    names = [node.module]
                for top in {name.split(".")[0] for name in names} - set(ROOMS) - sys.stdlib_module_names:
                    # Several may share a top-level name, as those of Google do.
                    needed.add(frozenset(each.lower().replace("_", "-") for each in distributions[top]))
        known = bystanders | {name.replace("_", "-") for name in stage.libraries}
        assert [each for each in needed if each.isdisjoint(known)] == [], stage.name
