"""Where TensorFlow's own C++ messages go: into the run's log, not between the lines a user reads."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from pipeline.files import append_own


@contextmanager
def native_messages_to(log: Path) -> Iterator[TextIO]:
    """Sends everything that this process and its children write to descriptor 2 into a file.

    TensorFlow writes there before any log level can be set. Nothing is dropped: it stands in the
    log, and errors that are raised are not affected.

    Args:
        log: the file, appended to.

    Yields:
        A stream to what standard error was before, for what a user is to see.
    """
    sys.stderr.flush()
    before = os.dup(2)
    with append_own(log) as target, os.fdopen(os.dup(before), "w", buffering=1) as stream:
        os.dup2(target.fileno(), 2)
        try:
            yield stream
        finally:
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)
