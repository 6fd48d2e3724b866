"""A classical model as plain C99: no allocation, constants in read-only memory, nothing but math.h."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import ConversionError
from models.classical.c_templates import (
    ANSWERS,
    DISTANCE,
    HEADER,
    KERNEL_ONE,
    KERNEL_VOTES,
    LINEAR,
    NODE,
    SOURCE,
    TREES,
)
from models.classical.forms import LEAF, Form, KernelForm, LinearForm, TreesForm, rounded
from models.golden_source import float_literal

HEADER_FILE = "model.h"
SOURCE_FILE = "model.c"

MAX_CONSTANT_BYTES = 4 * 1024 * 1024
"""Constants of the largest model that is written as C: more than the flash of the devices this is for."""

MAX_VOTING_CLASSES = 64
"""Classes of the largest machine of pairs: its pairs' sums lie on the stack, 16 KB of them."""

_LEAF_MARK = 0xFFFF
_MAX_NODES_OF_TREE = 0x10000
_VALUES_A_LINE = 12


def constant_bytes(form: Form) -> int:
    """Returns what the constants of a model's C source take in flash, in bytes; its code comes on top.

    Args:
        form: the model.
    """
    return sum(array.nbytes for array in _constants(form))


def constants(form: Form) -> bytes:
    """Returns the constants of a model's C source, one after the other."""
    return b"".join(array.tobytes() for array in _constants(form))


def check_size(form: Form, family: str) -> None:
    """Checks that a model can be written as C.

    Args:
        form: the model.
        family: what it is called in a config.

    Raises:
        ConversionError: a constant is not a finite number in float32; its constants are larger than
            `MAX_CONSTANT_BYTES`, it has more classes than its pairs' sums have room for, or a tree has more nodes than
            16 bits tell apart.
    """
    _check_finite(form, family)
    size = constant_bytes(form)
    if size > MAX_CONSTANT_BYTES:
        advice = {
            "svm": "Lower model.c or model.max_rows, or take kernel: linear",
            "random_forest": "Lower model.num_trees or model.max_depth, or raise model.min_leaf_rows",
            "decision_tree": "Lower model.max_depth, or raise model.min_leaf_rows",
        }.get(family, "Take fewer inputs")
        raise ConversionError(
            f"model.{family}: expected at most {MAX_CONSTANT_BYTES:,} bytes of constants in C, got {size:,}. {advice}."
        )
    if isinstance(form, KernelForm) and len(form.counts) > MAX_VOTING_CLASSES:
        raise ConversionError(
            f"model.{family}: expected at most {MAX_VOTING_CLASSES} classes with kernel: rbf, got {len(form.counts)}. "
            "Take kernel: linear, or another family."
        )
    if isinstance(form, TreesForm):
        _check_trees(form, family)


def _check_finite(form: Form, family: str) -> None:
    largest = np.finfo(np.float32).max
    numbers = {field.name: getattr(form, field.name) for field in fields(form) if field.name != "answer"}
    for name, value in numbers.items():
        flat = np.ravel(np.asarray(value, np.float64))
        wrong = flat[~(np.abs(flat) <= largest)]
        if len(wrong):
            raise ConversionError(
                f"model.{family}: expected constants that are finite numbers in float32, got {wrong[0]:g} among its "
                f"{name}. Bring model.c, model.gamma or model.alpha nearer to 1, or look in the data's profile for "
                "values that are far out."
            )


def _check_trees(form: TreesForm, family: str) -> None:
    nodes = int(np.diff(np.append(form.roots, len(form.features))).max())
    largest = max(nodes, len(form.leaves), form.num_features + 1)
    if largest > _MAX_NODES_OF_TREE:
        raise ConversionError(
            f"model.{family}: expected at most {_MAX_NODES_OF_TREE:,} nodes a tree, distinct leaves and inputs, "
            f"got {largest:,}. Lower model.max_depth, or raise model.min_leaf_rows."
        )


def c_model(form: Form, family: str) -> tuple[str, str]:
    """Writes a model in C99.

    `penjing_predict` computes in float what `forms.evaluate` computes; sums over support vectors are double.

    Args:
        form: the model.
        family: what it is called in a config.

    Returns:
        The text of model.h and of model.c.

    Raises:
        ConversionError: as `check_size`.
    """
    check_size(form, family)
    small = rounded(form)
    if isinstance(small, LinearForm):
        body = _linear(small)
    elif isinstance(small, KernelForm):
        body = _kernel(small)
    else:
        body = _trees(small)
    size = constant_bytes(form)
    header = HEADER.format(family=family, features=form.num_features, outputs=form.num_outputs, bytes=size)
    return header, SOURCE.format(family=family, body=body)


def _constants(form: Form) -> list[NDArray[Any]]:
    small = rounded(form)
    if isinstance(small, LinearForm):
        return [small.coefficients, small.intercepts]
    if isinstance(small, KernelForm):
        return [small.support, small.weights, small.intercepts, small.counts.astype(np.uint16)]
    marks = np.where(small.features == LEAF, _LEAF_MARK, small.features).astype(np.uint16)
    roots = small.roots.astype(np.uint32)
    return [small.thresholds, marks, small.nexts.astype(np.uint16), roots, small.leaves]


def _array(c_type: str, name: str, values: list[str]) -> str:
    lines = [", ".join(values[start : start + _VALUES_A_LINE]) for start in range(0, len(values), _VALUES_A_LINE)]
    text = ",\n  ".join(lines)
    return f"static const {c_type} {name}[{len(values)}] = {{\n  {text}\n}};"


def _floats(name: str, array: NDArray[Any]) -> str:
    return _array("float", name, [float_literal(np.float32(value)) for value in array.ravel()])


def _linear(form: LinearForm) -> str:
    tables = [_floats("coefficients", form.coefficients), _floats("intercepts", form.intercepts)]
    return "\n\n".join([*tables, LINEAR.format(scores=len(form.intercepts), answer=ANSWERS[form.answer])])


def _kernel(form: KernelForm) -> str:
    # One support vector after the other, each with its weights beside it.
    tables = [_floats("support", form.support), _floats("weights", form.weights.T)]
    tables.append(_floats("intercepts", form.intercepts))
    sizes = {"vectors": len(form.support), "gamma": float_literal(np.float32(form.gamma))}
    if form.answer != "votes":
        return "\n\n".join([*tables, DISTANCE, KERNEL_ONE.format(**sizes, answer=ANSWERS[form.answer])])
    tables.append(_array("uint16_t", "counts", [str(count) for count in form.counts]))
    return "\n\n".join([*tables, DISTANCE, KERNEL_VOTES.format(**sizes, pairs=len(form.intercepts))])


def _trees(form: TreesForm) -> str:
    marks = np.where(form.features == LEAF, _LEAF_MARK, form.features)
    nodes = [
        f"{{{float_literal(threshold)}, {mark}u, {following}u}}"
        for threshold, mark, following in zip(form.thresholds, marks, form.nexts, strict=True)
    ]
    tables = [
        NODE,
        _array("struct node", "nodes", nodes),
        _array("uint32_t", "roots", [f"{root}u" for root in form.roots]),
        _floats("leaves", form.leaves),
    ]
    return "\n\n".join([*tables, TREES.format(trees=len(form.roots), mark=_LEAF_MARK)])
