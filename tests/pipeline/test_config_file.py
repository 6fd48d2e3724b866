"""Reading a config: every problem at once, each with its place and what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.contract import ConfigError
from models.compression_config import QuantizeConfig
from pipeline.config import RunConfig
from pipeline.config_reading.file import ConfigErrors, LoadedConfig, load_config

ROOT = Path(__file__).resolve().parents[2]
TASKS = "'classification', 'regression', 'reconstruction', 'clustering'"
FAMILIES = "'linear', 'mlp', 'cnn', 'autoencoder'"
IRIS = "name: iris\ntask: classification\ndata: {source: builtin, name: iris}\nmodel: {family: mlp}\n"


def load(folder: Path, text: str, *overrides: str) -> LoadedConfig:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, overrides)


def problems(folder: Path, text: str, *overrides: str) -> list[str]:
    """The lines of the error, with the folder left out."""
    with pytest.raises(ConfigErrors) as caught:
        load(folder, text, *overrides)
    assert isinstance(caught.value, ConfigError)
    assert caught.value.exit_code == 2
    assert len(caught.value.problems) == len(str(caught.value).splitlines())
    return str(caught.value).replace(f"{folder}/", "").splitlines()


BAD = """\
name: My Run
seed: 1
seed: 2
task: clasification
sede: 4
data: {source: builtn, name: digit}
model:
  family: cnn
  units: [3]
  blocks:
    - {filters: 0, pool: 2}
    - {filter: 8, kernel: 3.5}
    - 5
train:
  mode: layerwise
  epochs: "20"
  epoch: 3
  learning_rate: 0.1
  class_weights: balance
  stop: {patience: 0, loss_below: .inf}
prune: {unit: nodes, sparsity: 1.5, sparsity: auto, tune: {}}
tune:
quantize: {precision: int3, aware: true}
cluster: {num: 16}
target: {max_model_bytes: 12kB, max_score_drop: -1}
convert: {variants: [int8, float31]}
"""


def test_everything_wrong_is_told_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    own = "Did you mean"
    assert problems(tmp_path, BAD) == [
        "run.yaml:1: name: expected text that matches [a-z0-9][a-z0-9_-]*, of at most 64 characters, got 'My Run'.",
        "run.yaml:3: seed: expected each key once, got it again (first on line 2). Take one out.",
        f"run.yaml:4: task: expected one of {TASKS}, got 'clasification'. {own} 'classification'?",
        f"run.yaml:5: sede: expected a key of the config, got 'sede'. {own} 'seed'?",
        "run.yaml:6: data.source: expected one of 'builtin', 'table', 'images', 'arrays', 'idx', 'series', "
        f"got 'builtn'. {own} 'builtin'?",
        "run.yaml:6: data.name: expected one of 'digits', 'iris', 'wine', 'breast_cancer', 'diabetes', 'gapminder', "
        f"got 'digit'. {own} 'digits'?",
        "run.yaml:9: model.units: expected a key of 'model', got 'units'. "
        "'units' belongs to 'model' with family: mlp, rnn or autoencoder.",
        "run.yaml:11: model.blocks.0.filters: expected a whole number from 1 to 1024, got 0.",
        "run.yaml:12: model.blocks.1.filters: expected a whole number from 1 to 1024, got nothing. "
        "Add it to 'model.blocks.1': filters of the convolution.",
        "run.yaml:12: model.blocks.1.kernel: expected a whole number from 1 to 11, got 3.5.",
        f"run.yaml:12: model.blocks.1.filter: expected a key of 'model.blocks.1', got 'filter'. {own} 'filters'?",
        "run.yaml:13: model.blocks.2: expected a section, got 5. "
        "Its keys are filters, kernel, stride, padding, separable, residual, batch_normalization, pool.",
        f"run.yaml:15: train.mode: expected one of 'end_to_end', 'layer_wise', got 'layerwise'. {own} 'layer_wise'?",
        "run.yaml:16: train.epochs: expected a whole number from 1 to 100000, got '20'. "
        "Write it without quotes, spaces, units or underscores.",
        f"run.yaml:17: train.epoch: expected a key of 'train', got 'epoch'. {own} 'epochs'?",
        "run.yaml:18: train.learning_rate: expected a key of 'train', got 'learning_rate'. "
        "'learning_rate' belongs to 'train.optimizer'.",
        "run.yaml:19: train.class_weights: expected 'balanced' or a mapping "
        f"(each value a number above 0 and at most 1e+06) or null, got 'balance'. {own} 'balanced'?",
        "run.yaml:20: train.stop.patience: expected a whole number of at least 1 or null, got 0.",
        "run.yaml:20: train.stop.loss_below: expected a number above 0 or null, got infinity.",
        "run.yaml:21: prune.sparsity: expected each key once, got it again (first on line 21). Take one out.",
        "run.yaml:21: prune.unit: expected one of 'weight', 'node' or a list of 2 (each one of 'node', 'weight'), "
        f"got 'nodes'. {own} 'node'?",
        "run.yaml:21: prune.tune: expected a key of 'prune', got 'tune'. 'tune' belongs to the top level.",
        "run.yaml:22: tune: expected a value, got nothing. Write null to leave it unset, "
        "{} for a section with its defaults, or take the key out.",
        "run.yaml:23: quantize.precision: expected one of 'float32', 'float16', 'dynamic_range', 'int8', 'int16x8', "
        f"'int4', got 'int3'. {own} 'int8'?",
        "run.yaml:23: quantize.aware: expected a section or null, got true. "
        "Its keys are batch_size, optimizer, epochs, distillation.",
        "run.yaml:24: cluster.num: expected a key of 'cluster', got 'num'. "
        "Its keys are batch_size, optimizer, clusters, epochs, initialization, min_layer_weights, distillation.",
        "run.yaml:25: target.max_score_drop: expected a number of at least 0 or null, got -1.",
        "run.yaml:25: target.max_model_bytes: expected a whole number of at least 1 or null, got '12kB'.",
        "run.yaml:26: convert.variants.1: expected one of 'float32', 'float16', 'dynamic_range', 'int8', 'int16x8', "
        f"'int4', 'int8_sparse_micro', 'int8_tables_micro', got 'float31'. {own} 'float32'?",
    ]


def test_sections_are_compared_even_where_another_key_is_wrong(tmp_path: Path) -> None:
    text = IRIS.replace("mlp", "cnn").replace("iris\n", "Iris\n") + "sede: 3\nexport: {golden_rows: 1}\n"
    places = [line.split(": expected")[0] for line in problems(tmp_path, text)]
    assert places == [
        "run.yaml:1: name",
        "run.yaml:4: model.family",
        "run.yaml:5: sede",
        "run.yaml:6: export.c_golden_rows",
    ]


def test_nothing_is_told_that_only_follows_from_another_fault(tmp_path: Path) -> None:
    # Were `layer_wize` taken for the default, `pretrain` would seem to be out of place.
    assert problems(tmp_path, IRIS + "train: {mode: layer_wize}\npretrain: {}\n") == [
        "run.yaml:5: train.mode: expected one of 'end_to_end', 'layer_wise', got 'layer_wize'. "
        "Did you mean 'layer_wise'?"
    ]
    assert problems(tmp_path, IRIS.replace("task: classification", "task: 3")) == [
        f"run.yaml:2: task: expected one of {TASKS}, got 3."
    ]


def test_features_of_other_versions_are_refused_by_name(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, IRIS.replace("builtin, name: iris", "builtin, name: iris, augmentation: {}"))
    assert problem.startswith("run.yaml:3: data.augmentation: expected a key of 'data', got 'augmentation'.")
    assert problem.endswith("not available in this version.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            "run.yaml: expected name, task, data and model at least, got an empty file. Start from",
        ),
        ("- a\n", "run.yaml:1: expected keys with values (name: …, task: …), got a list."),
        ("hello\n", "run.yaml:1: expected keys with values (name: …, task: …), got 'hello'."),
        ("name: a\ndata:\n\tx: 1\n", "run.yaml:3:1: expected spaces, got a tab. Indent with spaces."),
        ("name: a: b\n", "run.yaml:1:8: expected YAML, got what is none: mapping values are not allowed here."),
        ("name: !!python/name:os.system a\n", "run.yaml:1: expected plain values, got the tag"),
        (
            f"{IRIS}seed: 2024-01-31\n",
            "run.yaml:5: seed: expected a whole number from 0 to 2147483647, got '2024-01-31'.",
        ),
        (f"{IRIS}seed: 1.5\n", "run.yaml:5: seed: expected a whole number from 0 to 2147483647, got 1.5."),
        (f"{IRIS}seed: true\n", "run.yaml:5: seed: expected a whole number from 0 to 2147483647, got true."),
        (f"{IRIS}seed: {10**25}\n", f"run.yaml:5: seed: expected a whole number from 0 to 2147483647, got {10**25}."),
        (f"{IRIS}train: {{optimizer: {{learning_rate: .nan}}}}\n", "got NaN."),
        (f"{IRIS}train: {{epochs: 1_000}}\n", "got '1_000'. Write it without quotes, spaces, units or underscores."),
        (f"{IRIS}train: null\n", "run.yaml:5: train: expected a section, got null."),
        (
            f"{IRIS}convert: {{variants: []}}\n",
            "run.yaml:5: convert.variants: expected a list of at least 1 (each one of",
        ),
        (f"{IRIS}convert: {{variants: int8}}\n", "run.yaml:5: convert.variants: expected a list of at least 1"),
        (f"{IRIS}<<: {{seed: 1}}\n", "run.yaml:5: <<: expected a key of the config, got '<<'."),
        (IRIS.replace("iris\n", "5\n"), "got 5. Put it in quotes."),
        (IRIS.replace("data: {source: builtin, name: iris}", "data: iris"), "Write for example {source: builtin};"),
        (
            IRIS.replace("family: mlp", "units: [3]"),
            "run.yaml:4: model.family: expected one of 'linear', 'mlp', 'cnn', ",
        ),
        (
            f"{IRIS}tune: {{min_strength: 0.5}}\n",
            "run.yaml:5: tune: expected min_strength below max_strength, got 0.5 and 0.01.",
        ),
        (
            "task: regression\ndata: {source: builtin, name: diabetes}\nmodel: {family: mlp}\n",
            "run.yaml:1: name: expected text that matches [a-z0-9][a-z0-9_-]*, of at most 64 characters, got nothing.",
        ),
        (
            IRIS.replace("name: iris}", "validation_fraction: 0.6, test_fraction: 0.5, name: iris}"),
            "run.yaml:3: data: expected validation_fraction + test_fraction below 1, got 0.6 + 0.5.",
        ),
    ],
)
def test_one_fault_one_message(tmp_path: Path, text: str, message: str) -> None:
    (problem,) = problems(tmp_path, text)
    assert message in problem


def test_files_that_are_no_config(tmp_path: Path) -> None:
    (tmp_path / "digits.yaml").write_text(IRIS)
    cases = {
        tmp_path / "digit.yaml": f"got a path where nothing is. Did you mean '{tmp_path}/digits.yaml'?",
        tmp_path / "digits": f"got a path where nothing is. Did you mean '{tmp_path}/digits.yaml'?",
        tmp_path / "none" / "a.yaml": f"got a path where nothing is. There is no folder '{tmp_path}/none' either.",
        tmp_path: "expected a config file, got a folder. It holds digits.yaml.",
        Path("/dev/zero"): "expected a regular file, got a device or a pipe.",
        tmp_path / ("a" * 300): "expected a",
    }
    for path, message in cases.items():
        with pytest.raises(ConfigErrors) as caught:
            load_config(path)
        assert str(caught.value).startswith(f"{path}: expected ")
        assert message in str(caught.value)


def test_text_that_is_no_utf8_or_too_long(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(b"name: a\ntask: \xff\n")
    with pytest.raises(ConfigErrors, match=r"run\.yaml:2: expected UTF-8 text, got the byte 0xff\."):
        load_config(path)
    path.write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(ConfigErrors, match=r"expected at most 1048576 bytes, got more\."):
        load_config(path)


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + IRIS.encode())
    assert load_config(path).config.name == "iris"


# ------------------------------------------------------------------------------------- overrides


def test_overrides_set_values_lists_and_sections(tmp_path: Path) -> None:
    text = IRIS + "prune: {sparsity: 0.5}\ntune: {trials: 3}\n"
    config = load(
        tmp_path, text, "train.epochs=3", "train.optimizer.name=sgd", "model.units=[8, 4]", "model.units.1=5",
        "prune=null", "tune.trials=9", "quantize={}", "target.min_score=.5", "train.class_weights.0=2",
    ).config  # fmt: skip
    assert config.train.epochs == 3
    assert config.train.optimizer.name == "sgd"
    assert getattr(config.model, "units", None) == (8, 5)
    assert config.prune is None
    assert config.tune is not None
    assert config.tune.trials == 9
    assert config.quantize == QuantizeConfig(precision="int8")
    assert config.target.min_score == 0.5
    assert config.train.class_weights == {"0": 2.0}


def test_an_override_of_a_list_item_starts_from_the_default(tmp_path: Path) -> None:
    text = IRIS.replace("mlp", "cnn").replace("name: iris}", "name: digits}")
    config = load(tmp_path, text, "model.blocks.0.filters=8").config
    assert [block.filters for block in getattr(config.model, "blocks", ())] == [8, 32]


def test_the_last_override_of_a_key_wins(tmp_path: Path) -> None:
    assert load(tmp_path, IRIS, "seed=2", "seed=3").config.seed == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochs", "expected `section.field=value`, got no `=`. Write for example train.epochs=5."),
        ("=5", "expected `section.field=value`, got no field before the `=`."),
        ("train..epochs=5", "expected names between the dots, got 'train..epochs'."),
        (
            "train.epochs=",
            "train.epochs: expected a whole number from 1 to 100000 after `=`, got nothing. Write one, or leave it",
        ),
        ("train=", "train: expected a section after `=`, got nothing. Write one, or leave it out."),
        ("prune=", "prune: expected a section or null after `=`, got nothing. Write prune=null to unset it."),
        ("trian=", "trian: expected a value after `=`, got nothing. Write one, or leave it out."),
        ("train.epochs=0", "train.epochs: expected a whole number from 1 to 100000, got 0."),
        ("train.epoch=3", "train.epoch: expected a key of 'train', got 'epoch'. Did you mean 'epochs'?"),
        ("trian.epochs=3", "trian: expected a key of the config, got 'trian'. Did you mean 'train'?"),
        ("epochs=3", "epochs: expected a key of the config, got 'epochs'. 'epochs' belongs to 'train', 'pretrain',"),
        ("model.units.3=3", "model.units: expected a position from 0 to 2, got '3'."),
        ("model.units.x=3", "model.units: expected a position from 0 to 2, got 'x'."),
        ("seed.x=3", "seed: expected a section or a list, got 1."),
        ("model.units=[1, 2", "model.units: expected YAML, got what is none"),
        ("train={epochs: 1, epochs: 2}", "train.epochs: expected each key once, got it again"),
        ("train={epochs: }", "train.epochs: expected a value, got nothing."),
        ("pretrain={}", "pretrain: expected no such section with train.mode: end_to_end, got one."),
    ],
)
def test_overrides_that_cannot_be(tmp_path: Path, override: str, message: str) -> None:
    (problem,) = problems(tmp_path, IRIS + "seed: 1\n", override)
    assert problem.startswith(f"override {override}: {message}")


def test_overrides_are_told_after_the_file(tmp_path: Path) -> None:
    first, second, third = problems(tmp_path, IRIS + "sede: 1\n", "x", "seed=-1")
    assert first.startswith("run.yaml:5: sede")
    assert second.startswith("override x: ")
    assert third.startswith("override seed=-1: seed")


# ----------------------------------------------------------------------------- paths and records

IMAGES = IRIS.replace("{source: builtin, name: iris}", "{source: images, path: %s}")


def test_a_relative_path_counts_from_the_config(tmp_path: Path) -> None:
    loaded = load(tmp_path, IMAGES % "a/../pictures")
    assert getattr(loaded.config.data, "path", None) == str(tmp_path / "pictures")
    assert loaded.resolved["data"]["path"] == str(tmp_path / "pictures")
    assert loaded.written["data"]["path"] == "a/../pictures"


def test_a_path_in_an_override_counts_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    loaded = load(tmp_path, IMAGES % "pictures", "data.path=pictures")
    assert getattr(loaded.config.data, "path", None) == str(tmp_path / "here" / "pictures")


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert getattr(load(tmp_path, IMAGES % "~/p").config.data, "path", None) == "/home/someone/p"
    (problem,) = problems(tmp_path, IMAGES % "~nobody-of-this-name/p")
    assert "data.path: expected a home folder that exists, got '~nobody-of-this-name/p'." in problem


def test_what_is_kept_of_a_config(tmp_path: Path) -> None:
    text = "# mine\n" + IRIS
    loaded = load(tmp_path, text, "seed=4")
    assert loaded.text == text
    assert loaded.overrides == ("seed=4",)
    assert loaded.written["seed"] == 4
    assert loaded.resolved["train"]["epochs"] == 20
    assert RunConfig.model_validate_json(json.dumps(loaded.resolved)) == loaded.config


def test_loading_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from pipeline.config_reading.file import load_config\n"
        "from pipeline.config_reading.docs import config_json_schema\n"
        "load_config('configs/digits.yaml', ['prune=null', 'tune={}', 'engine={kind: ray}'])\n"
        "import pipeline.executors.engine, pipeline.session\n"
        "config_json_schema()\n"
        "heavy = {'numpy', 'pandas', 'sklearn', 'tensorflow', 'tf_keras', 'keras', 'scipy', 'pyarrow', 'plotly'}\n"
        "heavy |= {'ray', 'fsspec'}\n"
        "print(sorted(heavy & {name.split('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -------------------------------------------------------------------------------------- anything

_words = st.sampled_from(
    ["name", "task", "data", "model", "train", "prune", "tune", "source", "family", "builtin", "table", "iris", "cnn",
     "mlp", "blocks", "filters", "epochs", "class_weights", "layer_wise", "mode", "unit", "node", "path", "x", "0"]
)  # fmt: skip
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(sections=st.dictionaries(_words, _values, max_size=6), override=st.tuples(_words, _words, _values))
def test_any_document_is_a_config_or_a_list_of_problems(
    tmp_path_factory: pytest.TempPathFactory, sections: dict[str, object], override: tuple[str, str, object]
) -> None:
    document = {"name": "a", "task": "classification", "data": {"source": "builtin", "name": "iris"},
                "model": {"family": "mlp"}, **sections}  # fmt: skip
    text = json.dumps(document).replace("NaN", ".nan").replace("Infinity", ".inf")
    value = json.dumps(override[2]).replace("NaN", ".nan").replace("Infinity", ".inf")
    try:
        load(tmp_path_factory.getbasetemp(), text, f"{override[0]}.{override[1]}={value}")
    except ConfigErrors as error:
        assert error.problems


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("train:", "Write {} for a section with its defaults, or take the key out."),
        ("train: {epochs: }", "Write a whole number from 1 to 100000, or take the key out."),
        ("prune:", "Write null to leave it unset, {} for a section with its defaults, or take the key out."),
        ("quantize:", "Write null to leave it unset, {} for a section with its defaults, or take the key out."),
        ("trian:", "Write null to leave it unset, {} for a section with its defaults, or take the key out."),
    ],
)
def test_null_is_offered_where_it_may_stand_and_nowhere_else(tmp_path: Path, line: str, hint: str) -> None:
    found = problems(tmp_path, f"{IRIS}{line}\n")
    assert [each for each in found if each.endswith(f"expected a value, got nothing. {hint}")], found


def test_size_that_is_too_short_is_told_in_whole_sentences(tmp_path: Path) -> None:
    text = "name: a\ntask: classification\ndata: {source: images, path: x, size: [24]}\nmodel: {family: mlp}\n"
    assert problems(tmp_path, text)[0].endswith("got nothing. Add it to 'data.size'.")


@pytest.mark.parametrize("section", ["train: null", "convert: null"])
def test_null_for_a_section_that_is_always_there_offers_its_defaults(tmp_path: Path, section: str) -> None:
    key = section.split(":")[0]
    assert problems(tmp_path, f"{IRIS}{section}\n") == [
        f"run.yaml:5: {key}: expected a section, got null. Write `{key}: {{}}` for its defaults, or take it out."
    ]


def test_field_that_nothing_would_read_is_told_with_its_line(tmp_path: Path) -> None:
    found = problems(tmp_path, f"{IRIS}prune:\n  sparsity: 0.5\n  scope: local\n  min_layer_density: 0.1\n")
    assert [each.split(": expected")[0] for each in found] == ["run.yaml:8: prune.min_layer_density"]


TABLE = "name: t\ntask: regression\ndata: {source: table, path: a.csv, target: y, types: {y: numeric}}\n"


def test_type_of_the_target_is_not_to_be_overruled(tmp_path: Path) -> None:
    [told] = problems(tmp_path, f"{TABLE}model: {{family: mlp}}\n")
    assert "run.yaml:3: data.types.y: expected columns other than data.target, got it." in told


@pytest.mark.parametrize("weight", ["0", "-1", "1e300", ".inf", ".nan"])
def test_class_weights_are_numbers_a_loss_can_bear(tmp_path: Path, weight: str) -> None:
    [told] = problems(tmp_path, f"{IRIS}train: {{class_weights: {{rose: {weight}}}}}\n")
    assert "train.class_weights" in told


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{unit: [weight, node]}", "prune.unit: expected node, weight or [node, weight], got [weight, node]."),
        ("{unit: node, steps: 9}", "prune.steps: expected at most prune.epochs (4), got 9."),
        ("{criterion: l1}", "prune.criterion: expected it with prune.unit: node alone"),
        ("{multiple: 8}", "prune.multiple: expected it with prune.unit: node alone"),
        ("{unit: node, update_steps: 3}", "prune.update_steps: expected it with prune.unit: weight alone"),
        ("{unit: node, weight_sparsity: 0.9}", "prune.weight_sparsity: expected it with prune.unit: [node, weight]"),
        ("{sensitivity: {max_score_drop: 0.5}}", "prune.sensitivity: expected it with prune.sparsity: auto alone"),
        ("{sparsity: auto, scope: local}", "prune.scope: expected it with prune.sparsity as a number alone"),
        ("{sparsity: auto, sensitivity: {levels: [0.5, 0.2]}}", "prune.sensitivity: expected levels that rise"),
    ],
)
def test_what_pruning_would_not_read_or_cannot_do(tmp_path: Path, line: str, message: str) -> None:
    [told] = problems(tmp_path, f"{IRIS}prune: {line}\n")
    assert told.startswith(f"run.yaml:5: {message}")


@pytest.mark.parametrize("line", ["{unit: node, steps: 2}", "{unit: node, epochs: 1}", "{unit: [node, weight]}"])
def test_units_that_can_be_pruned(tmp_path: Path, line: str) -> None:
    assert load(tmp_path, f"{IRIS}prune: {line}\n").config.prune is not None


def test_letters_that_were_swapped_in_a_short_word(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, IRIS.replace("mlp", "mpl"))
    assert problem.startswith("run.yaml:4: model.family: expected one of 'linear', 'mlp', 'cnn', ")
    assert problem.endswith("got 'mpl'. Did you mean 'mlp'?")


@pytest.mark.parametrize(
    ("old", "line", "message"),
    [
        (
            "",
            "metric: r2",
            "5: metric: expected 'accuracy' or 'balanced_accuracy' or 'macro_f1' with task: classification",
        ),
        ("", "train: {loss: {name: mse}}", "5: train.loss.name: expected 'cross_entropy' or 'focal' with task: class"),
        (
            "",
            "train: {loss: {focal_gamma: 1.0}}",
            "5: train.loss.focal_gamma: expected it with train.loss.name: focal alone",
        ),
        (
            "",
            "train: {loss: {name: focal, label_smoothing_fraction: 0.1}}",
            "5: train.loss.label_smoothing_fraction: expected it with train.loss.name: cross_entropy alone",
        ),
        (
            "",
            "train: {optimizer: {drop_epochs: 3}}",
            "5: train.optimizer: expected drop_epochs with schedule: step alone",
        ),
        ("", "train: {optimizer: {name: adamW}}", "5: train.optimizer.name: expected one of 'sgd', 'momentum'"),
        ("", "train: {batch_size: ful}", "5: train.batch_size: expected"),
        ("", "train: {stop: {gradient_norm_below: 0}}", "5: train.stop.gradient_norm_below: expected"),
        ("family: mlp", "train: {mode: layer_wise}", "5: train.mode: expected 'end_to_end' with a linear model"),
    ],
)
def test_goals_and_descents_that_do_not_fit(tmp_path: Path, old: str, line: str, message: str) -> None:
    text = IRIS.replace(old, "family: linear") if old else IRIS
    (problem,) = problems(tmp_path, f"{text}{line}\n")
    assert problem.startswith(f"run.yaml:{message}")


def test_every_descent_and_goal_loads(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        f"{IRIS}metric: macro_f1\n"
        "train:\n"
        "  batch_size: full\n"
        "  optimizer: {name: nesterov, momentum: 0.8, schedule: step, drop_epochs: 3, drop_factor: 0.5,\n"
        "    warmup_steps: 2}\n"
        "  stop: {steps: 100, gradient_norm_below: 0.001, loss_below: 0.1, patience: 5}\n"
        "  loss: {name: focal, focal_gamma: 1.5}\n"
    )
    config = load_config(path).config
    assert (config.score_name, config.train.batch_size, config.train.stop.steps) == ("macro_f1", "full", 100)
    assert config.train.optimizer.drop_factor == 0.5
