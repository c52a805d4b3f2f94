"""What the official suites are: their packages, classes and dimensions (data in suites.toml)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from alice_repro.errors import UserError, unknown_name
from alice_repro.files import read_toml

CONSTANTS = Path(__file__).with_name("suites.toml")
SPELLINGS = {"vbench2": "vbench-2.0", "vbench-2": "vbench-2.0", "i2v": "vbench-i2v", "long": "vbench-long"}


@dataclass(frozen=True)
class OfficialDimension:
    """A dimension as the official package has it; the fields are explained at the head of suites.toml."""

    name: str
    official: str
    weights: str = ""
    frames: int = 2
    scale: float = 1.0
    samples: int = 0
    suite_only: bool = False
    per_set: bool = False
    reads_name: tuple[str, ...] = ()
    reads_image: bool = False


@dataclass(frozen=True)
class OfficialSuite:
    """A suite and the class that runs it.

    Attributes:
        name_length: characters of the prompt in a file's name; 0 for all.
        clip_seconds: of VBench-Long, dimension -> length of the clips that a video is cut into.
    """

    name: str
    distribution: str
    environment: str
    module: str
    cls: str
    info: str
    samples: int
    name_length: int
    dimensions: dict[str, OfficialDimension]
    clip_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def long(self) -> bool:
        return bool(self.clip_seconds)

    def dimension(self, name: str) -> OfficialDimension:
        """Look up a dimension by our name or the official one.

        Raises:
            UserError: there is no such dimension in this suite.
        """
        key = "_".join(name.strip().lower().replace("-", " ").replace("_", " ").split())
        if key not in self.dimensions:
            raise unknown_name(f"dimension of {self.name}", name, self.dimensions)
        return self.dimensions[key]

    def choose(self, names: list[str] | tuple[str, ...] | None) -> list[OfficialDimension]:
        """Dimensions by name, each once, in order; all if none is named."""
        if names is None:
            return list(self.dimensions.values())
        chosen = list({(found := self.dimension(name)).name: found for name in names}.values())
        if not chosen:
            raise UserError(f"{self.name}: name at least one dimension of {', '.join(self.dimensions)}")
        return chosen

    def stem(self, prompt: str) -> str:
        """What stands before `-0.mp4` in the names of a prompt's videos."""
        return prompt[: self.name_length] if self.name_length else prompt

    def prompt_samples(self, dimensions: list[str] | tuple[str, ...]) -> int:
        """Videos of a prompt of these dimensions that the official code reads."""
        return max((self.dimension(name).samples or self.samples for name in dimensions), default=self.samples)


def official_suite(name: str) -> OfficialSuite:
    """A suite by name: vbench, vbench-i2v, vbench-long or vbench-2.0; `_` for `-` and vbench2 are understood too."""
    key = name.strip().lower().replace("_", "-")
    key = SPELLINGS.get(key, key)
    if key not in _suites():
        raise unknown_name("official suite", name, _suites())
    return _suites()[key]


@cache
def _suites() -> dict[str, OfficialSuite]:
    data = read_toml(CONSTANTS)
    suites = {}
    for name, entry in data.items():
        dimensions = data[entry["dimensions_of"]]["dimensions"] if "dimensions_of" in entry else entry["dimensions"]
        suites[name] = OfficialSuite(
            name=name,
            distribution=entry["distribution"],
            environment=entry["environment"],
            module=entry["module"],
            cls=entry["class"],
            info=entry["info"],
            samples=entry["samples"],
            name_length=entry.get("name_length", 0),
            dimensions={key: _dimension(key, facts) for key, facts in dimensions.items()},
            clip_seconds=entry.get("clip_seconds", {}),
        )
    return suites


def _dimension(name: str, facts: dict[str, Any]) -> OfficialDimension:
    facts = {"official": name, **facts}
    return OfficialDimension(name, **facts | {"reads_name": tuple(facts.get("reads_name", ()))})
