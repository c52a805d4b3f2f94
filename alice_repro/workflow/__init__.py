"""The experiment graph and the strict notebook runner."""
