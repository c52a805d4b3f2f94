"""What a paper says that its experiment took, against the plan of that experiment by the paper's own settings.

Three numbers: the printed hours; the floor, which is the audit's (`limits_budget`: fewest passes, shortest clips, 100 %
of the peak); and the planned range (the passes that our recipe of the method really makes, over the readings of the
text, at the rates of `rates.toml`). The verdict is in the audit's words: below the floor the budget is impossible on
paper; between floor and plan only a run could show it; in or above the planned range it is consistent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from alice_repro.audit.findings import CONSISTENT, NEEDS_A_RUN, NOT_TESTABLE, Finding, Record
from alice_repro.audit.interval import Interval
from alice_repro.audit.limits_budget import check_budgets, stage_operations
from alice_repro.audit.limits_time import peaks
from alice_repro.audit.planner.machines import TERA, Machine, parse_machine, with_shares
from alice_repro.audit.planner.network import Network, of_model, recorded_model
from alice_repro.audit.planner.plan import HOUR
from alice_repro.audit.planner.show import number, span, times
from alice_repro.audit.planner.work import operations_of, update_calls
from alice_repro.audit.stated import Stated, model_of, stated
from alice_repro.config import Recipe, Stage, load_recipe
from alice_repro.errors import UserError, unknown_name
from alice_repro.files import read_toml
from alice_repro.papers import Budget, Paper, companions, load_paper, parse_expression
from alice_repro.papers import Stage as BudgetStage

_CLAIMS = Path(__file__).with_name("claims.toml")


@dataclass(frozen=True)
class Compared:
    """A claim beside its floor and its plan, in GPU-hours.

    Attributes:
        claimed: least and most that the printed number may mean; None where the paper states no hours.
        floor: least hours at 100 % of the peak; None where there is nothing to compare.
        planned: least and most.
        needed: share of the peak that the claim implies for the planned operations, most and least of them.
    """

    claim: str
    place: str
    quote: str
    machine: Machine
    recipe: str
    claimed: tuple[float, float] | None
    floor: float | None
    planned: tuple[float, float]
    needed: tuple[float, float] | None
    verdict: str
    lines: tuple[tuple[str, float, float], ...]
    note: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self) | {"machine": self.machine.name}


def known_claims() -> tuple[str, ...]:
    """Every claim that can be compared."""
    return (*_claims()["budget"], *_claims()["untimed"])


def compare(
    claim: str, machine: Machine | None = None, recipe: Recipe | None = None, utilisation: tuple[float, ...] = ()
) -> Compared:
    """Compare a claim with the plan of its experiment.

    Args:
        machine: instead of the GPUs that the paper names.
        recipe: whose updates are counted, instead of the one that claims.toml names.
        utilisation: shares of the peak instead of the calibrated ones.

    Raises:
        UserError: unknown claim, GPUs that the paper's hours are not of, a recipe without a stage that the claim needs.
    """
    if claim not in known_claims():
        raise UserError(f"{unknown_name('claim', claim, known_claims())}. AVD states neither hours nor updates")
    if machine is not None and machine.gpu is None:
        raise UserError("a paper's budget is one of GPUs: name them, such as --gpus 64xH100")
    entry = _claims()["budget"].get(claim)
    if entry is None:
        machine = machine or parse_machine(_claims()["untimed"][claim]["gpus"])
        return _untimed(claim, with_shares(machine, utilisation), recipe)
    named = _budget(claim).gpus
    machine = machine or parse_machine(named[0])
    if machine.gpu.id not in named:
        raise UserError(
            f"the hours of {claim} are those of {', '.join(named)}: other GPUs' hours cannot be set beside them"
        )
    return _timed(claim, entry, with_shares(machine, utilisation), recipe)


def show_claim(result: Compared) -> str:
    """The comparison as text."""
    by = f", updates as in recipe {result.recipe}" if result.recipe else ""
    text = [f"{result.claim} ({result.place}), the paper's own settings{by}", f'  "{result.quote}"', ""]
    width = max(len(name) for name, *_ in result.lines)
    text += [f"  {name.ljust(width)}  {span(low, high):>22} GPU-hours" for name, low, high in result.lines]
    text += ["", f"claimed   {span(*result.claimed) if result.claimed else 'no hours are stated'}"]
    if result.floor is not None:
        text.append(f"floor     {number(result.floor)} GPU-hours, at 100 % of the peak with the fewest passes (audit)")
    text.append(f"planned   {span(*result.planned)} GPU-hours")
    if result.claimed:
        low, high = (planned / max(result.claimed) for planned in result.planned)
        text.append(f"ratio     planned / claimed {span(low, high)}")
        text.append(f"implied   {span(*(100 * share for share in result.needed))} % of the dense bf16 peak")
    if result.machine.count > 1:
        wall = [hours / result.machine.count for hours in result.planned]
        text.append(f"wall time {times(*wall)} on {result.machine.name}, all busy")
    text += [f"verdict   {result.verdict}", "", f"{result.note}"]
    text.append(
        f"Rates: sampling {result.machine.described('sampling')}, training {result.machine.described('training')}"
    )
    return "\n".join(text)


@cache
def _claims() -> dict[str, Any]:
    return read_toml(_CLAIMS)


def _timed(claim: str, entry: dict[str, Any], machine: Machine, recipe: Recipe | None) -> Compared:
    document = claim.partition(".")[0]
    paper, budget = load_paper(document), _budget(claim)
    record = Record((paper, *companions(document)))
    facts = stated(record, paper, budget.hours, *(node for s in budget.stages for node in (s.steps, s.batch)))
    chosen = (recipe or load_recipe(entry["recipe"])) if "recipe" in entry else None
    rows = list(_rows(paper, budget, facts, entry, machine, chosen))
    planned = (sum(low for _, low, *_ in rows), sum(high for _, _, high, _ in rows))
    operations = [operations for *_, operations in rows]
    claimed = facts.interval(budget.hours)
    shares = sorted(
        sum(each[i] for each in operations) / (claimed.high * HOUR * machine.gpu.peaks["bf16"] * TERA) for i in (0, 1)
    )
    floor = sum(stage_operations(facts, model_of(paper, budget.model), budget, longest=False))
    floor /= peaks(budget.gpus, budget.precision)[0].flops * HOUR
    return Compared(
        claim, budget.place, facts.quote(budget.hours), machine, chosen.name if chosen else "",
        (claimed.low, claimed.high), floor, planned, (shares[0], shares[1]),
        _verdict(_finding(record, paper, budget), claimed, planned),
        tuple((label, low, high) for label, low, high, _ in rows), entry["note"],
    )  # fmt: skip


def _rows(
    paper: Paper, budget: Budget, facts: Stated, entry: dict[str, Any], machine: Machine, recipe: Recipe | None
) -> Iterator[tuple[str, float, float, tuple[float, float]]]:
    """Each stage: its name, GPU-hours and operations, least and most."""
    model = model_of(paper, budget.model)
    teacher = recorded_model(entry["teacher"]) if "teacher" in entry else model
    for number_, (stage, ours) in enumerate(zip(budget.stages, entry["stages"], strict=True), start=1):
        clips = facts.interval(stage.steps) * facts.interval(stage.batch)
        each = []
        for frames, most in ((min(stage.frames), False), (max(stage.frames), True)):
            network = of_model(model, stage.width, stage.height, frames)
            if ours == "sampling":
                each.append(network.forward * (2 if most else 1))
            elif ours == "floor":
                each.append(network.forward * stage.evaluations)
            else:
                teachers = of_model(teacher, stage.width, stage.height, frames)
                each.append(_update(recipe, _stage_of(recipe, ours), network, teachers, recomputed=most))
        operations = (clips.low * each[0], clips.high * each[1])
        kind = "sampling" if ours == "sampling" else "training"
        yield _label(facts, stage, ours, number_), *_hours(operations, machine, kind), operations


def _untimed(claim: str, machine: Machine, recipe: Recipe | None) -> Compared:
    entry = _claims()["untimed"][claim]
    document = claim.partition(".")[0]
    paper = load_paper(document)
    values = {key: paper.value(parse_expression(entry[key])).value for key in ("updates", "batch", "frames")}
    chosen = recipe or load_recipe(entry["recipe"])
    network = of_model(recorded_model(entry["model"]), *entry["size"], round(values["frames"]))
    stage = _stage_of(chosen, entry["stage"])
    clips = values["updates"] * values["batch"]
    least = _update(chosen, stage, network, network, recomputed=False) / (1 + stage.critic_updates)
    operations = (clips * least, clips * _update(chosen, stage, network, network, recomputed=True))
    hours = _hours(operations, machine, "training")
    label = f"{values['updates']:,.0f} iterations of {values['batch']:.0f}"
    return Compared(
        claim, entry["place"], entry["quote"], machine, chosen.name, None, None, hours, None, NOT_TESTABLE,
        ((label, *hours),), entry["note"],
    )  # fmt: skip


def _budget(claim: str) -> Budget:
    document, _, name = claim.partition(".")
    return next(budget for budget in load_paper(document).budgets if budget.id == name)


def _update(recipe: Recipe, stage: Stage, network: Network, teacher: Network, recomputed: bool) -> float:
    """Operations of an update on one clip, the teacher guided."""
    roles = update_calls(recipe, stage).together(stage.critic_updates)
    return sum(
        operations_of(calls, teacher if role == "teacher" else network, role == "teacher", recomputed)
        for role, calls in roles.items()
    )


def _stage_of(recipe: Recipe, name: str) -> Stage:
    for stage in recipe.stages:
        if stage.name == name:
            return stage
    own = ", ".join(stage.name for stage in recipe.stages)
    raise UserError(f"recipe {recipe.name} has no stage {name!r}, which this claim needs; it has {own}")


def _hours(operations: tuple[float, float], machine: Machine, kind: str) -> tuple[float, float]:
    slow, fast = machine.speeds(kind)
    return operations[0] / fast / HOUR, operations[1] / slow / HOUR


def _finding(record: Record, paper: Paper, budget: Budget) -> Finding:
    wanted = f"{paper.id}.limits.budget.{budget.id}"
    return next(finding for finding in check_budgets(record) if finding.id == wanted)


def _verdict(finding: Finding, claimed: Interval, planned: tuple[float, float]) -> str:
    if finding.verdict != CONSISTENT:
        return finding.verdict
    return CONSISTENT if claimed.high >= planned[0] else NEEDS_A_RUN


def _label(facts: Stated, stage: BudgetStage, ours: str, number_: int) -> str:
    frames = f"{min(stage.frames)} to {max(stage.frames)}" if len(set(stage.frames)) > 1 else str(stage.frames[0])
    return (
        f"{number_}: {facts.shown(stage.steps)} x {facts.shown(stage.batch)}, {stage.width}x{stage.height}, "
        f"{frames} frames; {ours}"
    )
