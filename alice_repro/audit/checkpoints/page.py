"""The comparison of two checkpoints as one HTML page that stands alone: verdicts, figures, every pair of tensors."""

from __future__ import annotations

from pathlib import Path

from alice_repro.audit.checkpoints import drawings
from alice_repro.audit.checkpoints.compare import Compared, Comparison
from alice_repro.audit.checkpoints.tables import (
    architecture_lines,
    blocks_table,
    matching_line,
    speed_line,
    statement_lines,
    statements_table,
    tensors_table,
    uncertainty_lines,
    verdict_lines,
)
from alice_repro.reporting.render import PAGE_CSS, page_templates

TEMPLATE = "checkpoint.html.j2"


def render(comparison: Comparison) -> str:
    """The whole page; all names are escaped, nothing is loaded from anywhere."""
    sides = {
        side: {
            "path": checkpoint.path.as_posix(),
            "layout": checkpoint.layout,
            "lines": architecture_lines(comparison.architectures[side], comparison.statements[side]),
            "fits": statement_lines(comparison.statements[side]),
            "table": statements_table(f"Stated sizes against {side.upper()}", comparison.statements[side]).html(),
        }
        for side, checkpoint in (("a", comparison.a), ("b", comparison.b))
    }
    return (
        page_templates(Path(__file__).parent)
        .get_template(TEMPLATE)
        .render(
            css=PAGE_CSS,
            sides=sides,
            networks=[_network(one) for one in comparison.networks],
            notes=list(dict.fromkeys(comparison.notes)),
            speed=speed_line(comparison),
        )
    )


def _network(one: Compared) -> dict[str, object]:
    return {
        "name": one.name,
        "kind": one.judgement.kind,
        "lines": verdict_lines(one),
        "uncertainty": uncertainty_lines(one),
        "note": one.pair.note,
        "matching": matching_line(one),
        "blocks": blocks_table(one).html(),
        "figures": [
            figure
            for figure in (
                drawings.by_depth(one.evidence),
                drawings.histogram(one.evidence),
                drawings.spectra(one.evidence),
            )
            if figure
        ],
        "tensors": tensors_table(one).html(),
    }
