"""Every shipped config loads, says what it is, and needs no data for that."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.compression_config import QuantizeConfig
from pipeline.config_reading.file import load_config

FOLDER = Path(__file__).resolve().parent.parent / "configs"
CONFIGS = sorted(FOLDER.glob("*.yaml"))


def test_there_are_configs() -> None:
    assert FOLDER / "digits.yaml" in CONFIGS


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_loads_and_carries_the_name_of_its_file(path: Path) -> None:
    assert load_config(path).config.name == path.stem.replace("_", "-")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_opens_with_a_comment_and_fits_a_screen(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert max(map(len, lines)) <= 120


def test_names_are_unique() -> None:
    names = [load_config(path).config.name for path in CONFIGS]
    assert len(set(names)) == len(names)


def test_the_default_run_is_tuned_pruned_and_of_int8() -> None:
    config = load_config(FOLDER / "digits.yaml").config
    assert config.name == "digits"
    assert config.tune is not None
    assert config.prune is not None
    assert (config.prune.scope, config.prune.unit, config.prune.sparsity) == ("global", "weight", 0.5)
    assert config.quantize == QuantizeConfig(precision="int8")
    assert config.target.max_model_bytes == 12_000
    assert config.pretrain is None


def test_the_fashion_run_is_not_tuned_and_is_held_to_its_size() -> None:
    config = load_config(FOLDER / "fashion_cnn.yaml").config
    assert config.tune is None
    assert config.target.max_model_bytes == 40_000
    assert getattr(config.data, "path", None) == "/usr/share/datasets/fashion-mnist"
