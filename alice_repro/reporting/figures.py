"""Writing figures so that the same data give the same bytes: one style, the Agg backend, no dates."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from alice_repro.files import atomic_write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = Path(__file__).with_name("style.mplstyle")
# Okabe and Ito's palette, told apart by colour-blind readers too.
PAPER, ESTIMATED = "#8c8c8c", "#d0d0d0"
COLOURS = {
    "teacher-full": "#0072b2",
    "teacher-short": "#56b4e9",
    "teacher-consistent": "#999999",
    "teacher-anchored": "#555555",
    "student-start": "#cc79a7",
    "student": "#d55e00",
    "best": "#009e73",
}
MARKERS = {"trained": "o", "exact": "D"}


def colour(arm: str) -> str:
    """The colour of a measured arm."""
    return COLOURS["best"] if "/" in arm else COLOURS[arm]


@contextmanager
def styled() -> Iterator[None]:
    """The house style, for drawing and for writing alike."""
    import matplotlib.style

    with matplotlib.style.context(STYLE):
        yield


def image_bytes(figure: Figure, kind: str) -> bytes:
    """The figure as "svg" or "png", without date or version."""
    stream = io.BytesIO()
    metadata = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}[kind]
    with styled():
        figure.savefig(stream, format=kind, metadata=metadata, bbox_inches="tight")
    return stream.getvalue()


def write_images(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem`.svg and `stem`.png, each whole or not at all."""
    paths = [stem.with_suffix(".svg"), stem.with_suffix(".png")]
    for path in paths:
        atomic_write_bytes(path, image_bytes(figure, path.suffix[1:]))
    return paths


def data_uri(content: bytes, mime: str) -> str:
    """Content as a data URI, for a page that stands alone."""
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"
