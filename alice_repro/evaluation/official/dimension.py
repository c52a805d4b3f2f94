"""One dimension of an official package, run in a process of its own; what it said of each video, and of itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alice_repro.errors import UserError
from alice_repro.evaluation.official import assign, process
from alice_repro.evaluation.official.assign import Candidate
from alice_repro.evaluation.official.catalogue import OfficialDimension, OfficialSuite
from alice_repro.evaluation.official.results import read_dimension
from alice_repro.evaluation.official.staging import link_names
from alice_repro.evaluation.suites import PromptSuite
from alice_repro.files import read_json, write_json

DRIVER = Path(__file__).with_name("driver.py")
ELSEWHERE = "the score of its prompt's {n} videos stands with {first}"
UNPICKLE_HINT = "; the official code unpickles this file: pass unpickle=True if you trust it"


@dataclass(frozen=True)
class Job:
    """What all dimensions of a run share.

    Attributes:
        found: the videos, in the order of the score table.
        listed: the suite's own prompts; None in custom input.
        settings: part of every request to the driver: device, options, where the package's prompts are.
        python, environment: what the driver is started with.
        timeout: seconds a dimension; None for no limit.
    """

    suite: OfficialSuite
    found: tuple[Candidate, ...]
    listed: PromptSuite | None
    settings: dict[str, Any]
    out: Path
    python: Path
    environment: dict[str, str]
    timeout: float | None

    @property
    def standard(self) -> bool:
        return self.listed is not None

    def expected(self, dimension: OfficialDimension) -> int:
        """Videos that should have a score: all that the standard protocol wants, or all that there are."""
        if self.listed is None:
            return len(self.found)
        return len(self.listed.of([dimension.name])) * (dimension.samples or self.suite.samples)


def run_dimension(job: Job, dimension: OfficialDimension) -> tuple[list[float | str], dict[str, Any]]:
    """Score the videos that the dimension can take.

    Returns:
        A score, or a sentence that says why there is none, for each video; and for the protocol: `status` (complete,
        partial, failed), how many videos were expected, given and scored, the official score, exit status, log, error.
    """
    values: list[float | str] = [assign.refusal(c, dimension, job.suite, job.standard) for c in job.found]
    taken = [number for number, refusal in enumerate(values) if not refusal]
    facts: dict[str, Any] = {"status": "failed", "expected": job.expected(dimension), "given": len(taken), "scored": 0}
    facts |= {"official_score": None, "weights": dimension.weights, "error": ""}
    if not taken:
        return values, facts | {"error": f"no video for it: {values[0]}"}
    folder = job.out / "work" / dimension.name
    names = list(link_names([job.found[number].caption for number in taken], bool(dimension.reads_name)))
    request = _request(job, dimension, [job.found[number] for number in taken], names, folder)
    facts |= _answer(job, dimension, request, folder)
    shutil.rmtree(folder, ignore_errors=True)
    path = results_path(job.out, dimension)
    if not facts["error"]:
        try:
            result = read_dimension(read_json(path), dimension, names, str(path))
        except UserError as error:
            facts["error"] = str(error)
    if facts["error"]:
        why = f"the official {job.suite.distribution} {_in_short(facts['error'])}"
        return [value or why for value in values], facts
    for number, name in zip(taken, names, strict=True):
        values[number] = result.values[name]
    facts["scored"] = sum(not isinstance(value, str) for value in values)
    if dimension.per_set:
        facts["scored"] = _point_to_the_first(values, taken, job.found)
    facts["official_score"] = result.score
    facts["status"] = "complete" if facts["scored"] == facts["expected"] and result.score is not None else "partial"
    return values, facts


def results_path(out: Path, dimension: OfficialDimension) -> Path:
    """Where the official results of a dimension are kept."""
    return out / "official" / f"{dimension.name}_eval_results.json"


def _request(
    job: Job, dimension: OfficialDimension, given: Sequence[Candidate], names: Sequence[str], folder: Path
) -> dict[str, Any]:
    """Lay out the videos under their safe names, and say in words of the driver what to do with them."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "videos").mkdir(parents=True)
    paths = [folder / "videos" / f"{name}.mp4" for name in names]
    for candidate, path in zip(given, paths, strict=True):
        path.symlink_to(candidate.staged.file)
    request = job.settings | {
        "python": str(job.python),
        "module": job.suite.module,
        "class": job.suite.cls,
        "dimension": dimension.official,
        "name": dimension.name,
        "videos": str(folder / "videos"),
        "out": str(folder),
        "clips": job.suite.long,
        "entries": assign.entries(list(zip(given, paths, strict=True)), dimension, job.standard),
        "files": {name: candidate.staged.sha256 for name, candidate in zip(names, given, strict=True)},
    }
    return request | _long(job, given, names, folder) if job.suite.long else request


def _answer(job: Job, dimension: OfficialDimension, request: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Start the driver, unless the same request has been answered; keep the official results and the log."""
    kept, log = results_path(job.out, dimension), job.out / "logs" / f"{dimension.name}.log"
    asked = kept.with_name(f"{dimension.name}_request.json")
    told = kept.with_name(f"{dimension.name}_environment.json")
    facts: dict[str, Any] = {"log": f"logs/{log.name}"}
    if all(path.is_file() for path in (kept, asked, told)) and read_json(asked) == json.loads(json.dumps(request)):
        return facts | {"reused": True, "environment": read_json(told)}
    for old in (asked, kept, told):
        old.unlink(missing_ok=True)
    write_json(folder / "request.json", request)
    command = [str(job.python), str(DRIVER), str(folder / "request.json")]
    outcome = process.run(command, log, cwd=folder, env=job.environment, timeout=job.timeout)
    facts |= {"exit_status": outcome.code, "seconds": round(outcome.seconds, 1)}
    error = outcome.failure()
    answers = folder / f"{dimension.name}_eval_results.json", folder / f"{dimension.name}_environment.json"
    if not error and not all(answer.is_file() for answer in answers):
        error = f"left with 0 and no results: {outcome.tail or 'it said nothing'}"
    if error:
        return facts | {"error": error + (UNPICKLE_HINT if "weights_only" in error else "")}
    for answer, place in zip(answers, (kept, told), strict=True):
        write_json(place, read_json(answer))
    write_json(asked, request)
    return facts | {"environment": read_json(told)}


def _long(job: Job, given: Sequence[Candidate], names: Sequence[str], folder: Path) -> dict[str, Any]:
    """The files and options of VBench-Long that its wheel lacks, at the defaults of its command line.

    Clips are scored by themselves alone: the score between clips has weight 0 there, and needs tables that only the
    official repository has.
    """
    suite = job.suite
    known = [  # the official code looks up in it how long the clips of a prompt's dimensions are
        {"prompt_en": name.rsplit("-", 1)[0], "dimension": [suite.dimension(d).official for d in c.prompt.dimensions]}
        for name, c in zip(names, given, strict=True)
        if c.prompt is not None
    ]
    seconds = {name: suite.clip_seconds.get(name, suite.clip_seconds["others"]) for name in suite.dimensions}
    for name, content in {"info": known, "clip_length": seconds, "weights": {}}.items():
        write_json(folder / f"{name}.json", content)  # JSON is YAML too
    (folder / "identity.yaml").write_text("0.0: 0.0\n1.0: 1.0\n", encoding="utf-8")
    options = {
        "mode": "long_vbench_standard" if job.standard else "long_custom_input",
        "use_semantic_splitting": False,
        "static_filter_flag": False,
        "dev_flag": False,
        "num_of_samples_per_prompt": suite.samples,
        "clip_length_config": str(folder / "clip_length.json"),
        "slow_fast_eval_config": str(folder / "weights.json"),
        "sb_mapping_file_path": str(folder / "identity.yaml"),
        "bg_mapping_file_path": str(folder / "identity.yaml"),
        "sb_clip2clip_feat_extractor": "dino",
        "bg_clip2clip_feat_extractor": "clip",
        "w_inclip": 1.0,
        "w_clip2clip": 0.0,
    }
    return {"info": str(folder / "info.json"), "options": options | job.settings["options"]}


def _point_to_the_first(values: list[float | str], taken: Sequence[int], found: Sequence[Candidate]) -> int:
    """The official code gives a set's score to its first video: the others point to it. Returns videos that count."""
    sets: dict[str, list[int]] = {}
    for number in taken:
        sets.setdefault(found[number].caption, []).append(number)
    count = 0
    for members in sets.values():
        scored = next((number for number in members if not isinstance(values[number], str)), None)
        if scored is not None:
            count += len(members)
            note = ELSEWHERE.format(n=len(members), first=found[scored].row.video)
            for number in members:
                values[number] = values[number] if number == scored else note
    return count


def _in_short(error: str) -> str:
    """How it failed and its last line, of all that the log ends with."""
    how, _, said = error.partition(": ")
    return f"{how}: {said.split(' | ')[-1]}" if said else how
