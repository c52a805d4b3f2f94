"""One file per distillation method: pure losses and a small method class."""
