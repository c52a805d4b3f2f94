"""What the verdict rules do on the teacher's own scores, kept as JSON since the simulation takes some seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alice_repro.config import FULL, ProtocolConfig
from alice_repro.errors import UserError
from alice_repro.files import read_json, sha256_file, write_json
from alice_repro.reporting.arms import ENDPOINT, Arms
from alice_repro.verdicts import calibrate

SHIFT = 10.0
SIMULATIONS = 100
DRAWS = 100


def calibration(
    arms: Arms, protocol: ProtocolConfig, store: Path, others: Sequence[Path] = (), simulations: int = SIMULATIONS
) -> dict[str, Any]:
    """Calibrate the rules on the scores of the teacher with all its steps.

    Args:
        store: JSON file to keep the result in; others: files where it may lie already. A file counts if it was made
            from the same scores and rules, with as many simulations or more.

    Returns:
        simulations, false_verdict, contradicted, detected (each an estimate as a dict), shift, smallest_effect; or
        `reason` in place of all but the first, where the scores do not allow a calibration.
    """
    scores = next(path for path in arms.files if path.stem == FULL)
    key = {
        "scores_sha256": sha256_file(scores),
        "runs": protocol.runs,
        "margin": protocol.margin,
        "shift": SHIFT,
    }
    for path in (*others, store):
        if path.exists():
            kept = read_json(path)
            if isinstance(kept, dict) and kept.get("key") == key and kept["result"]["simulations"] >= simulations:
                return kept["result"]
    result = {"simulations": simulations} | _compute(arms, protocol, simulations)
    write_json(store, {"key": key, "teacher": arms.teacher, "result": result})
    return result


def _compute(arms: Arms, protocol: ProtocolConfig, simulations: int) -> dict[str, Any]:
    table = arms.full[arms.full[ENDPOINT].notna()]
    value = 100 * table[ENDPOINT].to_numpy(float)
    room = 100.0 - float(value.mean()) if len(value) else 0.0
    if room < 1.0:
        return {"reason": f"the teacher stands at {100 - room:.1f} %: no room for a shift to be found"}
    try:
        found = calibrate(
            table["prompt_id"].to_numpy(),
            value,
            runs=protocol.runs,
            # Less than the planned shift where the teacher leaves no room for it; the table prints what was planted.
            shift=min(SHIFT, 0.9 * room),
            margin=protocol.margin,
            simulations=simulations,
            n_boot=DRAWS,
        )
    except UserError as error:
        return {"reason": str(error)}
    return asdict(found)


def calibration_line(teacher: str, result: dict[str, Any]) -> str:
    """The calibration in one line."""
    if "reason" in result:
        return f"calibration, {teacher} teacher: none ({result['reason']})"
    smallest = result["smallest_effect"]
    return (
        f"calibration, {teacher} teacher, {result['simulations']} simulations: "
        f"false verdicts {_percent(result['false_verdict'])} (aim: at most 5 %); "
        f"a planted shift of {result['shift']:.1f} points is found in {_percent(result['detected'])} "
        "(aim: at least 80 %); "
        "smallest effect found in 80 %: " + ("none that fits" if smallest is None else f"{smallest:.1f} points")
    )


def _percent(estimate: dict[str, float]) -> str:
    return f"{100 * estimate['value']:.1f} % [{100 * estimate['low']:.1f}, {100 * estimate['high']:.1f}]"
