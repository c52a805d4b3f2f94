"""Public networks that measures of video are built on, each loaded from its publisher's own file of weights."""
