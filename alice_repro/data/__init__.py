"""Prompts, captions and the stored teacher samples that students learn from."""
