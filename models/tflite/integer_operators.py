"""Operators that TFLite's runtimes compute in int8 and its converter leaves on floats.

The converter puts DEQUANTIZE before such an operator and QUANTIZE behind it, with the scales that calibration found.
LiteRT and TFLite Micro have an int8 kernel for it all the same, which reads those scales itself; so the two
conversions are taken away. TensorFlow is not imported.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

_INT8_KERNELS = frozenset({schema.BuiltinOperator.ELU})
"""Operators of one input and one output that both runtimes have for int8, by a table of all 256 inputs."""


def join_integer_operators(unpacked: Any) -> bool:
    """Lets operators read and write int8 where the converter made them work on floats between two conversions.

    Args:
        unpacked: a `ModelT` of TFLite's schema; changed in place.

    Returns:
        Whether anything was changed.
    """
    changed = [_join(unpacked, graph) for graph in unpacked.subgraphs]
    if any(changed):
        _drop_unused_codes(unpacked)
    return any(changed)


def _join(unpacked: Any, graph: Any) -> bool:
    makers = {int(output): operator for operator in graph.operators for output in operator.outputs}
    superfluous: list[Any] = []
    for operator in graph.operators:
        if _code(unpacked, operator) not in _INT8_KERNELS:
            continue
        before = makers.get(int(operator.inputs[0]))
        after = _only_reader(graph, int(operator.outputs[0]))
        if before is None or after is None:
            continue
        joins = (
            _code(unpacked, before) == schema.BuiltinOperator.DEQUANTIZE
            and _code(unpacked, after) == schema.BuiltinOperator.QUANTIZE
            and _is_int8(graph, before.inputs[0])
            and _is_int8(graph, after.outputs[0])
        )
        if joins:
            if _only_reader(graph, int(operator.inputs[0])) is operator:
                superfluous.append(before)
            operator.inputs, operator.outputs = before.inputs, after.outputs
            superfluous.append(after)
    graph.operators = [each for each in graph.operators if not any(each is other for other in superfluous)]
    if superfluous:
        _drop_unused_tensors(graph)
    return bool(superfluous)


def _code(unpacked: Any, operator: Any) -> int:
    return int(unpacked.operatorCodes[operator.opcodeIndex].builtinCode)


def _only_reader(graph: Any, tensor: int) -> Any | None:
    """The one operator that reads a tensor; None where several do, or the graph hands it out."""
    readers = [each for each in graph.operators if tensor in _indices(each.inputs)]
    return readers[0] if len(readers) == 1 and tensor not in _indices(graph.outputs) else None


def _is_int8(graph: Any, tensor: Any) -> bool:
    return bool(graph.tensors[int(tensor)].type == schema.TensorType.INT8)


def _indices(indices: Any) -> list[int]:
    return [] if indices is None else [int(each) for each in indices]


def _drop_unused_tensors(graph: Any) -> None:
    lists = [graph.inputs, graph.outputs]
    for operator in graph.operators:
        lists += [operator.inputs, operator.outputs, operator.intermediates]
    used = sorted({index for each in lists for index in _indices(each) if index >= 0})
    places = {old: new for new, old in enumerate(used)} | {-1: -1}

    def moved(indices: Any) -> Any:
        return None if indices is None else np.array([places[index] for index in _indices(indices)], np.int32)

    graph.tensors = [graph.tensors[index] for index in used]
    graph.inputs, graph.outputs = moved(graph.inputs), moved(graph.outputs)
    for operator in graph.operators:
        operator.inputs, operator.outputs = moved(operator.inputs), moved(operator.outputs)
        operator.intermediates = moved(operator.intermediates)


def _drop_unused_codes(unpacked: Any) -> None:
    used = sorted({operator.opcodeIndex for graph in unpacked.subgraphs for operator in graph.operators})
    places = {old: new for new, old in enumerate(used)}
    for graph in unpacked.subgraphs:
        for operator in graph.operators:
            operator.opcodeIndex = places[operator.opcodeIndex]
    unpacked.operatorCodes = [unpacked.operatorCodes[index] for index in used]
