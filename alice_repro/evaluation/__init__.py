"""Evaluation of finished videos: reads video files and caption tables from disk, knows nothing of training."""
