"""One stored tensor of a safetensors file, read by slices; the file's header, checked; nothing is ever unpickled.

The format (huggingface/safetensors, README): eight bytes with the header's length, little-endian; the header, a JSON
object {name: {dtype, shape, data_offsets}}; then the data, row after row. Slices are read with plain reads into memory
of their own rather than through a memory map: what is held is then exactly what was asked for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alice_repro.errors import UserError

if TYPE_CHECKING:
    import torch

# safetensors' name -> (torch's name, bytes a value)
DTYPES: Mapping[str, tuple[str, int]] = {
    "F64": ("float64", 8), "F32": ("float32", 4), "F16": ("float16", 2), "BF16": ("bfloat16", 2),
    "F8_E4M3": ("float8_e4m3fn", 1), "F8_E5M2": ("float8_e5m2", 1), "F8_E8M0": ("float8_e8m0fnu", 1),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 1), "F8_E5M2FNUZ": ("float8_e5m2fnuz", 1),
    "I64": ("int64", 8), "I32": ("int32", 4), "I16": ("int16", 2), "I8": ("int8", 1), "U8": ("uint8", 1),
    "U16": ("uint16", 2), "U32": ("uint32", 4), "U64": ("uint64", 8), "BOOL": ("bool", 1), "C64": ("complex64", 8),
}  # fmt: skip
CHUNK = 2 << 20  # bytes: the arithmetic's temporaries stay in the processor's cache, which halves its time
LONGEST_HEADER = 100_000_000  # the format's own limit
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
CONVERT = (
    "convert it where that is safe, with "
    "safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'NAME.safetensors')"
)


@dataclass(frozen=True)
class Scale:
    """The companion of a quantised tensor: value = stored * scale * factor.

    block: rows and columns that share an entry of a 2-D scale, () where the scale is one number or one a row;
    convention: whose way of storing it is.
    """

    tensor: Tensor
    factor: float
    block: tuple[int, ...]
    convention: str

    def of_rows(self, start: int, stop: int, shape: tuple[int, ...]) -> torch.Tensor:
        """Factors that broadcast against rows [start, stop) of a tensor of this shape, float32."""
        values = self.tensor.rows(0, self.tensor.row_count).float() * self.factor
        if values.numel() == 1:
            return values.reshape((1,) * len(shape))
        if self.block:
            values = values.repeat_interleave(self.block[0], 0)[start:stop]
            return values.repeat_interleave(self.block[1], 1)[:, : shape[1]]
        return values.reshape(-1)[start:stop].reshape((-1,) + (1,) * (len(shape) - 1))


@dataclass(frozen=True)
class Tensor:
    """A stored tensor; nothing is read until asked.

    name: canonical (diffusers) name within its network; stored_name: as in the file; dtype: as safetensors calls it;
    offset: of its first byte in the file; scale: of a quantised one whose convention is known, else None.
    """

    name: str
    stored_name: str
    file: Path
    shape: tuple[int, ...]
    dtype: str
    offset: int = field(default=0, repr=False)
    scale: Scale | None = field(default=None, repr=False)

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def row_count(self) -> int:
        """Length of the first dimension; a scalar has one row."""
        return self.shape[0] if self.shape else 1

    @property
    def row_bytes(self) -> int:
        """Bytes of a row in the file."""
        return math.prod(self.shape[1:]) * DTYPES[self.dtype][1]

    @property
    def byte_count(self) -> int:
        """Bytes in the file."""
        return self.row_count * self.row_bytes

    def rows(self, start: int, stop: int) -> torch.Tensor:
        """Rows [start, stop), (stop - start, *shape[1:]), in the stored dtype; float32 where a scale is known.

        Raises:
            UserError: the file has become shorter since it was opened.
        """
        stored = self.stored_rows(start, stop)
        if self.scale is None:
            return stored
        return stored.float() * self.scale.of_rows(start, start + len(stored), self.shape)

    def stored_rows(self, start: int, stop: int) -> torch.Tensor:
        """Rows [start, stop) as they lie in the file, without the scale."""
        import torch

        stop = min(stop, self.row_count)
        count = max(stop - start, 0)
        buffer = torch.empty(count * self.row_bytes, dtype=torch.uint8)
        if buffer.numel():
            self._fill(buffer, self.offset + start * self.row_bytes)
        return buffer.view(getattr(torch, DTYPES[self.dtype][0])).reshape(count, *self.shape[1:])

    def take(self, indices: Sequence[int]) -> torch.Tensor:
        """Chosen rows in the order of `indices`, (len(indices), *shape[1:]); neighbours are read together."""
        import torch

        runs: list[list[int]] = []
        for index in map(int, indices):
            if runs and runs[-1][1] == index:
                runs[-1][1] = index + 1
            else:
                runs.append([index, index + 1])
        return torch.cat([self.rows(start, stop) for start, stop in runs or [[0, 0]]])

    def chunks(self, most_bytes: int = CHUNK) -> Iterator[tuple[int, int]]:
        """Bounds of row ranges that cover the tensor, each of at most so many stored bytes (but at least a row)."""
        step = max(1, most_bytes // max(self.row_bytes, 1))
        for start in range(0, self.row_count, step):
            yield start, min(start + step, self.row_count)

    def _fill(self, buffer: torch.Tensor, offset: int) -> None:
        view = memoryview(buffer.numpy())
        with open(self.file, "rb", buffering=0) as stream:
            stream.seek(offset)
            while view:
                got = stream.readinto(view)  # at most 2 GiB a call
                if not got:
                    raise UserError(f"{self.file}: ends inside tensor {self.stored_name!r}; was it changed just now?")
                view = view[got:]


def read_header(path: Path, partial: bool = False) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of a safetensors file by stored name, and what is wrong with it that `partial` lets pass.

    Raises:
        UserError: not a safetensors file (a pickle under that name, a broken header, a dtype that is not known), or,
            without `partial`, a file that is shorter than its header says.
    """
    size = path.stat().st_size
    with open(path, "rb") as stream:
        start = stream.read(8)
        refuse_pickle(path, start)
        length = int.from_bytes(start, "little")
        if size < 8 or length > LONGEST_HEADER:
            raise _broken(path, f"its first 8 bytes are no header length ({size:,} bytes in all)")
        if 8 + length > size:
            raise _broken(path, f"its header should have {length:,} bytes, the whole file has {size:,}: truncated")
        text = stream.read(length)
    try:
        entries = json.loads(text, object_pairs_hook=lambda pairs: _once(path, pairs))
    except ValueError as error:
        raise _broken(path, f"its header is not JSON ({error})") from error
    if not isinstance(entries, dict):
        raise _broken(path, "its header is not a JSON object")
    entries.pop("__metadata__", None)
    tensors = {name: _entry(path, name, entry, 8 + length) for name, entry in entries.items()}
    _check_apart(path, list(tensors.values()))
    needed = max((t.offset + t.byte_count for t in tensors.values()), default=8 + length)
    if needed <= size:
        return tensors, []
    problem = f"{path}: truncated: its header describes {needed:,} bytes, the file has {size:,}"
    if not partial:
        raise UserError(f"{problem}; fetch it again, or give --partial to compare what is there")
    whole = {name: t for name, t in tensors.items() if t.offset + t.byte_count <= size}
    return whole, [f"{problem}; {len(tensors) - len(whole)} of {len(tensors)} tensors left out"]


def refuse_pickle(path: Path, start: bytes) -> None:
    """Refuse a pickle or a zip of pickles (torch.save's formats) by its first bytes, whatever the file is called.

    A safetensors file starts with its header's length in eight bytes, of which the last four are 0; a zip's or a
    pickle's first bytes are not such a number.
    """
    is_zip = start.startswith(b"PK\x03\x04")
    is_pickle = len(start) >= 2 and start[0] == 0x80 and start[1] in range(2, 6) and any(start[4:8])
    if is_zip or is_pickle or path.suffix.lower() in PICKLES:
        raise UserError(f"{path} is a pickle, which can run code when it is opened, and is not read here; {CONVERT}")


def renamed(tensor: Tensor, name: str) -> Tensor:
    """The tensor under another canonical name."""
    return replace(tensor, name=name)


def _entry(path: Path, name: str, entry: Any, data: int) -> Tensor:
    try:
        dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        whole = all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in (*shape, begin, end))
    except (TypeError, KeyError, ValueError) as error:
        raise _broken(path, f"tensor {name!r} lacks dtype, shape or data_offsets") from error
    if not whole or end < begin:
        raise _broken(path, f"tensor {name!r} has shape {shape} and offsets {begin}, {end}")
    if dtype not in DTYPES:
        raise UserError(
            f"{path}: tensor {name!r} has dtype {dtype!r}, which is not known here; known are {', '.join(DTYPES)}: "
            "store it in one of these"
        )
    tensor = Tensor(name, name, path, shape, dtype, data + begin)
    if tensor.byte_count != end - begin:
        raise _broken(path, f"tensor {name!r}: {dtype} {shape} takes {tensor.byte_count:,} bytes, not {end - begin:,}")
    return tensor


def _check_apart(path: Path, tensors: list[Tensor]) -> None:
    """No two tensors may share bytes: each would seem to be a copy of a part of the other."""
    ordered = sorted((t for t in tensors if t.byte_count), key=lambda t: t.offset)
    for one, other in zip(ordered, ordered[1:], strict=False):
        if one.offset + one.byte_count > other.offset:
            raise _broken(path, f"tensors {one.stored_name!r} and {other.stored_name!r} overlap")


def _once(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _broken(path, f"{twice!r} stands twice in its header")
    return found


def _broken(path: Path, why: str) -> UserError:
    return UserError(f"{path} is not a whole safetensors file: {why}; fetch or write it again")
