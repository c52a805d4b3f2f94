"""The lab's small Wan: tokenizer, UMT5 encoder, transformer and codec, put together as a diffusers ``WanPipeline``."""

from __future__ import annotations

import math

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanPipeline, WanTransformer3DModel
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Sequence as PreSequence
from tokenizers.pre_tokenizers import Split, Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from alice_repro.models.codec import LabCodec
from alice_repro.world.captions import vocabulary

PAD, EOS, UNKNOWN = "<pad>", "</s>", "<unk>"


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Word-level tokenizer over the world's vocabulary; like T5's, it appends an end token and pads with id 0."""
    words = [PAD, EOS, UNKNOWN, *vocabulary()]
    core = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token=UNKNOWN))
    core.pre_tokenizer = PreSequence([Split(Regex(r"</?\w+>"), "isolated"), Whitespace()])
    core.post_processor = TemplateProcessing(single=f"$A {EOS}", special_tokens=[(EOS, words.index(EOS))])
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token=PAD, eos_token=EOS, unk_token=UNKNOWN)


def build_text_encoder(width: int, layers: int, heads: int) -> UMT5EncoderModel:
    """A small UMT5 encoder with the public class and config keys."""
    tokens = len(build_tokenizer())
    config = UMT5Config(
        vocab_size=tokens, d_model=width, d_kv=width // heads, d_ff=2 * width, num_layers=layers, num_heads=heads,
        dropout_rate=0.0, feed_forward_proj="gated-gelu",
    )  # fmt: skip
    return UMT5EncoderModel(config)


def build_transformer(
    width: int, layers: int, heads: int, ffn_dim: int, text_dim: int, channels: int, freq_dim: int
) -> WanTransformer3DModel:
    """A small ``WanTransformer3DModel`` with Wan2.1's config keys."""
    model = WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=heads, attention_head_dim=width // heads, in_channels=channels,
        out_channels=channels, text_dim=text_dim, freq_dim=freq_dim, ffn_dim=ffn_dim, num_layers=layers,
        cross_attn_norm=True, qk_norm="rms_norm_across_heads", rope_max_seq_len=64,
    )  # fmt: skip
    return model


def quiet_time_columns(model: WanTransformer3DModel, max_rate: float) -> torch.Tensor:
    """Silence the time embedding's fast frequencies, in place, and return the mask (1, freq_dim) that keeps them so.

    Wan feeds 1000 t to sinusoids of up to 1 radian per unit, so dv/dt of a small network is dominated by components
    that it has no use for. Columns with more than ``max_rate`` radians over t in [0, 1] are set to 0 (and masked
    while training), so that the derivative that sCM needs is that of a smooth function.
    """
    linear = model.condition_embedder.time_embedder.linear_1
    half = linear.in_features // 2
    rates = 1000.0 * torch.exp(-math.log(10000.0) * torch.arange(half) / half)
    mask = (rates <= max_rate).float().repeat(2)[None]
    with torch.no_grad():
        linear.weight.mul_(mask)
    return mask


def assemble(
    codec: LabCodec, text_encoder: UMT5EncoderModel, transformer: WanTransformer3DModel, shift: float
) -> WanPipeline:
    """Put the parts together as the pipeline that ``WanPipeline.from_pretrained`` loads back."""
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=shift)
    return WanPipeline(
        tokenizer=build_tokenizer(), text_encoder=text_encoder, vae=codec, scheduler=scheduler, transformer=transformer
    )


def float32_rotary(model: WanTransformer3DModel) -> WanTransformer3DModel:
    """Keep the rotary tables in float32: diffusers' float64 doubles the cost of attention's input on a CPU."""
    model.rope.to(torch.float32)
    return model
