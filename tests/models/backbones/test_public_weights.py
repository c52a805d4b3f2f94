"""Files of weights: what is read, and what is refused with the file and the first mismatch named."""

from __future__ import annotations

import json
import os
import pickle
import zipfile

import networks
import pytest
import torch
from deterministic import weights
from torch import nn

from alice_repro.errors import UserError
from alice_repro.evaluation.weights import weight_file
from alice_repro.models.backbones.aesthetic import load_aesthetic
from alice_repro.models.backbones.amt import Amt, load_amt
from alice_repro.models.backbones.clip import ClipImageTower, load_clip
from alice_repro.models.backbones.dino import DinoViT, load_dino
from alice_repro.models.backbones.musiq import Musiq, load_musiq
from alice_repro.models.backbones.raft import load_raft
from alice_repro.models.backbones.torchscript import is_torchscript, read_torchscript

LAYOUTS = {name: row["layout"] for name, row in json.loads(networks.STORE.read_text()).items()}
HEAD = {"weight": torch.zeros(1, 768), "bias": torch.zeros(1)}


def save(folder, content):
    path = folder / "weights.pth"
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"weight": HEAD["weight"]}, "head for CLIP ViT-L/14: bias is missing"),
        (HEAD | {"weight": torch.zeros(1, 512)}, r"weight has shape \(1, 512\), expected \(1, 768\)"),
        (HEAD | {"more": torch.zeros(1)}, "it also holds more"),
        (HEAD | {"bias": torch.tensor([float("nan")])}, "bias holds values that are not finite"),
        (HEAD | {"bias": [0.0]}, "'bias' is list, not a tensor"),
        (torch.zeros(3), "holds no state dict but Tensor"),
        ({}, "holds no state dict"),
    ],
)
def test_another_content_is_refused(tmp_path, state, message):
    with pytest.raises(UserError, match=message) as error:
        load_aesthetic(save(tmp_path, state))
    assert "weights.pth" in str(error.value)


class _Harmful:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_no_file_runs_code(tmp_path):
    made, path = tmp_path / "made", tmp_path / "weights.pth"
    torch.save(HEAD | {"more": _Harmful(made)}, path)
    plain = tmp_path / "plain.pth"
    plain.write_bytes(pickle.dumps(_Harmful(made), protocol=2))
    for file in (path, plain):
        with pytest.raises(UserError, match="not a file of tensors"):
            load_aesthetic(file)
    assert not made.exists()


def test_files_of_old_versions_and_of_parallel_training_are_read(tmp_path):
    path = tmp_path / "weights.pth"
    parallel = {f"module.{name}": value for name, value in HEAD.items()}
    torch.save(parallel, path, _use_new_zipfile_serialization=False)
    assert load_aesthetic(path)(torch.ones(2, 768)).tolist() == [[0.0], [0.0]]


def test_a_damaged_or_missing_file_is_named(tmp_path):
    path = save(tmp_path, HEAD)
    whole = path.read_bytes()
    for content in (b"", b"<html>", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"weights\.pth: not a file of tensors"):
            load_aesthetic(path)
    with pytest.raises(UserError, match=r"nowhere\.pth: no such file"):
        load_aesthetic(tmp_path / "nowhere.pth")


def test_weights_of_another_network_are_refused(tmp_path):
    path = save(tmp_path, HEAD)
    for loader, first in (
        (load_dino, "cls_token"),
        (load_clip, "visual.conv1.weight"),
        (load_musiq, "conv_root.weight"),
        (load_amt, "feat_encoder.conv1.weight"),
        (load_raft, "fnet.conv1.weight"),
    ):
        with pytest.raises(UserError, match=f"weights.pth: not the weights of .*: {first} is missing"):
            loader(path)


def test_layouts_are_the_published_ones():
    with torch.device("meta"):
        built = {"dino-full": DinoViT(), "musiq": Musiq(), "amt": Amt(), "aesthetic": nn.Linear(768, 1)}
        for name in ("clip-vitb32-full", "clip-vitl14-full"):
            built[name] = ClipImageTower(**networks.CASES[name][0])
        for name, network in built.items():
            assert {key: list(value.shape) for key, value in network.state_dict().items()} == LAYOUTS[name]


def test_raft_names_a_missing_tensor_as_the_file_does_and_does_without_counts(tmp_path):
    state = weights(LAYOUTS["raft"])
    counts = [name for name in state if name.endswith("num_batches_tracked")]
    load_raft(save(tmp_path, {name: value for name, value in state.items() if name not in counts}))
    del state["update_block.gru.convq2.bias"]
    with pytest.raises(UserError, match="update_block.gru.convq2.bias is missing"):
        load_raft(save(tmp_path, state))


def test_files_of_weights_have_entries():
    for name in "dino-vitb16 clip-vitb32 clip-vitl14 laion-aesthetic musiq-spaq amt-s raft-things".split():
        entry = weight_file(name)
        assert entry.licence and entry.source.startswith("https://") and entry.what
        # Publishers put the beginning of the checksum into the name.
        assert entry.sha256.startswith("358bb6af") or name != "musiq-spaq"


class _Visual(nn.Module):
    """Parts of a tower in the published layout, such as OpenAI traced."""

    def __init__(self, state):
        super().__init__()
        for name, value in state.items():
            head, _, rest = name.partition(".")
            if not rest:
                self.register_parameter(head, nn.Parameter(value, requires_grad=False))
        for head in {name.partition(".")[0] for name in state if "." in name}:
            below = {n.removeprefix(f"{head}."): v for n, v in state.items() if n.startswith(f"{head}.")}
            self.add_module(head, _Visual(below))

    def forward(self, x):
        return x


class _Archive(nn.Module):
    def __init__(self, state):
        super().__init__()
        self.visual = _Visual(state)
        self.register_buffer("input_resolution", torch.tensor(224))
        self.sizes = [1, 2]
        self.scales = [0.5]
        self.note = "traced"

    def forward(self, x):
        return self.visual(x)


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_a_torchscript_archive_gives_its_tensors_without_running(tmp_path, monkeypatch):
    state = {name: value.half() for name, value in weights(LAYOUTS["clip"]).items()}
    scripted, path = torch.jit.script(_Archive(state)), tmp_path / "ViT-tiny.pt"
    scripted.save(str(path))
    for name in ("jit.load", "load"):
        monkeypatch.delattr(f"torch.{name}")
    assert is_torchscript(path)
    found = read_torchscript(path)
    assert found.keys() == scripted.state_dict().keys()
    assert all(torch.equal(found[name], value) for name, value in scripted.state_dict().items())
    tower = load_clip(path)
    x = networks.inputs("clip", (1, 224, 224))
    assert tower(x).shape == (1, 64) and tower(x).dtype == torch.float32
    assert torch.equal(tower.state_dict()["proj"], state["proj"].float())


def test_an_archive_with_anything_else_is_refused(tmp_path):
    made, path = tmp_path / "made", tmp_path / "ViT.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ViT/data.pkl", pickle.dumps(_Harmful(made), protocol=2))
        archive.writestr("ViT/constants.pkl", b"")
    with pytest.raises(UserError, match=r"ViT\.pt: not a TorchScript archive .*mkdir has no place"):
        load_clip(path)
    assert not made.exists()
