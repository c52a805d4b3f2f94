"""Atomic writes under failures and kills, checksums, strict JSON and TOML."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from alice_repro import files
from alice_repro.errors import UserError, unknown_name


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def killed_while_writing(body: str, *arguments: Path) -> None:
    """Run Python code that announces itself and then waits inside an atomic block; SIGKILL it there."""
    code = f"import sys, time\nfrom pathlib import Path\nfrom alice_repro.files import *\n{body}"
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"written\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


WAIT = "print('written', flush=True); time.sleep(60)"


@pytest.mark.parametrize("older", [None, "older"])
def test_a_kill_between_write_and_rename_leaves_no_half_file(tmp_path, older):
    target = tmp_path / "model.safetensors"
    if older:
        target.write_text(older)
    killed_while_writing(f"with atomic_path(sys.argv[1]) as p:\n    p.write_text('half')\n    {WAIT}", target)
    assert (target.read_text() if target.exists() else None) == older
    assert len(names(tmp_path)) == 1 + bool(older)  # the leftover is there, under its temporary name
    files.atomic_write_text(target, "whole")
    assert target.read_text() == "whole"
    assert names(tmp_path) == ["model.safetensors"]  # and the next write has cleared it


@pytest.mark.parametrize("older", [False, True])
def test_a_kill_inside_a_folder_leaves_no_half_folder(tmp_path, older):
    target = tmp_path / "clips"
    if older:
        target.mkdir()
        (target / "old.txt").write_text("old")
    body = f"with atomic_folder(sys.argv[1]) as p:\n    (p / 'half.txt').write_text('half')\n    {WAIT}"
    killed_while_writing(body, target)
    assert (names(target) if target.exists() else None) == (["old.txt"] if older else None)
    with files.atomic_folder(target) as folder:
        (folder / "new.txt").write_text("new")
    assert names(target) == ["new.txt"]
    assert names(tmp_path) == ["clips"]


def test_another_living_process_keeps_its_temporary_file(tmp_path):
    target = tmp_path / "a.txt"
    with files.atomic_path(target) as mine:
        mine.write_text("mine")
        files.atomic_write_text(target, "other")
        assert mine.exists()
    assert target.read_text() == "mine"


def test_temporary_file_lies_beside_the_target_and_keeps_its_suffix(tmp_path):
    with files.atomic_path(tmp_path / "new" / "clip.mp4") as path:
        assert (path.parent, path.suffix) == (tmp_path / "new", ".mp4")
        path.write_bytes(b"x")
    assert names(tmp_path / "new") == ["clip.mp4"]


@pytest.mark.parametrize("context", [files.atomic_path, files.atomic_folder])
def test_an_error_leaves_what_was_there(tmp_path, context):
    target = tmp_path / "thing"
    with context(target) as path:
        (path / "f" if path.is_dir() else path).write_text("first")
    before = files.sha256_folder(tmp_path)
    with pytest.raises(RuntimeError, match="broken"), context(target) as path:
        (path / "f" if path.is_dir() else path).write_text("second")
        raise RuntimeError("broken")
    assert files.sha256_folder(tmp_path) == before
    assert names(tmp_path) == ["thing"]


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"a\.txt.*nothing"), files.atomic_path(tmp_path / "a.txt"):
        pass


@pytest.mark.parametrize(
    "failure",
    [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), RuntimeError("I/O error: No space left on device")],
)
def test_a_full_disk_names_file_and_free_space(tmp_path, failure):
    target = tmp_path / "model.bin"
    with pytest.raises(UserError, match=r"model\.bin.*full.*MiB free"), files.atomic_path(target):
        raise failure
    assert names(tmp_path) == []


def test_an_older_folder_comes_back_if_the_last_rename_fails(tmp_path, monkeypatch):
    target = tmp_path / "clips"
    with files.atomic_folder(target) as folder:
        (folder / "old").write_text("old")
    replace = os.replace

    def failing(source, destination):
        if Path(destination) == target and (Path(source) / "new").exists():
            raise OSError("no")
        replace(source, destination)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="no"), files.atomic_folder(target) as folder:
        (folder / "new").write_text("new")
    assert names(target) == ["old"]
    assert names(tmp_path) == ["clips"]


def test_sha256_of_files_and_folders(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert files.sha256_file(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    listing = f"a.txt\0{files.sha256_file(file)}\n".encode()
    digest = files.sha256_folder(tmp_path)
    assert digest == hashlib.sha256(listing).hexdigest()
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / ".tmp-host-1-ab=a.txt").write_text("left over")
    assert files.sha256_folder(tmp_path) == digest
    file.rename(tmp_path / "b.txt")
    assert files.sha256_folder(tmp_path) != digest
    with pytest.raises(UserError, match="gone"):
        files.sha256_folder(tmp_path / "gone")


@pytest.mark.parametrize("value", [math.nan, math.inf, {"deep": [1.0, -math.inf]}])
def test_json_refuses_what_is_not_finite(tmp_path, value):
    target = tmp_path / "scores.json"
    with pytest.raises(UserError, match=r"scores\.json.*not finite"):
        files.write_json(target, value)
    assert names(tmp_path) == []
    target.write_text('{"loss": NaN}')
    with pytest.raises(UserError, match=r"scores\.json.*NaN"):
        files.read_json(target)


def test_json_round_trip(tmp_path):
    files.write_json(tmp_path / "a.json", {"path": Path("x/y"), "set": {2, 1}, "text": "é"})
    assert files.read_json(tmp_path / "a.json") == {"path": "x/y", "set": [1, 2], "text": "é"}


def test_toml_errors_name_file_line_and_neighbour(tmp_path):
    (tmp_path / "lab.toml").write_text("a = 1\nb = = 2\n")
    with pytest.raises(UserError, match=r"lab\.toml.*line 2"):
        files.read_toml(tmp_path / "lab.toml")
    with pytest.raises(UserError, match=r"lap\.toml: no such file; did you mean 'lab\.toml'"):
        files.read_toml(tmp_path / "lap.toml")
    (tmp_path / "latin.toml").write_bytes(b'a = "\xe9"')
    with pytest.raises(UserError, match=r"latin\.toml.*UTF-8"):
        files.read_toml(tmp_path / "latin.toml")


def test_unknown_names_get_the_nearest_valid_one():
    error = unknown_name("scale", "lap", ["smoke", "lab", "wan-1.3b"])
    assert str(error) == "unknown scale 'lap': did you mean 'lab'? valid are lab, smoke, wan-1.3b"
    assert "did you mean" not in str(unknown_name("scale", "zzz", ["lab"]))
    assert error.exit_code == 2
