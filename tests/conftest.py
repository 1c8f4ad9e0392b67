"""Ctrl-C interrupts, wherever the tests are started from.

A shell has what it starts in the background ignore it; Python leaves that so, and hands it down.
"""

import signal

signal.signal(signal.SIGINT, signal.default_int_handler)
