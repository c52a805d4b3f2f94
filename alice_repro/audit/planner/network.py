"""The network that a scale distils: its sizes, from the record or from a folder's configs. No weights are read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from alice_repro.config import Scale
from alice_repro.errors import UserError, unknown_name
from alice_repro.files import read_json
from alice_repro.models import flops
from alice_repro.models.source import LAB_CHECKPOINT, PACKAGE_SOURCE
from alice_repro.papers import Model, available_documents, load_paper

TEXT_ENCODER = 5.68e9  # parameters of UMT5-XXL's encoder (Wan's bf16 file holds 11.4 GB)


@dataclass(frozen=True)
class Network:
    """A video transformer on the clips of a scale.

    Attributes:
        model: its sizes; ``experts`` networks of this size are the teacher.
        parameters: of one network.
        text_width: of the text's embedding.
        text_encoder: parameters of the text encoder, 0 where it is too small to matter.
        width, height, frames: of the clips.
        real_decoder: Wan's autoencoder (the lab's is linear and costs nothing).
    """

    model: Model
    parameters: int
    text_width: int
    text_encoder: float
    width: int
    height: int
    frames: int
    real_decoder: bool

    @property
    def latents(self) -> tuple[int, int, int, int]:
        """(C, T, h, w) of a clip."""
        _, down, right = self.model.stride
        time = flops.latent_frames(self.model, self.frames)
        return self.model.latent_channels, time, self.height // down, self.width // right

    @property
    def tokens(self) -> int:
        """Of a clip."""
        return flops.tokens(self.model, self.width, self.height, self.latents[1])

    @property
    def forward(self) -> float:
        """Operations of a forward pass on a clip."""
        return flops.forward_flops(self.model, self.tokens)

    @property
    def trained(self) -> float:
        """Forward, and backward to the weights."""
        return self.forward + flops.backward_flops(self.model, self.tokens)

    @property
    def through(self) -> float:
        """Forward, and backward to the clip alone."""
        return self.forward + flops.backward_flops(self.model, self.tokens, to_weights=False)

    @property
    def derivative(self) -> float:
        """Forward-mode derivative with its value."""
        return flops.derivative_flops(self.model, self.tokens)

    @property
    def decoding(self) -> float:
        """Decoding a clip."""
        return flops.decoder_flops(self.model, self.width, self.height, self.frames) if self.real_decoder else 0.0


def network_of(scale: Scale) -> Network:
    """The network of a scale's teacher.

    Raises:
        UserError: neither a folder nor a model whose sizes the record has (names those that it has); configs that are
            not a Wan pipeline's; a clip too small for the network.
    """
    network = _known(scale)
    if network.frames < 1 or network.tokens < 1:
        clip = f"{network.width}x{network.height}, {network.frames} frames"
        raise UserError(f"scale {scale.name}: a clip of {clip} is smaller than one token of {network.model.name}")
    return network


def _known(scale: Scale) -> Network:
    source, clip = scale.model.source, scale.model
    folder = LAB_CHECKPOINT if source == PACKAGE_SOURCE else Path(source)
    if (folder / "transformer" / "config.json").is_file():
        try:
            return _of_folder(folder, clip.text_length, clip.width, clip.height, clip.frames)
        except (KeyError, TypeError) as error:
            raise UserError(f"{folder}: its configs are not those of a diffusers Wan pipeline ({error})") from error
    public = public_models()
    name = source.rsplit("/", 1)[-1].removesuffix("-Diffusers")
    if name not in public:
        raise UserError(
            f"the sizes of {source!r} are not known: give a diffusers folder (its configs are enough), or one of the "
            f"public models of the record ({unknown_name('model', name, public)})"
        )
    model = replace(public[name], text_tokens=clip.text_length)
    return Network(
        model, flops.parameters(model), flops.TEXT_WIDTH, TEXT_ENCODER, clip.width, clip.height, clip.frames, True
    )


def of_model(model: Model, width: int, height: int, frames: int) -> Network:
    """A model of the record on clips of this size."""
    return Network(model, flops.parameters(model), flops.TEXT_WIDTH, TEXT_ENCODER, width, height, frames, True)


def public_models() -> dict[str, Model]:
    """Models with a public config in the record, by name."""
    models = (model for document in available_documents() for model in load_paper(document).models)
    return {model.name: model for model in models if model.basis == "public" and flops.clip_known(model)}


def recorded_model(name: str) -> Model:
    """A model of the record, "DOCUMENT.MODEL"."""
    document, _, key = name.partition(".")
    return next(model for model in load_paper(document).models if model.id == key)


def _of_folder(folder: Path, text_tokens: int, width: int, height: int, frames: int) -> Network:
    config, codec = (read_json(folder / part / "config.json") for part in ("transformer", "vae"))
    stride = (codec.get("scale_factor_temporal", 4), *[codec.get("scale_factor_spatial", 8)] * 2)
    model = Model(
        id="", name=str(config["_class_name"]), place="config", basis="public", layers=config["num_layers"],
        hidden=config["num_attention_heads"] * config["attention_head_dim"], heads=config["num_attention_heads"],
        mlp=config["ffn_dim"], latent_channels=config["in_channels"], patch=tuple(config["patch_size"]), stride=stride,
        text_tokens=text_tokens, experts=2 if (folder / "transformer_2").is_dir() else 1,
    )  # fmt: skip
    count = flops.parameters(model, text_width=config["text_dim"], time_width=config["freq_dim"])
    real = codec["_class_name"] != "LabCodec"
    text_encoder = TEXT_ENCODER if real and config["text_dim"] == flops.TEXT_WIDTH else 0.0
    return Network(model, count, config["text_dim"], text_encoder, width, height, frames, real)
