"""Every layout opens to the same networks under the same names; every fault is an error that names the file."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from alice_repro.audit.checkpoints.layouts import open_checkpoint
from alice_repro.errors import UserError

LAB = Path(__file__).parents[3] / "alice_repro/models/lab_checkpoint"


def assert_holds(network, tensors):
    """The network has exactly these tensors, read in two pieces each."""
    assert set(network.tensors) == set(tensors)
    for name, tensor in network.tensors.items():
        cut = tensor.row_count // 2
        assert tensor.name == name and tensor.shape == tuple(tensors[name].shape)
        assert torch.equal(torch.cat([tensor.rows(0, cut), tensor.rows(cut, tensor.row_count)]), tensors[name])


def test_one_file(save, weights):
    checkpoint = open_checkpoint(save("model.safetensors", weights))
    assert list(checkpoint.networks) == ["transformer"] and not checkpoint.notes
    assert_holds(checkpoint.networks["transformer"], weights)


@pytest.mark.parametrize("index", [True, False])
def test_shards_with_and_without_an_index(save_shards, weights, index):
    assert_holds(open_checkpoint(save_shards("model", weights, 3, index)).networks["transformer"], weights)


def test_an_index_can_be_named_itself(save_shards, weights):
    folder = save_shards("model", weights)
    index = folder / "diffusion_pytorch_model.safetensors.index.json"
    assert_holds(open_checkpoint(index).networks["transformer"], weights)


def test_original_wan_gets_the_names_of_diffusers(save_shards, original, weights):
    folder = save_shards("wan", original)
    (folder / "config.json").write_text(json.dumps({"model_type": "t2v", "dim": 24, "num_heads": 2}))
    network = open_checkpoint(folder).networks["transformer"]
    assert network.layout == "original Wan" and network.config["dim"] == 24
    assert_holds(network, weights)
    tensor = network.tensors["blocks.1.norm2.weight"]
    assert tensor.stored_name == "blocks.1.norm3.weight"


@pytest.mark.parametrize("prefix", ["model.diffusion_model.", "module.", "net.", "model.net.", "_orig_mod.module."])
def test_prefixes_of_trainers(save, original, weights, prefix):
    path = save("model.safetensors", {prefix + name: value for name, value in original.items()})
    assert_holds(open_checkpoint(path).networks["transformer"], weights)


def test_wrappers_within_names(save, weights):
    wrapped = {n.replace("blocks.1.", "blocks.1._checkpoint_wrapped_module."): v for n, v in weights.items()}
    assert_holds(open_checkpoint(save("model.safetensors", wrapped)).networks["transformer"], weights)


def test_average_beside_the_network(save, weights, other_weights):
    both = {"net." + n: v for n, v in weights.items()} | {"net_ema." + n: v for n, v in other_weights.items()}
    networks = open_checkpoint(save("model.safetensors", both)).networks
    assert_holds(networks["transformer"], weights)
    assert_holds(networks["transformer_ema"], other_weights)


def test_alice_and_wan22_experts_in_folders(save_shards, original, weights, other_weights, tmp_path):
    save_shards("release/high_noise_model", original)
    save_shards("release/low_noise_model", other_weights, 1, index=False)
    (tmp_path / "release/mirage_vae.pth").write_bytes(b"x")
    checkpoint = open_checkpoint(tmp_path / "release")
    assert_holds(checkpoint.networks["transformer"], weights)
    assert_holds(checkpoint.networks["transformer_2"], other_weights)
    alone = open_checkpoint(tmp_path / "release/low_noise_model")
    assert list(alone.networks) == ["transformer_2"]


def test_experts_in_files(save, weights, other_weights, tmp_path):
    save("comfy/wan2.2_t2v_high_noise_14B.safetensors", weights)
    save("comfy/wan2.2_t2v_low_noise_14B.safetensors", other_weights)
    networks = open_checkpoint(tmp_path / "comfy").networks
    assert_holds(networks["transformer"], weights)
    assert_holds(networks["transformer_2"], other_weights)


def test_diffusers_pipelines(tiny_wan, tiny_wan22):
    one, two = open_checkpoint(tiny_wan), open_checkpoint(tiny_wan22)
    assert one.layout == two.layout == "diffusers pipeline"
    assert set(one.networks) == {"transformer", "text_encoder", "vae"}
    assert set(two.networks) == {"transformer", "transformer_2", "text_encoder", "vae"}
    shards = [load_file(f) for f in (tiny_wan22 / "transformer_2").glob("*.safetensors")]
    assert len(shards) > 1
    assert_holds(two.networks["transformer_2"], {k: v for shard in shards for k, v in shard.items()})
    component = open_checkpoint(tiny_wan / "vae")
    assert list(component.networks) == ["vae"] and component.networks["vae"].config["z_dim"] == 16


def test_the_shipped_checkpoint_opens():
    checkpoint = open_checkpoint(LAB)
    assert checkpoint.networks["transformer"].size == 1_982_064 and not checkpoint.notes


def test_links_are_followed(save, weights, tmp_path):
    path = save("blobs/abc.safetensors", weights)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/diffusion_pytorch_model.safetensors").symlink_to(path)
    assert_holds(open_checkpoint(tmp_path / "model").networks["transformer"], weights)


def test_pickles_and_variants_beside_are_mentioned(save, weights, tmp_path):
    save("model/diffusion_pytorch_model.safetensors", weights)
    save("model/diffusion_pytorch_model.fp16.safetensors", {n: v.half() for n, v in weights.items()})
    (tmp_path / "model/diffusion_pytorch_model.bin").write_bytes(b"x")
    checkpoint = open_checkpoint(tmp_path / "model")
    assert_holds(checkpoint.networks["transformer"], weights)
    notes = " ".join(checkpoint.notes)
    assert "diffusion_pytorch_model.bin" in notes and "fp16" in notes


# ------------------------------------------------------------------------------------------------------------- faults


class Bomb:
    """Unpickling it fails the test."""

    def __reduce__(self):
        return pytest.fail, ("a pickle was opened",)


def assert_refused(path, *words, partial=False):
    with pytest.raises(UserError) as error:
        open_checkpoint(path, partial)
    for word in words:
        assert word in str(error.value), str(error.value)


@pytest.mark.parametrize("name", ["model.bin", "model.pt", "model.safetensors"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_is_never_opened(tmp_path, name, zipped):
    path = tmp_path / name
    torch.save({"a": Bomb()}, path, _use_new_zipfile_serialization=zipped)
    assert_refused(path, name, "pickle", "save_file")


def test_plain_pickle_under_the_name_safetensors(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Bomb(), protocol=2))
    assert_refused(path, "pickle")


def test_folder_of_pickles(tmp_path):
    (tmp_path / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    assert_refused(tmp_path, "diffusion_pytorch_model.bin", "pickle")


def test_pipeline_whose_transformer_is_a_pickle(tiny_wan, tmp_path):
    folder = tmp_path / "pipeline"
    shutil.copytree(tiny_wan, folder)
    for file in (folder / "transformer").glob("*.safetensors*"):
        file.unlink()
    assert_refused(folder, "transformer", "without weights")
    (folder / "transformer/diffusion_pytorch_model.bin").write_bytes(b"x")
    assert_refused(folder, "diffusion_pytorch_model.bin", "pickle")


def test_no_such_path(tmp_path, save, weights):
    save("student.safetensors", weights)
    assert_refused(tmp_path / "studnt.safetensors", "no such", "student.safetensors")


def test_nothing_to_read(tmp_path):
    assert_refused(tmp_path, "nothing to read")
    (tmp_path / "notes.txt").write_text("x")
    assert_refused(tmp_path / "notes.txt", "not a .safetensors file")


def test_folder_with_checkpoints_deeper_names_them(save, weights, tmp_path):
    save("run/step-100/model.safetensors", weights)
    assert_refused(tmp_path / "run", "step-100")


def test_truncated(save, weights):
    path = save("model.safetensors", weights)
    size = path.stat().st_size
    with open(path, "r+b") as stream:
        stream.truncate(size - 1000)
    assert_refused(path, "model.safetensors", "truncated", f"{size:,}", "--partial")
    part = open_checkpoint(path, partial=True)
    held = part.networks["transformer"].tensors
    assert 0 < len(held) < len(weights) and "truncated" in part.notes[0]
    for name, tensor in held.items():
        assert torch.equal(tensor.rows(0, tensor.row_count), weights[name])


@pytest.mark.parametrize("content", [b"", b"abc", b"\x10\0\0\0\0\0\0\0{}", b"\x02\0\0\0\0\0\0\0[]", b"\xff" * 40])
def test_broken_header(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert_refused(path, "model.safetensors", "not a whole safetensors file")


def write_header(path: Path, header: str, data: int = 0) -> Path:
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(data))
    return path


@pytest.mark.parametrize(
    ("header", "word"),
    [
        ('{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}', "takes 8 bytes, not 4"),
        ('{"a": {"dtype": "F32", "shape": [2]}}', "lacks"),
        ('{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}', "shape"),
        ('{"a": {"dtype": "Q4", "shape": [2], "data_offsets": [0, 1]}}', "dtype 'Q4'"),
        ('{"a": 1, "a": 2}', "twice"),
        (
            '{"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},'
            ' "b": {"dtype": "U8", "shape": [4], "data_offsets": [2, 6]}}',
            "overlap",
        ),
    ],
)
def test_entries_of_a_header(tmp_path, header, word):
    assert_refused(write_header(tmp_path / "model.safetensors", header, 8), "model.safetensors", word)


@pytest.mark.parametrize("index", [True, False])
def test_missing_shard(save_shards, weights, index):
    folder = save_shards("model", weights, 3, index)
    (folder / "diffusion_pytorch_model-00002-of-00003.safetensors").unlink()
    assert_refused(folder, "00002-of-00003", "missing")
    part = open_checkpoint(folder, partial=True)
    assert len(part.networks["transformer"].tensors) < len(weights) and "00002-of-00003" in part.notes[0]


def test_one_shard_by_itself(save_shards, weights):
    shard = save_shards("model", weights) / "diffusion_pytorch_model-00001-of-00003.safetensors"
    assert_refused(shard, "one of 3 shards", "name its folder")


def test_missing_expert(save_shards, weights, tmp_path):
    save_shards("release/high_noise_model", weights)
    (tmp_path / "release/low_noise_model").mkdir()
    assert_refused(tmp_path / "release", "low_noise_model")
    (tmp_path / "release/low_noise_model").rmdir()
    assert_refused(tmp_path / "release", "low_noise_model", "missing")


def test_index_puts_a_tensor_where_it_is_not(save_shards, weights):
    folder = save_shards("model", weights)
    index = folder / "diffusion_pytorch_model.safetensors.index.json"
    content = json.loads(index.read_text())
    name = sorted(weights)[0]
    content["weight_map"][name] = "diffusion_pytorch_model-00002-of-00003.safetensors"
    index.write_text(json.dumps(content))
    assert_refused(folder, name, "00002-of-00003", "lacks it", "00001-of-00003")
    content["weight_map"][name] = "../other.safetensors"
    index.write_text(json.dumps(content))
    assert_refused(folder, "../other.safetensors")
    index.write_text("{")
    assert_refused(folder, "index.json")


def test_one_tensor_in_two_files(save_shards, save, weights):
    folder = save_shards("model", weights)
    name = sorted(weights)[0]
    save("model/diffusion_pytorch_model-00002-of-00003.safetensors", {name: weights[name]})
    (folder / "diffusion_pytorch_model.safetensors.index.json").unlink()
    assert_refused(folder, name, "00001-of-00003", "00002-of-00003")


def test_two_unrelated_files_in_one_folder(save, weights, tmp_path):
    save("models/a.safetensors", weights)
    save("models/b.safetensors", weights)
    assert_refused(tmp_path / "models", "a.safetensors", "b.safetensors", "name the file")
