"""Instance preservation from the oracle's columns, and from clips whose truth is known."""

from __future__ import annotations

import pandas as pd
import pytest

from alice_repro.errors import UserError
from alice_repro.evaluation.instances import instance_preservation
from alice_repro.evaluation.lab import score_measurement
from alice_repro.world.captions import Caption
from alice_repro.world.clips import draw_scene, make_clip
from alice_repro.world.oracle import measure


def test_either_loss_of_an_object_counts():
    scores = pd.DataFrame({"flag_vanish": [0.0, 1.0, 0.0, 0.0], "multiple_objects": [None, None, 1.0, 0.0]})
    assert instance_preservation(scores).tolist() == [1.0, 0.0, 1.0, 0.0]
    with pytest.raises(UserError, match="lacks flag_vanish"):
        instance_preservation(scores[["multiple_objects"]])


def test_clips_of_known_truth():
    captions = [Caption("red", "ball", "fall", "gym"), Caption("blue", "box", "collide", "gym")]
    rows = [
        score_measurement(measure(make_clip(draw_scene(caption, 5, index, defect)).frames, str(caption)), str(caption))
        for caption in captions
        for index in range(2)
        for defect in (None, "vanish", "frozen", "flicker", "colour_drift")
    ]
    kept = instance_preservation(pd.DataFrame(rows)).to_numpy().reshape(4, 5)
    assert kept[:, 1].sum() == 0 and kept[:, [0, 2, 3]].all()
