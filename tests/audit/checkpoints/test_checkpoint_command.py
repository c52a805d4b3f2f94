"""`alice-repro audit checkpoint A B` from end to end: exit codes, text, JSON, page; and its memory."""

from __future__ import annotations

import json
import re
import tracemalloc

import pytest
import torch

from alice_repro.audit.checkpoints.compare import measure_all
from alice_repro.audit.checkpoints.layouts import open_checkpoint
from alice_repro.audit.checkpoints.matching import match
from alice_repro.audit.checkpoints.measures import measure
from alice_repro.audit.checkpoints.tables import count, number, share
from alice_repro.cli import main


def audit(*words) -> int:
    return main(["audit", "checkpoint", *map(str, words)])


def strict(text):
    """JSON without NaN."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


def test_equal_files_of_two_layouts(save_shards, save, weights, original, tmp_path, capsys):
    a, b = save("a.safetensors", weights), save_shards("wan", original)
    assert audit(a, b, "--out", tmp_path / "out") == 0
    text = capsys.readouterr().out
    assert "transformer: identical" in text and "2 blocks, width 24" in text and "by key map" in text
    found = strict((tmp_path / "out/checkpoint-a-wan.json").read_text())
    (network,) = found["networks"]
    assert network["judgement"]["kind"] == "identical"
    assert network["matching"]["pairs"] == len(weights) == len(network["tensors"])
    assert sum(t["equal"] for t in network["tensors"]) == sum(v.numel() for v in weights.values())
    assert found["b"]["networks"][0]["hidden"] == 24 and found["b"]["networks"][0]["names"] == "original Wan"


def test_page_stands_alone(save, weights, tmp_path):
    generator = torch.Generator().manual_seed(0)
    noisy = {n: v + 0.001 * torch.randn(v.shape, generator=generator) for n, v in weights.items()}
    noisy["<script>alert(1)</script>"] = torch.ones(3)
    a, b = save("a.safetensors", weights), save("b.safetensors", noisy)
    assert audit(a, b, "--out", tmp_path / "out") == 0
    page = (tmp_path / "out/checkpoint-a-b.html").read_text()
    assert page.count("<svg") >= 2 and "<script" not in page and "&lt;script&gt;" in page
    loaded = re.findall(r'(?:src|href)="(?!#)([^"]*)"', page)
    assert not [link for link in loaded if not link.startswith("data:")]
    assert "blocks.1.ffn.net.2.weight" in page


def test_json_alone_writes_nothing(save, weights, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    a = save("a.safetensors", weights)
    assert audit(a, a, "--json") == 0
    assert strict(capsys.readouterr().out)["networks"][0]["judgement"]["kind"] == "identical"
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_values_that_are_not_finite_are_no_nan_in_json(save, weights, tmp_path):
    broken = {name: value.clone() for name, value in weights.items()}
    broken["proj_out.weight"][0, 0], broken["proj_out.bias"][1] = float("nan"), float("inf")
    assert audit(save("a.safetensors", weights), save("b.safetensors", broken), "--out", tmp_path / "out") == 0
    tensors = strict((tmp_path / "out/checkpoint-a-b.json").read_text())["networks"][0]["tensors"]
    assert {t["name"] for t in tensors if t["not_finite"]} == {"proj_out.weight", "proj_out.bias"}


def test_against_names_the_place_of_each_misfit(save, weights, tmp_path, capsys):
    a = save("a.safetensors", weights)
    assert audit(a, a, "--out", tmp_path, "--against", "alice") == 0
    text = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "does not fit alice: Alice v1 (Section 3.1.3, Table 1)" in text
    assert "width 4096 stated, 24 in the files" in text


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_bad_input_leaves_with_2_and_writes_nothing(save, weights, tmp_path, capsys, options):
    a = save("a.safetensors", weights)
    pickle = tmp_path / "b.pt"
    torch.save(weights, pickle)
    for bad, word in ((tmp_path / "absent", "absent"), (pickle, "pickle")):
        assert audit(a, bad, "--out", tmp_path / "out", *options) == 2
        captured = capsys.readouterr()
        assert word in captured.err and str(bad) in captured.err and not captured.out
    assert audit(a, a, "--networks", "vea", "--out", tmp_path / "out") == 2
    assert audit(a, a, "--against", "alcie", "--out", tmp_path / "out") == 2
    assert not (tmp_path / "out").exists()


def test_every_dtype_and_odd_shapes(save, weights, tmp_path):
    odd = weights | {
        "steps": torch.tensor(3), "mask": torch.tensor([True, False]), "ids": torch.arange(6).reshape(2, 3),
        "nothing": torch.zeros(0, 4), "thin": torch.zeros(4, 0), "bytes": torch.arange(9, dtype=torch.uint8),
        "double": torch.randn(20, 20, dtype=torch.float64), "half": torch.randn(20, 20).half(),
        "e4m3": torch.randn(20, 20).to(torch.float8_e4m3fn), "e5m2": torch.randn(20, 20).to(torch.float8_e5m2),
        "short": torch.arange(9, dtype=torch.int16), "scalar": torch.tensor(0.5),
    }  # fmt: skip
    changed = odd | {"steps": torch.tensor(4), "mask": torch.tensor([True, True]), "scalar": torch.tensor(0.25)}
    a, b = save("a.safetensors", odd), save("b.safetensors", changed)
    assert audit(a, b, "--out", tmp_path / "out") == 0
    tensors = strict((tmp_path / "out/checkpoint-a-b.json").read_text())["networks"][0]["tensors"]
    assert {t["name"] for t in tensors} == set(odd) - {"nothing", "thin"}
    assert {t["name"] for t in tensors if t["equal"] < t["size"]} == {"steps", "mask", "scalar"}


def test_partial(save_shards, save, weights, tmp_path, capsys):
    folder = save_shards("b", weights)
    (folder / "diffusion_pytorch_model-00003-of-00003.safetensors").unlink()
    a = save("a.safetensors", weights)
    assert audit(a, folder, "--out", tmp_path / "out") == 2
    assert "--partial" in capsys.readouterr().err
    assert audit(a, folder, "--partial", "--out", tmp_path / "out") == 0
    text = capsys.readouterr().out
    assert "00003-of-00003" in text and "only in A" in text


def test_the_paper_audit_is_as_before(tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        main(["audit", "dfd", "--table", "1", "--json"])
    assert left.value.code == 0
    assert "findings" in strict(capsys.readouterr().out)
    assert main(["audit", "checkpointt"]) == 2


def test_order_and_number_of_workers_change_nothing(save, weights, other_weights):
    a, b = (open_checkpoint(save(f"{n}.safetensors", w)).networks["transformer"] for n, w in
            (("a", weights), ("b", other_weights)))  # fmt: skip
    pairs = match(a, b).pairs
    one, four = (measure_all(pairs, measure, workers, "test") for workers in (1, 4))
    assert [e.name for e in one] == [p.name for p in pairs]
    assert [e.to_dict() for e in one] == [e.to_dict() for e in four]


def test_a_file_that_shrinks_while_it_is_read(save, weights, tmp_path, capsys, monkeypatch):
    """Headers are read first: a file that is replaced afterwards is an error, not an answer."""
    from alice_repro.audit.checkpoints import compare

    a, b = save("a.safetensors", weights), save("b.safetensors", weights)
    matched = compare.match

    def shrinking(*networks):
        found = matched(*networks)
        with open(b, "r+b") as stream:
            stream.truncate(b.stat().st_size // 2)
        return found

    monkeypatch.setattr(compare, "match", shrinking)
    assert audit(a, b, "--out", tmp_path / "out") == 2
    assert "b.safetensors" in capsys.readouterr().err


def test_rows_are_read_one_range_at_a_time(save):
    """A matrix of 256 MB is read by 2 MB: Python's own allocations and torch's buffers stay far below it."""
    tall = torch.zeros(1 << 16, 1 << 11, dtype=torch.bfloat16)
    tensor = open_checkpoint(save("tall.safetensors", {"w": tall})).networks["transformer"].tensors["w"]
    bounds = list(tensor.chunks())
    assert bounds[0] == (0, 512) and bounds[-1][1] == 1 << 16 and len(bounds) == 128
    assert all(stop == start for (_, stop), (start, _) in zip(bounds, bounds[1:], strict=False))
    tracemalloc.start()
    largest = max(tensor.rows(*one).untyped_storage().nbytes() for one in bounds[:4])
    assert largest == 2 << 20 and tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (share(0, 9), "0 %"), (share(9, 9), "100 %"), (share(1, 10**6), "< 0.1 %"), (share(999_999, 10**6), "> 99.9 %"),
        (share(1, 3), "33.3 %"), (number(0.0), "0"), (number(0.012345), "0.0123"), (number(None), ""),
        (count(14_288_491_584), "14.3 billion"), (count(480), "480"),
    ],
)  # fmt: skip
def test_numbers_in_words(text, wanted):
    assert text == wanted
