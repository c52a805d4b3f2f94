"""A comparison of methods written out: tables and verdicts below results, figures below figures."""

from __future__ import annotations

import time
from pathlib import Path

from alice_repro.config import CHECKOUT
from alice_repro.files import write_json
from alice_repro.manifest import write_manifest
from alice_repro.reporting.comparison import Methods
from alice_repro.reporting.comparison_claims import Judged, judge_claims
from alice_repro.reporting.comparison_figures import endpoint_curves, training_curves
from alice_repro.reporting.comparison_sheets import agreement, claims, equal_evaluations, equal_updates, speed
from alice_repro.reporting.figures import write_images
from alice_repro.reporting.render import Sheet, write_sheets

FOLDER = "methods"


def write_tables(methods: Methods, results: str | Path = "") -> list[Sheet]:
    """Write the tables as CSV, Markdown and HTML; returns them."""
    started, out = time.time(), _out(methods, results, "results")
    made = {
        "equal_updates": equal_updates(methods),
        "equal_evaluations": equal_evaluations(methods),
        "speed": speed(methods),
        "agreement": agreement(methods),
    }
    paths = [path for name, sheet in made.items() for path in write_sheets(out / name, [sheet])]
    _record(methods, paths, started)
    return list(made.values())


def write_claims(methods: Methods, results: str | Path = "") -> tuple[list[Judged], Sheet]:
    """Judge the claims; write their table, and claims.json for other programs; returns both."""
    started, out = time.time(), _out(methods, results, "results")
    judged = judge_claims(methods)
    sheet = claims(judged)
    paths = write_sheets(out / "claims", [sheet])
    paths.append(out / "claims.json")
    write_json(paths[-1], [{"claim": one.name, "verdict": str(one.verdict), "line": one.line} for one in judged])
    _record(methods, paths, started)
    return judged, sheet


def write_figures(methods: Methods, figures: str | Path = "") -> list[Path]:
    """Draw the figures as SVG and PNG; returns the PNG files."""
    started, out = time.time(), _out(methods, figures, "figures")
    drawn = {"endpoint": endpoint_curves(methods)}
    drawn |= {f"training_{teacher}": training_curves(methods, teacher) for teacher in methods.teachers}
    out.mkdir(parents=True, exist_ok=True)
    paths = [path for name, figure in drawn.items() for path in write_images(figure, out / name)]
    _record(methods, paths, started)
    return [path for path in paths if path.suffix == ".png"]


def _out(methods: Methods, given: str | Path, kind: str) -> Path:
    return Path(given or CHECKOUT / kind / methods.scale.name) / FOLDER


def _record(methods: Methods, paths: list[Path], started: float) -> None:
    write_manifest(paths, inputs={"ledger": methods.ledger}, config={"scale": methods.scale}, started=started)
