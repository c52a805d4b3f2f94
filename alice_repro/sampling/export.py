"""A student as a diffusers folder of its own: ``WanPipeline.from_pretrained`` after ``import alice_repro``."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

from alice_repro.config import Scale
from alice_repro.errors import UserError
from alice_repro.files import atomic_folder
from alice_repro.manifest import write_manifest
from alice_repro.models.loading import load_pipeline, load_transformer
from alice_repro.models.source import locate
from alice_repro.sampling.scheduler import student_scheduler

# The pipeline's own defaults are the teacher's (50 steps, guidance, 512 tokens), and no folder can change them.
USE = """import alice_repro
from diffusers import WanPipeline

pipeline = WanPipeline.from_pretrained("{folder}")
video = pipeline(
    "{prompt}", num_inference_steps={steps}, guidance_scale=1.0,
    height={height}, width={width}, num_frames={frames}, max_sequence_length={length},
).frames[0]
"""
CARD = """# {name}

A student of {teacher}, distilled to {steps} steps of one network evaluation each (sampler: {sampler}).

```python
{use}```
"""


def export_student(student: Path, scale: Scale, output: Path) -> str:
    """Write a student's whole pipeline: its transformer and sampler, the teacher's text encoder, tokenizer and codec.

    Args:
        student: folder of the student's transformer, ``student`` or a snapshot of a run.
        scale: that of the run, with the same settings; its sampling is what ``alice-repro sample`` does.
        output: a folder that is not there yet.

    Returns:
        Python code that samples a video, as it also stands in the folder's README.md.

    Raises:
        UserError: ``output`` is there; no student, or a damaged one; it is not one of this scale's teacher.
    """
    started = time.time()
    if output.exists():
        raise UserError(f"{output} is there already: choose another folder or delete it")
    teacher, model = locate(scale.model), scale.model
    transformer = load_transformer(student)
    scheduler = student_scheduler(student, scale.sampling)
    if scheduler is None:
        raise UserError(f"{student} still is a multi-step network, no student of few steps: there is nothing to export")
    pipeline = load_pipeline(
        teacher, transformer=transformer, transformer_2=None, boundary_ratio=None, scheduler=scheduler
    )
    asked = transformer.config.text_dim, transformer.config.in_channels
    given = pipeline.text_encoder.config.d_model, pipeline.vae.config.z_dim
    if asked != given:
        raise UserError(
            f"{student} is no student of {model.source}: it wants {asked[0]} text and {asked[1]} latent channels, not "
            f"{given[0]} and {given[1]}; export it with the scale that it was trained at"
        )
    steps = len(scheduler.config.times)
    call = {
        "prompt": "a red ball falls in the studio", "steps": steps, "height": model.height, "width": model.width,
        "frames": model.frames, "length": model.text_length,
    }  # fmt: skip
    with atomic_folder(output) as folder:
        pipeline.save_pretrained(folder)
        use = USE.format(folder=output.name, **call)
        card = CARD.format(
            name=output.name, teacher=model.source, steps=steps, sampler=scheduler.config.sampler, use=use
        )
        (folder / "README.md").write_text(card)
        write_manifest(
            folder,
            inputs={"teacher": teacher, "student": student},
            config={"scale": asdict(scale), "sampler": scheduler.config.sampler, "times": scheduler.config.times},
            seeds={"renoise": scheduler.config.seed},
            extra={"evaluations_per_clip": steps},
            started=started,
        )
    return USE.format(folder=output, **call)
