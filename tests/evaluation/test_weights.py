"""Files of weights: found, checked, downloaded; never read when they are not the published ones."""

from __future__ import annotations

import hashlib
import zipfile

import pytest

from alice_repro.errors import UserError
from alice_repro.evaluation import weights as module
from alice_repro.evaluation.weights import MissingWeights, WeightFile, Weights, fetch, weight_files


@pytest.fixture
def known(monkeypatch, tmp_path):
    """One file of weights whose source is a file of this machine."""

    def register(content: bytes, sha256: str | None = None, suffix: str = "") -> WeightFile:
        source = tmp_path / f"source{suffix}"
        source.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()[:8] if sha256 is None else sha256
        file = WeightFile("net", "net.pth", "a network", "MIT", source.as_uri(), digest)
        monkeypatch.setattr(module, "weight_files", lambda: {"net": file})
        return file

    return register


def test_a_file_that_is_not_there_says_where_to_get_it(known, tmp_path):
    known(b"tensors")
    with pytest.raises(MissingWeights, match="net.pth.*get it from file:"):
        Weights(tmp_path / "here").path("net")


def test_another_file_under_the_name_is_refused(known, tmp_path):
    known(b"tensors")
    (tmp_path / "net.pth").write_bytes(b"others")
    with pytest.raises(UserError, match="not the published net.pth"):
        Weights(tmp_path).path("net")
    (tmp_path / "mine.bin").write_bytes(b"tensors")
    assert Weights(tmp_path, {"net": tmp_path / "mine.bin"}).path("net").name == "mine.bin"


def test_a_download_is_checked_before_it_takes_its_name(known, tmp_path):
    known(b"tensors")
    place = Weights(tmp_path / "here")
    assert fetch(place, "net").read_bytes() == b"tensors" and place.path("net")
    known(b"damaged on the way", sha256="00000000")
    with pytest.raises(UserError, match="does not begin with 00000000"):
        fetch(Weights(tmp_path / "there"), "net")
    assert not list((tmp_path / "there").iterdir())


def test_an_archive_is_unpacked(known, tmp_path):
    with zipfile.ZipFile(tmp_path / "models.zip", "w") as archive:
        archive.writestr("models/net.pth", b"tensors")
        archive.writestr("models/other.pth", b"others")
    content = (tmp_path / "models.zip").read_bytes()
    known(content, sha256=hashlib.sha256(b"tensors").hexdigest(), suffix=".zip")
    assert fetch(Weights(tmp_path / "here"), "net").read_bytes() == b"tensors"
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["net.pth"]


def test_a_download_that_fails_names_the_address(known, tmp_path):
    file = known(b"tensors")
    (tmp_path / "source").unlink()
    with pytest.raises(UserError, match="source: download failed.*by hand"):
        fetch(Weights(tmp_path / "here"), file.name)


def test_the_public_files_are_described():
    for file in weight_files().values():
        assert file.licence and file.what and (file.source or file.package)
        assert (not file.source or file.source.startswith("https://")) and set(file.sha256) <= set("0123456789abcdef")
