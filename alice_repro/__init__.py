"""Checks the claims of few-step video distillation papers: on paper, in a controlled lab, and at full scale.

The lab's pipeline folders name the codec by its module, so ``WanPipeline.from_pretrained`` finds it wherever this
package is installed.
"""

from __future__ import annotations

__version__ = "0.1.0"
