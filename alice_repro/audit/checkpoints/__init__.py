"""What two checkpoints have to do with each other, from their files alone; and what architecture a file holds."""
