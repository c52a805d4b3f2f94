"""Fabricated experiments: score files, manifests and logs in the layout of `results/<scale>`, with known answers."""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode leaves helpers of tests unimportable

from fabricate import better, outcomes, write_arm  # noqa: E402

from alice_repro import manifest  # noqa: E402
from alice_repro.manifest import write_manifest  # noqa: E402

UPDATES = 200


# A manifest tells the version of each package, which is slow to find out; the fixtures write many manifests.
_version = functools.cache(manifest._version)


@pytest.fixture(autouse=True)
def quick_manifests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "_version", _version)


@pytest.fixture
def experiment() -> Callable[..., Path]:
    """Write a whole root: `experiment(root, teacher, runs, shift, drift=...)`.

    The teacher is right in 50 % of the clips, with few steps in 25 %, and each student in `shift` points more than the
    teacher; at 3/4 of the training the student stood `drift` points lower than at its end.
    """

    def write(
        root: Path,
        teacher: str = "trained",
        runs: int = 1,
        shift: float = 10.0,
        drift: float = 0.0,
        recipe: str = "rcm",
        snapshots: bool = True,
    ) -> Path:
        base = outcomes(0.5)
        write_arm(root, teacher, "teacher-full", base)
        write_arm(root, teacher, "teacher-short", outcomes(0.25, seed=1))
        costs = {"teacher-full": (100, 8.0), "teacher-short": (8, 0.7)}
        for run in range(runs):
            arm = f"{recipe}-seed{run}"
            end = better(base, shift, seed=run)
            write_arm(root, teacher, arm, end, run)
            for share in (0.25, 0.5, 0.75) if snapshots else ():
                then = better(base, shift - drift, seed=run)
                write_arm(root, teacher, f"{arm}-at-{round(share * UPDATES):06d}", then, run)
            folder = root / "runs" / teacher / recipe / f"seed{run}"
            folder.mkdir(parents=True)
            log = [{"update": i, "stage": f"s{i // 50}", "scm_loss": 1 / i, "scm_gradient": 2.0, "df_ds": 3.0}
                   for i in range(1, 101)]  # fmt: skip
            (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
            extra = {"student_updates": UPDATES, "critic_updates": 0}
            write_manifest(folder, seeds={"run": run}, extra=extra, started=time.time())
            costs[arm] = (4, 0.4)
        for arm, (evaluations, seconds) in costs.items():
            folder = root / "videos" / teacher / arm
            folder.mkdir(parents=True)
            (folder / "captions.csv").write_text("video,caption\n")
            extra = {"evaluations_per_clip": evaluations, "seconds_per_clip": seconds}
            write_manifest(folder, extra=extra, seeds={"sampling": 0}, started=time.time())
        return root

    return write
