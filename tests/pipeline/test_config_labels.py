"""What a config says of labels, normal classes and rows without labels: fields that fit, and those that cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data.config import UnlabeledImages, UnlabeledTable, known_input_shape, label_use
from pipeline.config_reading.file import load_config
from tests.data.conftest import make_config
from tests.pipeline.test_config import message_of, run_config
from tests.pipeline.test_config_file import load, problems

TABLE = {"source": "table", "path": "t.csv", "target": "y"}
BARE = {"source": "table", "path": "t.csv"}
IDX = {"source": "idx", "path": "x"}
ARRAYS = {"source": "arrays", "path": "x"}
MORE = {"source": "table", "path": "more.csv"}
LAYER_WISE = {"mode": "layer_wise"}


@pytest.mark.parametrize(
    ("task", "data", "message"),
    [
        (
            "classification",
            BARE,
            "data.target: expected a column with task: classification, got nothing. Name the column that holds the "
            "labels or numbers.",
        ),
        ("regression", BARE, "data.target: expected a column with task: regression, got nothing."),
        (
            "reconstruction",
            {**BARE, "normal": ["ok"]},
            "data.target: expected a column with data.normal, got nothing.",
        ),
        (
            "reconstruction",
            {**TABLE, "missing_target": "drop_rows"},
            "data.missing_target: expected it with a target that is read alone, got 'drop_rows' with task: "
            "reconstruction, which reads none here. Nothing would read it: take it out.",
        ),
        (
            "clustering",
            {**BARE, "missing_target": "drop_rows"},
            "data.missing_target: expected it with a target that is read alone, got 'drop_rows' with task: clustering",
        ),
        (
            "reconstruction",
            {**IDX, "class_names": ["a"]},
            "data.class_names: expected it with labels that are read alone, got names with task: reconstruction",
        ),
        (
            "reconstruction",
            {**ARRAYS, "y": "labels"},
            "data.y: expected it with targets that are read alone, got 'labels' with task: reconstruction",
        ),
        (
            "classification",
            {**TABLE, "normal": ["ok"]},
            "data.normal: expected it with task: reconstruction alone, got it with task: classification. Nothing would "
            "read it: take it out.",
        ),
        ("clustering", {**TABLE, "normal": ["ok"]}, "data.normal: expected it with task: reconstruction alone, got it"),
        (
            "reconstruction",
            {"source": "builtin", "name": "diabetes", "normal": ["a"]},
            "data.normal: expected it with a data set of classes, got 'diabetes'. Its labels are numbers: take it out.",
        ),
        ("reconstruction", {**TABLE, "normal": ["a", "b", "a"]}, "data.normal.2: expected each once, got 'a' again."),
        (
            "clustering",
            {**TABLE, "num_labels": 5},
            "data.num_labels: expected it with task: classification or regression alone, got it with task: clustering, "
            "which learns from no label. Take it out.",
        ),
        (
            "reconstruction",
            {**TABLE, "unlabeled": MORE},
            "data.unlabeled: expected no such section with task: reconstruction, got one. All of its rows are learned "
            "from without labels: name them in data.",
        ),
        (
            "classification",
            {**TABLE, "unlabeled": MORE},
            "data.unlabeled: expected no rows without labels with train.mode: end_to_end, which needs labels, got "
            "some. Say train.mode: layer_wise with pretrain.kind: autoencoder or denoising_autoencoder, or take the "
            "section out.",
        ),
        (
            "classification",
            {**TABLE, "unlabeled": {"source": "table", "path": ""}},
            "data.unlabeled.path: expected a name, got ''.",
        ),
    ],
)
def test_labels_that_are_missing_or_not_read(task: str, data: dict[str, Any], message: str) -> None:
    assert message in message_of(task=task, data=data)


def test_rows_without_labels_where_pretraining_needs_labels() -> None:
    text = message_of(data={**TABLE, "unlabeled": MORE}, train=LAYER_WISE, pretrain={"kind": "supervised"})
    assert (
        "data.unlabeled: expected no rows without labels with pretrain.kind: supervised, which needs labels, got some."
        in text
    )
    for kind in ("autoencoder", "denoising_autoencoder"):
        config = run_config(data={**TABLE, "unlabeled": MORE}, train=LAYER_WISE, pretrain={"kind": kind})
        assert config.data.unlabeled == UnlabeledTable(source="table", path="more.csv")


@pytest.mark.parametrize("train", [{}, LAYER_WISE])
def test_few_labels_are_for_every_mode(train: dict[str, str]) -> None:
    assert run_config(data={**TABLE, "num_labels": 20}, train=train).data.num_labels == 20


@pytest.mark.parametrize(
    ("data", "source", "rule"),
    [
        (
            TABLE,
            "images",
            "expected 'table' beside the source 'table', got 'images'. Rows without labels are inputs of",
        ),
        (IDX, "table", "expected one of 'images', 'arrays', 'idx' beside the source 'idx', got 'table'."),
        (
            {"source": "builtin", "name": "iris"},
            "idx",
            "expected one of 'table', 'arrays' beside the source 'builtin', got 'idx'.",
        ),
    ],
)
def test_rows_without_labels_of_another_kind(data: dict[str, Any], source: str, rule: str) -> None:
    text = message_of(data={**data, "unlabeled": {"source": source, "path": "p"}}, train=LAYER_WISE)
    assert f"data.unlabeled.source: {rule}" in text


@pytest.mark.parametrize(
    ("data", "uses"),
    [
        (BARE, ("needed", "needed", "unread", "unread")),
        (TABLE, ("needed", "needed", "unread", "needed")),
        (IDX, ("needed", "needed", "unread", "optional")),
        ({**IDX, "class_names": ("a", "b")}, ("needed", "needed", "unread", "needed")),
        (ARRAYS, ("needed", "needed", "unread", "optional")),
        ({**ARRAYS, "y": "labels"}, ("needed", "needed", "unread", "needed")),
        ({**ARRAYS, "normal": ("1",)}, ("needed", "needed", "needed", "optional")),
        ({"source": "images", "path": "x"}, ("needed", "needed", "unread", "optional")),
        ({"source": "builtin", "name": "iris"}, ("needed", "needed", "unread", "optional")),
    ],
)
def test_what_each_task_does_with_labels(data: dict[str, Any], uses: tuple[str, ...]) -> None:
    config = make_config(**data)
    tasks = ("classification", "regression", "reconstruction", "clustering")
    assert tuple(label_use(config, task) for task in tasks) == uses
    assert known_input_shape(config) == known_input_shape(make_config(**{**data, "num_labels": 3}))


def test_a_dumped_config_with_rows_without_labels_loads_as_itself() -> None:
    config = run_config(data={**TABLE, "num_labels": 20, "unlabeled": MORE}, train=LAYER_WISE)
    assert type(config).model_validate_json(config.model_dump_json()) == config


NESTED = """\
name: few
task: classification
data:
  source: images
  path: labeled
  num_labels: 50
  unlabeled:
    source: images
    path: more/../others
    skip_unreadable: true
model: {family: mlp}
train: {mode: layer_wise}
"""


def test_both_paths_count_from_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(tmp_path, NESTED)
    assert loaded.config.data.unlabeled == UnlabeledImages(
        source="images", path=str(tmp_path / "others"), skip_unreadable=True
    )
    assert loaded.resolved["data"]["path"] == str(tmp_path / "labeled")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    typed = load_config(tmp_path / "run.yaml", ["data.unlabeled.path=near"]).resolved["data"]
    assert (typed["path"], typed["unlabeled"]["path"]) == (
        str(tmp_path / "labeled"),
        str(tmp_path / "here" / "near"),
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "  path: more/../others\n",
            "  pth: others\n",
            "run.yaml:9: data.unlabeled.pth: expected a key of 'data.unlabeled', got 'pth'. Did you mean 'path'?",
        ),
        (
            "    source: images\n",
            "    source: image\n",
            "run.yaml:8: data.unlabeled.source: expected one of 'table', 'images', 'arrays', 'idx', got 'image'. Did "
            "you mean 'images'?",
        ),
        (
            "num_labels: 50",
            "num_labels: 0",
            "run.yaml:6: data.num_labels: expected a whole number of at least 1 or null, got 0.",
        ),
        (
            "more/../others",
            "~nobody-of-this-name/p",
            "run.yaml:9: data.unlabeled.path: expected a home folder that exists, got '~nobody-of-this-name/p'. Write "
            "the whole path.",
        ),
        (
            "more/../others",
            "http://a/b",
            "run.yaml:9: data.unlabeled.path: expected storage that can list a folder, as s3://, got 'http://a/b': the "
            "web has no folders. Name the data there, or download it.",
        ),
        (
            "mode: layer_wise",
            "mode: end_to_end",
            "run.yaml:7: data.unlabeled: expected no rows without labels with train.mode: end_to_end, which needs "
            "labels, got some. Say train.mode: layer_wise with pretrain.kind: autoencoder or denoising_autoencoder, or "
            "take the section out.",
        ),
    ],
)
def test_faults_below_unlabeled_have_their_lines(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert message in problems(tmp_path, NESTED.replace(old, new))
