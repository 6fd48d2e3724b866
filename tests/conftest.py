"""Lets tests interrupt what they start, also where a shell runs them in the background and has Ctrl-C ignored."""

from __future__ import annotations

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # what is started would ignore it, too
    signal.signal(signal.SIGINT, signal.default_int_handler)
