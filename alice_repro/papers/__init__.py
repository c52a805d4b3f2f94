"""The published record as data, each number once, with its place in the paper."""

from __future__ import annotations

from alice_repro.papers.expressions import Comparison, Name, evaluate, names, parse_comparison, parse_expression
from alice_repro.papers.facts import Budget, Gpu, Model, Overhead, Stage, Timing, gpus
from alice_repro.papers.loader import available_documents, available_papers, companions, load_paper, load_paper_file
from alice_repro.papers.quantity import Quantity, parse_quantity
from alice_repro.papers.record import (
    Claim,
    Count,
    Equation,
    Figure,
    Lost,
    Mention,
    Note,
    Paper,
    Plot,
    Quote,
    Ranking,
    Relation,
    Statement,
)
from alice_repro.papers.table import ROLES, Column, Damage, RowRule, Sample, Table

__all__ = [
    "ROLES",
    "Budget",
    "Claim",
    "Column",
    "Comparison",
    "Count",
    "Damage",
    "Equation",
    "Figure",
    "Gpu",
    "Lost",
    "Mention",
    "Model",
    "Name",
    "Note",
    "Overhead",
    "Paper",
    "Plot",
    "Quantity",
    "Quote",
    "Ranking",
    "Relation",
    "RowRule",
    "Sample",
    "Stage",
    "Statement",
    "Table",
    "Timing",
    "available_documents",
    "available_papers",
    "companions",
    "evaluate",
    "gpus",
    "load_paper",
    "load_paper_file",
    "names",
    "parse_comparison",
    "parse_expression",
    "parse_quantity",
]
