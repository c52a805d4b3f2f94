"""The report: one HTML page that stands alone (images, style and plotly inside), with links to clips and notebooks."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

from alice_repro.config import PACKAGE
from alice_repro.errors import UserError
from alice_repro.files import atomic_write_text, read_json
from alice_repro.manifest import MANIFEST, read_manifest
from alice_repro.reporting import figure01
from alice_repro.reporting.arms import Arms
from alice_repro.reporting.curves import LOG, TEACHER_CURVE, teacher_curve, training_curve
from alice_repro.reporting.figures import data_uri, image_bytes
from alice_repro.reporting.render import PAGE_CSS, Head, Sheet, page_templates
from alice_repro.reporting.study import Study, sheets

TEMPLATE = "report.html.j2"
ORACLE_TABLE = "oracle_validation.csv"
LAB_CHECKPOINT = PACKAGE / "models" / "lab_checkpoint"
_CLIPS_LINKED = 6


def write_page(study: Study) -> Path:
    """Write ``results/<scale>/report.html`` and its manifest entry, from what the other steps of `main_results` wrote.

    Raises:
        UserError: the verdict or Figure 1 is missing.
    """
    started = time.time()
    template = page_templates(Path(__file__).parent).get_template(TEMPLATE)
    path = study.results / "report.html"
    atomic_write_text(path, template.render(css=PAGE_CSS, **_content(study)))
    study.record_manifest([path], started)
    return path


def _content(study: Study) -> dict[str, Any]:
    verdict = read_json(study.out / "verdicts.json")
    data = figure01.figure01_data(study.paper.table(4), study.measured)
    doses = study.figures / "dose_response.png"
    tables = [sheet.html() for sheet in sheets(study)]
    return {
        "scale": study.scale,
        "claim": study.paper.claim(verdict["claim"]),
        "paper": study.paper,
        "verdict": verdict,
        "command": study.command,
        "settings": study.settings,
        "table": tables[0],
        "more_tables": tables[1:],
        "figure": _image(study.figures / "figure01.svg", "image/svg+xml"),
        "figure_caption": figure01.caption(data, study.paper.figure(1).caption, study.scale.name),
        "interactive": figure01.plotly_html(figure01.interactive(data), whole=False),
        "doses": _image(doses) if doses.exists() else None,
        "clips": [_clips(study, one) for one in study.fresh],
        "curves": _curves(study),
        "oracle": _oracle(study),
        "provenance": _provenance(study).html(),
        "versions": _versions(study),
        "notebooks": sorted(
            p.relative_to(study.results).as_posix() for p in (study.results / "notebooks").glob("*.ipynb")
        ),
    }


def _image(path: Path, mime: str = "image/png") -> str:
    if not path.exists():
        raise UserError(f"{path}: not drawn yet; the report comes after the figures")
    return data_uri(path.read_bytes(), mime)


def _shown_arms(arms: Arms) -> dict[str, str]:
    """Folder of videos -> label."""
    return {
        "teacher-full": f"{arms.teacher} teacher, all steps",
        "teacher-short": f"{arms.teacher} teacher, few steps (control)",
        f"{arms.recipe}-seed{arms.runs[0]}": f"student of the {arms.teacher} teacher, few steps",
    }


def _clips(study: Study, arms: Arms) -> dict[str, Any]:
    """Contact sheets of one teacher's arms, and links to the first clips of each; arms without videos are left out."""
    shown = []
    for arm, label in _shown_arms(arms).items():
        folder = study.results / "videos" / arms.teacher / arm
        sheet = folder / "contact_sheet.png"
        if not sheet.exists():
            continue
        clips = [path.relative_to(study.results).as_posix() for path in sorted(folder.glob("*.mp4"))[:_CLIPS_LINKED]]
        image = _image(sheet)
        shown.append(
            {"label": label, "image": image, "clips": clips, "folder": folder.relative_to(study.results).as_posix()}
        )
    return {"teacher": arms.teacher, "arms": shown}


def _curves(study: Study) -> list[dict[str, str]]:
    """Training curves of the first run with each teacher, and of the lab teacher where the scale uses it."""
    curves = []
    for one in study.fresh:
        folder = study.results / "runs" / one.teacher / one.recipe / f"seed{one.runs[0]}"
        if (folder / LOG).exists():
            label = f"Distillation ({one.recipe}) with the {one.teacher} teacher, run {one.runs[0]}"
            curves.append({"label": label, "image": data_uri(image_bytes(training_curve(folder), "png"), "image/png")})
    if study.scale.model.source == "package:lab" and (LAB_CHECKPOINT / TEACHER_CURVE).exists():
        image = data_uri(image_bytes(teacher_curve(LAB_CHECKPOINT), "png"), "image/png")
        curves.append({"label": "The teacher that is shipped with the package", "image": image})
    return curves


def _oracle(study: Study) -> str | None:
    """The oracle's validation table, from the committed record."""
    path = study.reference / ORACLE_TABLE
    if not path.exists():
        return None
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    heads = tuple(Head(name, name.replace("_", " "), number=i > 0) for i, name in enumerate(rows[0]))
    return Sheet("The oracle on clips whose truth is known", heads, tuple(rows)).html()


def _provenance(study: Study) -> Sheet:
    """A row per training run and arm: when, how long, from which commit."""
    rows = []
    for one in study.fresh:
        runs = study.results / "runs" / one.teacher / one.recipe
        folders = {f"training, run {run}": runs / f"seed{run}" for run in one.runs}
        videos = study.results / "videos" / one.teacher
        folders |= {f"videos, {arm}": videos / arm for arm in _shown_arms(one)}
        rows += [
            _provenance_row(what, one.teacher, folder)
            for what, folder in folders.items()
            if (folder / MANIFEST).exists()
        ]
    labels = {
        "what": "What",
        "teacher": "Teacher",
        "created": "Made (UTC)",
        "wall": "Wall time, s",
        "git": "Commit",
        "seeds": "Seeds",
    }
    heads = tuple(Head(key, label, number=key == "wall") for key, label in labels.items())
    return Sheet("What was made, and from what", heads, tuple(rows))


def _provenance_row(what: str, teacher: str, folder: Path) -> dict[str, str]:
    entry = read_manifest(folder)
    git = entry["git"]
    commit = f"{git['commit'][:10]}{' with changes' if git['dirty'] else ''}" if git else "not a git checkout"
    return {
        "what": what,
        "teacher": teacher,
        "created": entry["created"].removesuffix("+00:00").replace("T", " "),
        "wall": f"{entry['wall_seconds']:.0f}",
        "git": commit,
        "seeds": ", ".join(f"{name} {seed}" for name, seed in entry["seeds"].items()),
    }


def _versions(study: Study) -> dict[str, str]:
    """Versions and platform of the machine that sampled, from the first manifest there is."""
    for one in study.fresh:
        for arm in _shown_arms(one):
            folder = study.results / "videos" / one.teacher / arm
            if (folder / MANIFEST).exists():
                entry = read_manifest(folder)
                machine = {"Python": entry["python"], "device": entry["device"], "platform": entry["platform"]}
                return machine | entry["versions"]
    return {}
