"""The thresholds of the built-in odometry, from `gates.toml`, which says how each was chosen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alice_repro.config import from_mapping
from alice_repro.files import read_toml

GATES_FILE = Path(__file__).with_name("gates.toml")


@dataclass(frozen=True)
class Gates:
    """See the comments in gates.toml."""

    working_size: int
    reference_size: int
    spacing: float
    corner: float
    forward_backward: float
    settle: float
    least_tracks: int
    cut_followed: float
    cut_likeness: float
    unlikely_lens: float
    inlier: float
    refine: float
    agree: float
    parallax: float
    parallax_share: float
    focal: float
    focal_spread: float


GATES = from_mapping(Gates, read_toml(GATES_FILE), str(GATES_FILE.name))
