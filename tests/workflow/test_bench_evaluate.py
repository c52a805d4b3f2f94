"""The benchmark's arithmetic, on recorded results; the run itself is `make bench-evaluate`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from alice_repro.errors import UserError
from alice_repro.workflow import bench_evaluate as bench

FAKE = """
import json, sys
if sys.argv[1] == "measure":
    row = {"seconds": SECONDS, "cpu_seconds": 1.0, "decodes": 1, "values": [0.5 + SHIFT]}
    rows = {"aesthetic_quality": row, "imaging_quality": row}
    rows |= {"all seven": {**row, "seconds": 3.0, "values": []}} if TOGETHER else {}
    open(sys.argv[4], "w").write(json.dumps({"rows": rows, "memory": 2**30}))
"""


def _side(path, seconds, shift, together):
    text = FAKE.replace("SECONDS", str(seconds)).replace("SHIFT", str(shift)).replace("TOGETHER", str(together))
    path.write_text(text)
    return path


def test_both_sides_are_run_and_compared(tmp_path, monkeypatch, capsys):
    (tmp_path / "a.mp4").touch()
    monkeypatch.setattr(bench, "OFFICIAL", _side(tmp_path / "official.py", 4.0, 0.0, False))
    monkeypatch.setattr(bench, "OURS", _side(tmp_path / "ours.py", 2.0, 1e-7, True))
    table = bench.bench_evaluate([tmp_path / "a.mp4"], Path(sys.executable), rounds=2, threads=1)
    assert table["official"]["rows"]["all seven"]["seconds"] == 8.0  # one after the other
    assert table["ours"]["rows"]["all seven"]["seconds"] == 3.0  # together
    printed = capsys.readouterr().out
    assert "0.38" in printed and "1.0e-07" in printed and json.dumps(table)


def test_a_side_that_fails_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "official.py").write_text("raise SystemExit('no vbench here')")
    monkeypatch.setattr(bench, "OFFICIAL", tmp_path / "official.py")
    with pytest.raises(UserError, match="no vbench here"):
        bench.bench_evaluate([tmp_path / "a.mp4"], Path(sys.executable))
    with pytest.raises(UserError, match="b.mp4"):
        bench.bench_evaluate([tmp_path / "b.mp4"], Path(sys.executable))
