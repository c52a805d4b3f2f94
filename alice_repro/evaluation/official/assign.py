"""Which videos a dimension is given, and why the others are not: the official protocol, without its silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alice_repro.evaluation.index import VideoRow
from alice_repro.evaluation.official.catalogue import OfficialDimension, OfficialSuite
from alice_repro.evaluation.official.staging import Staged
from alice_repro.evaluation.prompts import sample_of_name
from alice_repro.evaluation.suites import Prompt, PromptSuite

LONG_SECONDS = 5.0  # the official rule: VBench-Long from 5 s on, VBench below


@dataclass(frozen=True)
class Candidate:
    """A video before a dimension has judged whether it can take it.

    Attributes:
        prompt: of the suite; None in custom input, or if the caption is none of the suite's prompts.
        rank: its place among the videos of its prompt, from 0, by seed or by the N of `-N.mp4`.
        companions: other videos of its prompt that can be read.
    """

    row: VideoRow
    staged: Staged
    caption: str
    prompt: Prompt | None
    rank: int
    companions: int = 0


def candidates(
    rows: Sequence[VideoRow], staged: Sequence[Staged], captions: Sequence[str], prompts: PromptSuite | None
) -> list[Candidate]:
    """Match videos with the suite's prompts (custom input: `prompts` is None) and rank them within a prompt."""
    seen: dict[str, list[tuple[int, str, int]]] = {}
    for number, (row, caption) in enumerate(zip(rows, captions, strict=True)):
        seed = row.columns.get("seed")
        sample = sample_of_name(row.video) if seed is None or str(seed) in ("<NA>", "nan") else int(seed)
        seen.setdefault(caption, []).append((0 if sample is None else sample, row.video, number))
    readable = Counter(c for c, ready in zip(captions, staged, strict=True) if ready.file is not None)
    ranks = {number: rank for group in seen.values() for rank, (_, _, number) in enumerate(sorted(group))}
    return [
        Candidate(
            row,
            ready,
            caption,
            prompts.find(caption) if prompts else None,
            ranks[number],
            readable[caption] - (ready.file is not None),
        )
        for number, (row, ready, caption) in enumerate(zip(rows, staged, captions, strict=True))
    ]


def refusal(candidate: Candidate, dimension: OfficialDimension, suite: OfficialSuite, standard: bool) -> str:
    """Why a dimension cannot take a video, in a sentence; "" if it can."""
    video, prompt = candidate.staged, candidate.prompt
    if video.file is None:
        return video.problem
    if suite.long and video.seconds < LONG_SECONDS:
        return (
            f"{video.seconds:.2f} s long: VBench-Long is for videos of {LONG_SECONDS:g} s or more; use the suite vbench"
        )
    if video.frames < dimension.frames:
        plural = "s" if video.frames > 1 else ""
        return f"has {video.frames} frame{plural}; the official {dimension.official} needs {dimension.frames}"
    if standard:
        if prompt is None:
            return f"{candidate.caption!r} is no prompt of {suite.name}"
        if dimension.name not in prompt.dimensions:
            return f"its prompt is not one of {dimension.name}"
        samples = dimension.samples or suite.samples
        if candidate.rank >= samples:
            return f"the official protocol reads {samples} videos a prompt; this is number {candidate.rank + 1}"
    elif dimension.suite_only:
        return f"{dimension.name} is defined for the suite's own prompts alone (prompts='standard')"
    if dimension.per_set and not candidate.companions:
        return f"the only video of its prompt; {dimension.name} compares several"
    if dimension.reads_name and not any(word in candidate.caption for word in dimension.reads_name):
        return f"its caption says none of {', '.join(repr(word.strip()) for word in dimension.reads_name)}"
    if dimension.reads_image:
        image = image_of(candidate.row)
        if image is None:
            return "its input image is not known: add a column `image` to the caption table"
        if not image.is_file():
            return f"{image}: no such input image"
    return ""


def image_of(row: VideoRow) -> Path | None:
    """The image that a video was made from, by its row's column `image`: absolute, or beside the video."""
    name = str(row.columns.get("image") or "").strip()
    return (row.path.parent / name).absolute() if name else None


def entries(
    given: Sequence[tuple[Candidate, Path]], dimension: OfficialDimension, standard: bool
) -> list[dict[str, Any]]:
    """The list that the official code reads: prompts, what is known of them, and their videos.

    A prompt that the package lists twice for a dimension stands twice, as it does there.

    Args:
        given: videos that the dimension takes, with the paths under which it sees them.
    """
    groups: dict[object, list[tuple[Candidate, Path]]] = {}
    for number, pair in enumerate(given):
        together = standard or dimension.per_set
        apart = dimension.reads_image or not together
        groups.setdefault(number if apart else pair[0].caption, []).append(pair)
    listed = []
    for members in groups.values():
        first = members[0][0]
        known: Sequence[dict[str, Any]] = ({"prompt_en": first.caption},)
        if first.prompt is not None:
            theirs = [
                e for e in first.prompt.entries if dimension.official.lower() in [d.lower() for d in e["dimension"]]
            ]
            known = theirs or known
        for entry in known:
            entry = entry | {"dimension": [dimension.official], "video_list": [str(path) for _, path in members]}
            if dimension.reads_image:
                entry["image_name"] = str(image_of(first.row))
            listed.append(entry)
    return listed


def warnings(found: Sequence[Candidate], suite: OfficialSuite, standard: bool) -> list[str]:
    """What makes the numbers hard to compare with published ones, in sentences."""
    videos = [candidate.staged for candidate in found if candidate.staged.file is not None]
    notes = []
    late = [video for video in videos if video.seconds >= LONG_SECONDS]
    if late and suite.name == "vbench":
        notes.append(f"{len(late)} videos last {LONG_SECONDS:g} s or more: the official rule asks for vbench-long")
    sizes = {(video.height, video.width) for video in videos}
    rates = {round(video.fps, 3) for video in videos}
    if len(sizes) > 1 or len(rates) > 1:
        notes.append(f"{len(sizes)} frame sizes and {len(rates)} frame rates are mixed")
    again = sum(video.how != "as it is" for video in videos)
    if again:
        notes.append(f"{again} videos were re-encoded without loss, since the official code skips their containers")
    if not standard and suite.name != "vbench-i2v":
        notes.append("custom input: values are not those of the standard prompts, and totals do not apply")
    if standard and suite.distribution == "vbench" and suite.name != "vbench-i2v":
        notes.append("temporal_flickering: the static filter, which official results use, was not applied")
    return notes
