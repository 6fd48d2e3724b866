"""How much memory a process and its children hold."""

from __future__ import annotations

from pathlib import Path


def held_bytes(process: int) -> int:
    """Returns the anonymous memory that a process and all below it hold; pages of mapped files are left out.

    Args:
        process: its number.

    Returns:
        Bytes (RssAnon of Linux); those of processes that are gone count as none.
    """
    total, waiting = 0, [process]
    while waiting:
        folder = Path(f"/proc/{waiting.pop()}")
        try:
            lines = (folder / "status").read_text().splitlines()
            children = [(task / "children").read_text() for task in (folder / "task").iterdir()]
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))
        waiting += [int(number) for text in children for number in text.split()]
    return total
