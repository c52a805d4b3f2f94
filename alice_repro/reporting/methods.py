"""A comparison of methods written out: tables and verdicts below results, figures below figures."""

from __future__ import annotations

import time
from pathlib import Path

from alice_repro.config import CHECKOUT
from alice_repro.files import atomic_write_bytes, atomic_write_text, read_json, write_json
from alice_repro.manifest import write_manifest
from alice_repro.reporting.calibration import calibration_line
from alice_repro.reporting.comparison import Methods
from alice_repro.reporting.comparison_claims import Judged, judge_claims
from alice_repro.reporting.comparison_figures import endpoint_curves, training_curves
from alice_repro.reporting.comparison_sheets import agreement, claims, equal_evaluations, equal_updates, speed
from alice_repro.reporting.figures import write_images
from alice_repro.reporting.render import Sheet, write_sheets

FOLDER = "methods"
_PAGE = ("equal_updates", "claims", "equal_evaluations", "agreement", "speed")
_HEAD = """# Methods compared in the lab: the ledger of runs and what it says so far

Made by `make compare-methods`; with `SEEDS=none` from the runs that are here. Arms and claims:
`alice_repro/comparisons/`. A run is `TEACHER/ARM/seedK`: `.json` (what it was and cost), `.scores.parquet` (a row a
clip and checkpoint), `.curve.parquet` (a row an update)."""


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
    known = {name: methods.ledger.parent / f"calibration_{name}.json" for name in methods.teachers}
    sheet = claims(
        judged, [calibration_line(name, read_json(path)["result"]) for name, path in known.items() if path.exists()]
    )
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


def write_page(results: Path, figures: Path, ledger: Path) -> Path:
    """Put the tables and the endpoint's figure, as they were written, on a page beside the ledger; returns it."""
    drawn = ledger / "endpoint.svg"
    atomic_write_bytes(drawn, (figures / FOLDER / drawn.name).read_bytes())
    tables = [(results / FOLDER / f"{name}.md").read_text().strip() for name in _PAGE]
    parts = [_HEAD, tables[0], f"![Endpoint along the training]({drawn.name})", *tables[1:]]
    atomic_write_text(ledger / "README.md", "\n\n".join(parts) + "\n")
    return ledger / "README.md"


def _out(methods: Methods, given: str | Path, kind: str) -> Path:
    return Path(given or CHECKOUT / kind / methods.scale.name) / FOLDER


def _record(methods: Methods, paths: list[Path], started: float) -> None:
    write_manifest(paths, inputs={"ledger": methods.ledger}, config={"scale": methods.scale}, started=started)
