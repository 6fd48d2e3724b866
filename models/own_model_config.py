"""The section `model` where a user brings the model: a file, or a function that makes one."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any, Literal

from pydantic import Field, field_validator

from data.contract import FrozenConfig

PICKLES = frozenset({".pkl", ".pickle", ".joblib", ".dill", ".pt", ".pth"})
"""Ends of names of files that run code as they are read."""


class FileModelConfig(FrozenConfig):
    """A trained model of your own, from a file of tf_keras: it takes the place of `build` and `train`."""

    family: Literal["file"] = "file"
    """Implied by `file`; it need not be written."""

    file: str
    """A `.keras` or `.h5` file, or the folder of a SavedModel, saved whole by tf_keras; a relative one counts from the
    config's folder. It must take rows as the data's schema has them, as float32."""

    output: Literal["standard", "logits", "sigmoid", "original_units"] = "standard"
    """What it answers. `standard`: probabilities by a softmax, or standardized values. Others are brought to that:
    `logits`: a softmax is put on them; `sigmoid`: one probability, of the second of two classes; `original_units`:
    regression in the target's own unit."""

    fine_tune: bool = False
    """Train it on, as section `train` says. Otherwise the stage `train` is skipped, and a section `train` refused."""

    allow: tuple[str, ...] = ()
    """Names of layers that may run code which the file brings along (Lambda layers); a file that has others is refused.
    Such code can do whatever you can: allow it only from somebody you trust."""

    @field_validator("file")
    @classmethod
    def _no_other_kinds_of_file(cls, file: str) -> str:
        if not file or "\0" in file:
            raise ValueError(f"expected the path of a model, got {file!r}.")
        suffix = PurePath(file).suffix.lower()
        if suffix in PICKLES:
            raise ValueError(
                f"expected a .keras or .h5 file, or the folder of a SavedModel, got {suffix}. A pickle runs whatever "
                "code it holds, and is never opened: save the model by tf_keras."
            )
        return file


class BuilderModelConfig(FrozenConfig):
    """A function of your own that makes the untrained model from the data's schema; its code runs with your rights."""

    family: Literal["builder"] = "builder"
    """Implied by `builder`; it need not be written."""

    builder: str
    """`module:function`; the function takes the schema and returns an uncompiled tf_keras model. The module is a file
    in `folder`, and may import others beside it."""

    folder: str | None = None
    """Where the module lies; the config's folder when left out. A relative one counts from there."""

    arguments: dict[str, bool | int | float | str | tuple[bool | int | float | str, ...]] = Field(default_factory=dict)
    """What else the function is called with, by the names of its parameters; lists come as tuples."""

    @field_validator("builder")
    @classmethod
    def _module_and_function(cls, builder: str) -> str:
        module, _, function = builder.partition(":")
        if not function.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
            raise ValueError(
                f"expected module:function, got '{builder}'. For the function network in nets.py write nets:network."
            )
        return builder


OWN_MODELS = (FileModelConfig, BuilderModelConfig)
"""Models that a user brings: their layers are not known before the stage `build`."""


def with_implied_family(section: Any) -> Any:
    """Names the family of a section that says `file` or `builder` in place of one.

    Args:
        section: the section `model`, whatever was written.

    Returns:
        The section with `family`; as it was where it has one, or neither of the two keys.
    """
    if isinstance(section, dict) and "family" not in section:
        for declared in OWN_MODELS:
            family = declared.model_fields["family"].default
            if family in section:
                return {"family": family, **section}
    return section
