"""A function called in a process of its own, which begins anew and ends with the one it works for.

    result = apart(function, *arguments)
    result = apart(function, *arguments, log=path)      # what it prints, C++ included, to a file

That process imports this module, so nothing heavy stands above.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path


def apart(function: Callable, *arguments, log: Path | None = None):
    """What `function` returns or raises; BrokenProcessPool where its process died."""
    spawn = multiprocessing.get_context("spawn")
    begin = log and str(log), os.getpid()
    with ProcessPoolExecutor(1, spawn, initializer=_begin, initargs=begin) as pool:
        return pool.submit(function, *arguments).result()


def _begin(log: str | None, parent: int) -> None:
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    if log is not None:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, 1)
        os.dup2(file, 2)


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
