"""int8 weights stored for TFLite Micro's operator DECODE, which unpacks them into the arena at each inference.

Two encodings: `sparse`, of pruned kernels, and `tables`, of clustered ones (`models.tflite.packed_weights` has the
formats). Neither changes a weight, and so no answer; both trade flash for RAM and time. A kernel is unpacked just
before the operator that reads it, and forgotten after it: the arena has room for the largest, not for all.
TensorFlow is not imported, and tflite-micro runs in a child process only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from data.contract import ConversionError
from models.tflite.decode_insertion import insert_decode
from models.tflite.encodable_kernels import kernels_to_encode
from models.tflite.flatbuffer import pack, read_whole
from models.tflite.micro import MicroFailure, MicroResult, run_micro
from models.tflite.packed_weights import MAX_BITS, Kernel, Packed, pack_sparse, pack_tables

Encoding = Literal["sparse", "tables", "smallest"]

_INPUT_BITS: Final = {schema.TensorType.INT8: 8, schema.TensorType.INT16: 16}
_ROWS: Final = 8  # of random integers, on which an encoded file must answer as the plain one does


@dataclass(frozen=True)
class EncodedLayer:
    """A kernel that is encoded.

    Attributes:
        name: its Keras layer.
        num_weights: its weights; as many bytes when unpacked, and in the file before.
        saved_bytes: by how much the file is smaller for it, the operator and its tensors counted.
        bits: of an index into tables; None where it is sparse.
    """

    name: str
    num_weights: int
    saved_bytes: int
    bits: int | None

    @property
    def encoding(self) -> Literal["sparse", "tables"]:
        """Which of the two encodings it has."""
        return "sparse" if self.bits is None else "tables"


@dataclass(frozen=True)
class Encoded:
    """An encoded file.

    Attributes:
        model: its bytes; TFLite Micro alone runs them.
        layers: what is encoded, in the order it runs.
        left_out: Keras layer -> why its kernel is stored as it was.
        arena_bytes: what TFLite Micro takes on this host.
    """

    model: bytes
    layers: tuple[EncodedLayer, ...]
    left_out: dict[str, str]
    arena_bytes: int


@dataclass(frozen=True)
class _Candidate:
    tensor: int
    layer: EncodedLayer
    packed: Packed


def encode(model: bytes, encoding: Encoding, *, arena_limit_bytes: int | None = None) -> Encoded:
    """Encodes the kernels of a file that become smaller by it, as many as the arena's limit allows.

    Each kernel is encoded alone first, to see what it saves. Where all of them together need more arena than allowed,
    they are taken in one by one, the largest saving first, and each that the measured arena does not allow is left out.

    Args:
        model: bytes of a .tflite file of one subgraph, one input and output, which TFLite Micro runs. Kernels of
            other types than int8 stay as they are.
        encoding: `sparse`, `tables`, or for each kernel the `smallest` of the two.
        arena_limit_bytes: most arena, as measured on this host; None: any.

    Returns:
        The encoded file; the same for the same arguments. On random rows it answered in TFLite Micro as the plain file
        does, bit for bit.

    Raises:
        ConversionError: the bytes are no TFLite model, TFLite Micro does not run them, or no kernel can be encoded,
            the message saying of each why.
    """
    unpacked = read_whole(model)
    left_out: dict[str, str] = {}
    candidates = _candidates(unpacked, encoding, left_out)
    chosen: list[_Candidate] = []
    encoded, arena = b"", 0
    if candidates:
        chosen, encoded, arena = _chosen(_Trial(unpacked), candidates, arena_limit_bytes, left_out)
    if not chosen or len(encoded) >= len(model):
        why = "; ".join(f"{name}: {reason}" for name, reason in left_out.items()) or "there are none of 8 bits"
        raise ConversionError(
            f"quantize.encoding: expected a kernel that {encoding} makes smaller, got none ({why}). "
            f"Leave it out, prune or cluster more, or allow a larger arena."
        )
    return Encoded(encoded, tuple(candidate.layer for candidate in chosen), left_out, arena)


class _Trial:
    """Encodes sets of kernels and measures them in TFLite Micro against the plain file."""

    def __init__(self, unpacked: Any) -> None:
        self._unpacked = unpacked
        fed = unpacked.subgraphs[0].tensors[int(unpacked.subgraphs[0].inputs[0])]
        if fed.type not in _INPUT_BITS:
            raise ConversionError(
                "quantize.encoding: expected a model that eats int8 or int16, got another type. Choose int8."
            )
        largest = 2 ** (_INPUT_BITS[fed.type] - 1)
        rows = np.random.default_rng(0).integers(-largest, largest, (_ROWS, *(int(size) for size in fed.shape[1:])))
        self._rows: NDArray[Any] = rows.astype(np.int8 if largest == 128 else np.int16)
        plain = self._run(pack(unpacked))
        self._expected = plain.outputs
        self.plain_arena_bytes = plain.arena_bytes

    def run(self, candidates: Iterable[_Candidate]) -> tuple[bytes, int]:
        """Returns an encoded file and its arena."""
        encoded = pack(insert_decode(self._unpacked, {each.tensor: each.packed for each in candidates}))
        result = self._run(encoded)
        if not np.array_equal(result.outputs, self._expected):
            raise ConversionError(
                "quantize.encoding: expected TFLite Micro to answer as with plain weights, bit for bit, got other "
                "answers. Leave the encoding out, and report this as a defect."
            )
        return encoded, result.arena_bytes

    def _run(self, model: bytes) -> MicroResult:
        result = run_micro(model, self._rows)
        if isinstance(result, MicroFailure):
            raise ConversionError(
                f"quantize.encoding: expected a model that TFLite Micro runs, got: {result.reason}. Leave it out."
            )
        return result


def _chosen(
    trial: _Trial, candidates: list[_Candidate], limit: int | None, left_out: dict[str, str]
) -> tuple[list[_Candidate], bytes, int]:
    """The kernels to encode in the order they run, the file, and its arena; what does not fit goes to `left_out`."""
    encoded, arena = trial.run(candidates)
    if limit is None or arena <= limit:
        return candidates, encoded, arena
    chosen: list[_Candidate] = []
    for candidate in sorted(candidates, key=lambda each: -each.layer.saved_bytes):
        taken = [each for each in candidates if each in (*chosen, candidate)]
        # What the plain file or the unpacked kernel exceeds by itself need not be tried.
        needed = max(trial.plain_arena_bytes, candidate.layer.num_weights)
        if needed <= limit:
            tried, needed = trial.run(taken)
        if needed <= limit:
            chosen, encoded, arena = taken, tried, needed
        else:
            left_out[candidate.layer.name] = f"the arena would be {needed} bytes, more than {limit}"
    return chosen, encoded, arena


def _candidates(unpacked: Any, encoding: Encoding, left_out: dict[str, str]) -> list[_Candidate]:
    """Kernels whose encoding saves bytes, in the order they run; the others go to `left_out`."""
    plain_bytes = len(pack(unpacked))
    candidates = []
    for index, (name, kernel) in kernels_to_encode(unpacked).items():
        packed = kernel if isinstance(kernel, str) else _packed(kernel, encoding)
        if isinstance(packed, str) or isinstance(kernel, str):
            left_out[name] = str(packed)
            continue
        saved = plain_bytes - len(pack(insert_decode(unpacked, {index: packed})))
        if saved > 0:
            layer = EncodedLayer(name, kernel.values.size, saved, packed.bits)
            candidates.append(_Candidate(index, layer, packed))
        else:
            grown = f"by {-saved} bytes" if saved else "by nothing"
            left_out[name] = f"the file would grow {grown}: {packed.size} for {kernel.values.size}, and the operator"
    return candidates


def _packed(kernel: Kernel, encoding: Encoding) -> Packed | str:
    """A kernel encoded, the sparse form where both are as small; or why it cannot be."""
    possible = [
        pack_sparse(kernel) if encoding != "tables" else None,
        pack_tables(kernel) if encoding != "sparse" else None,
    ]
    made = [packed for packed in possible if packed is not None]
    return (
        min(made, key=lambda packed: packed.size)
        if made
        else f"{np.unique(kernel.values).size} distinct values, more than {2**MAX_BITS}"
    )
