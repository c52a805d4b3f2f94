"""The official networks' outputs, and the weights that they were made with, can be imported by name."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "parity"))
