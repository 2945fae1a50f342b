"""Everything that can stream, dressed for the contract."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from asr.models.transducer import Transducer
from asr.models.zipformer.embed import ConvEmbed
from asr.nn.chunks import ChunkContext, visible_frames

State = Any


class Output(NamedTuple):
    """out: (B, T', C); lens: valid frames, (B,); state: for the next step."""

    out: Tensor
    lens: Tensor
    state: State


class Subject:
    """Something streamable, cut out of a causal model.

    `frames` are what chunk sizes count: the frames of the subject, 50 Hz throughout here.
    """

    input_rate = 1
    """Input frames per frame."""
    frames_per_output = 1
    overlap = 0
    """Input frames that a step reads beyond its own; a module's stated lookahead."""
    padding_may_be_nan = False
    sees_chunks = True
    """Whether the chunk size makes a difference."""
    sees_left_context = True
    """Whether the left context makes a difference."""

    def __init__(self, model: Transducer):
        self.model = model

    @property
    def name(self) -> str:
        return type(self).__name__

    @property
    def input_dim(self) -> int:
        return self.model.config.encoder.encoder_dims[0]

    def modules(self) -> list[nn.Module]:
        raise NotImplementedError

    def parameters(self) -> Iterator[nn.Parameter]:
        for module in self.modules():
            yield from module.parameters()

    def init_state(self, batch_size: int, context: ChunkContext | None) -> State:
        """An empty past; None is for whole utterances."""
        raise NotImplementedError

    def step(self, x: Tensor, lens: Tensor, state: State, context: ChunkContext) -> Output:
        raise NotImplementedError

    def num_frames(self, lens: Tensor) -> Tensor:
        """Frames from input lengths."""
        return lens

    def whole(self, x: Tensor, lens: Tensor, context: ChunkContext) -> Output:
        """Whole utterances, padded once to whole chunks."""
        frames = int(self.num_frames(torch.tensor(x.shape[1])).clamp(min=1))
        frames += -frames % (context.chunk_size or 1)
        x = pad(x, (0, 0, 0, self.input_rate * frames + self.overlap - x.shape[1]))
        return self.step(x, lens, self.init_state(x.shape[0], None), context)


class Convolution(Subject):
    """The convolution module of a layer."""

    sees_left_context = False

    def modules(self):
        return [self.model.encoder.stacks[0].layers[0].conv_module1]

    def init_state(self, batch_size, context):
        return self.modules()[0].init_state(batch_size)

    def step(self, x, lens, state, context):
        (conv,) = self.modules()
        out, state = conv(x, lens, state, context.chunk_size)
        return Output(out, lens, state)


class _Attending(Subject):
    """Subjects that need the mask and the clock; their state is (what they remember, the clock)."""

    stack = 0

    @property
    def input_dim(self):
        return self.model.config.encoder.encoder_dims[self.stack]

    @property
    def module(self) -> nn.Module:
        return self.model.encoder.stacks[self.stack]

    def modules(self):
        return [self.module]

    def init_state(self, batch_size, context):
        full = self.model.encoder.init_state(batch_size, context)
        return full.stacks[self.stack], full.processed

    def step(self, x, lens, state, context):
        remembered, processed = state
        layer_state = remembered[0]
        factor = self.module.factor if hasattr(self.module, "factor") else 1
        cache_frames = layer_state.key.shape[1] * factor
        visible = visible_frames(
            context, processed=processed, lens=lens, num_frames=x.shape[1], cache_frames=cache_frames
        )
        out, remembered = self.attend(x, lens, remembered, visible, context)
        return Output(out, lens, (remembered, processed + lens))

    def positions(self, x, remembered):
        return self.model.encoder.stacks[0].positions(x.shape[1], remembered[0].key.shape[1], x.device)

    def attend(self, x, lens, remembered, visible, context):
        raise NotImplementedError


class Attention(_Attending):
    """Attention weights, self-attention and non-linear attention."""

    @property
    def module(self):
        return self.model.encoder.stacks[0].layers[0]

    def modules(self):
        return [self.module.self_attn_weights, self.module.self_attn1, self.module.nonlin_attention]

    def attend(self, x, lens, remembered, visible, context):
        find, gather, gate = self.modules()
        state = remembered[0]
        weights, key = find(x, self.positions(x, remembered), state.key, visible)
        gathered, value1 = gather(x, weights, state.value1)
        gated, nonlin = gate(x, weights[:, 0], state.nonlin)
        return torch.cat([gathered, gated], dim=2), (state._replace(key=key, value1=value1, nonlin=nonlin),)


class Layer(_Attending):
    """A layer at 50 Hz."""

    @property
    def module(self):
        return self.model.encoder.stacks[0].layers[0]

    def attend(self, x, lens, remembered, visible, context):
        pos_emb = self.positions(x, remembered)
        out, state = self.module(
            x, lens, remembered[0], pos_emb=pos_emb, visible=visible, chunk_size=context.chunk_size
        )
        return out, (state,)


class Stack(_Attending):
    """A stack, at whatever rate it runs."""

    def __init__(self, model: Transducer, stack: int):
        super().__init__(model)
        self.stack = stack

    @property
    def name(self):
        return f"Stack{self.stack}by{self.module.factor}"

    def attend(self, x, lens, remembered, visible, context):
        return self.module(x, lens, remembered, visible=visible, chunk_size=context.chunk_size)


class Embed(Subject):
    """The front end."""

    input_rate = ConvEmbed.stride
    overlap = ConvEmbed.lookahead
    sees_chunks = False
    sees_left_context = False

    @property
    def input_dim(self):
        return self.model.config.encoder.feature_dim

    def modules(self):
        return [self.model.encoder.embed]

    def init_state(self, batch_size, context):
        return self.model.encoder.embed.init_state(batch_size)

    def num_frames(self, lens):
        return torch.div(lens - 7, 2, rounding_mode="floor").clamp(min=0)

    def step(self, x, lens, state, context):
        return Output(*self.model.encoder.embed(x, lens, state))


class Whole(Embed):
    """The model, from features to encoder frames."""

    padding_may_be_nan = True

    def __init__(self, model: Transducer, *, sees_chunks: bool = True, sees_left_context: bool = True):
        super().__init__(model)
        self.overlap = model.encoder.lookahead
        self.frames_per_output = model.encoder.stride // ConvEmbed.stride
        self.sees_chunks, self.sees_left_context = sees_chunks, sees_left_context

    def modules(self):
        return [self.model.encoder]

    def init_state(self, batch_size, context):
        return self.model.encoder.init_state(batch_size, context)

    def step(self, x, lens, state, context):
        return Output(*self.model.encode(x, lens, context=context, state=state))

    def whole(self, x, lens, context):
        return Output(*self.model.encode(x, lens, context=context))


def all_subjects(model: Transducer) -> list[Subject]:
    """Every streamable module of a causal model, a stack of each rate, and the model."""
    factors = [stack.factor for stack in model.encoder.stacks]
    stacks = [Stack(model, factors.index(factor)) for factor in sorted(set(factors))]
    return [Convolution(model), Attention(model), Layer(model), *stacks, Embed(model), Whole(model)]
