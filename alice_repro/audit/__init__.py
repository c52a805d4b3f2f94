"""Checks of the published record on paper: arithmetic, definitions and limits of hardware."""
