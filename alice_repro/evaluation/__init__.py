"""Evaluation of finished videos: reads video files and caption tables, knows nothing of training."""
