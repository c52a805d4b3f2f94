"""What a report on Alice's main results is made of: the published record, this run's scores, the committed record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from alice_repro.config import CHECKOUT, Scale, load_scale, split_settings
from alice_repro.manifest import write_manifest
from alice_repro.papers import Paper, load_paper
from alice_repro.reporting.arms import Arms, load_arms, teachers_in
from alice_repro.reporting.dimensions import coverage, dimensions
from alice_repro.reporting.estimates import tidy_arms
from alice_repro.reporting.render import Sheet
from alice_repro.reporting.table04 import table04

PAPER = "alice"


@dataclass(frozen=True)
class Study:
    """What a report is made of.

    Attributes:
        results: results/<scale>; figures: figures/<scale>/alice.
        reference: results/reference/<scale>, which may be absent.
        fresh, record: the arms of each teacher, of this run and of the committed record.
        measured: the fresh arms as one frame (`estimates.tidy_arms`).
    """

    scale: Scale
    settings: tuple[str, ...]
    results: Path
    figures: Path
    reference: Path
    paper: Paper
    fresh: list[Arms]
    record: list[Arms]
    measured: pd.DataFrame

    @property
    def out(self) -> Path:
        """Folder of the tables."""
        return self.results / PAPER

    @property
    def command(self) -> str:
        """The command that makes this scale's results."""
        chosen = f" SET='{' '.join(self.settings)}'" if self.settings else ""
        return f"make reproduce-table4 SCALE={self.scale.name}{chosen}"

    @property
    def inputs(self) -> dict[str, Path]:
        """Name -> every score table that was read."""
        groups = {"fresh": self.fresh, "reference": self.record}
        return {
            f"{group}/{one.teacher}/{path.stem}": path
            for group, arms in groups.items()
            for one in arms
            for path in one.files
        }

    def record_manifest(self, paths: Sequence[Path], started: float, **extra: Any) -> None:
        """Write the manifest entries of finished files."""
        config = {"scale": self.scale, "settings": list(self.settings)}
        write_manifest(paths, inputs=self.inputs, config=config, extra=extra, started=started)


def load_study(
    scale: str,
    results: str | Path = "",
    figures: str | Path = "",
    reference: str | Path = "",
    settings: Sequence[str] = (),
) -> Study:
    """Read the scores of a scale and of its committed record.

    Args:
        results, figures, reference: this scale's folders; "" for results/<scale>, figures/<scale> and
            results/reference/<scale> of the checkout. There need be no record.
        settings: "dotted.key=value" overrides; those of the recipe ("recipe. ...") matter to training alone.

    Raises:
        UserError: an arm has not been measured; the message names the file and the command that makes it.
    """
    preset = load_scale(scale, split_settings(tuple(settings))[0])
    home = Path(results or CHECKOUT / "results" / scale)
    drawings = Path(figures or CHECKOUT / "figures" / scale)
    record = Path(reference or CHECKOUT / "results" / "reference" / scale)
    command = f"make reproduce-table4 SCALE={scale}"
    # With nothing measured at all, the message should name the first file that is missing.
    fresh = [load_arms(home, teacher, preset.recipe, command) for teacher in teachers_in(home) or ["trained"]]
    again = f"make reference SCALE={scale}"
    kept = [load_arms(record, teacher, preset.recipe, again) for teacher in teachers_in(record)]
    steps = (preset.teacher.steps, preset.sampling.student_steps)
    measured = tidy_arms(fresh, preset.protocol.best_of, steps, preset.protocol.bootstrap)
    paper = load_paper(PAPER)
    return Study(preset, tuple(settings), home, drawings / PAPER, record, paper, fresh, kept, measured)


def sheets(study: Study) -> list[Sheet]:
    """Table 4, the dimensions with VBench's names and, where the scores tell of modes, their coverage."""
    device = next((cost.device for one in study.fresh for cost in one.costs.values() if cost.device), "")
    first = table04(study.paper.table(4), study.measured, study.scale.name, device)
    others = [dimensions(study.fresh, study.scale.protocol.bootstrap), coverage(study.fresh)]
    return [first, *(sheet for sheet in others if sheet)]
