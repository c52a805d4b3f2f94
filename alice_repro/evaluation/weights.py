"""Files of public weights: what they are called, where they come from, their checksum, and where they lie here.

Nothing is downloaded unless asked (`fetch`), and no file is read whose checksum is known and differs.
"""

from __future__ import annotations

import os
import shutil
import urllib.request
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from alice_repro.errors import UserError, unknown_name
from alice_repro.files import atomic_path, atomic_write_bytes, read_toml, sha256_file
from alice_repro.progress import log
from alice_repro.strict import from_mapping

REGISTRY = Path(__file__).with_name("weights.toml")
FOLDER = "ALICE_REPRO_WEIGHTS"


class MissingWeights(UserError):
    """A file of weights is not here; the message says where it comes from and where it is looked for."""


@dataclass(frozen=True)
class WeightFile:
    """A public file of weights.

    Attributes:
        name: as metrics call it.
        file: its usual file name.
        source: address to download it from, or "" if a person has to get it.
        sha256: of the whole file, or its beginning; "" where no publisher states one.
        beside: small files that belong to it, at the same address and in the same folder.
        licence: as its publisher states it.
        what: the network, in words.
        package: "NAME/FILE" if a package of the registry carries the file: FILE in the folder of the module NAME.
    """

    name: str
    file: str
    what: str
    licence: str
    source: str = ""
    sha256: str = ""
    package: str = ""
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Weights:
    """Where weights lie.

    Attributes:
        folder: searched by the usual file names; $ALICE_REPRO_WEIGHTS or ~/.cache/alice_repro/weights if not given.
        files: name -> path, for files that are called otherwise.
    """

    folder: Path | None = None
    files: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.files:
            weight_file(name)

    def place(self, name: str) -> Path:
        """Where a file of weights is looked for, there or not."""
        if name in self.files:
            return Path(self.files[name])
        known = weight_file(name)
        default = os.environ.get(FOLDER) or Path.home() / ".cache" / "alice_repro" / "weights"
        path = Path(self.folder or default) / known.file
        return path if path.is_file() else _in_package(known.package) or path

    def path(self, name: str) -> Path:
        """A file of weights, its checksum verified.

        Raises:
            MissingWeights: it is not here.
            UserError: no such name, or another checksum than its publisher's.
        """
        known, path = weight_file(name), self.place(name)
        if not path.is_file():
            ways = [f"get it from {known.source}"] if known.source else []
            ways += [f"install the package {known.package.split('/')[0].replace('_', '-')}"] if known.package else []
            where = ", ".join(ways or ["ask its authors for it"])
            raise MissingWeights(f"weights {name} ({known.what}) are not at {path}: {where}, or name a file of yours")
        if not _sha256(path, path.stat().st_mtime_ns).startswith(known.sha256):
            raise UserError(f"{path}: not the published {known.file}: its sha256 does not begin with {known.sha256}")
        return path

    def sha256(self, name: str) -> str:
        """Checksum of the file that is here.

        Raises:
            as `path` does.
        """
        path = self.path(name)
        return _sha256(path, path.stat().st_mtime_ns)


def fetch(weights: Weights, name: str) -> Path:
    """Download a file of weights to where it is looked for, checked before it takes its name; one that is there stays.

    A source that is a zip archive (RAFT's) is unpacked: the member of the file's name is kept.

    Raises:
        UserError: it has no address, the download fails, or its checksum is not the publisher's.
    """
    known, path = weight_file(name), weights.place(name)
    if path.is_file():
        return weights.path(name)
    if not known.source:
        raise UserError(f"weights {name} ({known.what}) have no address to download from")
    log(f"downloading {known.source} to {path}")
    try:
        for name_beside in known.beside:
            address = known.source.rpartition("/")[0] + "/" + name_beside
            with urllib.request.urlopen(address, timeout=60) as answer:
                atomic_write_bytes(path.with_name(name_beside), answer.read())
        with atomic_path(path) as temporary:
            with urllib.request.urlopen(known.source, timeout=60) as answer, temporary.open("wb") as file:
                shutil.copyfileobj(answer, file)
            if known.source.endswith(".zip"):
                _keep_member(temporary, known.file)
            found = sha256_file(temporary)
            if not found.startswith(known.sha256):
                raise UserError(f"{known.source}: sha256 {found}, which does not begin with {known.sha256}")
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{known.source}: download failed ({error}); fetch it by hand and put it at {path}") from error
    return path


def _keep_member(archive: Path, file: str) -> None:
    """Replace a zip archive by its member of this name."""
    member = archive.with_name(archive.name + ".member")
    with zipfile.ZipFile(archive) as opened:
        names = [name for name in opened.namelist() if name.rpartition("/")[2] == file]
        if len(names) != 1:
            raise UserError(f"the archive holds {len(names)} files called {file}, not one")
        with opened.open(names[0]) as source, member.open("wb") as target:
            shutil.copyfileobj(source, target)
    member.replace(archive)


@cache
def weight_files() -> dict[str, WeightFile]:
    """All public files of weights that metrics know, by name."""
    return {
        name: from_mapping(WeightFile, {"name": name, **row}, REGISTRY) for name, row in read_toml(REGISTRY).items()
    }


def weight_file(name: str) -> WeightFile:
    """One of them.

    Raises:
        UserError: no such name.
    """
    if name not in weight_files():
        raise unknown_name("weights", name, weight_files())
    return weight_files()[name]


def _in_package(place: str) -> Path | None:
    """A file that an installed package carries; the package is found, not imported."""
    module, _, file = place.partition("/")
    found = find_spec(module) if module else None
    return Path(found.origin).parent / file if found and found.origin else None


@cache
def _sha256(path: Path, _changed: int) -> str:
    return sha256_file(path)
