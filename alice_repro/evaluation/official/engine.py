"""Scores of the official packages, in our tables: one row a video, every file accounted for, the protocol beside it.

    scores, protocol = evaluate_official("videos", "vbench", ["temporal_flickering"], "out")

Each dimension runs in a process of its own, so that one that lacks its weights or its modules does not end the others.
What an earlier call has finished, with the same videos and settings, is not computed again.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from alice_repro.errors import UserError
from alice_repro.evaluation.index import SCORE_COLUMNS, VideoRow, index_videos, write_scores
from alice_repro.evaluation.official import assign
from alice_repro.evaluation.official.catalogue import OfficialSuite, official_suite
from alice_repro.evaluation.official.dimension import Job, results_path, run_dimension
from alice_repro.evaluation.official.environment import VERSIONS, clean_environment, find_python, package_folder
from alice_repro.evaluation.official.staging import stage
from alice_repro.evaluation.prompts import NAMES, NONE, caption_of_name, read_prompts, sample_of_name
from alice_repro.evaluation.suites import PromptSuite, read_suite
from alice_repro.files import read_json, sha256_file, write_json
from alice_repro.progress import Progress


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
    environment = clean_environment(interpreter, unpickle)
    job = Job(chosen, tuple(found), listed, settings, out, interpreter, environment, timeout)
    table = _table(rows, captions)
    record: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    with Progress(len(wanted), f"official {chosen.name}") as progress:
        for dimension in wanted:
            values, facts = run_dimension(job, dimension)
            record[dimension.name] = facts
            if not facts["error"]:
                merged |= read_json(results_path(out, dimension))
            table[dimension.name] = [float("nan") if isinstance(value, str) else value for value in values]
            table[f"{dimension.name}_reason"] = [value if isinstance(value, str) else "" for value in values]
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


def show_protocol(protocol: Mapping[str, Any]) -> str:
    """What became of each dimension, and what to know of the run, for the terminal."""
    lines = []
    for name, facts in protocol["dimensions"].items():
        score = "" if facts["official_score"] is None else f"{facts['official_score']:.4f}"
        lines.append(f"{name:<26}{score:>8}  {facts['status']}  {facts['error']}".rstrip())
    return "\n".join([*lines, *(f"note: {warning}" for warning in protocol["warnings"])])


def _standard_prompts(
    suite: OfficialSuite, prompts: str | Path | pd.DataFrame | None, interpreter: Path
) -> PromptSuite | None:
    if isinstance(prompts, str) and prompts == "standard":
        return read_suite(suite.name, python=interpreter)
    if isinstance(prompts, (str, Path)) and Path(prompts).suffix == ".json" and isinstance(read_json(prompts), list):
        return read_suite(suite.name, source=prompts)
    return None


def _rows(given: str | Path | Sequence[VideoRow], prompts: str | Path | pd.DataFrame | None) -> list[VideoRow]:
    if not isinstance(given, (str, Path)):
        if prompts is not None:
            raise UserError("rows have their captions already; give a folder, or no prompts")
        if not given:
            raise UserError("no videos to score")
        return list(given)
    if isinstance(prompts, (str, Path)):
        prompts, _ = read_prompts(prompts, given, extra=("image",))
    return index_videos(given, prompts)


def _table(rows: list[VideoRow], captions: list[str]) -> pd.DataFrame:
    columns: dict[str, Any] = {"video": [row.video for row in rows], "caption": captions}
    for name in SCORE_COLUMNS[2:]:
        columns[name] = [row.columns.get(name, "" if name in ("prompt_id", "arm") else pd.NA) for row in rows]
    table = pd.DataFrame(columns)
    if table["seed"].isna().all():
        table["seed"] = [sample_of_name(row.video) for row in rows]
    return table.astype({"seed": "Int64", "run": "Int64"})


def _prompt_record(listed: PromptSuite | None, prompts: object) -> dict[str, str]:
    if listed is not None:
        return {"source": listed.source, "sha256": listed.sha256}
    if isinstance(prompts, (str, Path)) and str(prompts) not in (NAMES, NONE):
        return {"source": Path(prompts).name, "sha256": sha256_file(prompts)}
    return {"source": "a caption table" if isinstance(prompts, pd.DataFrame) else "rows or file names", "sha256": ""}
