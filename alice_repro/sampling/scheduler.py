"""The student's sampler as a diffusers scheduler, so that ``WanPipeline`` samples it in its own few steps.

diffusers' own schedulers do not fit: ``WanPipeline`` can pass no list of times, and none adds fresh noise to x0 at the
student's times.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from diffusers import ConfigMixin, FlowMatchEulerDiscreteScheduler, SchedulerMixin
from diffusers.configuration_utils import register_to_config
from diffusers.schedulers.scheduling_utils import SCHEDULER_CONFIG_NAME, SchedulerOutput
from diffusers.utils.torch_utils import randn_tensor

from alice_repro.config import SamplingConfig
from alice_repro.errors import UserError, unknown_name
from alice_repro.files import read_json
from alice_repro.flow.noise import ClipNoise
from alice_repro.sampling.few_step import SAMPLERS, advance, few_step_times


class FewStepScheduler(SchedulerMixin, ConfigMixin):
    """The few steps of a student (``sampling.few_step``) with the members that ``WanPipeline`` uses of a scheduler.

    Args:
        times: those of the steps, from 1 downwards, in (0, 1]; a 0 ends them.
        sampler: "renoise" or "euler".
        seed: of the noise that "renoise" adds. ``WanPipeline`` passes no generator on to ``step``, so each clip has one
            of its own, seeded by this and by the clip's starting noise: a clip is the same whatever batch it is in, and
            the ``generator`` that is given to the pipeline decides all of the clip's noise.

    Raises:
        UserError: unknown sampler; times that do not fall from 1.
    """

    __module__ = "alice_repro"  # the name that diffusers writes into model_index.json
    order = 1

    @register_to_config
    def __init__(self, times: list[float], sampler: str = "renoise", seed: int = 0) -> None:
        if sampler not in SAMPLERS:
            raise unknown_name("sampler", sampler, SAMPLERS)
        grid = [*times, 0.0]
        if grid[0] != 1.0 or not all(later < earlier for earlier, later in zip(grid[:-1], grid[1:], strict=True)):
            raise UserError(f"times of a few-step scheduler fall from 1 and stay above 0, not {times}")
        self.set_timesteps(len(times))

    def set_timesteps(self, num_inference_steps: int, device: torch.device | str | None = None) -> None:
        """Go back to the first step.

        Args:
            num_inference_steps: that of the student; there is no other, since a student knows its own times only.

        Raises:
            UserError: another number of steps.
        """
        times = self.config.times
        if num_inference_steps != len(times):
            raise UserError(
                f"this student is sampled in {len(times)} steps, not {num_inference_steps}: pass "
                f"num_inference_steps={len(times)}, or export it again with --set sampling.student_steps="
                f"{num_inference_steps}"
            )
        self.sigmas = torch.tensor([*times, 0.0])  # WanPipeline shows them to its caches
        self.timesteps = (1000.0 * self.sigmas[:-1]).to(device)  # what the transformer is given
        self.noise: ClipNoise | None = None
        self.set_begin_index(0)

    def set_begin_index(self, begin_index: int = 0) -> None:
        """The step that the next call of ``step`` makes."""
        self.step_index = begin_index

    def step(
        self,
        model_output: torch.Tensor,
        timestep: torch.Tensor | float,
        sample: torch.Tensor,
        generator: torch.Generator | list[torch.Generator] | None = None,
        return_dict: bool = True,
    ) -> SchedulerOutput | tuple[torch.Tensor]:
        """The next of the steps, one after the other.

        Args:
            model_output: velocity (B, C, T, h, w) at ``sample`` (B, C, T, h, w).
            timestep: not looked at; the steps are counted.
            generator: of the fresh noise, in place of the scheduler's own. The list that a pipeline drew the starting
                noise from gives the very clip that ``sample_few_step`` gives with the same seeds.
        """

        def draw() -> torch.Tensor:
            if generator is not None:
                return randn_tensor(sample.shape, generator, sample.device)
            if self.noise is None:  # the first step: the sample is the starting noise
                self.noise = ClipNoise(renoise_seeds(sample, self.config.seed))
            return self.noise.draw(sample.shape[1:], sample.device)

        now, following = [*self.config.times, 0.0][self.step_index :][:2]
        moved = advance(sample, model_output.to(sample.dtype), now, following, self.config.sampler, draw)
        self.step_index += 1
        return SchedulerOutput(prev_sample=moved) if return_dict else (moved,)


def renoise_seeds(start: torch.Tensor, seed: int) -> list[int]:
    """A seed a clip for its fresh noise, from ``seed`` and the clip's starting noise (B, C, T, h, w).

    Were it from ``seed`` alone, all clips would share their fresh noise: at the second step's time, 0.94, it outweighs
    all that differs, and the clips of a prompt would be nearly one clip.
    """
    clips = start.float().cpu().numpy()
    return [int.from_bytes(hashlib.sha256(f"{seed}:".encode() + clip.tobytes()).digest()[:8]) for clip in clips]


def trained_scheduler(sampler: str, times: list[float], teacher_shift: float) -> SchedulerMixin:
    """What training notes beside a student's weights: its few steps, or the teacher's many (sampler "teacher")."""
    if sampler == "teacher":
        return FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=teacher_shift)
    return FewStepScheduler(times, sampler)


def student_scheduler(student: Path, sampling: SamplingConfig) -> FewStepScheduler | None:
    """How a student is sampled at a scale: the scale's steps, the sampler that training noted beside the weights.

    Args:
        student: folder of the student's transformer. One without a note is of a method that adds fresh noise.

    Returns:
        None for a network that is still a multi-step teacher, and is sampled like one.
    """
    path = student / SCHEDULER_CONFIG_NAME
    noted = read_json(path) if path.exists() else {}
    if noted.get("_class_name") == FlowMatchEulerDiscreteScheduler.__name__:
        return None
    times = few_step_times(sampling.student_steps, sampling.student_shift).tolist()
    return FewStepScheduler(times, noted.get("sampler", "renoise"))
