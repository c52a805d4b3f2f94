"""The training loop, curriculum, averaging of weights and checkpoints."""
