"""Where the camera was in each frame, by several engines, and the measures that DFD makes of it (appendix B.3.3)."""
