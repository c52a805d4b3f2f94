"""Parameters and operations of a video diffusion transformer, from its sizes.

The block is that of Wan (arXiv:2503.20314, section 4; public configs of Wan2.1 and Wan2.2): self-attention over all
tokens of the clip, cross-attention to the text, and a two-layer MLP; the noise level enters through one projection
that all blocks share. Written d (width), f (inner width of the MLP), n (tokens of the clip), m (tokens of the text),
with a multiplication and an addition counted as two operations, a forward pass costs for each block at least

    self-attention    8 n d^2 + 4 n^2 d     (four projections; scores, and their product with the values)
    cross-attention   4 n d^2 + 4 m d^2 + 4 n m d
    MLP               4 n d f

Norms, softmax, modulation, embeddings, the text encoder and the decoder count as nothing: what is computed here is a
floor. A backward pass to the weights takes two products for each of the forward pass; one that only leads to the clip
(through a frozen network) takes one for each matrix of weights, and two for attention's products, both factors of
which depend on the clip.

Checked: the parameter counts are exactly those of Wan2.1 1.3B (1,418,996,800) and 14B (14,288,491,584), and the
published time of Wan2.2's 14B experts on an A100 (2,735.7 s for 720p, 40 steps with guidance) is 1.6 floors.
"""

from __future__ import annotations

from alice_repro.papers import Model

TEXT_WIDTH = 4096
TIME_WIDTH = 256
GROUPS = 6  # shift, scale and gate, before attention and before the MLP
# Operations of Wan's decoder for each cell of a latent frame, counted by torch in diffusers' AutoencoderKLWan: the
# first latent frame gives one frame, each later one gives four.
DECODER_FIRST, DECODER_NEXT = 0.688e9, 2.162e9


def sizes_of(config: object, text_tokens: int) -> Model:
    """Sizes of a ``WanTransformer3DModel`` by its config; ``text_tokens`` is the length that prompts are padded to."""
    return Model(
        id="", name="WanTransformer3DModel", place="config", basis="public", layers=config.num_layers,
        hidden=config.num_attention_heads * config.attention_head_dim, heads=config.num_attention_heads,
        mlp=config.ffn_dim, latent_channels=config.in_channels, patch=tuple(config.patch_size),
        text_tokens=text_tokens,
    )  # fmt: skip


def sizes_known(model: Model) -> bool:
    """Whether the source states what the parameters are counted from."""
    return bool(model.layers and model.hidden and model.mlp)


def clip_known(model: Model) -> bool:
    """Whether the source also states what the tokens of a clip are counted from."""
    return bool(sizes_known(model) and len(model.patch) == 3 and len(model.stride) == 3)


def parameters(
    model: Model,
    gated: bool = False,
    own_modulation: bool = False,
    text_width: int = TEXT_WIDTH,
    time_width: int = TIME_WIDTH,
) -> int:
    """Number of parameters, biases and norms included.

    gated: an MLP with three matrices (SwiGLU) in place of two; own_modulation: each block projects the noise level by
    itself (as in the first DiT) instead of adding a learned vector to a shared projection; text_width, time_width: of
    the text's embedding and of the sines and cosines of the time.
    """
    d, f = model.hidden, model.mlp
    cells = model.latent_channels * _product(model.patch)
    attention = 4 * (d * d + d) + 2 * d
    block = 2 * attention + 2 * d + (2 * d * f + f + d) + GROUPS * d
    block += (d * f + f) * gated + GROUPS * d * d * own_modulation
    time = (time_width * d + d) + (d * d + d) + GROUPS * (d * d + d)
    text = (text_width * d + d) + (d * d + d)
    ends = (cells * d + d) + (cells * d + cells) + 2 * d if cells else 0
    return model.layers * block + time + text + ends


def latent_frames(model: Model, frames: int) -> int:
    """Frames after a causal encoder, which keeps the first frame by itself."""
    return 1 + -(-(frames - 1) // model.stride[0])


def tokens(model: Model, width: int, height: int, latents: int) -> int:
    """Tokens of a clip with so many latent frames; width and height in pixels, what does not fill a patch is cut."""
    per_frame = (height // (model.stride[1] * model.patch[1])) * (width // (model.stride[2] * model.patch[2]))
    return -(-latents // model.patch[0]) * per_frame


def forward_flops(model: Model, n: int) -> float:
    """Least operations of a forward pass over n tokens."""
    linear, text, scores, text_scores = _parts(model, n)
    return linear + text + scores + text_scores


def derivative_flops(model: Model, n: int) -> float:
    """Least operations of a forward-mode derivative along a direction in the clip, with the value itself.

    Each matrix multiplies a value and a tangent: twice. Of attention the value takes two products of size n^2 d (Q K',
    P V) and the tangent four (tQ K', Q tK', P tV, H V): three times. The text has no tangent.
    """
    linear, text, scores, text_scores = _parts(model, n)
    return 2 * linear + text + 3 * scores + 2 * text_scores


def backward_flops(model: Model, n: int, to_weights: bool = True) -> float:
    """Least operations of a backward pass over n tokens: to the weights, or through frozen ones to the clip alone."""
    linear, text, scores, text_scores = _parts(model, n)
    if to_weights:
        return 2 * (linear + text + scores + text_scores)
    return linear + 2 * scores + text_scores  # the text's keys and values are constants


def decoder_flops(model: Model, width: int, height: int, frames: int) -> float:
    """Operations of Wan's decoder on a clip; its attention over a frame's cells, 1 % at 720p, is left out."""
    cells = (height // model.stride[1]) * (width // model.stride[2])
    return cells * (DECODER_FIRST + (latent_frames(model, frames) - 1) * DECODER_NEXT)


def _parts(model: Model, n: int) -> tuple[float, float, float, float]:
    """Operations of matrices on the clip, matrices on the text, self-attention's and cross-attention's products."""
    d, f, m = model.hidden, model.mlp, model.text_tokens
    cross = 4 * n * d * d if m else 0
    per_block = (8 * n * d * d + cross + 4 * n * d * f, 4 * m * d * d, 4 * n * n * d, 4 * n * m * d)
    linear, text, scores, text_scores = (float(model.layers * part) for part in per_block)
    return linear, text, scores, text_scores


def _product(sizes: tuple[int, ...]) -> int:
    result = 1 if sizes else 0
    for size in sizes:
        result *= size
    return result
