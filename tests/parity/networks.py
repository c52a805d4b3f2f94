"""Outputs of the official networks under weights made from names: what `tests/models/backbones` compares ours with.

Run it in an environment of its own, on a CPU (a few minutes, 4 GB of memory):

    pip install torch torchvision "setuptools<81" "numpy<2" pillow scipy tqdm requests opencv-python-headless ftfy regex
    pip install --no-deps vbench==0.1.5 pyiqa==0.1.10 dreamsim==0.2.1
    pip install --no-deps --no-build-isolation openai-clip==1.0.1
    python tests/parity/networks.py

Sources: RAFT and AMT as vbench carries them, MUSIQ of pyiqa, CLIP of openai-clip, and DINO's vision_transformer.py,
of which dreamsim carries a copy (torch.hub, where VBench takes it from, is not a package).
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from argparse import Namespace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from deterministic import picture, weights

STORE = Path(__file__).with_name("networks.json")
VALUES = 160  # of an output are stored, evenly spread

# network -> (sizes of the class where they are not the published ones, inputs (N, H, W)); "full" networks are large.
CASES = {
    "dino": ({"width": 192, "depth": 3, "heads": 3}, ((2, 224, 224), (1, 224, 273), (1, 97, 130), (1, 112, 448))),
    "dino-full": ({}, ((1, 224, 398),)),
    "clip": ({"width": 128, "depth": 3, "patch": 32, "grid": 7, "output": 64}, ((2, 224, 224),)),
    "clip-vitb32-full": ({"width": 768, "depth": 12, "patch": 32, "grid": 7, "output": 512}, ((1, 224, 224),)),
    "clip-vitl14-full": ({"width": 1024, "depth": 24, "patch": 14, "grid": 16, "output": 768}, ((1, 224, 224),)),
    "aesthetic": ({}, ()),
    "musiq": ({}, ((2, 288, 512), (1, 301, 203), (1, 40, 67))),
    "amt": ({}, ((2, 128, 144), (2, 160, 128))),
    "raft": ({}, ((2, 128, 144), (2, 152, 128))),
}


def inputs(network: str, size: tuple[int, int, int]) -> torch.Tensor:
    """Pictures (N, 3, H, W) for a case; in 0 .. 255 for RAFT, about normalised for DINO and CLIP, else in [0, 1]."""
    frames = picture(f"{network.split('-')[0]} {size}", *size)
    if network == "raft":
        return frames * 255
    return frames if network in ("amt", "musiq") else (frames - 0.45) / 0.225


def features(n: int = 5) -> torch.Tensor:
    """Unit features (N, 768) for the aesthetic head."""
    return torch.nn.functional.normalize(picture("aesthetic", n, 16, 16).flatten(1) - 0.5, dim=1)


def stored(values: torch.Tensor) -> torch.Tensor:
    """The entries of an output that are kept."""
    flat = values.flatten()
    return flat[torch.from_numpy(np.unique(np.linspace(0, len(flat) - 1, VALUES).round().astype(int)))]


def dino(width: int = 768, depth: int = 12, heads: int = 12):
    folder = importlib.util.find_spec("dreamsim").submodule_search_locations[0]
    file = Path(folder) / "feature_extraction" / "vision_transformer.py"
    spec = importlib.util.spec_from_file_location("dino_vision_transformer", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    norm = partial(torch.nn.LayerNorm, eps=1e-6)
    return module.VisionTransformer(
        patch_size=16, embed_dim=width, depth=depth, num_heads=heads, qkv_bias=True, norm_layer=norm
    )


def clip(width: int, depth: int, patch: int, grid: int, output: int):
    from clip.model import VisionTransformer

    return VisionTransformer(patch * grid, patch, width, depth, width // 64, output)


def aesthetic():
    return torch.nn.Linear(768, 1)  # as vbench/aesthetic_quality.py builds it


def musiq():
    # Without pyiqa's own __init__ files, which import all of its dozens of measures.
    root = Path(importlib.util.find_spec("pyiqa").submodule_search_locations[0])
    for name in ("pyiqa", "pyiqa.archs", "pyiqa.data", "pyiqa.utils"):
        package = types.ModuleType(name)
        package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package
    sys.modules["pyiqa.utils"].get_root_logger = None
    from pyiqa.archs.musiq_arch import MUSIQ

    return MUSIQ(pretrained=False)


def amt():
    module = importlib.import_module("vbench.third_party.amt.networks.AMT-S")
    model = module.Model(corr_radius=3, corr_lvls=4, num_flows=3)  # amt/cfgs/AMT-S.yaml
    half = torch.tensor(1 / 2).float().view(1, 1, 1, 1)

    class Middle(torch.nn.Module):
        state_dict, load_state_dict = model.state_dict, model.load_state_dict

        def forward(self, x):
            return model(x[:1], x[1:], half, scale_factor=1.0, eval=True)["imgt_pred"]

    return Middle()


def raft():
    from vbench.third_party.RAFT.core.raft import RAFT

    model = RAFT(Namespace(small=False, mixed_precision=False, alternate_corr=False))

    class Flow(torch.nn.Module):
        state_dict, load_state_dict = model.state_dict, model.load_state_dict

        def forward(self, x):
            model.eval()
            return model(x[:1], x[1:], iters=20, test_mode=True)[1]

    return Flow()


def main() -> None:
    record = {}
    for name, (sizes, cases) in CASES.items():
        network = globals()[name.split("-")[0]](**sizes).eval()
        layout = {key: list(value.shape) for key, value in network.state_dict().items()}
        network.load_state_dict(weights(layout))
        outputs = {}
        with torch.no_grad():
            if name == "aesthetic":
                outputs["features"] = network(features())
            for size in cases:
                x = inputs(name, size)
                # Batches of one: how the official measures call their networks.
                pairs = name in ("amt", "raft")
                outputs["x".join(map(str, size))] = network(x) if pairs else torch.cat([network(i[None]) for i in x])
        record[name] = {
            "layout": layout,
            "outputs": {
                key: {
                    "shape": list(out.shape),
                    "size": out.square().mean().sqrt().item(),
                    "values": [float(f"{v:.8g}") for v in stored(out)],
                }
                for key, out in outputs.items()
            },
        }
        print(name, len(layout), {k: (v["shape"], v["size"]) for k, v in record[name]["outputs"].items()})
    lines = [
        f"{json.dumps(name)}:{json.dumps(row, separators=(',', ':'), allow_nan=False)}" for name, row in record.items()
    ]
    STORE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
