"""TFLite Micro against LiteRT operator by operator: what one kernel makes of the very same integers.

Two sound runtimes may round a sum differently by one step. Where what follows is steep (a sigmoid turns a step of its
input into several of its output) such steps add up, and the ends of two networks tell little about their kernels. So
each operator is looked at alone: TFLite Micro hands out every tensor on the way, and LiteRT computes each operator anew
from the tensors that TFLite Micro had in front of it. TensorFlow is not imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from models.tflite import audit
from models.tflite.flatbuffer import pack, read_whole
from models.tflite.micro import DEFAULT_TIMEOUT_SECONDS, MicroFailure, run_micro_tensors

_SEQUENCE = "UNIDIRECTIONAL_SEQUENCE_LSTM"

# What a fused LSTM may differ by: a step more at each time step, since its states go back into its sums; but however
# long the sequence, no more than so many (3 were seen after 8 time steps, docs/runtimes.md).
_MOST_STATE_STEPS = 8


@dataclass(frozen=True)
class OperatorSteps:
    """How far apart the two kernels of one operator are.

    Attributes:
        position: of the operator in the graph, from 0.
        name: the built-in operator's name in TFLite's schema.
        steps: largest difference of an element of its outputs, in steps of that output; of an LSTM, which feeds its
            roundings back, as many for each time step gone through, rounded up.
    """

    position: int
    name: str
    steps: int


@dataclass(frozen=True)
class OperatorAgreement:
    """What was found of every operator.

    Attributes:
        operators: one record an operator, in the order they run.
        outputs: (rows, *output_shape): what TFLite Micro answered while it handed out what is on the way.
    """

    operators: tuple[OperatorSteps, ...]
    outputs: NDArray[Any]


def compare_operators(
    model: bytes, rows: NDArray[Any], timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
) -> OperatorAgreement | MicroFailure:
    """Compares the kernels of every operator of a model of integers.

    Args:
        model: bytes of a .tflite file of one graph, all its activations integers, weights plain.
        rows: (rows, *input_shape) in the model's own input type, at least one.
        timeout_seconds: most time of TFLite Micro.

    Returns:
        The kernels' differences; or why TFLite Micro did not run the model.

    Raises:
        ConversionError: the bytes are no TFLite model.
    """
    unpacked = read_whole(model)
    if len(unpacked.subgraphs) != 1:
        return MicroFailure(f"the model has {len(unpacked.subgraphs)} graphs, one is expected", refused=True)
    graph = unpacked.subgraphs[0]
    made = [int(output) for operator in graph.operators for output in operator.outputs]
    tensors = run_micro_tensors(_handing_out(model, made), rows, len(made), timeout_seconds)
    if isinstance(tensors, MicroFailure):
        return tensors
    values = {int(graph.inputs[0]): rows[:, np.newaxis], **dict(zip(made, tensors, strict=True))}
    found = [
        OperatorSteps(place, name, _steps(model, place, name, values))
        for place, name in enumerate(audit.operators(model))
    ]
    return OperatorAgreement(tuple(found), values[int(graph.outputs[0])][:, 0])


def _handing_out(model: bytes, tensors: Sequence[int]) -> bytes:
    """The same model, which answers the given tensors."""
    unpacked = read_whole(model)
    unpacked.subgraphs[0].outputs = np.array(tensors, np.int32)
    unpacked.signatureDefs = []
    return pack(unpacked)


def _steps(model: bytes, position: int, name: str, values: dict[int, NDArray[Any]]) -> int:
    """Runs one operator in LiteRT on the inputs TFLite Micro had, and compares its outputs."""
    unpacked = read_whole(model)
    graph = unpacked.subgraphs[0]
    operator = graph.operators[position]
    fed = list(dict.fromkeys(int(each) for each in operator.inputs if int(each) in values))
    outputs = [int(each) for each in operator.outputs]
    graph.operators, unpacked.signatureDefs = [operator], []
    graph.inputs, graph.outputs = np.array(fed, np.int32), np.array(outputs, np.int32)
    interpreter = Interpreter(
        model_content=pack(unpacked),
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    places = [details["index"] for details in interpreter.get_input_details()]
    answers = [details["index"] for details in interpreter.get_output_details()]
    furthest = 0
    for row in range(len(values[outputs[0]])):
        interpreter.reset_all_variables()
        for place, tensor in zip(places, fed, strict=True):
            interpreter.set_tensor(place, values[tensor][row])
        interpreter.invoke()
        for answer, output in zip(answers, outputs, strict=True):
            apart = np.abs(interpreter.get_tensor(answer).astype(np.int64) - values[output][row].astype(np.int64))
            if name == _SEQUENCE:
                due = np.minimum(np.arange(1, apart.shape[1] + 1), _MOST_STATE_STEPS)
                apart = -(-apart // due[:, np.newaxis])  # (1, time steps, units)
            furthest = max(furthest, int(apart.max(initial=0)))
    return furthest
