"""VBench-I2V's subject and background: does a video keep to its input image, and to itself.

DreamSim is not in this package: its own code fetches and unpickles its weights when it is built. Who has it names a
function of his own (option `network`); who has not gets a reason in place of a score, and the official engine remains.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from dataclasses import dataclass
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from alice_repro.errors import UserError
from alice_repro.evaluation.metric import Clip, Result, Watcher
from alice_repro.evaluation.metrics.frame_similarity import Similarities
from alice_repro.evaluation.networks import Batches, NetworkMetric, score
from alice_repro.evaluation.preprocess import dreamsim_input, i2v_dino_input
from alice_repro.files import sha256_file

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


@dataclass(frozen=True)
class ImageOptions:
    """Attributes: images: folder of the input images; "" = beside each video."""

    images: str = ""


@dataclass(frozen=True)
class DreamSimOptions(ImageOptions):
    """Attributes: network: "module:function", where function(device) gives what embeds (n, 3, 224, 224) on 0..1."""

    network: str = ""


def find_image(clip: Clip, folder: str) -> Path | None:
    """The input image of a video: in `folder` or beside it, called as the video, as it less "-0", or as its prompt."""
    stem = Path(clip.video).stem
    names = [stem, re.sub(r"-\d+$", "", stem), *([clip.caption] if clip.caption else [])]
    place = Path(folder) if folder else clip.path.parent
    if not place.is_dir():
        raise UserError(f"{place}: no such folder of input images")
    files = {(path.stem, path.suffix.lower()): path for path in sorted(place.iterdir())}
    return next((files[key] for key in product(names, IMAGE_SUFFIXES) if key in files), None)


class _ImageSimilarity(NetworkMetric):
    """0.4 max s + 0.3 mean c + 0.3 min c: s = similarity of a frame to the input image, c = of successive frames."""

    Options = ImageOptions
    code = ("alice_repro.evaluation.metrics.frame_similarity",)

    @abstractmethod
    def prepare(self, image: np.ndarray | Image.Image) -> Tensor:
        """The network's input, (1, 3, 224, 224)."""

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """(n, 3, 224, 224) -> (n, d)."""

    def absent(self) -> str:
        """Why no video can be measured; "" if they can."""
        return ""

    def beside(self, clip: Clip) -> str:
        path = find_image(clip, self.options.images)
        return sha256_file(path) if path else "no image"

    def watch(self, clip: Clip) -> Watcher:
        if absent := self.absent():
            return Unmeasured(self.name, absent)
        self.load()
        path = find_image(clip, self.options.images)
        if path is None:
            where = self.options.images or "its folder"
            return Unmeasured(self.name, f"its input image is not in {where}: call it as the video, with .png or .jpg")
        try:
            with Image.open(path) as image:
                # The official code hands the file's own mode on; only RGB goes through its networks.
                first = self.features(self.prepare(image.convert("RGB")))
        except (UnidentifiedImageError, OSError) as error:
            return Unmeasured(self.name, f"its input image {path.name} cannot be read: {error}")
        return _SimilarityWatcher(self, first)


class I2VSubject(_ImageSimilarity):
    """Similarity to the input image and between successive frames of DINO ViT-B/16 features, 0..1, 1 = a still image.

    0.4 max + 0.3 mean + 0.3 min, see the base class: one frame near the image is enough for the first part, one cut
    ruins the last. Of the whole central square, not of the subject alone. The image lies beside the video or in the
    folder of the option `images`, called as the video is ("a cat-0.mp4": "a cat-0.png", "a cat.jpg") or as its prompt.
    """

    name = "i2v_subject"
    measures = ("i2v_subject",)
    weights = ("dino-vitb16",)

    def prepare(self, image: np.ndarray | Image.Image) -> Tensor:
        return i2v_dino_input(image)

    def features(self, images: Tensor) -> Tensor:
        return self.run("dino-vitb16", images)


class I2VBackground(_ImageSimilarity):
    """As `I2VSubject`, of DreamSim's embeddings of the whole frame squeezed into a square; 0..1, 1 = a still image."""

    name = "i2v_background"
    measures = ("i2v_background",)
    Options = DreamSimOptions

    def prepare(self, image: np.ndarray | Image.Image) -> Tensor:
        return dreamsim_input(image)

    def features(self, images: Tensor) -> Tensor:
        return self.run("dreamsim", images)

    def absent(self) -> str:
        if "dreamsim" not in self.networks and self.options.network:
            self.networks["dreamsim"] = named_network(self.options.network, self.tools.device)
        return "" if "dreamsim" in self.networks else absent_network("DreamSim", self.name)


class _SimilarityWatcher:
    def __init__(self, metric: _ImageSimilarity, first: Tensor) -> None:
        self.metric, self.seen = metric, Similarities(first)
        self.batches = Batches(metric.tools.batch, self._run)

    def see(self, frame: np.ndarray) -> None:
        self.batches.add(self.metric.prepare(frame))

    def _run(self, rows: list[Tensor]) -> None:
        self.seen.add(self.metric.features(torch.cat(rows)))

    def result(self) -> Result:
        self.batches.flush()
        if not self.seen.previous:
            return Result({self.metric.name: "needs two frames or more"})
        consecutive = np.array(self.seen.previous)
        value = 0.4 * np.max(self.seen.reference) + 0.3 * consecutive.mean() + 0.3 * consecutive.min()
        return Result({self.metric.name: score(value, "the network")})


class Unmeasured:
    """Watches a video that cannot be measured, for one reason."""

    def __init__(self, measure: str, reason: str) -> None:
        self.measure, self.reason = measure, reason

    def see(self, frame: np.ndarray) -> None:
        """Nothing."""

    def result(self) -> Result:
        return Result({self.measure: self.reason})


def named_network(name: str, device: str) -> Any:
    """What function(device) gives, for the name "module:function".

    Raises:
        UserError: there is no such function.
    """
    module, _, function = name.partition(":")
    try:
        return getattr(import_module(module), function)(device)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"network {name!r}: not a module:function that Python finds here ({error})") from error


def absent_network(network: str, metric: str) -> str:
    """Why a metric whose network this package does not have gives no score."""
    return f"needs {network}: name a function that gives it ({metric}.network=module:function), or use engine official"
