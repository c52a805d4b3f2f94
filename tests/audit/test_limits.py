"""Floors against exact counts and published times; each rule with a planted fault and at the edge."""

from __future__ import annotations

from pathlib import Path

import pytest

from alice_repro.audit.findings import CHECK_PDF, CONSISTENT, IMPOSSIBLE, INCONSISTENT, NEEDS_A_RUN, Finding, Record
from alice_repro.audit.limits import check
from alice_repro.models.flops import derivative_flops, forward_flops, latent_frames, parameters, tokens
from alice_repro.papers import Model, load_paper, load_paper_file

SMALL = Model("s", "Wan 1.3B", "", "public", 30, 1536, 12, 8960, 16, (1, 2, 2), (4, 8, 8), 512)
LARGE = Model("l", "Wan 14B", "", "public", 40, 5120, 40, 13824, 16, (1, 2, 2), (4, 8, 8), 512)

SOUND = """
[paper]
id = "mine"
title = "A fast model"
[[table]]
id = "table01"
number = 1
place = "Table 1"
caption = "Times."
columns = [
  { key = "gpu", label = "GPU", kind = "name" },
  { key = "short", label = "4 steps", kind = "number", unit = "s" },
  { key = "long", label = "8 steps", kind = "number", unit = "s" },
]
rows = [["H100 80GB", "40s", "80s"], ["RTX 4090 24GB", "200s", "600s"]]
[[sentence]]
place = "Section 1"
quote = "a 14B model, trained for 10,000 hours; the derivative costs 3×"
values = [
  { id = "size", printed = "14B" },
  { id = "hours", printed = "10,000" },
  { id = "ratio", printed = "3×" },
]
[[model]]
id = "net"
name = "Net"
place = "Section 1"
basis = "stated"
layers = 40
hidden = 5120
heads = 40
mlp = 13824
latent_channels = 16
patch = [1, 2, 2]
stride = [4, 8, 8]
text_tokens = 512
parameters = "size"
[[timing]]
id = "short"
model = "net"
place = "Table 1"
gpus = ["h100-sxm-80gb"]
width = 1280
height = 720
frames = [81, 121]
steps = "4"
seconds = "table01[H100 80GB].short"
[[timing]]
id = "long"
model = "net"
place = "Table 1"
gpus = ["h100-sxm-80gb"]
width = 1280
height = 720
frames = [81, 121]
steps = "8"
seconds = "table01[H100 80GB].long"
[[timing]]
id = "slow"
model = "net"
place = "Table 1"
gpus = ["rtx-4090-24gb"]
width = 1280
height = 720
frames = [81, 121]
steps = "4"
seconds = "table01[RTX 4090 24GB].short"
[[budget]]
id = "run"
model = "net"
place = "Section 1"
gpus = ["h100-sxm-80gb"]
hours = "hours"
stages = [{ steps = "100000", batch = "64", width = 832, height = 480, frames = [49], evaluations = 3 }]
[[overhead]]
id = "jvp"
model = "net"
place = "Section 1"
quote = "the derivative costs 3×"
ratio = "ratio"
width = 832
height = 480
frames = [49]
"""


def entries(folder: Path, text: str = SOUND, **changes: str) -> dict[str, Finding]:
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return {entry.id.removeprefix("mine.limits."): entry for entry in check(Record((load_paper_file(path),)))}


def changed(folder: Path, old: str, new: str) -> dict[str, Finding]:
    return entries(folder, change=(old, new))


def test_parameters_are_those_of_the_public_checkpoints():
    # Sums of the tensors of Wan-AI/Wan2.1-T2V-1.3B and -14B
    assert parameters(SMALL) == 1_418_996_800
    assert parameters(LARGE) == 14_288_491_584


def test_tokens_of_the_public_sizes():
    # Wan2.1 pads 832x480x81 to seq_len 32760; 720p: 21 x 45 x 80
    assert tokens(SMALL, 832, 480, latent_frames(SMALL, 81)) == 32_760
    assert tokens(LARGE, 1280, 720, latent_frames(LARGE, 81)) == 75_600
    assert [latent_frames(LARGE, frames) for frames in (1, 49, 81, 120, 121)] == [1, 13, 21, 31, 31]


def test_operations_by_hand_and_in_the_limits():
    tiny = Model("t", "", "", "stated", 1, 4, 1, 8, 1, (1, 1, 1), (1, 1, 1), 3)
    # n = 5: QKVO 2*4*5*16, QK' and PV 2*2*25*4, text's q, o 2*2*5*16, its k, v 2*2*3*16 and products 2*2*5*3*4,
    # MLP 4*5*4*8
    assert forward_flops(tiny, 5) == 640 + 400 + 320 + 192 + 240 + 640
    # many tokens: attention alone, three times; few: matrices alone, twice
    assert derivative_flops(LARGE, 10**9) / forward_flops(LARGE, 10**9) == pytest.approx(3, abs=1e-3)
    alone = Model("a", "", "", "stated", 1, 4096, 32, 16384, 16, (1, 2, 2), (4, 8, 8))
    assert derivative_flops(alone, 1) / forward_flops(alone, 1) == pytest.approx(2, abs=1e-3)


@pytest.mark.parametrize(
    ("model", "size", "evaluations", "peak", "published"),
    [
        # Wan2.2 T2V-A14B, 720p, one A100: 2,735.7 s (its table of GPUs; Wan2.2 issue 284), 40 steps with guidance
        (LARGE, (1280, 720), 80, 312e12, 2735.7),
        # Wan2.1 T2V-1.3B, 480p, RTX 4090: "about 4 minutes" (its README), 50 steps with guidance
        (SMALL, (832, 480), 100, 165.2e12, 240),
    ],
)
def test_floor_lies_below_published_times_and_near_them(model, size, evaluations, peak, published):
    floor = evaluations * forward_flops(model, tokens(model, *size, latent_frames(model, 81))) / peak
    assert 0.5 * published < floor < published


def test_sound_record_holds_in_all_respects(tmp_path):
    found = entries(tmp_path, precision=('gpus = ["rtx-4090-24gb"]', 'gpus = ["rtx-4090-24gb"]\nprecision = "fp8"'))
    kinds = {"parameters.net", "memory.short", "memory.slow", "time.short", "time.long", "time.slow"}
    assert set(found) == kinds | {"steps.short", "gpus.slow", "budget.run", "derivative.jvp"}
    assert {name: entry.verdict for name, entry in found.items()} == dict.fromkeys(found, CONSISTENT)
    assert {entry.severity for entry in found.values()} == {"note"}


def test_time_below_the_floor_is_impossible_and_the_edge_is_not(tmp_path):
    # 4 x 6.5233e15 / 1978.9e12 = 13.186 s: "13s" may be 13.5 s, "12.9s" is at most 12.95 s
    assert changed(tmp_path, '"40s"', '"13s"')["time.short"].verdict == CONSISTENT
    found = changed(tmp_path, '"40s"', '"12.9s"')["time.short"]
    assert (found.verdict, found.severity, found.computed) == (IMPOSSIBLE, "major", "at least 13.2 s")
    fatal = changed(tmp_path, '"40s"', '"8s"')["time.short"]
    assert (fatal.verdict, fatal.severity) == (IMPOSSIBLE, "fatal")
    assert all(not reading.holds for reading in fatal.readings if reading.admissible)
    assert any(reading.holds and "frames" in reading.name for reading in fatal.readings if not reading.admissible)


def test_a_sign_before_the_number_widens_it(tmp_path):
    assert changed(tmp_path, '"40s"', '"~12.8s"')["time.short"].verdict == CONSISTENT


def test_unnamed_gpu_is_never_impossible(tmp_path):
    text = SOUND.replace('"40s"', '"1s"').replace('gpus = ["h100-sxm-80gb"]\nwidth', "gpus = []\nwidth", 1)
    assert entries(tmp_path, text)["time.short"].verdict == NEEDS_A_RUN


def test_damaged_cell_yields_the_pdf_only(tmp_path):
    text = SOUND.replace('"40s"', '"8s"').replace(
        'caption = "Times."', 'caption = "Times."\ndamaged = [{ row = 0, why = "OCR" }]'
    )
    found = entries(tmp_path, text)["time.short"]
    assert (found.verdict, found.severity) == (CHECK_PDF, "note")
    assert "OCR" in found.explanation


def test_half_rate_lowers_the_floor(tmp_path):
    text = SOUND.replace('id = "short"\n', 'id = "short"\nhalf_rate = 2\n').replace('"40s"', '"12.9s"')
    assert entries(tmp_path, text)["time.short"].verdict == CONSISTENT


def test_stated_precision_decides_the_peak(tmp_path):
    text = SOUND.replace('"40s"', '"20s"').replace('id = "short"\n', 'id = "short"\nprecision = "bf16"\n')
    assert entries(tmp_path, text)["time.short"].verdict == IMPOSSIBLE
    assert changed(tmp_path, '"40s"', '"20s"')["time.short"].verdict == CONSISTENT


def test_times_that_no_cost_a_step_explains(tmp_path):
    found = changed(tmp_path, '"80s"', '"100s"')["steps.short"]
    assert (found.verdict, found.severity) == (INCONSISTENT, "minor")  # a fixed cost below 0
    assert changed(tmp_path, '"80s"', '"30s"')["steps.short"].verdict == INCONSISTENT  # more steps, less time
    assert changed(tmp_path, '"80s"', '"85s"')["steps.short"].verdict == CONSISTENT  # runs vary by 5 %
    assert changed(tmp_path, '"80s"', '"50s"')["steps.short"].verdict == CONSISTENT  # 30 s that do not depend on steps


def test_ratio_of_gpus_outside_of_their_peaks_needs_a_run(tmp_path):
    # peaks 989/661 to 1979/165, bandwidth 3.3: 1.5 to 12
    assert changed(tmp_path, '"200s"', '"45s"')["gpus.slow"].verdict == NEEDS_A_RUN
    assert changed(tmp_path, '"200s"', '"600s"')["gpus.slow"].verdict == NEEDS_A_RUN


def test_parameters_too_few_for_the_printed_number(tmp_path):
    changes = {"a": ("hidden = 5120", "hidden = 4096"), "b": ("mlp = 13824", "mlp = 4096")}
    found = entries(tmp_path, **changes)["parameters.net"]
    assert (found.verdict, found.severity) == (INCONSISTENT, "major")


def test_gated_blocks_are_admitted_unless_the_blocks_are_anothers(tmp_path):
    sizes = {"a": ("hidden = 5120", "hidden = 4096"), "b": ("mlp = 13824", "mlp = 16384")}  # 10.9B, gated 13.6B
    assert entries(tmp_path, **sizes)["parameters.net"].verdict == CONSISTENT
    public = '[[model]]\nid = "public"\nname = "Public"\nplace = "-"\nbasis = "public"\n'
    kin = {"c": ('[[model]]\nid = "net"', f'{public}[[model]]\nid = "net"\nlike = "public"')}
    found = entries(tmp_path, **sizes, **kin)["parameters.net"]
    assert found.verdict == INCONSISTENT
    assert [reading.admissible for reading in found.readings] == [True, True, False, False]
    same = "layers = 40\nhidden = 4096\nheads = 32\nmlp = 16384\n"
    kin["c"] = (kin["c"][0], kin["c"][1].replace('basis = "public"\n', f'basis = "public"\n{same}'))
    assert entries(tmp_path, **sizes, **kin)["parameters.net"].verdict == INCONSISTENT
    other = kin["c"][1].replace("hidden = 4096", "hidden = 5120")  # not the same blocks, as they stand
    kin["c"] = (kin["c"][0], other)
    assert entries(tmp_path, **sizes, **kin)["parameters.net"].verdict == NEEDS_A_RUN


def test_weights_larger_than_the_memory(tmp_path):
    found = entries(tmp_path)["memory.slow"]  # 27 GB at bf16 in 24 GB: other precision or off-loading, not stated
    assert (found.verdict, found.severity) == (NEEDS_A_RUN, "minor")
    stated = {"a": ('id = "short"\n', 'id = "short"\nprecision = "fp8"\n')}  # the table marks the H100, not the 4090
    assert entries(tmp_path, **stated)["memory.slow"].verdict == INCONSISTENT
    assert entries(tmp_path, **stated)["memory.short"].verdict == CONSISTENT
    smaller = changed(tmp_path, "14B", "12B")
    assert smaller["memory.slow"].verdict == CONSISTENT


def test_budget_below_the_floor(tmp_path):
    # 6.4e6 clips x 3 x 0.8324e15 / 1978.9e12 = 2,243 h
    assert changed(tmp_path, "10,000", "2,243")["budget.run"].verdict == CONSISTENT
    found = changed(tmp_path, "10,000", "2,000")["budget.run"]
    assert (found.verdict, found.severity, found.computed) == (IMPOSSIBLE, "fatal", "at least 2,243 GPU-hours")
    exact = changed(tmp_path, 'hours = "hours"', 'hours = "hours"\nprecision = "bf16"')
    assert exact["budget.run"].computed == "at least 4,487 GPU-hours"


def test_overhead_of_a_derivative(tmp_path):
    verdicts = {
        printed: changed(tmp_path, "3×", printed)["derivative.jvp"].verdict for printed in ("2.4×", "1.8×", "1.2×")
    }
    assert verdicts == {"2.4×": CONSISTENT, "1.8×": NEEDS_A_RUN, "1.2×": IMPOSSIBLE}  # least 2.402


def test_alice_is_below_the_floor_on_every_gpu_and_avd_is_not():
    found = {entry.id: entry for entry in check(Record((load_paper("alice"),)))}
    assert found["alice.limits.time.alice-on-h100"].severity == "fatal"
    assert {e.verdict for name, e in found.items() if ".limits.time." in name} == {IMPOSSIBLE}
    assert {entry.verdict for entry in check(Record((load_paper("avd"),)))} == {CONSISTENT}
