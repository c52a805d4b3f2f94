"""Prompts, captions and the stored clips that students learn from."""
