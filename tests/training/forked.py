"""Runs on several gloo processes, forked from the test's own, which has imported everything already."""

from __future__ import annotations

import os
import signal
import socket
import traceback
from collections.abc import Callable

from accelerate.state import AcceleratorState


def run_processes(run: Callable[[], None], count: int = 2, **environment: str) -> list[int]:
    """Call ``run`` in ``count`` processes, as torchrun would start them.

    When one dies the others are killed.

    Returns:
        The wait status of each process, in no order; 0 is success.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    shared |= {"ACCELERATE_USE_CPU": "true", **environment}
    running, statuses = set(), []
    for rank in range(count):
        pid = os.fork()
        if pid == 0:
            _child(run, shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        running.add(pid)
    while running:
        pid, status = os.waitpid(-1, 0)
        if pid not in running:
            continue
        running.remove(pid)
        statuses.append(status)
        if status:
            for other in running:
                os.kill(other, signal.SIGKILL)
    return statuses


def _child(run: Callable[[], None], environment: dict[str, str]) -> None:
    code = 1
    try:
        os.environ.update(environment)
        AcceleratorState._reset_state(True)  # what the parent's runs have left: one process
        run()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
