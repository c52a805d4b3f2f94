"""Configuration: frozen dataclasses, filled strictly from TOML. A scale says *what*, a recipe says *how to train*."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from alice_repro.errors import UserError, unknown_name
from alice_repro.files import read_toml
from alice_repro.strict import (
    Decay,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Share,
    from_mapping,
    override,
    rest,
)

PACKAGE = Path(__file__).parent
CHECKOUT = PACKAGE.parent

# Arms that need no training: the teacher with all its steps, with as many as the student, and (in comparisons of
# methods) the limits of learning consistency alone (`sampling.consistent`) and of DP-DMD's first step alone
# (`sampling.anchored`), and a student before its first update: the network alone, without guidance, in its few steps.
FULL, SHORT, CONSISTENT, ANCHORED = "teacher-full", "teacher-short", "teacher-consistent", "teacher-anchored"
START = "student-start"
ANCHOR_OPTIONS = ("anchor_steps", "anchor_grid", "anchor_shift")  # of the recipe "dp_dmd", that ANCHORED is sampled by
WIDEST_POWER_AVERAGE = 0.288  # of a power average with exponent 0: 1 / sqrt(12) (EDM2 Eq. 126)
UNTRAINED = (FULL, SHORT, CONSISTENT, ANCHORED, START)


@dataclass(frozen=True)
class ModelConfig:
    """The teacher's weights and the video's size.

    Attributes:
        source: "package:lab", a diffusers folder, or a hub id.
        download_gb: size of the download, for the message when the weights are not there.
        text_length: tokens of a prompt (``max_sequence_length`` of ``WanPipeline``).
    """

    source: str
    download_gb: NonNegativeFloat
    text_length: PositiveInt
    height: PositiveInt
    width: PositiveInt
    frames: PositiveInt
    fps: PositiveInt


@dataclass(frozen=True)
class TeacherConfig:
    """How the multi-step teacher is sampled, and the exact teacher's clips.

    Attributes:
        guidance: w of classifier-free guidance; a teacher of two experts may have two, [high noise, low noise].
    """

    guidance: float | tuple[float, ...]
    steps: PositiveInt
    shift: PositiveFloat
    negative_prompt: str
    exact_clips: NonNegativeInt
    exact_width: PositiveFloat
    exact_guidance: float


@dataclass(frozen=True)
class PromptConfig:
    """Which captions: "world" (the lab's grammar) or a text file with one prompt a line."""

    source: str
    train: PositiveInt
    evaluate: PositiveInt
    seeds: PositiveInt


@dataclass(frozen=True)
class DataConfig:
    """The student's data.

    Attributes:
        source: "teacher" (its samples), "clean" (clips of the world without defects, as many), or the name of a style:
            clean clips drawn in it, under captions that do not name it.
        samples_per_caption: clips a caption.
        seed: of the noise of the teacher's samples.
    """

    source: str
    samples_per_caption: PositiveInt
    seed: int


@dataclass(frozen=True)
class SamplingConfig:
    """How the student is sampled: steps, the shift of its time grid, clips a batch."""

    student_steps: PositiveInt
    student_shift: PositiveFloat
    batch: PositiveInt
    seed: int


@dataclass(frozen=True)
class ProtocolConfig:
    """Evaluation and verdict.

    Attributes:
        teachers: which teachers a reproduction distils; the committed record has both.
        margin: in points.
        runs: training runs that a verdict needs.
        bootstrap: draws.
        best_of: n of best-of-n.
    """

    teachers: tuple[str, ...]
    margin: NonNegativeFloat
    runs: PositiveInt
    bootstrap: PositiveInt
    best_of: PositiveInt


@dataclass(frozen=True)
class Scale:
    """A rung of evidence: what is loaded, how it is sampled, how it is judged. One TOML file in ``scales``."""

    name: str
    rung: str
    summary: str
    recipe: str
    model: ModelConfig
    teacher: TeacherConfig
    prompts: PromptConfig
    data: DataConfig
    sampling: SamplingConfig
    protocol: ProtocolConfig

    def training_clips(self, teacher: str) -> tuple[int, int]:
        """Captions of the training clips, and clips of each.

        The exact teacher is defined on the evaluation captions; there are about as many clips of it as of the trained.
        """
        captions, each = self.prompts.train, self.data.samples_per_caption
        if teacher == "exact":
            return self.prompts.evaluate, round(each * captions / self.prompts.evaluate)
        return captions, each


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage of the curriculum (Alice Table 3).

    Attributes:
        updates: student updates; each is followed by ``critic_updates`` updates of the fake score if there is one.
        target_steps: steps of the student's own sampler.
        warmup: updates of linear learning-rate warm-up.
        options: all other keys of the stage, which the method reads (``Method.StageOptions``), such as the weights of
            its terms.
    """

    name: str
    updates: NonNegativeInt
    target_steps: PositiveInt
    batch: PositiveInt
    learning_rate: NonNegativeFloat
    critic_learning_rate: NonNegativeFloat
    critic_updates: NonNegativeInt
    warmup: NonNegativeInt
    options: dict[str, Any] = rest()


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a student is trained: one method, its options, a curriculum, the optimiser. One TOML file in ``recipes``.

    Attributes:
        method: its name in ``distill.registry``.
        ema: "power" (relative width ``ema_value``) or "constant" (decay ``ema_value``).
        snapshots: shares of the training after which the averaged student is kept, for the convergence gate.
        options: all other keys of the file, which the method reads (``Method.Options``).
    """

    name: str
    method: str
    betas: tuple[Decay, Decay]
    weight_decay: NonNegativeFloat
    gradient_clip: NonNegativeFloat
    ema: Literal["power", "constant"]
    ema_value: Decay
    precision: Literal["no", "bf16"]
    checkpoint_every: PositiveInt
    log_every: PositiveInt
    snapshots: tuple[Share, ...]
    stages: tuple[Stage, ...]
    options: dict[str, Any] = rest()

    def __post_init__(self) -> None:
        if not self.stages:
            raise UserError(f"recipe {self.name} has no stages: write at least one [[stages]]")
        if self.ema == "power" and self.ema_value > WIDEST_POWER_AVERAGE:
            raise UserError(
                f"recipe {self.name}: ema_value = {self.ema_value:g} is no relative width of a power average, which is "
                f'{WIDEST_POWER_AVERAGE} at most; a decay goes with ema = "constant"'
            )

    @property
    def updates(self) -> int:
        """Student updates over all stages."""
        return sum(stage.updates for stage in self.stages)

    @property
    def snapshot_updates(self) -> list[int]:
        """The updates after which training keeps a snapshot of the student; that at the end is kept anyway."""
        return sorted({round(share * self.updates) for share in self.snapshots} - {0, self.updates})

    def ending_at(self, updates: int) -> Recipe:
        """The same recipe whose last stage ends after so many updates in all."""
        last = self.stages[-1]
        return replace(self, stages=(*self.stages[:-1], replace(last, updates=updates - self.updates + last.updates)))


@dataclass(frozen=True)
class ClaimInArms:
    """A claim of a paper in terms of a comparison's arms; its endpoint is that of the claim (``papers``).

    Attributes:
        claim: "PAPER.CLAIM".
        better: an arm.
        worse: arms that it is said to beat, each.
        equal: the claim is that they do not differ.
        reading: what tells this from another reading of the same claim.

    Beside students' arms there are those without training (`UNTRAINED`).
    """

    claim: str
    better: str
    worse: tuple[str, ...]
    equal: bool = False
    reading: str = ""


@dataclass(frozen=True)
class Comparison:
    """What is trained to be compared at a scale (``comparisons/SCALE.toml``).

    Attributes:
        baseline: the arm that all others are compared with.
        arms: arm -> its settings beside those of the scale.
        claims: what is judged by it.
        floor: the arm of plain regression, which every method must beat; beside an arm with clean clips FLOOR-clean.
    """

    baseline: str
    arms: dict[str, tuple[str, ...]]
    claims: tuple[ClaimInArms, ...]
    floor: str = ""


@dataclass(frozen=True)
class LabExpertsRecipe:
    """How the lab's teacher of two experts is made out of the lab's teacher, whose recipe says all that is not here.

    Attributes:
        boundary: the time t at and above which the high-noise expert is trained, and below which the low-noise one is.
        held_out_clips: clips a caption, beside those of the training, that the experts are judged on.
        judged_batches: batches of them for each range.
    """

    boundary: Share
    held_out_clips: PositiveInt
    judged_batches: PositiveInt
    updates: NonNegativeInt
    batch: PositiveInt
    learning_rate: NonNegativeFloat
    warmup: NonNegativeInt
    decay_share: Share
    ema_std: float
    seed: int
    compile: bool
    checkpoint_every: PositiveInt
    log_every: PositiveInt


@dataclass(frozen=True)
class LabTeacherRecipe:
    """How the lab checkpoint is made: world data, codec, text encoder, transformer, flow matching."""

    # World
    shapes: tuple[str, ...]
    colours: tuple[str, ...]
    motions: tuple[str, ...]
    clips_per_caption: PositiveInt
    world_seed: int
    # Codec
    channels: PositiveInt
    whitening: NonNegativeFloat
    codec_clips: PositiveInt
    # Text encoder and transformer
    text_width: PositiveInt
    text_layers: PositiveInt
    text_heads: PositiveInt
    text_length: PositiveInt
    width: PositiveInt
    layers: PositiveInt
    heads: PositiveInt
    ffn_dim: PositiveInt
    freq_dim: PositiveInt
    max_time_rate: PositiveFloat
    # Optimisation
    updates: NonNegativeInt
    batch: PositiveInt
    learning_rate: NonNegativeFloat
    warmup: NonNegativeInt
    decay_share: Share
    weight_decay: NonNegativeFloat
    caption_dropout: Share
    time_shift: PositiveFloat
    ema_std: float
    sampling_shift: PositiveFloat
    seed: int
    compile: bool
    checkpoint_every: PositiveInt
    log_every: PositiveInt


@dataclass(frozen=True)
class InterpolatorRecipe:
    """How the frame interpolator is trained.

    Attributes:
        widths: channels of the UNet at full, half and quarter resolution.
        final_rate: the learning rate at the end of its linear decay, as a share of ``learning_rate``.
        held_out: share of the captions whose clips measure the error.
    """

    widths: tuple[PositiveInt, ...]
    updates: NonNegativeInt
    batch: PositiveInt
    learning_rate: NonNegativeFloat
    final_rate: Share
    betas: tuple[Decay, Decay]
    weight_decay: NonNegativeFloat
    held_out: Share
    seed: int
    log_every: PositiveInt


def preset_path(kind: str, name: str) -> Path:
    """Path of the preset ``name`` in ``scales``, ``recipes`` or ``comparisons``.

    Raises:
        UserError: no such preset; the message names the nearest.
    """
    folder = PACKAGE / f"{kind}s"
    names = [path.stem for path in folder.glob("*.toml")]
    if name not in names:
        raise unknown_name(kind, name, names)
    return folder / f"{name}.toml"


def load_lab_teacher_recipe(overrides: tuple[str, ...] = ()) -> LabTeacherRecipe:
    """Load ``recipes/lab_teacher.toml``, with overrides ``key=value``."""
    return _load(LabTeacherRecipe, preset_path("recipe", "lab_teacher"), overrides)


def load_lab_experts_recipe(overrides: tuple[str, ...] = ()) -> LabExpertsRecipe:
    """Load ``recipes/lab_experts.toml``, with overrides ``key=value``."""
    return _load(LabExpertsRecipe, preset_path("recipe", "lab_experts"), overrides)


def load_interpolator_recipe(overrides: tuple[str, ...] = ()) -> InterpolatorRecipe:
    """Load ``recipes/interpolator.toml``, with overrides ``key=value``."""
    return _load(InterpolatorRecipe, preset_path("recipe", "interpolator"), overrides)


def load_scale(name: str, overrides: tuple[str, ...] = ()) -> Scale:
    """Load ``scales/NAME.toml``, with overrides such as ``teacher.guidance=2.5``."""
    return _load(Scale, preset_path("scale", name), overrides)


def load_recipe(name: str, overrides: tuple[str, ...] = ()) -> Recipe:
    """Load ``recipes/NAME.toml``, with overrides such as ``gradient_clip=0.5`` or ``stages.0.updates=10``."""
    return _load(Recipe, preset_path("recipe", name), overrides)


def method_recipes() -> list[str]:
    """Names of the recipes by which a method is trained; the others make the lab's own networks."""
    paths = sorted((PACKAGE / "recipes").glob("*.toml"))
    return [path.stem for path in paths if "method" in read_toml(path)]


def load_comparison(scale: str) -> Comparison:
    """Load ``comparisons/SCALE.toml``."""
    return _load(Comparison, preset_path("comparison", scale), ())


def split_settings(settings: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Settings as the command line takes them: ``recipe.KEY=value`` is for the recipe, all else for the scale.

    Returns:
        The overrides of the scale and those of the recipe, the latter without ``recipe.``.
    """
    prefix = "recipe."
    scale = tuple(setting for setting in settings if not setting.startswith(prefix))
    return scale, tuple(setting.removeprefix(prefix) for setting in settings if setting.startswith(prefix))


def resolve(scale: str, settings: Sequence[str] = ()) -> tuple[Scale, Recipe]:
    """The scale, and the recipe that it names, under settings as the command line takes them."""
    of_scale, of_recipe = split_settings(tuple(settings))
    resolved = load_scale(scale, of_scale)
    return resolved, load_recipe(resolved.recipe, of_recipe)


def _load(cls: type, path: Path, overrides: tuple[str, ...]) -> Any:
    values = read_toml(path)
    for setting in overrides:
        override(values, setting, path.name)
    return from_mapping(cls, values, path.name)
