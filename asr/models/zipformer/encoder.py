"""The Zipformer encoder: one forward for whole utterances, masked chunks and cached steps.

Source: Zipformer, arXiv 2310.11230, figure 1.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from asr.errors import ConfigError
from asr.models.encoder import refuse_steps
from asr.models.zipformer.config import ZipformerConfig
from asr.models.zipformer.embed import ConvEmbed
from asr.models.zipformer.resample import Downsample, downsampled_lens
from asr.models.zipformer.stack import ZipformerStack
from asr.models.zipformer.state import EncoderState, LayerState, in_blocks
from asr.nn.blocks import Blocks, lay_out
from asr.nn.chunks import ChunkContext, visible_frames
from asr.tensors import zero_padding


class Zipformer(nn.Module):
    """Features at 100 Hz to encoder frames at 25 Hz.

    A step of S frames at 50 Hz reads 2 S + `lookahead` feature frames and moves on by 2 S; a whole utterance is one
    long first step. `pad_whole` prepares whole utterances.
    """

    stride = 4
    """Feature frames per output frame."""
    lookahead = ConvEmbed.lookahead
    """Feature frames, 100 Hz, that a step of a model that streams sees beyond its own and the context's lookahead."""

    def __init__(self, config: ZipformerConfig):
        super().__init__()
        self.config = config
        self.embed = ConvEmbed(
            config.feature_dim, config.embed_channels, config.encoder_dims[0], expansion=config.embed_expansion
        )
        stacks = [ZipformerStack(config, i) for i in range(len(config.num_layers))]
        self.stacks: Sequence[ZipformerStack] = nn.ModuleList(stacks)  # type: ignore[assignment]
        self.downsample_output = Downsample(config.output_downsampling)

    @property
    def output_dim(self) -> int:
        return self.config.output_dim

    @property
    def supports_step(self) -> bool:
        """Whether the encoder can stream."""
        return all(stack.supports_step for stack in self.stacks)

    def init_state(self, batch_size: int, context: ChunkContext | None = None, device=None) -> EncoderState:
        """An empty past: for steps under `context`, or, where None, for whole utterances.

        Raises ConfigError where the encoder cannot step under such a context.
        """
        cache_frames = 0 if context is None else self._cache_frames(context)
        stacks = tuple(stack.init_state(batch_size, cache_frames, device) for stack in self.stacks)
        processed = torch.zeros(batch_size, dtype=torch.int64, device=device)
        return EncoderState(stacks, self.embed.init_state(batch_size, device), processed)

    def _cache_frames(self, context: ChunkContext) -> int:
        if not self.supports_step:
            raise refuse_steps("encoder.causal=false")
        if context.chunk_size is None or context.left_frames is None:
            raise ConfigError(f"streaming needs a chunk size and a left context, not {context}; e.g. 32 and 128")
        self.config.check_context(context)
        return context.left_frames

    def draw_context(self) -> ChunkContext:
        """A context for one training batch, from the configured choices; everything is visible unless causal."""
        if not self.config.causal:
            return ChunkContext()
        config = self.config
        chunk_size, left_context = random.choice(config.chunk_sizes), random.choice(config.left_contexts)
        # A model without lookahead draws nothing for it, so that its training goes as it did before there was any.
        lookahead = random.choice(config.lookaheads) if len(config.lookaheads) > 1 else config.lookaheads[0]
        return ChunkContext(
            chunk_size=chunk_size, left_context=left_context, lookahead=0 if chunk_size is None else lookahead
        )

    def pad_whole(self, x: Tensor, context: ChunkContext) -> Tensor:
        """Give whole utterances, (B, T, F), the lookahead, and fill up chunks that are rows, with frames nobody sees.

        A last chunk that is not a row of its own may be short: what frames see and how edges count follows from its
        nominal size, so that computing the rest would change nothing but the time it takes.
        """
        frames = max((x.shape[1] - 7) // 2, 1)
        if context.in_blocks:
            frames = context.whole_chunks(frames) + context.lookahead
        return pad(x, (0, 0, 0, 2 * frames + self.lookahead - x.shape[1]))

    def forward(
        self, x: Tensor, x_lens: Tensor, state: EncoderState, context: ChunkContext
    ) -> tuple[Tensor, Tensor, EncoderState]:
        """Encode the next S frames of each row.

        Args:
            x: features, (B, 2 (S + R) + 13, feature_dim), R the context's lookahead; all but the first 2 S are seen
                again by the next step.
            x_lens: valid feature frames of this call, (B,): true remaining lengths, at most 2 (S + R) + 13.
            state: from `init_state` or the last step; rows may be at different positions.
            context: chunk size, left context and lookahead; with a chunk size, S is a whole number of chunks, but for
                the last call of a row, whose last chunk may be short where there is neither lookahead nor another size.
        Returns:
            (B, ceil(S / 2), output_dim) at 25 Hz, valid lengths (B,), and the next state.
        """
        embedded = self.embed(zero_padding(x, x_lens), x_lens, state.embed, ahead=context.lookahead)
        x, lens = embedded.out, embedded.lens
        masks = self._feature_masks(x)
        frames = {
            "num_frames": x.shape[1] - context.lookahead,
            "cache_frames": state.stacks[0][0].key.shape[1] * self.config.downsampling_factors[0],
        }
        if context.in_blocks:
            blocks = lay_out(context, lens, **frames)
            out, stacks = self._run_blocks(x, lens, state, blocks, context, masks)
            lens = lens.clamp(max=blocks.num_frames)
        else:
            visible = visible_frames(context, processed=state.processed, lens=lens, **frames)
            out, stacks = self._run_stacks(x, lens, state.stacks, visible, context.chunk_size, masks)
        out = self.downsample_output(out, lens)
        next_state = EncoderState(stacks, embedded.cache, state.processed + lens)
        return out, downsampled_lens(lens, self.config.output_downsampling), next_state

    def _run_blocks(
        self,
        x: Tensor,
        lens: Tensor,
        state: EncoderState,
        blocks: Blocks,
        context: ChunkContext,
        masks: list[Tensor | None],
    ) -> tuple[Tensor, tuple[tuple[LayerState, ...], ...]]:
        """Chunks as rows of their own, where they overlap or vary."""
        pasts = tuple(
            tuple(in_blocks(layer, blocks.at_rate(stack.factor)) for layer in layers)
            for stack, layers in zip(self.stacks, state.stacks)
        )
        visible = blocks.visible(state.processed, lens, context.left_frames)
        masks = [None if mask is None else mask.repeat_interleave(blocks.start.shape[1], dim=0) for mask in masks]
        out, stacks = self._run_stacks(blocks.spread(x), blocks.lens(lens), pasts, visible, blocks.extent, masks)
        return blocks.join(out), stacks

    def _run_stacks(
        self,
        x: Tensor,
        lens: Tensor,
        states: tuple[tuple[LayerState, ...], ...],
        visible: Tensor,
        chunk_size: int | Tensor | None,
        masks: list[Tensor | None],
    ) -> tuple[Tensor, tuple[tuple[LayerState, ...], ...]]:
        """(B, T, C) at 50 Hz through all stacks, to the channels of the widest and the next states."""
        outputs, next_stacks = [], []
        for stack, dim, past, mask in zip(self.stacks, self.config.encoder_dims, states, masks):
            x = _with_channels(x, dim)
            x, past = stack(x, lens, past, visible=visible, chunk_size=chunk_size, feature_mask=mask)
            outputs.append(x)
            next_stacks.append(past)
        return _widest(outputs), tuple(next_stacks)

    def _feature_masks(self, x: Tensor) -> list[Tensor | None]:
        """In training, {0, 1} masks (B, 1, C_i) that drop upper channels of whole sequences, alike in all stacks."""
        config = self.config
        if not self.training or config.feature_mask_prob == 0.0:
            return [None] * len(self.stacks)
        shape = (x.shape[0], 1, 1)
        first = (torch.rand(shape, device=x.device) > config.feature_mask_prob).to(x.dtype)
        second = first * (torch.rand(shape, device=x.device) > config.feature_mask_prob).to(x.dtype)
        return [
            _channel_mask(first, second, dim, unmasked)
            for dim, unmasked in zip(config.encoder_dims, config.unmasked_dims)
        ]


def _channel_mask(first: Tensor, second: Tensor, dim: int, unmasked: int) -> Tensor:
    middle = (dim - unmasked) // 2
    widths = (unmasked, middle, dim - unmasked - middle)
    parts = (torch.ones_like(first), first, second)
    return torch.cat([part.expand(-1, -1, width) for part, width in zip(parts, widths)], dim=2)


def _with_channels(x: Tensor, dim: int) -> Tensor:
    """Cut or zero-pad the channels of (B, T, C) to `dim`."""
    return x[..., :dim] if x.shape[2] >= dim else pad(x, (0, dim - x.shape[2]))


def _widest(outputs: list[Tensor]) -> Tensor:
    """All channels: the last stack's, and beyond them those of the latest earlier stack that has them."""
    parts = [outputs[-1]]
    width = outputs[-1].shape[2]
    for output in reversed(outputs[:-1]):
        if output.shape[2] > width:
            parts.append(output[..., width:])
            width = output.shape[2]
    return torch.cat(parts, dim=2) if len(parts) > 1 else parts[0]
