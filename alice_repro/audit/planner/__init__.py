"""What an experiment costs before it is run: operations, GPU-hours, memory and disk, as ranges over stated rates."""
