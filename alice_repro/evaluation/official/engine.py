"""Scores of the official packages, in our tables: one row a video, every file accounted for, the protocol beside it.

    scores, protocol = evaluate_official("videos", "vbench", ["temporal_flickering"], "out")

Each dimension runs in a process of its own, so that one that lacks its weights or its modules does not end the others.
What an earlier call has finished, with the same videos and settings, is not computed again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from alice_repro.errors import UserError
from alice_repro.evaluation.index import SCORE_COLUMNS, VideoRow, index_videos, read_caption_table, write_scores
from alice_repro.evaluation.official import assign, process
from alice_repro.evaluation.official.catalogue import OfficialDimension, OfficialSuite, official_suite
from alice_repro.evaluation.official.environment import VERSIONS, clean_environment, find_python, package_folder
from alice_repro.evaluation.official.naming import caption_of_name, sample_of_name
from alice_repro.evaluation.official.results import DimensionResult, read_dimension
from alice_repro.evaluation.official.staging import link_names, stage
from alice_repro.evaluation.suites import PromptSuite, read_prompts
from alice_repro.files import read_json, sha256_file, write_json
from alice_repro.progress import Progress

DRIVER = Path(__file__).with_name("driver.py")
SET_NOTE = "the score of its prompt's {n} videos stands with {first}"
UNPICKLE_HINT = "; the official code unpickles this file: pass unpickle=True if you trust it"


def evaluate_official(
    folder_or_rows: str | Path | Sequence[VideoRow],
    suite: str,
    dimensions: Sequence[str] | None,
    out: str | Path,
    *,
    python: str | Path | None = None,
    timeout: float | None = None,
    prompts: str | Path | pd.DataFrame | None = None,
    device: str = "auto",
    options: Mapping[str, Any] | None = None,
    checkout: str | Path | None = None,
    unpickle: bool = False,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Score videos with the official VBench, VBench-I2V, VBench-Long or VBench-2.0.

    Args:
        folder_or_rows: a folder of videos, or rows of `index_videos`.
        suite: vbench, vbench-i2v, vbench-long or vbench-2.0.
        dimensions: by our names or the official ones; None for all of the suite.
        out: takes scores.csv, protocol.json, eval_results.json (the official layout) and, in logs, what each dimension
            said.
        python: of the environment that has the package; else the one that `make vbench-env` or `vbench2-env` builds.
        timeout: seconds that a dimension may take.
        prompts: None: captions of the rows, or the file names without `-N` (official custom input). "standard": the
            official protocol on the suite's own prompts, which are found by caption or file name; the path of a
            `*_full_info.json` is the same with that list. Else a caption table, its path, or a JSON {video: prompt}.
        device: "auto", "cpu", "cuda" ...
        options: further arguments of the official `evaluate`, such as {"local": True}.
        checkout: folder of the official repository, for modules that the wheels lack.
        unpickle: let the official code unpickle weights, as it expects of old torch. Only for files that you trust.

    Returns:
        A score table (a column a dimension, imaging quality as a fraction) and the protocol: `complete` says whether
        every dimension has all its scores, `dimensions` what became of each, with the official score where there is
        one. The official score may weigh videos otherwise than the mean of the rows does.

    Raises:
        UserError: no such suite, dimension, environment, video or prompt.
    """
    chosen = official_suite(suite)
    wanted = chosen.choose(dimensions)
    interpreter = find_python(chosen, python)
    package = package_folder(chosen, interpreter)
    listed = _standard_prompts(chosen, prompts, interpreter)
    rows = _rows(folder_or_rows, None if listed else prompts)
    out = Path(out).absolute()
    for name in ("official", "logs"):
        (out / name).mkdir(parents=True, exist_ok=True)
    work = out / "work"
    captions = [row.caption if row.caption else caption_of_name(row.video) for row in rows]
    found = assign.candidates(rows, stage(rows, work / "re-encoded"), captions, listed)
    settings = {
        "device": device,
        "options": dict(options or {}),
        "checkout": str(Path(checkout).absolute()) if checkout else "",
        "info": str(package / chosen.info) if chosen.info else "",
        "versions": list(VERSIONS),
    }
    table = _table(rows, captions)
    record: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    environment = clean_environment(interpreter, unpickle)
    with Progress(len(wanted), f"official {chosen.name}") as progress:
        for dimension in wanted:
            result, facts, reasons = _dimension(
                found, dimension, chosen, listed, settings, out, interpreter, environment, timeout
            )
            record[dimension.name] = facts
            if result is not None:
                merged[dimension.official] = read_json(_results_path(out, dimension))[dimension.official]
            _fill(table, dimension, found, result, reasons)
            progress.advance(note=f"{dimension.name}: {facts['status']}")
    protocol = {
        "engine": f"official {chosen.distribution}",
        "suite": chosen.name,
        "mode": "standard" if listed else "custom",
        "complete": all(facts["status"] == "complete" for facts in record.values()),
        "dimensions": record,
        "prompts": _prompt_record(listed, prompts),
        "seeds": sorted({int(seed) for seed in table["seed"].dropna()}),
        "videos_per_prompt": sorted({int(count) for count in table["caption"].value_counts()}),
        "fps": sorted({round(c.staged.fps, 3) for c in found if c.staged.file}),
        "resolution": sorted({f"{c.staged.width}x{c.staged.height}" for c in found if c.staged.file}),
        "environment": next((facts["environment"] for facts in record.values() if facts.get("environment")), None),
        "options": settings["options"],
        "warnings": assign.warnings(found, chosen, listed is not None),
        "videos": [candidate.staged.facts() for candidate in found],
    }
    write_scores(out / "scores.csv", table)
    write_json(out / "eval_results.json", merged)
    write_json(out / "protocol.json", protocol)
    shutil.rmtree(work, ignore_errors=True)
    return table, protocol


def _dimension(
    found: list[assign.Candidate],
    dimension: OfficialDimension,
    suite: OfficialSuite,
    listed: PromptSuite | None,
    settings: dict[str, Any],
    out: Path,
    interpreter: Path,
    environment: dict[str, str],
    timeout: float | None,
) -> tuple[DimensionResult | None, dict[str, Any], list[str]]:
    """Run one dimension: its result under row numbers as names, the facts for the record, a reason for each row."""
    standard = listed is not None
    reasons = [assign.refusal(candidate, dimension, suite, standard) for candidate in found]
    taken = [number for number, reason in enumerate(reasons) if not reason]
    expected = _expected(listed, dimension) if listed else len(found)
    facts: dict[str, Any] = {"status": "failed", "expected": expected, "given": len(taken), "scored": 0}
    facts |= {"official_score": None, "weights": dimension.weights, "error": ""}
    if not taken:
        why = sorted({reason for reason in reasons if reason})
        return None, facts | {"error": f"no video for it: {why[0] if why else 'the folder is empty'}"}, reasons
    names = list(link_names([found[number].caption for number in taken], bool(dimension.reads_name)))
    folder = out / "work" / dimension.name
    shutil.rmtree(folder, ignore_errors=True)
    paths = _link(folder / "videos", [found[number].staged.file for number in taken], names)
    request = settings | {
        "module": suite.module,
        "class": suite.cls,
        "dimension": dimension.official,
        "name": dimension.name,
        "videos": str(folder / "videos"),
        "out": str(folder),
        "clips": suite.long,
        "entries": assign.entries(
            [(found[n], path) for n, path in zip(taken, paths, strict=True)], dimension, standard
        ),
        "files": {name: found[number].staged.sha256 for name, number in zip(names, taken, strict=True)},
    }
    if suite.long:
        _prepare_long(request, suite, [found[n] for n in taken], names, folder, standard)
    facts |= _run(request, dimension, out, folder, interpreter, environment, timeout)
    shutil.rmtree(folder, ignore_errors=True)
    if facts["error"]:
        why = f"the official {suite.distribution} {facts['error'].split(': ')[0]}: {facts['error'].split(' | ')[-1]}"
        return None, facts, [reason or why for reason in reasons]
    path = _results_path(out, dimension)
    try:
        result = read_dimension(read_json(path), dimension, names, str(path))
    except UserError as error:
        facts["error"] = str(error)
        return None, facts, [reason or facts["error"] for reason in reasons]
    values = {str(number): result.values[name] for number, name in zip(taken, names, strict=True)}
    if dimension.per_set:
        values = _first_of_each_set(values, found)
    scored = sum(not isinstance(value, str) or value.startswith(SET_NOTE[:20]) for value in values.values())
    facts |= {"scored": scored, "official_score": result.score}
    facts["status"] = "complete" if scored == expected and result.score is not None else "partial"
    return DimensionResult(result.score, values), facts, reasons


def _run(
    request: dict[str, Any],
    dimension: OfficialDimension,
    out: Path,
    folder: Path,
    interpreter: Path,
    environment: dict[str, str],
    timeout: float | None,
) -> dict[str, Any]:
    """Start the driver, unless the same request has been answered; keep the official results and the log."""
    kept, log = _results_path(out, dimension), out / "logs" / f"{dimension.name}.log"
    asked = kept.with_name(f"{dimension.name}_request.json")
    told = kept.with_name(f"{dimension.name}_environment.json")
    request = request | {"python": str(interpreter)}
    if kept.is_file() and told.is_file() and asked.is_file() and read_json(asked) == json.loads(json.dumps(request)):
        return {"reused": True, "environment": read_json(told), "log": f"logs/{log.name}"}
    for old in (kept, asked, told):
        old.unlink(missing_ok=True)
    write_json(folder / "request.json", request)
    command = [str(interpreter), str(DRIVER), str(folder / "request.json")]
    outcome = process.run(command, log, cwd=folder, env=environment, timeout=timeout)
    facts: dict[str, Any] = {
        "exit_status": outcome.code,
        "seconds": round(outcome.seconds, 1),
        "log": f"logs/{log.name}",
    }
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


def _prepare_long(
    request: dict[str, Any],
    suite: OfficialSuite,
    given: list[assign.Candidate],
    names: list[str],
    folder: Path,
    standard: bool,
) -> None:
    """The files and options of VBench-Long that its wheel lacks, at the defaults of its command line.

    Clips are scored by themselves alone: the score between clips has weight 0 there, and needs tables that only the
    official repository has.
    """
    known = [  # the official code looks up in it how long the clips of a prompt's dimensions are
        {"prompt_en": name.rsplit("-", 1)[0], "dimension": [suite.dimension(d).official for d in c.prompt.dimensions]}
        for name, c in zip(names, given, strict=True)
        if c.prompt is not None
    ]
    seconds = {name: suite.clip_seconds.get(name, suite.clip_seconds["others"]) for name in suite.dimensions}
    for name, content in {"info": known, "clip_length": seconds, "weights": {}}.items():
        write_json(folder / f"{name}.json", content)  # JSON is YAML too
    (folder / "identity.yaml").write_text("0.0: 0.0\n1.0: 1.0\n")
    request["info"] = str(folder / "info.json")
    request["options"] = {
        "mode": "long_vbench_standard" if standard else "long_custom_input",
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
    } | request["options"]


def _standard_prompts(
    suite: OfficialSuite, prompts: str | Path | pd.DataFrame | None, interpreter: Path
) -> PromptSuite | None:
    if isinstance(prompts, str) and prompts == "standard":
        return read_prompts(suite.name, python=interpreter)
    if isinstance(prompts, (str, Path)) and Path(prompts).suffix == ".json" and isinstance(read_json(prompts), list):
        return read_prompts(suite.name, source=prompts)
    return None


def _rows(given: str | Path | Sequence[VideoRow], prompts: str | Path | pd.DataFrame | None) -> list[VideoRow]:
    if not isinstance(given, (str, Path)):
        if prompts is not None:
            raise UserError("rows have their captions already; give a folder, or no prompts")
        if not given:
            raise UserError("no videos to score")
        return list(given)
    if isinstance(prompts, (str, Path)):
        if Path(prompts).suffix == ".json":
            captions = read_json(prompts)
            if not isinstance(captions, dict) or not all(isinstance(text, str) for text in captions.values()):
                raise UserError(f"{prompts}: not an object of the form {{video: prompt}}")
            prompts = pd.DataFrame({"video": list(captions), "caption": list(captions.values())})
        else:
            prompts = read_caption_table(prompts, extra=("image",))
    return index_videos(given, prompts)


def _table(rows: list[VideoRow], captions: list[str]) -> pd.DataFrame:
    columns: dict[str, Any] = {"video": [row.video for row in rows], "caption": captions}
    for name in SCORE_COLUMNS[2:]:
        columns[name] = [row.columns.get(name, "" if name in ("prompt_id", "arm") else pd.NA) for row in rows]
    table = pd.DataFrame(columns)
    if table["seed"].isna().all():
        table["seed"] = [sample_of_name(row.video) for row in rows]
    return table.astype({"seed": "Int64", "run": "Int64"})


def _fill(
    table: pd.DataFrame,
    dimension: OfficialDimension,
    found: list[assign.Candidate],
    result: DimensionResult | None,
    reasons: list[str],
) -> None:
    said = [(result.values.get(str(n), reasons[n]) if result else reasons[n]) for n in range(len(found))]
    table[dimension.name] = [float("nan") if isinstance(value, str) else value for value in said]
    table[f"{dimension.name}_reason"] = [value if isinstance(value, str) else "" for value in said]


def _first_of_each_set(values: dict[str, float | str], found: list[assign.Candidate]) -> dict[str, float | str]:
    """The official code names the first video of a set; the others of the set point to it."""
    sets: dict[str, list[str]] = {}
    for key in values:
        sets.setdefault(found[int(key)].caption, []).append(key)
    for members in sets.values():
        scored = next((key for key in members if not isinstance(values[key], str)), None)
        if scored is not None:
            note = SET_NOTE.format(n=len(members), first=found[int(scored)].row.video)
            values |= {key: note for key in members if key != scored}
    return values


def _expected(listed: PromptSuite, dimension: OfficialDimension) -> int:
    return len(listed.of([dimension.name])) * (dimension.samples or listed.suite.samples)


def _link(folder: Path, files: Sequence[Path | None], names: Sequence[str]) -> list[Path]:
    folder.mkdir(parents=True)
    paths = [folder / f"{name}.mp4" for name in names]
    for file, path in zip(files, paths, strict=True):
        path.symlink_to(file)
    return paths


def _results_path(out: Path, dimension: OfficialDimension) -> Path:
    return out / "official" / f"{dimension.name}_eval_results.json"


def _prompt_record(listed: PromptSuite | None, prompts: object) -> dict[str, str]:
    if listed is not None:
        return {"source": listed.source, "sha256": listed.sha256}
    if isinstance(prompts, (str, Path)):
        return {"source": Path(prompts).name, "sha256": sha256_file(prompts)}
    return {"source": "a caption table" if isinstance(prompts, pd.DataFrame) else "rows or file names", "sha256": ""}
