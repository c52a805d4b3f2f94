"""Small documents, and shipped ones with a few characters changed, read by the package's own loader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import alice_repro.papers
from alice_repro.papers import Paper, load_paper_file

HEAD = '[paper]\nid = "{id}"\ntitle = "A small document"\n'


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a document: `write(toml, id="small")` puts the [paper] section before `toml`."""

    def write_document(toml: str, id: str = "small") -> Path:
        path = tmp_path / f"{id}.toml"
        path.write_text(HEAD.format(id=id) + toml, encoding="utf-8")
        return path

    return write_document


@pytest.fixture
def read(write: Callable[..., Path]) -> Callable[..., Paper]:
    """Write a document and load it."""
    return lambda toml, id="small": load_paper_file(write(toml, id))


@pytest.fixture
def edit(tmp_path: Path) -> Callable[..., Path]:
    """A shipped document with texts replaced, each of which occurs in it exactly once: `edit("avd", {old: new})`."""

    def edited(document: str, changes: dict[str, str]) -> Path:
        shipped = Path(alice_repro.papers.__file__).parent / f"{document}.toml"
        text = shipped.read_text(encoding="utf-8")
        for old, new in changes.items():
            assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times in {document}"
            text = text.replace(old, new)
        path = tmp_path / f"{document}.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return edited
