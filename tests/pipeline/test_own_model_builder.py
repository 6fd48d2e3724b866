"""A builder: a user's function, imported by path; its code is in the key, its errors are told with their line."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent

import pytest

from data.contract import ConfigError, Schema
from models.own_model_config import BuilderModelConfig
from pipeline.own_model.builder_code import builder_code
from pipeline.own_model.building import call_builder
from pipeline.own_model.foreign_layers import refuse_foreign_layers
from pipeline.source_digest import model_digest

SCHEMA = Schema(
    kind="vector",
    input_shape=(4,),
    input_range=None,
    storage_divisor=1.0,
    class_names=("a", "b"),
    target_name="class",
)
NETS = """
    from tensorflow import keras
    from beside import WIDTH
    def network(schema, units=WIDTH, names=()):
        x = keras.Input(schema.input_shape)
        h = keras.layers.Dense(units, name="hidden", activation="relu")(x)
        return keras.Model(x, keras.layers.Dense(schema.num_classes, activation="softmax")(h))
"""


def asked(folder: Path, text: str = NETS, builder: str = "nets:network", **arguments: object) -> BuilderModelConfig:
    (folder / "nets.py").write_text(dedent(text))
    if not (folder / "beside.py").exists():
        (folder / "beside.py").write_text("WIDTH = 5\n")
    return BuilderModelConfig.model_validate(
        {"builder": builder, "folder": str(folder), "arguments": arguments}, strict=False
    )


def refusal(config: BuilderModelConfig) -> str:
    before = (list(sys.path), list(sys.meta_path), set(sys.modules))
    with pytest.raises(ConfigError) as caught:
        refuse_foreign_layers(call_builder(config, SCHEMA))
    assert (sys.path, sys.meta_path) == before[:2]
    assert not {"nets", "beside"} & set(sys.modules)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_function_is_called_with_the_schema_and_the_arguments(tmp_path: Path) -> None:
    path, finders = list(sys.path), list(sys.meta_path)
    assert call_builder(asked(tmp_path), SCHEMA).get_layer("hidden").units == 5
    assert call_builder(asked(tmp_path, units=7), SCHEMA).get_layer("hidden").units == 7
    assert (sys.path, sys.meta_path) == (path, finders)
    assert not {"nets", "beside"} & set(sys.modules)
    assert not (tmp_path / "__pycache__").exists()
    # A module that was edited is imported anew.
    (tmp_path / "beside.py").write_text("WIDTH = 6\n")
    assert call_builder(asked(tmp_path), SCHEMA).get_layer("hidden").units == 6


def test_a_module_of_a_package_is_found(tmp_path: Path) -> None:
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit" / "nets.py").write_text("from .parts import make as network\n")
    (tmp_path / "kit" / "parts.py").write_text("def make(schema):\n    return schema.num_classes\n")
    config = BuilderModelConfig(builder="kit.nets:network", folder=str(tmp_path))
    assert set(builder_code(config)) == {"kit.nets", "kit.parts"}
    assert call_builder(config, SCHEMA) == 2


def test_code_counts_and_comments_do_not(tmp_path: Path) -> None:
    config, memory = asked(tmp_path), tmp_path / "memory.json"
    first = model_digest(config, memory)
    (tmp_path / "nets.py").write_text(dedent(NETS) + "\n# a comment\n")
    (tmp_path / "other.py").write_text("x = 1\n")
    assert model_digest(config, memory) == first
    (tmp_path / "beside.py").write_text("WIDTH = 6\n")
    changed = model_digest(config, memory)
    assert changed != first
    (tmp_path / "nets.py").write_text(dedent(NETS).replace("relu", "tanh"))
    assert model_digest(config, memory) not in (first, changed)
    assert set(builder_code(config)) == {"nets", "beside"}


@pytest.mark.parametrize(
    ("text", "builder", "message"),
    [
        (
            NETS,
            "nest:network",
            "model.builder: expected nest.py in '{folder}', got none (the nearest is 'nets'). Correct",
        ),
        (
            NETS,
            "nets:netwrk",
            "model.builder: expected a function 'netwrk' in nets.py, got none (the nearest is 'network'). Correct the",
        ),
        (
            "def network(schema)\n    pass\n",
            "nets:network",
            "model.builder: expected Python 3.11, got none in nets.py:1 (",
        ),
        ("network = 3\n", "nets:network", "model.builder: expected a function, got nets:network, which is none."),
        (
            "def network(schema, width):\n    return width\n",
            "nets:network",
            "model.arguments: expected what nets:network(schema, width) takes besides the schema, got nothing "
            "(missing a ",
        ),
        (
            "def network(schema):\n    depth = 1\n    return depth / 0\n",
            "nets:network",
            "model.builder: expected a function that returns a model, got ZeroDivisionError: division by zero at "
            "nets.py:3. Mend it there.",
        ),
        (
            "import absent_library\ndef network(schema):\n    pass\n",
            "nets:network",
            "model.builder: expected a function that returns a model, got ModuleNotFoundError: No module named "
            "'absent_library' at nets.py:1. Mend it there.",
        ),
        (
            "import sys\ndef network(schema):\n    sys.exit(3)\n",
            "nets:network",
            "model.builder: expected a function that returns a model, got SystemExit: 3 at nets.py:3. Mend it there.",
        ),
        (
            "from importlib import import_module\ndef network(schema):\n    return import_module('beside')\n",
            "nets:network",
            "model.builder: expected imports by statements, so that a change of the code is seen, got beside "
            "imported in ",
        ),
        (
            "from tensorflow import keras\ndef network(schema):\n    x = keras.Input((4,))\n"
            "    return keras.Model(x, keras.layers.Dense(2, activation=own)(x))\ndef own(x):\n    return x\n",
            "nets:network",
            "model.builder: expected Keras's own layers and activations, got the function own in layer 'dense",
        ),
        (
            "from tensorflow import keras\nclass Own(keras.layers.Layer):\n    pass\ndef network(schema):\n"
            "    x = keras.Input((4,))\n    return keras.Model(x, Own(name='mine')(x))\n",
            "nets:network",
            "model.builder: expected Keras's own layers and activations, got the class nets.Own in layer 'mine'.",
        ),
        (
            "from tensorflow import keras\ndef network(schema):\n    x = keras.Input((4,))\n"
            "    return keras.Model(x, keras.layers.Lambda(lambda y: y, name='same')(x))\n",
            "nets:network",
            "model.builder: expected Keras's own layers and activations, got Python byte code (a Lambda layer) "
            "in layer "
            "'same'.",
        ),
    ],
)
def test_refusals(tmp_path: Path, text: str, builder: str, message: str) -> None:
    told = refusal(asked(tmp_path, text, builder))
    assert told.startswith(message.format(folder=tmp_path)), told


def test_a_name_that_means_another_module_is_refused(tmp_path: Path) -> None:
    for name, owner in (("json", "Python's own"), ("models", ""), ("numpy", "")):
        (tmp_path / f"{name}.py").write_text("def network(schema):\n    pass\n")
        config = BuilderModelConfig(builder=f"{name}:network", folder=str(tmp_path))
        told = refusal(config)
        assert told.startswith(f"model.builder: expected modules of names of their own, got '{name}', which is {owner}")
        assert told.endswith("too. Rename the file.")


def test_unknown_arguments_are_named(tmp_path: Path) -> None:
    told = refusal(asked(tmp_path, depth=3))
    assert told.startswith("model.arguments: expected what nets:network(schema, units=5, names=()) takes besides the ")
    assert "got depth (got an unexpected keyword argument 'depth')" in told


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    config = BuilderModelConfig(builder="nets:network", folder=str(tmp_path / "absent"))
    assert refusal(config) == (
        f"model.folder: expected a folder, got '{tmp_path / 'absent'}', which is none. Correct the path."
    )
