"""Metrics of videos, a family a file; `alice_repro.evaluation.registry` names them."""
