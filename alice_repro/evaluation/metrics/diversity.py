"""Diversity of the videos of a prompt by the features of a network (DFD B.3.1): CLIP, DINO, and two surrogates.

DFD uses CLIP ViT-L and DINO "v2 ViT-Large" (it cites DINOv3) with 8 videos a prompt; with fewer the mean over pairs
has the same expectation and more noise, and ``n`` of a value says how many there were. Its text does not give the
number of frames, the preprocessing, or what the "Per-frame" columns are; here these are settings. What a value means
depends on the network: values of different networks, or of other settings, do not compare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PIL import Image

from alice_repro.errors import UserError, unknown_name
from alice_repro.evaluation.diversity import (
    PAIRINGS,
    SPACINGS,
    SpacedFrames,
    mean_diversity,
    per_frame_diversity,
    stack_videos,
)
from alice_repro.evaluation.metric import Clip, Metric, Result, SetValue, Tools, VideoSet, Watcher

if TYPE_CHECKING:
    from torch import nn

FITS = ("crop", "squash")
SURROGATE = "features of {} trained on ImageNet, neither CLIP nor DINO: do not set beside published values"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class DiversityOptions:
    """Settings where DFD is silent.

    Attributes:
        frames: evenly spaced frames of each video.
        spacing: "ends": first and last frame among them; "middle": the middles of equal parts.
        fit: how a frame becomes the network's square: "crop" its middle, as the networks were trained, or "squash" it.
        unit_frames: scale each frame's features to length 1 before they are averaged.
        pairing: for the per-frame values: "same" frames of two videos, or "all" pairs of frames.
    """

    frames: int = 8
    spacing: str = "ends"
    fit: str = "crop"
    unit_frames: bool = False
    pairing: str = "same"

    def __post_init__(self) -> None:
        for name, valid in (("spacing", SPACINGS), ("fit", FITS), ("pairing", PAIRINGS)):
            if getattr(self, name) not in valid:
                raise unknown_name(name, getattr(self, name), valid)
        if self.frames < 1:
            raise UserError(f"frames must be at least 1, not {self.frames}")


@dataclass(frozen=True)
class View:
    """What a network is shown: the short side after resizing, the square cut out of it, and its normalisation."""

    short_side: int
    square: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resample: Image.Resampling = Image.Resampling.BICUBIC

    def prepare(self, frame: np.ndarray, fit: str) -> np.ndarray:
        """A frame (H, W, 3) as uint8 (square, square, 3), resized with antialiasing."""
        image = Image.fromarray(frame)
        if fit == "squash":
            return np.asarray(image.resize((self.square, self.square), self.resample))
        width, height = (self.short_side * side // min(image.size) for side in image.size)
        left, top = round((width - self.square) / 2), round((height - self.square) / 2)
        image = image.resize((width, height), self.resample)
        return np.asarray(image.crop((left, top, left + self.square, top + self.square)))

    def normalise(self, frames: np.ndarray) -> np.ndarray:
        """Frames uint8 (N, H, W, 3) as float32 (N, 3, H, W)."""
        scaled = (frames.astype(np.float32) / 255.0 - np.float32(self.mean)) / np.float32(self.std)
        return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


class Diversity(Metric):
    """One network's diversity; a subclass names the network.

    Attributes:
        prefix: of the two measures, ``<prefix>_diversity_mean`` and ``<prefix>_diversity_per_frame``.
        view: what the network is shown.
    """

    Options = DiversityOptions
    prefix: ClassVar[str]
    view: ClassVar[View]

    def __init__(self, tools: Tools, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(tools, options)
        self._network: nn.Module | None = None

    def load(self) -> nn.Module:
        """The network, (N, 3, H, W) normalised -> features (N, D); one in a process, other metrics' too."""
        from alice_repro.evaluation.networks import load_network

        return load_network(self.weights[0], self.tools)

    def watch(self, clip: Clip) -> Watcher:
        if self._network is None:
            self._network = self.load().to(self.tools.device).eval()
        return _Watcher(self)

    def features(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        """Features (N, D) float32 of prepared frames."""
        import torch

        found = []
        with torch.inference_mode():
            for start in range(0, len(frames), self.tools.batch):
                batch = self.view.normalise(np.stack(frames[start : start + self.tools.batch]))
                found.append(self._network(torch.from_numpy(batch).to(self.tools.device)).float().cpu().numpy())
        return np.concatenate(found)

    def over_sets(self, sets: Sequence[VideoSet]) -> list[SetValue]:
        return [value for videos in sets for value in self._of_prompt(videos)]

    def _of_prompt(self, videos: VideoSet) -> list[SetValue]:
        arrays = [found[self.prefix] for found in videos.arrays]
        names = (f"{self.prefix}_diversity_mean", f"{self.prefix}_diversity_per_frame")
        values: tuple[float | str, ...]
        try:
            if len(arrays) < 2:
                lost = f", {videos.missing} more could not be read" if videos.missing else ""
                raise UserError(f"diversity compares the videos of a prompt, and this one has {len(arrays)}{lost}")
            stacked = stack_videos(arrays)
            values = (
                mean_diversity(stacked, self.options.unit_frames),
                per_frame_diversity(stacked, self.options.pairing),
            )
        except UserError as error:
            values = (str(error),) * 2
        return [SetValue(videos.prompt, name, value, len(arrays)) for name, value in zip(names, values, strict=True)]


class _Watcher:
    def __init__(self, metric: Diversity) -> None:
        self.metric = metric
        self.frames = SpacedFrames(lambda frame: metric.view.prepare(frame, metric.options.fit))

    def see(self, frame: np.ndarray) -> None:
        self.frames.see(frame)

    def result(self) -> Result:
        options = self.metric.options
        features = self.metric.features(self.frames.pick(options.frames, options.spacing))
        return Result({}, {self.metric.prefix: features})


class ClipDiversity(Diversity):
    """By OpenAI's CLIP ViT-L/14: the image features that CLIP compares with text."""

    name = "diversity_clip"
    prefix = "clip"
    weights = ("clip-vitl14",)
    view = View(224, 224, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


class DinoDiversity(Diversity):
    """By DINOv2 ViT-L/14: its class token. Another of transformers' DINOv2 or DINOv3 folders can be given instead."""

    name = "diversity_dino"
    prefix = "dino"
    weights = ("dinov2-vitl14",)
    view = View(256, 224, *IMAGENET)


class MobileNetDiversity(Diversity):
    """By an ImageNet classifier that a package carries: exercises the protocol, and is not the papers' measure."""

    name = "surrogate_diversity_mobilenet"
    prefix = "surrogate_mobilenet"
    weights = ("mobilenet-v2",)
    surrogate = SURROGATE.format("MobileNetV2")
    view = View(256, 224, *IMAGENET, resample=Image.Resampling.BILINEAR)


class EfficientNetDiversity(Diversity):
    """By another classifier of the kind: two surrogates that agree say more than one."""

    name = "surrogate_diversity_efficientnet"
    prefix = "surrogate_efficientnet"
    weights = ("efficientnet-lite0",)
    surrogate = SURROGATE.format("EfficientNet-Lite0")
    view = View(256, 224, (0.5,) * 3, (0.5,) * 3)
