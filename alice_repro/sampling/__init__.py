"""Samplers: the teacher's many steps, the student's few, and the export to mp4."""
