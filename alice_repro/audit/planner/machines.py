"""Machines by their written form ("64xH100", "2xCPU"), and the rates at which they work (rates.toml)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from alice_repro.errors import UserError, unknown_name
from alice_repro.files import read_toml
from alice_repro.papers import Gpu, gpus

TERA, GIGA = 1e12, 1e9
CPU = "cpu"
_RATES = Path(__file__).with_name("rates.toml")
_FORM = re.compile(r"(?:(?P<count>\d+)\s*[x*×])?\s*(?P<name>[A-Za-z][\w.-]*)", re.IGNORECASE)


@dataclass(frozen=True)
class Machine:
    """``count`` GPUs of one kind, or cores of a CPU (``gpu`` is None).

    shares: of the peak, instead of those of rates.toml.
    """

    count: int
    gpu: Gpu | None
    shares: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        return f"{self.count} x {self.gpu.name}" if self.gpu else f"{self.count} CPU cores"

    @property
    def unit(self) -> str:
        """What its hours are called."""
        return "GPU-hours" if self.gpu else "core-hours"

    def speeds(self, kind: str) -> tuple[float, float]:
        """Operations a second of one GPU or core at "sampling" or "training": the least and the greatest."""
        low, high = self._range(kind)
        peak = self.gpu.peaks["bf16"] * TERA if self.gpu else GIGA
        return low * peak, high * peak

    def described(self, kind: str) -> str:
        """The range of rates in words."""
        low, high = self._range(kind)
        if self.gpu:
            both = f"{100 * low:g} to {100 * high:g}" if low < high else f"{100 * low:g}"
            return f"{both} % of {self.gpu.peaks['bf16']:g} TFLOP/s (dense bf16)"
        return f"{low:g} to {high:g} GFLOP/s a core"

    def _range(self, kind: str) -> tuple[float, float]:
        low, high = self.shares or rates()["gpu" if self.gpu else "cpu"][kind]
        return low, high


@cache
def rates() -> dict[str, Any]:
    """rates.toml."""
    return read_toml(_RATES)


def parse_machine(text: str) -> Machine:
    """ "64xH100", "H100" (one), an id of hardware.toml, or "2xCPU" (cores).

    A short name is that of the first GPU in the file which begins so: "H100" is the SXM part.

    Raises:
        UserError: not of this form, none of them, or a GPU that is not known; names those that are.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise UserError(f"--gpus {text!r}: write COUNTxNAME, such as 64xH100, 8xA100 or 2xCPU (cores)")
    count, name = int(match["count"] or 1), match["name"].lower()
    if count < 1:
        raise UserError(f"--gpus {text!r}: at least one is needed")
    if name == CPU:
        return Machine(count, None)
    for key, gpu in gpus().items():
        if key == name or key.startswith(f"{name}-"):
            return Machine(count, gpu)
    short = dict.fromkeys(
        key.split("-")[0] if not key.startswith("rtx") else "-".join(key.split("-")[:2]) for key in gpus()
    )
    raise unknown_name("GPU", match["name"], (*gpus(), *(name.upper() for name in short), "CPU"))


def with_shares(machine: Machine, shares: tuple[float, ...]) -> Machine:
    """The machine at these shares of its GPUs' peak (one, or the least and the greatest); as it is if none is given.

    Raises:
        UserError: cores of a CPU; not one or two shares above 0 and up to 1.
    """
    if not shares:
        return machine
    if machine.gpu is None:
        raise UserError("--utilisation is a share of a GPU's peak: name GPUs with --gpus")
    if len(shares) > 2 or not 0 < min(shares) <= max(shares) <= 1:
        raise UserError("--utilisation: one share of the peak or two, above 0 and up to 1, such as 0.3 0.45")
    return replace(machine, shares=(min(shares), max(shares)))


def default_machine(rung: str) -> Machine:
    """This machine's cores for the lab, a node of eight H100 at full scale."""
    return Machine(len(os.sched_getaffinity(0)), None) if rung == "lab" else parse_machine("8xH100")
