"""The published record as data, each number once, with its place in the paper."""

from __future__ import annotations

from alice_repro.papers.loader import available_papers, load_paper, load_paper_file
from alice_repro.papers.quantity import Quantity, parse_quantity
from alice_repro.papers.record import Claim, Column, Damage, Equation, Figure, Paper, Plot, Statement, Table

__all__ = [
    "Claim",
    "Column",
    "Damage",
    "Equation",
    "Figure",
    "Paper",
    "Plot",
    "Quantity",
    "Statement",
    "Table",
    "available_papers",
    "load_paper",
    "load_paper_file",
    "parse_quantity",
]
