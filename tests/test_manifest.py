"""Manifests record what made an artefact and find whatever changed after."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from alice_repro import manifest
from alice_repro.errors import UserError
from alice_repro.manifest import read_manifest, verify_manifest, write_manifest


@pytest.fixture
def artefact(tmp_path):
    """A folder of two clips with its manifest, made from one input."""
    source = tmp_path / "prompts.csv"
    source.write_text("a red ball falls\n")
    folder = tmp_path / "videos"
    (folder / "clips").mkdir(parents=True)
    (folder / "clips" / "0.mp4").write_bytes(b"zero")
    (folder / "clips" / "1.mp4").write_bytes(b"one")
    write_manifest(
        folder,
        inputs={"prompts": source},
        config={"steps": 50},
        seeds={"noise": 7},
        extra={"network_evaluations_per_clip": 100},
        started=time.time() - 3,
    )
    return folder


def test_contents(artefact, tmp_path):
    entry = read_manifest(artefact)
    assert entry["outputs"]["clips/0.mp4"] == hashlib.sha256(b"zero").hexdigest()
    assert sorted(entry["outputs"]) == ["clips/0.mp4", "clips/1.mp4"]
    assert entry["inputs"]["prompts"]["sha256"] == hashlib.sha256(b"a red ball falls\n").hexdigest()
    assert (entry["config"], entry["seeds"]) == ({"steps": 50}, {"noise": 7})
    assert entry["extra"] == {"network_evaluations_per_clip": 100}
    assert 3 <= entry["wall_seconds"] < 10
    created = datetime.fromisoformat(entry["created"])
    assert created.utcoffset().total_seconds() == 0
    assert abs((datetime.now(UTC) - created).total_seconds()) < 10
    assert entry["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"torch", "numpy", "diffusers"} <= set(entry["versions"])
    assert entry["device"] and entry["platform"] and entry["command"]
    assert verify_manifest(artefact) == []


def test_a_flipped_bit_is_found(artefact):
    clip = artefact / "clips" / "1.mp4"
    clip.write_bytes(bytes([clip.read_bytes()[0] ^ 1]) + clip.read_bytes()[1:])
    assert verify_manifest(artefact) == [f"{clip}: changed since the manifest was written"]


def test_missing_and_added_files_are_found(artefact):
    (artefact / "clips" / "1.mp4").unlink()
    (artefact / "extra.mp4").write_bytes(b"?")
    missing, added = verify_manifest(artefact)
    assert missing.endswith("1.mp4: missing")
    assert added.endswith("extra.mp4: not in the manifest")


def test_a_damaged_manifest_is_a_mismatch(artefact):
    path = artefact / "manifest.json"
    path.write_text(path.read_text()[:-20])
    assert "malformed JSON" in verify_manifest(artefact)[0]
    path.unlink()
    assert "no such file" in verify_manifest(artefact)[0]
    with pytest.raises(UserError, match="no such file"):
        read_manifest(artefact)


def test_files_of_one_folder_have_an_entry_each(tmp_path):
    for name in ("table04.csv", "table04.md", "other.csv"):
        (tmp_path / name).write_text(name)
    started = time.time()
    write_manifest([tmp_path / "table04.csv", tmp_path / "table04.md"], config={"table": 4}, started=started)
    write_manifest(tmp_path / "other.csv", config={"table": 5}, started=started)
    assert read_manifest(tmp_path / "table04.md")["config"] == {"table": 4}
    assert read_manifest(tmp_path / "other.csv")["config"] == {"table": 5}
    (tmp_path / "unrelated.txt").write_text("not of this manifest")
    assert verify_manifest(tmp_path) == []
    (tmp_path / "table04.md").write_text("changed")
    assert len(verify_manifest(tmp_path)) == 1
    with pytest.raises(UserError, match="no entry for .*unrelated"):
        read_manifest(tmp_path / "unrelated.txt")


def test_entries_written_at_once_are_all_kept(tmp_path):
    paths = [tmp_path / f"table{i:02}.csv" for i in range(12)]
    for path in paths:
        path.write_text(path.name)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda path: write_manifest(path, started=time.time()), paths))
    assert all(read_manifest(path)["outputs"] for path in paths)


def test_missing_inputs_and_values_that_are_not_finite(artefact, tmp_path):
    with pytest.raises(UserError, match="gone.csv"):
        write_manifest(artefact, inputs={"x": tmp_path / "gone.csv"}, started=0.0)
    before = (artefact / "manifest.json").read_bytes()
    with pytest.raises(UserError, match="not finite"):
        write_manifest(artefact, extra={"loss": math.nan}, started=0.0)
    assert (artefact / "manifest.json").read_bytes() == before


def test_git_state_is_that_of_the_checkout(monkeypatch, tmp_path):
    manifest.git_state.cache_clear()
    state = manifest.git_state()
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    head = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    assert (state["commit"] if state else "") == head
    # A copy that git does not track, though it may lie inside a repository, has no commit.
    stray = tmp_path / "site-packages" / "alice_repro" / "manifest.py"
    stray.parent.mkdir(parents=True)
    stray.touch()
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    monkeypatch.setattr(manifest, "__file__", str(stray))
    manifest.git_state.cache_clear()
    assert manifest.git_state() is None
    manifest.git_state.cache_clear()


def test_importing_it_does_not_import_torch():
    code = "import sys, alice_repro.manifest as m; m.environment(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
