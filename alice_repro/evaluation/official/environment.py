"""Where the official packages are: their Python, and the files that they install."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from alice_repro.config import CHECKOUT
from alice_repro.errors import UserError
from alice_repro.evaluation.official.catalogue import OfficialSuite

VERSIONS = ("vbench", "vbench2", "torch", "torchvision", "numpy", "decord", "opencv-python-headless", "opencv-python")
_LOOK_UP_SECONDS = 60


def find_python(suite: OfficialSuite, python: str | Path | None = None) -> Path:
    """The Python of the suite's environment.

    Args:
        python: of an environment of the user's own; else the one that `make` builds in the checkout.

    Raises:
        UserError: it is not there; the message says how to make it.
    """
    found = Path(python) if python else CHECKOUT / f".{suite.environment}" / "bin" / "python"
    if not found.is_file():
        raise UserError(
            f"{found}: no such Python; `make {suite.environment}-env` builds the environment of the official "
            f"{suite.distribution}, or name the Python of one of yours"
        )
    return found.absolute()  # not resolved: a link out of an environment would lose its packages


def package_folder(suite: OfficialSuite, python: Path) -> Path:
    """The folder of installed packages that holds the suite's module.

    Raises:
        UserError: that Python does not start, or has no such module.
    """
    code = f"import importlib.util as u; s = u.find_spec({suite.module!r}); print(s.origin if s else '')"
    try:
        done = subprocess.run(
            [str(python), "-c", code],
            capture_output=True,
            text=True,
            timeout=_LOOK_UP_SECONDS,
            env=clean_environment(python),
            cwd=python.parent,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"{python}: does not start ({error})") from error
    if done.returncode:
        raise UserError(f"{python}: does not start: {done.stderr.strip()[-500:]}")
    origin = done.stdout.strip()
    if not origin:
        raise UserError(f"{python}: has no {suite.module}; install {suite.distribution} there")
    return Path(origin).parent.parent


def clean_environment(python: Path, unpickle: bool = False) -> dict[str, str]:
    """Variables for the official package: nothing of our own environment leaks into it, its programs come first.

    Args:
        unpickle: let torch run what is pickled in weights, as the official code expects of old torch.
    """
    ours = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "RANK", "LOCAL_RANK", "WORLD_SIZE")
    variables = {key: value for key, value in os.environ.items() if key not in ours}
    variables["PATH"] = f"{python.parent}{os.pathsep}{variables.get('PATH', '')}"
    variables |= {"PYTHONUNBUFFERED": "1", "MPLBACKEND": "Agg"}
    if unpickle:
        variables["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
    return variables
