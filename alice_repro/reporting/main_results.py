"""Alice's main results, step by step: load the scores, then Table 4, Figure 1, the verdict and the report page.

Each step reads files and writes files: ``results/<scale>/alice/table04.*``, ``dimensions.*``, ``verdicts.json``,
``figures/<scale>/alice/figure01.*`` and ``dose_response.*``, ``results/<scale>/report.html``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alice_repro.config import load_scale
from alice_repro.errors import UserError
from alice_repro.files import atomic_write_text, read_json, write_json
from alice_repro.reporting import figure01
from alice_repro.reporting.arms import Arms, load_arms, teachers_in
from alice_repro.reporting.calibration import calibration, calibration_line
from alice_repro.reporting.claim import ClaimReport, compare, judge
from alice_repro.reporting.dose_response import dose_response, draw_dose_response
from alice_repro.reporting.figures import write_images
from alice_repro.reporting.page import write_page
from alice_repro.reporting.render import Sheet, write_sheets
from alice_repro.reporting.study import CHECKOUT, PAPER, Study, load_study, sheets

__all__ = [
    "calibrate_record",
    "load_study",
    "summary_lines",
    "write_all",
    "write_dose_response",
    "write_figure01",
    "write_page",
    "write_table04",
    "write_verdict",
]

CLAIM = "student-exceeds-teacher"


def write_table04(study: Study) -> list[Sheet]:
    """Write Table 4 with its companions as CSV, Markdown and HTML; returns the sheets."""
    started = time.time()
    made = sheets(study)
    paths = write_sheets(study.out / "table04", made)
    for name, sheet in zip(("dimensions", "coverage"), made[1:], strict=False):
        paths.append(study.out / f"{name}.csv")
        atomic_write_text(paths[-1], sheet.csv())
    study.record_manifest(paths, started)
    return made


def write_figure01(study: Study) -> tuple[Path, str]:
    """Write Figure 1 as SVG, PNG and interactive HTML; returns the path of the PNG, and the caption."""
    started = time.time()
    data = figure01.figure01_data(study.paper.table(4), study.measured)
    words = figure01.caption(data, study.paper.figure(1).caption, study.scale.name)
    paths = write_images(figure01.draw(data), study.figures / "figure01")
    paths.append(study.figures / "figure01.html")
    atomic_write_text(paths[-1], figure01.plotly_html(figure01.interactive(data)))
    study.record_manifest(paths, started, caption=words)
    return paths[1], words


def write_dose_response(study: Study) -> Path | None:
    """Write the dose-response figure as SVG, PNG and CSV; returns the path of the PNG, or None without data."""
    started = time.time()
    data = dose_response(study.fresh, study.scale.protocol.bootstrap)
    if data.empty:  # a figure of earlier scores must not stand in the report
        (study.figures / "dose_response.png").unlink(missing_ok=True)
        return None
    paths = write_images(draw_dose_response(data), study.figures / "dose_response")
    table = study.figures / "dose_response.csv"
    atomic_write_text(table, data.to_csv(index=False, lineterminator="\n"))
    study.record_manifest([*paths, table], started)
    return paths[1]


def write_verdict(study: Study) -> ClaimReport:
    """Judge the claim, calibrate the rules, and keep both as ``verdicts.json``; returns the verdict."""
    started = time.time()
    protocol = study.scale.protocol
    report = judge(
        study.paper.claim(CLAIM),
        [compare(one, protocol) for one in study.record],
        [compare(one, protocol) for one in study.fresh],
        protocol,
        f"make reference SCALE={study.scale.name}",
    )
    rules = {one.teacher: _calibration(study, one) for one in study.record or study.fresh}
    changed = [f"this run's settings are not the record's: {', '.join(study.settings)}"] if study.settings else []
    content = {
        "claim": report.claim.id,
        "verdict": str(report.verdict),
        "plain": report.plain,
        "lines": report.lines() + changed,
        "calibration": rules,
        "calibration_lines": [calibration_line(teacher, result) for teacher, result in rules.items()],
    }
    write_json(study.out / "verdicts.json", content)
    study.record_manifest([study.out / "verdicts.json"], started)
    return report


def _calibration(study: Study, arms: Arms) -> dict[str, Any]:
    name = f"calibration_{arms.teacher}.json"
    return calibration(arms, study.scale.protocol, study.out / name, [study.reference / name])


def calibrate_record(scale: str, reference: str | Path = "", simulations: int = 400) -> list[Path]:
    """Calibrate the rules on the committed record with care, and keep the result with it; returns the files."""
    preset = load_scale(scale)
    root = Path(reference or CHECKOUT / "results" / "reference" / scale)
    paths = []
    for teacher in teachers_in(root):
        arms = load_arms(root, teacher, preset.recipe, f"make reference SCALE={scale}")
        paths.append(root / f"calibration_{teacher}.json")
        calibration(arms, preset.protocol, paths[-1], simulations=simulations)
    return paths


def write_all(
    scale: str,
    results: str | Path = "",
    figures: str | Path = "",
    reference: str | Path = "",
    settings: Sequence[str] = (),
) -> list[str]:
    """Every step, in order; returns the lines for the terminal. Arguments as for `load_study`."""
    study = load_study(scale, results, figures, reference, settings)
    write_table04(study)
    write_figure01(study)
    write_dose_response(study)
    write_verdict(study)
    write_page(study)
    return summary_lines(study.results)


def summary_lines(results: str | Path) -> list[str]:
    """The verdict of a finished scale (``results/<scale>``) as plain text for the terminal.

    Raises:
        UserError: there is none yet.
    """
    path = Path(results) / PAPER / "verdicts.json"
    if not path.exists():
        raise UserError(f"{path}: no verdict yet; run make reproduce-table4 SCALE={Path(results).name}")
    content = read_json(path)
    return [*content["lines"], *content["calibration_lines"]]
