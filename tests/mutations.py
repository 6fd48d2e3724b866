"""Changes of valid files, for tests with hypothesis: bytes that are overwritten, put in, taken out or repeated."""

from __future__ import annotations

import struct

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

ROUNDS = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
"""How often a file of each kind is changed, always in the same ways."""

TOKENS = (
    *(b"\x00", b"\x00" * 8, b"\xff" * 4, b"\xff" * 8, b"\xff\xfe", b"\xef\xbb\xbf", b"\x80", b"\xed\xa0\x80"),
    *(struct.pack("<i", -1), struct.pack(">I", 2**31), struct.pack("<q", 2**62), struct.pack(">I", 65536)),
    *(b"NaN", b"-Infinity", b"1e999", b"9" * 400, b"-1", b"0x", b"1_0", b"true", b"null", b"[" * 40, b"{" * 40, b"]"),
    *(
        b'"',
        b"'",
        b"\\",
        b",",
        b";",
        b"\t",
        b"\r\n",
        b"\n\n",
        b":",
        b"&a ",
        b"*a",
        b"!!python/name:os.system ",
        b"%YAML 1.3\n",
    ),
    *(b"../", b"/etc/passwd", b"(", b"'O'", b"<U9", b">f8", b"18446744073709551616", b"\\ud800"),
)
"""What parsers stumble over."""

_EDIT = st.tuples(
    st.sampled_from(("overwrite", "insert", "delete", "repeat", "truncate")),
    st.floats(0, 1),
    st.one_of(st.sampled_from(TOKENS), st.binary(min_size=1, max_size=6)),
)


def mutated(seed: bytes) -> st.SearchStrategy[bytes]:
    """Returns changes of a file: one to four edits."""
    return st.lists(_EDIT, min_size=1, max_size=4).map(lambda edits: _edited(seed, edits))


def _edited(content: bytes, edits: list[tuple[str, float, bytes]]) -> bytes:
    for kind, fraction, token in edits:
        at = int(fraction * len(content))
        if kind == "overwrite":
            content = content[:at] + token + content[at + len(token) :]
        elif kind == "insert":
            content = content[:at] + token + content[at:]
        elif kind == "delete":
            content = content[:at] + content[at + 2 * len(token) :]
        elif kind == "repeat":
            content = content[:at] + content[at : at + 16 * len(token)] * 3 + content[at:]
        else:
            content = content[:at]
    return content
