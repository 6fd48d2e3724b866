"""The section `model` with a file or a builder in place of a family: what it reads, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from models.own_model_config import BuilderModelConfig, FileModelConfig
from pipeline.config import RunConfig
from pipeline.config_reading.docs import config_json_schema
from pipeline.config_reading.file import ConfigErrors, load_config
from pipeline.stages.catalog import producer, stages_of

BASE = "name: own\ntask: classification\ndata: {{source: builtin, name: iris}}\nmodel: {{{}}}\n"


def written(tmp_path: Path, model: str, more: str = "") -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(BASE.format(model) + more)
    return path


def problems(tmp_path: Path, model: str, more: str = "") -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        load_config(written(tmp_path, model, more))
    return str(caught.value).replace(f"{tmp_path}/", "").splitlines()


def test_the_key_implies_the_family_and_paths_count_from_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_config(written(tmp_path, "file: nets/net.keras"))
    assert loaded.config.model == FileModelConfig(file=str(tmp_path / "nets" / "net.keras"))
    assert loaded.written["model"] == {"file": "nets/net.keras"}
    again = tmp_path / "again.yaml"
    again.write_text(BASE.format(f"family: file, file: {tmp_path}/nets/net.keras"))
    assert load_config(again).resolved == loaded.resolved
    built = load_config(
        written(tmp_path, "builder: kit.nets:network, arguments: {units: [8, 4], rate: 0.1, act: relu}")
    )
    assert built.config.model == BuilderModelConfig(
        builder="kit.nets:network", folder=str(tmp_path), arguments={"units": (8, 4), "rate": 0.1, "act": "relu"}
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    typed = load_config(written(tmp_path, "file: net.keras"), ["model.file=other.h5"]).config.model
    assert typed == FileModelConfig(file=str(elsewhere / "other.h5"))


def test_a_file_stands_in_for_build_and_train(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "file: net.keras", "prune: {}\n")).config
    assert [stage.name for stage in stages_of(config)] == ["ingest", "build", "prune", "convert", "export"]
    assert (producer("dense", config), producer("trained", config)) == ("build", "build")
    tuned = load_config(written(tmp_path, "file: net.keras, fine_tune: true", "tune: {}\ntrain: {epochs: 2}\n")).config
    assert [stage.name for stage in stages_of(tuned)][:4] == ["ingest", "build", "train", "tune"]
    assert (producer("start", tuned), producer("trained", tuned), producer("dense", tuned)) == (
        "build",
        "train",
        "tune",
    )


def test_editors_accept_a_model_without_family() -> None:
    definitions = config_json_schema()["$defs"]
    assert definitions["FileModelConfig"]["required"] == ["file"]
    assert definitions["BuilderModelConfig"]["required"] == ["builder"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "file: m.keras, family: mlp",
            "model.file: expected a key of 'model', got 'file'. 'file' and 'family' exclude each other: take "
            "one of them ",
        ),
        (
            "builder: nets:f, file: x.h5",
            "model.builder: expected a key of 'model', got 'builder'. 'builder' and 'file' exclude each other: "
            "take one",
        ),
        ("fil: m.keras", "model.family: expected one of 'linear', 'mlp', 'cnn'"),
        (
            "file: m.keras, fine_tun: true",
            "model.fine_tun: expected a key of 'model', got 'fine_tun'. Did you mean 'fine_",
        ),
        (
            "file: m.keras, units: [3]",
            "model.units: expected a key of 'model', got 'units'. 'units' belongs to 'model' with",
        ),
        (
            "family: file",
            "model.file: expected text, got nothing. Add it to 'model': a `.keras` or `.h5` file, or the folder",
        ),
        ("file: ''", "model.file: expected the path of a model, got ''."),
        (
            "file: m.pkl",
            "model.file: expected a .keras or .h5 file, or the folder of a SavedModel, got .pkl. A pickle runs "
            "whatever code",
        ),
        ("file: m.h5, allow: [a, a]", "model.allow.1: expected each once, got 'a' again. Take it out."),
        (
            "file: m.h5, output: original_units",
            "model.output: expected standard, logits or sigmoid with task: classification",
        ),
        (
            "builder: nets.py",
            "model.builder: expected module:function, got 'nets.py'. For the function network in nets.py",
        ),
        ("builder: ../nets:f", "model.builder: expected module:function, got '../nets:f'."),
        (
            "builder: nets:f, arguments: {q: {a: 1}}",
            "model.arguments.q: expected true or false or a whole number or a ",
        ),
    ],
)
def test_refusals(tmp_path: Path, model: str, message: str) -> None:
    told = problems(tmp_path, model)
    assert len(told) == 1, told
    assert told[0].startswith(f"run.yaml:4: {message}"), told


def test_a_folder_of_the_web_is_refused(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, 'file: "http://b/net"')
    assert problem.startswith("run.yaml:4: model.file: expected a URL of the web to end in .keras, .h5, .hdf5, got ")


def test_a_misspelt_key_gets_the_nearest(tmp_path: Path) -> None:
    assert problems(tmp_path, "fil: m.keras")[0].endswith("got nothing. Did you mean 'file' by 'fil'?")
    assert problems(tmp_path, "famly: mlp")[0].endswith("got nothing. Did you mean 'family' by 'famly'?")


@pytest.mark.parametrize(
    ("model", "more", "message"),
    [
        (
            "file: m.h5",
            "train: {epochs: 3}",
            "train: expected no such section with model.file, which is taken as trained",
        ),
        (
            "file: m.h5",
            "tune: {trials: 3}",
            "tune: expected no such section with model.file, which is taken as trained",
        ),
        (
            "builder: a:b",
            "train: {mode: layer_wise}",
            "train.mode: expected 'end_to_end' with a model of your own, got",
        ),
        (
            "builder: a:b",
            "prune: {inputs: varying}",
            "prune.inputs: expected all with a model of your own, got varying.",
        ),
        (
            "file: m.h5",
            "prune: {unit: node, criterion: batch_normalization_scale}",
            "prune.criterion: expected another with a model of your own, got batch_normalization_scale.",
        ),
    ],
)
def test_what_nothing_would_read_is_refused(tmp_path: Path, model: str, more: str, message: str) -> None:
    told = problems(tmp_path, model, f"{more}\n")
    assert len(told) == 1, told
    assert told[0].startswith(f"run.yaml:5: {message}"), told


@pytest.mark.parametrize("task", ["reconstruction", "clustering"])
def test_other_tasks_are_for_families(task: str) -> None:
    data, model = {"source": "builtin", "name": "iris"}, {"family": "builder", "builder": "a:b"}
    with pytest.raises(ValidationError) as caught:
        RunConfig.model_validate({"name": "own", "task": task, "data": data, "model": model})
    expected = (
        f"task: expected 'classification' or 'regression' with a model of your own, got '{task}'. Choose a family"
    )
    assert expected in str(caught.value)
