"""Checks the claims of few-step video distillation papers: on paper, in a controlled lab, at full scale."""

__version__ = "0.1.0"
