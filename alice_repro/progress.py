"""Progress of long work: a bar on a terminal, one tidy line in Jupyter, a few log lines anywhere else.

ALICE_REPRO_PROGRESS=rich|log|off overrides the choice. Of several processes only rank 0 reports.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, TextIO, TypeVar

from alice_repro.errors import unknown_name

T = TypeVar("T")

LOG_SHARE = 0.1  # a log line at most each 10 % of the work,
LOG_SECONDS = 30.0  # or each 30 s if the work is slower than that;
LOG_PAUSE = 1.0  # and never two within a second, so that quick work gets its last line alone


def track(work: Iterable[T] | int, description: str, *, total: int | None = None) -> Iterator[T]:
    """Iterate over `work` (an int counts as `range(work)`) and show how far it has come."""
    items: Iterable[Any] = range(work) if isinstance(work, int) else work
    if total is None and hasattr(items, "__len__"):
        total = len(items)
    with Progress(total, description) as progress:
        for item in items:
            yield item
            progress.advance()


class Progress:
    """A task of `total` units, moved by hand: `with Progress(100, "train") as p: p.advance(1, "loss 0.3")`.

    Args:
        total: units of work, or None if not known.
        description: a few words, shown in front.
        start: units that an earlier run has done; they do not count for the rate.
    """

    def __init__(self, total: int | None, description: str, *, start: int = 0) -> None:
        self.total, self.description, self.start = total, description, start
        self.done, self.note = start, ""

    def __enter__(self) -> Progress:
        self.began = time.monotonic()
        self._view = _VIEWS[mode()](self)
        return self

    def advance(self, units: int = 1, note: str = "") -> None:
        """Count `units` as done; `note` (a loss, a name) is shown behind the numbers."""
        self.done += units
        self.note = note or self.note
        self._view.update(self)

    def __exit__(self, *failure: object) -> None:
        self._view.close(self)

    def line(self) -> str:
        """Say where the work stands: done/total, rate, time left and note."""
        seconds = max(time.monotonic() - self.began, 1e-9)
        rate = (self.done - self.start) / seconds
        parts = [f"{self.done:,}" if self.total is None else f"{self.done:,}/{self.total:,}"]
        if self.total:
            parts[0] += f" ({self.done / self.total:.0%})"
        if rate > 0:
            parts.append(f"{rate:,.1f}/s" if rate >= 1 else f"{1 / rate:,.1f} s each")
            if self.total is not None and self.done < self.total:
                parts.append(f"ETA {duration((self.total - self.done) / rate)}")
        parts.append(f"after {duration(seconds)}")
        return f"{self.description}: " + ", ".join(parts + [self.note] * bool(self.note))


def log(message: str) -> None:
    """Print a line that does not break the bars."""
    if _secondary():
        return
    if _RichView.shared is not None:
        _RichView.shared.console.print(message, markup=False, highlight=False, soft_wrap=True)
    else:
        print(message, file=_stream(), flush=True)


def mode() -> str:
    """Choose between "rich", "notebook", "log" and "off" for this process."""
    wanted = os.environ.get("ALICE_REPRO_PROGRESS", "")
    if wanted not in ("", "rich", "log", "off"):
        raise unknown_name("ALICE_REPRO_PROGRESS", wanted, ("rich", "log", "off"))
    if wanted == "off" or _secondary():
        return "off"
    if wanted == "log" or (not wanted and os.environ.get("ALICE_REPRO_HEADLESS") == "1"):
        return "log"
    if _in_kernel():
        return "notebook"
    return "rich" if wanted == "rich" or sys.stderr.isatty() else "log"


def duration(seconds: float) -> str:
    """Write seconds as people say them: 8 s, 3 min 20 s, 2 h 05 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02} min"


class _View(Protocol):
    def __init__(self, progress: Progress) -> None: ...

    def update(self, progress: Progress) -> None: ...

    def close(self, progress: Progress) -> None: ...


class _OffView:
    def __init__(self, progress: Progress) -> None:
        pass

    def update(self, progress: Progress) -> None:
        pass

    def close(self, progress: Progress) -> None:
        pass


class _LogView:
    def __init__(self, progress: Progress) -> None:
        self.printed_at, self.printed_done = progress.began, progress.done

    def update(self, progress: Progress) -> None:
        now = time.monotonic()
        step = LOG_SHARE * progress.total if progress.total else float("inf")
        due = progress.done - self.printed_done >= step and now - self.printed_at >= LOG_PAUSE
        if (due or now - self.printed_at >= LOG_SECONDS) and progress.done != progress.total:
            log(progress.line())
            self.printed_at, self.printed_done = now, progress.done

    def close(self, progress: Progress) -> None:
        log(progress.line())


class _NotebookView:
    def __init__(self, progress: Progress) -> None:
        from tqdm.notebook import tqdm

        self.bar = tqdm(total=progress.total, initial=progress.done, desc=progress.description)

    def update(self, progress: Progress) -> None:
        self.bar.update(progress.done - self.bar.n)
        if progress.note:
            self.bar.set_postfix_str(progress.note, refresh=False)

    def close(self, progress: Progress) -> None:
        self.bar.close()


class _RichView:
    """One live display for the process, since nested bars must share it."""

    shared: Any = None

    def __init__(self, progress: Progress) -> None:
        if _RichView.shared is None:
            _RichView.shared = _rich_display()
            _RichView.shared.start()
        self.task = _RichView.shared.add_task(
            progress.description, total=progress.total, completed=progress.done, note=""
        )

    def update(self, progress: Progress) -> None:
        _RichView.shared.update(self.task, completed=progress.done, note=progress.note)

    def close(self, progress: Progress) -> None:
        display = _RichView.shared
        display.stop_task(self.task)
        if all(task.stop_time is not None for task in display.tasks):
            display.stop()
            _RichView.shared = None


def _rich_display() -> Any:
    from rich import progress as rich
    from rich.console import Console

    numbers = [rich.MofNCompleteColumn(), rich.TimeElapsedColumn(), rich.TextColumn("ETA")]
    note = rich.TextColumn("{task.fields[note]}", markup=False)
    columns = ["{task.description}", rich.BarColumn(), *numbers, rich.TimeRemainingColumn(), note]
    return rich.Progress(*columns, console=Console(stderr=True))


def _stream() -> TextIO:
    # Jupyter paints stderr red; a headless notebook keeps its log lines on stdout.
    return sys.stdout if _in_kernel() else sys.stderr


def _in_kernel() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def _secondary() -> bool:
    return int(os.environ.get("RANK") or 0) > 0


_VIEWS: dict[str, type[_View]] = {
    "off": _OffView,
    "log": _LogView,
    "notebook": _NotebookView,
    "rich": _RichView,
}
