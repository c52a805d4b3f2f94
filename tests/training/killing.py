"""A run that dies by SIGKILL at a chosen point, in a forked process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any


def run_killed(run: Callable[[], None], owner: Any, name: str, call: int) -> None:
    """Run in a child process that is killed when ``owner.name`` is called for the ``call``-th time."""
    pid = os.fork()
    if pid == 0:
        original, calls = getattr(owner, name), 0

        def deadly(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)

        try:
            setattr(owner, name, deadly)
            run()
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, f"{name} was not called {call} times"
