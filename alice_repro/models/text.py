"""Prompt embeddings exactly as diffusers' ``WanPipeline`` makes them: masked encoder, zeros after the last token."""

from __future__ import annotations

import torch
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from transformers import PreTrainedTokenizerBase, UMT5EncoderModel


def tokenise(tokenizer: PreTrainedTokenizerBase, prompts: list[str], length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask, both (B, length), padded and truncated to ``length``."""
    tokens = tokenizer(prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    return tokens.input_ids, tokens.attention_mask


def embed_tokens(encoder: UMT5EncoderModel, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Embeddings (B, length, text_dim); positions after the last token are zero, as in ``WanPipeline``."""
    states = encoder(ids, mask).last_hidden_state
    return states * mask[..., None].to(states.dtype)


@torch.no_grad()
def embed_prompts(
    tokenizer: PreTrainedTokenizerBase, encoder: UMT5EncoderModel, prompts: list[str], length: int, batch: int = 64
) -> torch.Tensor:
    """Embeddings (B, length, text_dim) of texts; ``length`` is the pipeline's ``max_sequence_length`` (512 for Wan)."""
    parts, prompts = [], [prompt_clean(prompt) for prompt in prompts]
    for start in range(0, len(prompts), batch):
        ids, mask = tokenise(tokenizer, prompts[start : start + batch], length)
        parts.append(embed_tokens(encoder, ids.to(encoder.device), mask.to(encoder.device)))
    return torch.cat(parts)
