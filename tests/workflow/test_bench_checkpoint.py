"""The benchmark of the checkpoint audit on a pair of a few megabytes: true rows, bounded memory, nothing left."""

from __future__ import annotations

import pytest

from alice_repro.errors import UserError
from alice_repro.workflow import bench_checkpoint as bench


@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setattr(bench, "SMALL", (256, 512))
    monkeypatch.setattr(bench, "SHARD_BYTES", 3_000_000)


@pytest.mark.slow
def test_rows(tmp_path, narrow):
    same, noise = bench.bench_checkpoint(0.02, tmp_path)
    assert (same.verdict, noise.verdict) == ("identical", "noise")
    assert same.size == noise.size and 0.015e9 < same.size < 0.025e9
    assert 0 < same.peak < 2 * 2**30 and same.cpu_seconds > 0
    assert not list(tmp_path.iterdir())


def test_the_pair_is_sharded_and_wan_shaped(tmp_path, narrow):
    from alice_repro.audit.checkpoints.architecture import architecture_of
    from alice_repro.audit.checkpoints.layouts import open_checkpoint

    bench._generate(tmp_path / "a", tmp_path / "b", 0.01)
    assert len(list((tmp_path / "a").glob("*.safetensors"))) > 2
    for side in "ab":
        network = open_checkpoint(tmp_path / side).networks["transformer"]
        found = architecture_of(network)
        assert (found.hidden, found.mlp, found.latent_channels, found.text_width) == (256, 512, 16, 4096)
        assert 0.8e7 < network.byte_count < 1.2e7 and set(found.dtypes) == {"BF16"}


def test_a_disk_that_is_too_small_is_named(tmp_path):
    with pytest.raises(UserError, match="needed there"):
        bench.bench_checkpoint(1e9, tmp_path)
    assert not list(tmp_path.iterdir())
