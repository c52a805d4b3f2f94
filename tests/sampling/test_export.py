"""Exported students: WanPipeline gives the video of our own sampler, in as many network evaluations, from any batch."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from diffusers import WanPipeline

import alice_repro
from alice_repro.cli import main
from alice_repro.config import load_scale
from alice_repro.errors import UserError
from alice_repro.evaluation.index import read_caption_table
from alice_repro.flow.noise import ClipNoise
from alice_repro.manifest import read_manifest, verify_manifest
from alice_repro.models.codec import LabCodec
from alice_repro.models.loading import load_teacher, load_transformer
from alice_repro.models.velocity import NetworkVelocity
from alice_repro.sampling.export import export_student
from alice_repro.sampling.few_step import SAMPLERS, few_step_times, sample_few_step
from alice_repro.sampling.scheduler import FewStepScheduler, renoise_seeds, student_scheduler, trained_scheduler
from alice_repro.workflow import samplers, stages

PROMPTS = ["a red ball falls in the studio", "a blue box slides in the studio"]
SHAPE = (16, 2, 4, 4)
TIMES = few_step_times(4, 5.0)
SIZES = ("model.height=32", "model.width=32", "model.frames=5")


def student_of(pipeline, folder, sampler=None):
    """A student beside a pipeline: the teacher's weights, moved, and the note on its sampler that training leaves."""
    student = load_transformer(pipeline / "transformer")
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(5)
        for parameter in student.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    student.save_pretrained(folder)
    if sampler:
        FewStepScheduler([1.0, 0.5], sampler).save_pretrained(folder)
    return folder


def scale_of(pipeline):
    return load_scale("lab", (f"model.source={pipeline}", *SIZES))


@pytest.fixture(scope="module")
def exported(tiny_lab, tmp_path_factory):
    """Per sampler: the scale, the student's folder and its export."""
    root, scale, made = tmp_path_factory.mktemp("export"), scale_of(tiny_lab), {}
    for sampler in SAMPLERS:
        student = student_of(tiny_lab, root / f"student-{sampler}", sampler)
        export_student(student, scale, root / sampler)
        made[sampler] = scale, student, root / sampler
    return made


def loaded(folder):
    pipeline = WanPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def theirs(pipeline, prompts, output_type="latent", length=16, **arguments):
    """A call as the folder's README.md has it."""
    return pipeline(
        prompts, num_inference_steps=4, guidance_scale=1.0, height=32, width=32, num_frames=5,
        max_sequence_length=length, output_type=output_type, **arguments,
    ).frames  # fmt: skip


class Replay:
    """The noise that a pipeline draws: the given start, then from the scheduler's own generators."""

    def __init__(self, start):
        self.start, self.fresh = start, ClipNoise(renoise_seeds(start, 0))

    def draw(self, shape, device):
        start, self.start = self.start, None
        return self.fresh.draw(shape, device) if start is None else start


def ours(scale, student, prompts, noise, sampler):
    """Latents and uint8 frames of our sampler and decoder."""
    parts = load_teacher(scale.model)
    field = NetworkVelocity(load_transformer(student), parts.embed(prompts))
    latents, evaluations = sample_few_step(field, noise, SHAPE, torch.arange(len(prompts)), TIMES, sampler)
    return latents, stages.decode(parts, latents), evaluations


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_pipeline_gives_our_samplers_video(exported, sampler):
    scale, student, folder = exported[sampler]
    start = ClipNoise([3, 4]).draw(SHAPE)
    latents, frames, evaluations = ours(scale, student, PROMPTS, Replay(start), sampler)
    pipeline, calls = loaded(folder), []
    hook = pipeline.transformer.register_forward_hook(lambda module, args, out: calls.append(len(out[0])))
    torch.testing.assert_close(theirs(pipeline, PROMPTS, latents=start), latents, atol=1e-4, rtol=1e-4)
    hook.remove()
    assert calls == [2, 2, 2, 2] and evaluations == 4
    video = theirs(pipeline, PROMPTS, "np", latents=start)
    for mine, other in zip(frames, video, strict=True):
        assert mine.shape == (5, 32, 32, 3) and mine.std() > 5
        assert abs(mine - 255.0 * other).max() <= 0.51  # ours is rounded


def test_the_two_samplers_are_not_the_same(exported):
    start = ClipNoise([3, 4]).draw(SHAPE)
    videos = [theirs(loaded(folder), PROMPTS, latents=start) for _, _, folder in exported.values()]
    assert (videos[0] - videos[1]).abs().mean() > 0.05


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_video_from_seeds_is_the_one_of_our_evaluation(exported, sampler):
    """With the pipeline's generators handed to the step, even the fresh noise is that of ``sample``."""
    scale, student, folder = exported[sampler]
    latents, _, _ = ours(scale, student, PROMPTS, ClipNoise([7, 8]), sampler)
    pipeline, generators = loaded(folder), [torch.Generator().manual_seed(seed) for seed in (7, 8)]
    pipeline.scheduler.step = functools.partial(pipeline.scheduler.step, generator=generators)
    torch.testing.assert_close(theirs(pipeline, PROMPTS, generator=generators), latents, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_video_is_the_same_in_any_batch_and_call(exported, sampler):
    pipeline, start = loaded(exported[sampler][2]), ClipNoise([3, 4]).draw(SHAPE)
    both = theirs(pipeline, PROMPTS, latents=start)
    backwards = theirs(pipeline, PROMPTS[::-1], latents=start.flip(0)).flip(0)
    alone = torch.cat([theirs(pipeline, [PROMPTS[i]], latents=start[i : i + 1]) for i in (0, 1)])
    torch.testing.assert_close(backwards, both, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(alone, both, atol=1e-4, rtol=1e-4)


def test_fresh_noise_belongs_to_a_clip_and_to_the_seed():
    start = ClipNoise([3, 4]).draw(SHAPE)
    seeds = renoise_seeds(start, 0)
    assert seeds == renoise_seeds(start.flip(0), 0)[::-1] == renoise_seeds(start.double(), 0)
    assert len({*seeds, *renoise_seeds(start, 1), *renoise_seeds(start + 1, 0)}) == 6


def test_clips_of_a_prompt_differ_with_their_generator(exported):
    """The generator decides the fresh noise too: were that alike for all, clips would be alike from the second step."""
    pipeline = loaded(exported["renoise"][2])
    generators = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    one, other = theirs(pipeline, [PROMPTS[0]] * 2, generator=generators)
    again = theirs(pipeline, [PROMPTS[0]], generator=torch.Generator().manual_seed(1))[0]
    torch.testing.assert_close(again, other, atol=1e-4, rtol=1e-4)
    scheduler, states = FewStepScheduler(TIMES.tolist()), []
    for seed in (0, 1):  # x0 = 0: what is left after a step is the fresh noise alone
        scheduler.set_timesteps(4)
        x = ClipNoise([seed]).draw(SHAPE)
        states.append(scheduler.step(x, 1000.0, x).prev_sample.flatten())
    assert abs(torch.corrcoef(torch.stack(states))[0, 1]) < 0.2
    assert (one - other).abs().mean() > 0.1


def test_another_number_of_steps_is_refused(exported):
    pipeline = loaded(exported["renoise"][2])
    with pytest.raises(UserError, match="in 4 steps, not 50.*num_inference_steps=4.*sampling.student_steps=50"):
        pipeline(PROMPTS, guidance_scale=1.0, height=32, width=32, num_frames=5)


def test_the_scales_own_number_of_steps(exported, tmp_path):
    scale, student, _ = exported["euler"]
    export_student(student, replace(scale, sampling=replace(scale.sampling, student_steps=2)), tmp_path / "two")
    assert loaded(tmp_path / "two").scheduler.config.times == few_step_times(2, 5.0).tolist()


def test_a_config_goes_round(tmp_path):
    first = FewStepScheduler(TIMES.tolist(), "euler", seed=3)
    first.save_pretrained(tmp_path)
    second = FewStepScheduler.from_pretrained(tmp_path)
    assert (second.config.times, second.config.sampler, second.config.seed) == (TIMES.tolist(), "euler", 3)
    assert second.timesteps.tolist() == pytest.approx([1000.0, 937.5, 2500 / 3, 625.0])
    assert FewStepScheduler.from_config(second.config, seed=4).config.seed == 4


@pytest.mark.parametrize("times", [[], [0.9, 0.5], [1.0, 0.5, 0.5], [1.0, 0.0], [0.5, 1.0], [1.0, float("nan")]])
def test_times_that_do_not_fall_from_1_are_refused(times):
    with pytest.raises(UserError, match="fall from 1"):
        FewStepScheduler(times)


def test_an_unknown_sampler_is_refused():
    with pytest.raises(UserError, match="unknown sampler 'eular': did you mean 'euler'"):
        FewStepScheduler([1.0], "eular")
    field = NetworkVelocity(lambda x, t, states, return_dict: (x,), torch.zeros(1, 1, 1))
    with pytest.raises(UserError, match="unknown sampler 'eular'"):
        sample_few_step(field, ClipNoise([0]), SHAPE, torch.tensor([0]), TIMES, "eular")


def test_euler_takes_the_given_steps_down_the_velocity():
    """v = x at four times: each step multiplies by 1 + t' - t."""
    field = NetworkVelocity(lambda x, t, states, return_dict: (x,), torch.zeros(1, 1, 1))
    x0, evaluations = sample_few_step(field, ClipNoise([0]), SHAPE, torch.tensor([0]), TIMES, "euler")
    factor = (1 - 1 / 16) * (1 - 5 / 48) * (1 - 5 / 24) * (1 - 5 / 8)
    torch.testing.assert_close(x0, factor * ClipNoise([0]).draw(SHAPE))
    assert evaluations == 4


def test_a_folder_is_whole_and_says_how_to_use_it(exported):
    scale, student, folder = exported["euler"]
    assert verify_manifest(folder) == []
    manifest = read_manifest(folder)
    assert set(manifest["inputs"]) == {"teacher", "student"} and manifest["config"]["sampler"] == "euler"
    index = json.loads((folder / "model_index.json").read_text())
    assert index["scheduler"] == ["alice_repro", "FewStepScheduler"] and index["vae"] == ["alice_repro", "LabCodec"]
    assert alice_repro.LabCodec is LabCodec and alice_repro.FewStepScheduler is FewStepScheduler
    weights = load_transformer(folder / "transformer").state_dict()
    assert all(torch.equal(weights[name], value) for name, value in load_transformer(student).state_dict().items())
    card = (folder / "README.md").read_text()
    for words in ("num_inference_steps=4", "guidance_scale=1.0", "max_sequence_length=16", "num_frames=5"):
        assert words in card


def test_a_pipeline_that_is_saved_again_loads_and_gives_the_same(exported, tmp_path):
    first, start = loaded(exported["renoise"][2]), ClipNoise([3, 4]).draw(SHAPE)
    first.save_pretrained(tmp_path / "again")
    second = loaded(tmp_path / "again")
    assert torch.equal(theirs(second, PROMPTS, latents=start), theirs(first, PROMPTS, latents=start))


def test_the_public_layout_exports_too(tiny_wan, tmp_path):
    scale = scale_of(tiny_wan)
    student = student_of(tiny_wan, tmp_path / "student")  # no note on its sampler: it adds fresh noise
    export_student(student, scale, tmp_path / "pipeline")
    start = ClipNoise([3, 4]).draw(SHAPE)
    latents, frames, _ = ours(scale, student, PROMPTS, Replay(start), "renoise")
    pipeline = loaded(tmp_path / "pipeline")
    torch.testing.assert_close(theirs(pipeline, PROMPTS, latents=start), latents, atol=1e-4, rtol=1e-4)
    video = theirs(pipeline, PROMPTS, "np", latents=start)
    assert max(abs(a - 255.0 * b).max() for a, b in zip(frames, video, strict=True)) <= 0.51


def truncate(student):
    path = student / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


DAMAGES = {
    "does not exist": shutil.rmtree,
    "is truncated": truncate,
    "no safetensors file": lambda student: (student / "diffusion_pytorch_model.safetensors").unlink(),
    "malformed JSON": lambda student: (student / "scheduler_config.json").write_text("{"),
    "unknown sampler 'other'": lambda student: (student / "scheduler_config.json").write_text('{"sampler": "other"}'),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_a_bad_student_is_told_and_nothing_is_left(exported, tmp_path, message, capsys):
    scale, student, _ = exported["renoise"]
    shutil.copytree(student, tmp_path / "student")
    DAMAGES[message](tmp_path / "student")
    settings = [word for size in SIZES for word in ("--set", size)] + ["--set", f"model.source={scale.model.source}"]
    words = ["export", str(tmp_path / "student"), "--scale", "lab", "--output", str(tmp_path / "pipeline"), *settings]
    assert main(words) == 2
    assert message in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} <= {"student"}


def test_a_student_of_another_teacher_is_refused(exported, tiny_wan, tmp_path):
    scale, student, _ = exported["renoise"]
    student = load_transformer(student)
    other = type(student).from_config(student.config, text_dim=8)
    other.save_pretrained(tmp_path / "student")
    with pytest.raises(UserError, match="no student of .*: it wants 8 text and 16 latent channels"):
        export_student(tmp_path / "student", scale, tmp_path / "pipeline")
    assert not (tmp_path / "pipeline").exists()


def test_nothing_is_written_over(exported):
    scale, student, folder = exported["renoise"]
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(UserError, match="is there already"):
        export_student(student, scale, folder)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_write_that_fails_leaves_nothing(exported, tmp_path, monkeypatch):
    scale, student, _ = exported["renoise"]

    def fail(self, folder):
        (folder / "transformer").mkdir()
        raise OSError("the writer fails")

    monkeypatch.setattr(WanPipeline, "save_pretrained", fail)
    with pytest.raises(OSError, match="the writer fails"):
        export_student(student, scale, tmp_path / "pipeline")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("sampler", [None, *SAMPLERS])
def test_evaluation_samples_as_the_student_says(tiny_lab, tmp_path, monkeypatch, sampler):
    used = []

    def spy(*arguments):
        used.append(arguments[-1])
        return sample_few_step(*arguments)

    monkeypatch.setattr(samplers, "sample_few_step", spy)
    scale = scale_of(tiny_lab)
    scale = replace(scale, prompts=replace(scale.prompts, evaluate=2, seeds=1))
    student = student_of(tiny_lab, tmp_path / "student", sampler)
    stages.sample_arm(scale, "trained", "rcm-seed0", tmp_path / "videos", student, 0)
    assert used == [sampler or "renoise"]


def test_a_plan_says_which_videos_are_made(tiny_lab, tmp_path):
    scale, student = scale_of(tiny_lab), student_of(tiny_lab, tmp_path / "student")
    plan = tmp_path / "plan.csv"
    plan.write_text(
        "video,caption,prompt_id,seed\nred/a red ball-1.mp4,a red ball,r,1\na blue box-0.mp4,a blue box,b,0\n"
    )
    stages.sample_arm(scale, "trained", "rcm-seed0", tmp_path / "videos", student, 0, plan=plan)
    made = sorted(path.relative_to(tmp_path / "videos").as_posix() for path in (tmp_path / "videos").rglob("*.mp4"))
    assert made == ["a blue box-0.mp4", "red/a red ball-1.mp4"]
    table = read_caption_table(tmp_path / "videos" / "captions.csv")
    assert table[["caption", "prompt_id", "seed"]].values.tolist() == [["a red ball", "r", 1], ["a blue box", "b", 0]]
    plan.write_text("video,caption\na.mp4,a red ball\n")
    with pytest.raises(UserError, match="plan.csv: every video of a plan needs a seed"):
        stages.sample_arm(scale, "trained", "rcm-seed0", tmp_path / "others", student, 0, plan=plan)


@pytest.mark.slow
def test_importing_the_package_is_enough_and_light(exported):
    """In a process of its own: diffusers finds both classes by name, and the import alone brings no torch."""
    code = (
        "import sys, alice_repro\nassert not {'torch', 'diffusers'} & set(sys.modules)\n"
        "from diffusers import WanPipeline\npipeline = WanPipeline.from_pretrained(sys.argv[1])\n"
        "print(type(pipeline.scheduler).__name__, type(pipeline.vae).__name__)"
    )
    folder = exported["renoise"][2]
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["FewStepScheduler", "LabCodec"]


def test_a_network_of_many_steps_is_sampled_as_the_teacher_is_and_not_exported(tmp_path, tiny_scale, tiny_lab):
    """Method finetune leaves one: its videos take all the teacher's steps, with guidance."""
    student = tmp_path / "student"
    load_transformer(tiny_lab / "transformer").save_pretrained(student)
    trained_scheduler("teacher", [1.0], 3.0).save_pretrained(student)
    assert student_scheduler(student, tiny_scale.sampling) is None
    stages.sample_arm(tiny_scale, "trained", "finetune-seed0", tmp_path / "tuned", student, 0)
    stages.sample_arm(tiny_scale, "trained", "teacher-full", tmp_path / "full")
    tuned, full = (read_manifest(tmp_path / name)["extra"]["evaluations_per_clip"] for name in ("tuned", "full"))
    assert tuned == full == 2 * tiny_scale.teacher.steps
    clips = sorted(path.name for path in (tmp_path / "full").glob("*.mp4"))
    assert all((tmp_path / "full" / n).read_bytes() == (tmp_path / "tuned" / n).read_bytes() for n in clips)
    with pytest.raises(UserError, match="still is a multi-step network"):
        export_student(student, tiny_scale, tmp_path / "out")


@pytest.mark.parametrize("teacher", ["trained", "exact"])
def test_a_student_before_training_is_the_teachers_network_alone_in_few_steps(tmp_path, tiny_scale, tiny_lab, teacher):
    student = tmp_path / "student"
    load_transformer(tiny_lab / "transformer").save_pretrained(student)
    stages.sample_arm(tiny_scale, "trained", "rcm-seed0", tmp_path / "untrained", student, 0)
    stages.sample_arm(tiny_scale, teacher, "student-start", tmp_path / "start")
    assert read_manifest(tmp_path / "start")["extra"]["evaluations_per_clip"] == tiny_scale.sampling.student_steps
    clips = sorted(path.name for path in (tmp_path / "start").glob("*.mp4"))
    assert clips and all(
        (tmp_path / "start" / name).read_bytes() == (tmp_path / "untrained" / name).read_bytes() for name in clips
    )


def test_a_student_of_two_experts_is_one_network_when_exported(tiny_wan22, tmp_path):
    student = student_of(tiny_wan22, tmp_path / "student")
    scale = load_scale("smoke", (f"model.source={tiny_wan22}", *SIZES))
    export_student(student, scale, tmp_path / "out")
    pipeline = WanPipeline.from_pretrained(tmp_path / "out")
    assert pipeline.transformer_2 is None and pipeline.config.boundary_ratio is None
    assert not (tmp_path / "out" / "transformer_2").exists()
