"""Benchmark of the checkpoint audit: a generated pair of sharded bf16 checkpoints, against a plain read of the files.

The audit runs in a fresh process, whose own peak of resident memory is taken. Before each timing the files are dropped
from the page cache, so that both it and the plain read come from the disk; where the system does not drop them (some
file systems), both come from memory, and the plain read says so by its speed.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from alice_repro.errors import UserError
from alice_repro.progress import track

SMALL, LARGE = (1536, 8960), (5120, 13824)  # width and MLP of Wan2.1-T2V-1.3B and 14B; as many blocks as fill the size
FROM = 8.0  # gigabytes of both checkpoints from which on the larger is taken
TEXT, TIME, CHANNELS = 4096, 256, 16
NOISE = 3e-3  # relative size of the change
SHARD_BYTES = 400_000_000
READ_BYTES = 16 << 20
_CHILD = """
import sys
from alice_repro.cli import main
code = main(sys.argv[1:])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print("peak-kib", peak.split()[1], file=sys.stderr)
sys.exit(code)
"""


@dataclass(frozen=True)
class Row:
    """One pair: bytes of both sides, seconds of a plain read and of the audit with its start, of the processors too.

    peak: of the audit's resident memory, in bytes.
    """

    pair: str
    size: int
    read_seconds: float
    audit_seconds: float
    cpu_seconds: float
    peak: int
    verdict: str

    def cells(self) -> dict[str, str]:
        """The row in words."""
        return {
            "pair": self.pair,
            "GB": f"{self.size / 1e9:.2f}",
            "plain read": f"{self.read_seconds:.1f} s",
            "MB/s": f"{self.size / 1e6 / self.read_seconds:.0f}",
            "audit": f"{self.audit_seconds:.1f} s",
            "CPU": f"{self.cpu_seconds:.1f} s",
            "MB/s ": f"{self.size / 1e6 / self.audit_seconds:.0f}",
            "audit / read": f"{self.audit_seconds / self.read_seconds:.1f}",
            "peak GiB": f"{self.peak / 2**30:.2f}",
            "verdict": self.verdict,
        }


def bench_checkpoint(gigabytes: float = 2.0, folder: Path | None = None) -> list[Row]:
    """Audit a checkpoint against itself, and against one in which noise has changed (nearly) every value.

    Args:
        gigabytes: of both checkpoints together, 10^9 bytes.
        folder: on the disk to measure; the system's temporary folder if not given. Everything is removed afterwards.

    Raises:
        UserError: not enough room there.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="bench-checkpoint-") as name:
        root = Path(name)
        space = os.statvfs(root)
        if 1.1e9 * gigabytes > space.f_bavail * space.f_frsize:
            raise UserError(f"{root}: {1.1 * gigabytes:.1f} GB are needed there; name a larger --folder")
        a, b = root / "a", root / "b"
        _generate(a, b, gigabytes / 2)
        return [_row("identical", a, a, root), _row(f"noise {NOISE:g}", a, b, root)]


def _row(label: str, a: Path, b: Path, root: Path) -> Row:
    files = [*sorted(a.glob("*.safetensors")), *sorted(b.glob("*.safetensors"))]
    size = sum(file.stat().st_size for file in files)
    _forget(files)
    began = time.monotonic()
    for file in files:
        if a == b:
            _forget([file])
        _read(file)
    read_seconds = time.monotonic() - began
    _forget(files)
    out = root / f"audit of {label}"
    command = [sys.executable, "-c", _CHILD, "audit", "checkpoint", str(a), str(b), "--out", str(out)]
    began, used = time.monotonic(), _cpu_of_children()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds, used = time.monotonic() - began, _cpu_of_children() - used
    if done.returncode:
        raise RuntimeError(f"the audit left with {done.returncode}:\n{done.stderr}")
    peak = int(done.stderr.rsplit("peak-kib", 1)[1].split()[0]) * 1024
    found = json.loads(next(out.glob("*.json")).read_text())
    return Row(label, size, read_seconds, seconds, used, peak, found["networks"][0]["judgement"]["kind"])


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _generate(a: Path, b: Path, gigabytes: float) -> None:
    """Write both checkpoints shard by shard; b is a plus noise in proportion to each tensor's size."""
    shapes = list(_shapes(gigabytes))
    shards: list[list[tuple[str, tuple[int, ...]]]] = [[]]
    held = 0
    for name, shape in shapes:
        size = 2 * torch.Size(shape).numel()
        if held + size > SHARD_BYTES and shards[-1]:
            shards.append([])
            held = 0
        shards[-1].append((name, shape))
        held += size
    generator = torch.Generator().manual_seed(0)
    weight_map = {}
    for number, shard in enumerate(track(shards, "generating"), 1):
        file = f"diffusion_pytorch_model-{number:05}-of-{len(shards):05}.safetensors"
        tensors, changed = {}, {}
        for name, shape in shard:
            weight = torch.randn(shape, generator=generator) * shape[-1] ** -0.5
            tensors[name] = weight.bfloat16()
            weight += NOISE * shape[-1] ** -0.5 * torch.randn(shape, generator=generator)
            changed[name] = weight.bfloat16()
            weight_map[name] = file
        for folder, held_tensors in ((a, tensors), (b, changed)):
            folder.mkdir(exist_ok=True)
            save_file(held_tensors, folder / file)
            _sync(folder / file)
    for folder in (a, b):
        index = folder / "diffusion_pytorch_model.safetensors.index.json"
        index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def _shapes(gigabytes: float) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a Wan transformer of this size in bf16, under diffusers' names."""
    d, f = LARGE if 2 * gigabytes >= FROM else SMALL
    embedder = "condition_embedder"
    outer = {
        "patch_embedding": (d, CHANNELS, 1, 2, 2), f"{embedder}.text_embedder.linear_1": (d, TEXT),
        f"{embedder}.text_embedder.linear_2": (d, d), f"{embedder}.time_embedder.linear_1": (d, TIME),
        f"{embedder}.time_embedder.linear_2": (d, d), f"{embedder}.time_proj": (6 * d, d),
        "proj_out": (4 * CHANNELS, d),
    }  # fmt: skip
    inner = {f"attn{n}.{part}": (d, d) for n in (1, 2) for part in ("to_q", "to_k", "to_v", "to_out.0")}
    inner |= {"ffn.net.0.proj": (f, d), "ffn.net.2": (d, f)}
    block_bytes = 2 * (8 * d * d + 2 * d * f)
    modules = dict(outer)
    for number in range(max(1, round((1e9 * gigabytes - 2 * 12 * d * d) / block_bytes))):
        modules |= {f"blocks.{number}.{name}": shape for name, shape in inner.items()}
        for name in ("attn1.norm_q", "attn1.norm_k", "attn2.norm_q", "attn2.norm_k"):
            yield f"blocks.{number}.{name}.weight", (d,)
        yield f"blocks.{number}.scale_shift_table", (1, 6, d)
    for name, shape in modules.items():
        yield f"{name}.weight", shape
        yield f"{name}.bias", shape[:1]


def _read(file: Path) -> None:
    buffer = bytearray(READ_BYTES)
    with open(file, "rb", buffering=0) as stream:
        while stream.readinto(buffer):
            pass


def _forget(files: list[Path]) -> None:
    """Drop files from the page cache."""
    if not hasattr(os, "posix_fadvise"):
        return
    for file in files:
        with open(file, "rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _sync(file: Path) -> None:
    with open(file, "rb") as stream:
        os.fsync(stream.fileno())
