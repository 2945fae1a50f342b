"""The streaming contract: what must hold of everything that streams.

Masked chunks and cached steps are the same computation; what lies in padding, in other rows or in a future out of
reach has no say; and the chunk size does have one, or these checks would prove nothing.
"""

from __future__ import annotations

import random
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from asr.nn.chunks import ChunkContext
from asr.tensors import tree_cat, tree_leaves, tree_select
from tests.streaming.subjects import Output, State, Subject

TOLERANCE = 1e-4
SAME = 1e-5
"""For one computation in batches of different shapes."""


class Batch(NamedTuple):
    """Inputs (B, T, F), with lengths (B,)."""

    x: Tensor
    lens: Tensor


def make_batch(subject: Subject, frames: list[int], generator: torch.Generator) -> Batch:
    """Random rows of the given numbers of frames, or a little longer where several lengths make as many."""
    lens = torch.tensor([subject.input_rate * n + (7 + n % 2 if subject.overlap else 0) for n in frames])
    x = torch.randn(len(frames), int(lens.max()), subject.input_dim, generator=generator)
    return Batch(x, lens)


def num_chunks(subject: Subject, lens: Tensor, context: ChunkContext) -> int:
    """Chunks that the longest row fills, the last one perhaps in part."""
    assert context.chunk_size is not None
    return max(-(-int(subject.num_frames(lens).max()) // context.chunk_size), 1)


def random_split(chunks: int, rng: random.Random) -> list[int]:
    """Steps of one or more whole chunks."""
    split = []
    while chunks:
        split.append(rng.randint(1, min(chunks, 3)))
        chunks -= split[-1]
    return split


def reach_beyond(subject: Subject, context: ChunkContext) -> int:
    """Input frames that a step reads beyond its chunks: what the subject needs, and what the context lets it see."""
    return subject.overlap + subject.input_rate * context.lookahead


class Feed:
    """Hands out an utterance step by step, from any chunk on: true remaining lengths, at most the window."""

    def __init__(self, subject: Subject, batch: Batch, context: ChunkContext):
        self.subject, self.batch, self.context = subject, batch, context

    def window(self, chunk: int, chunks: int) -> Batch:
        """The input of `chunks` chunks from number `chunk` on, and what the subject reads beyond them."""
        rate, size = self.subject.input_rate, self.context.chunk_size
        start, length = rate * size * chunk, rate * size * chunks + reach_beyond(self.subject, self.context)
        x = self.batch.x[:, start : start + length]
        x = pad(x, (0, 0, 0, length - x.shape[1]))
        return Batch(x, (self.batch.lens - start).clamp(0, length))


def run_steps(subject: Subject, batch: Batch, context: ChunkContext, split: list[int]) -> Output:
    """The whole of `batch` in steps of so many chunks each."""
    feed, chunk = Feed(subject, batch, context), 0
    state = subject.init_state(batch.x.shape[0], context)
    outs, lens = [], torch.zeros_like(batch.lens)
    for chunks in split:
        out, out_lens, next_state = subject.step(*feed.window(chunk, chunks), state, context)
        assert_same_form(state, next_state)
        state, chunk = next_state, chunk + chunks
        outs.append(out)
        lens = lens + out_lens
    return Output(torch.cat(outs, dim=1), lens, state)


def assert_same_form(before: State, after: State) -> None:
    """A state keeps its shapes and types, batch first, and no two leaves are one tensor."""
    forms = [[(leaf.shape, leaf.dtype) for leaf in tree_leaves(state)] for state in (before, after)]
    assert forms[0] == forms[1]
    starts = [leaf.data_ptr() for leaf in tree_leaves(before) if leaf.numel()]
    assert len(set(starts)) == len(starts), "two leaves of a state share one tensor"


def valid(output: Output) -> list[Tensor]:
    """Each row's valid frames."""
    return [row[:count] for row, count in zip(output.out, output.lens.tolist())]


def difference(a: list[Tensor], b: list[Tensor]) -> float:
    """The largest difference between rows; they must be equally long."""
    assert [row.shape for row in a] == [row.shape for row in b]
    return max(((p - q).abs().max().item() for p, q in zip(a, b) if p.numel()), default=0.0)


# -- the clauses


def check_masked_equals_stepped(subject: Subject, batch: Batch, context: ChunkContext, split: list[int]) -> None:
    """Whole utterances under a mask give what steps give, however they are split into whole chunks."""
    with torch.no_grad():
        masked = subject.whole(*batch, context)
        stepped = run_steps(subject, batch, context, split)
    assert torch.equal(masked.lens, stepped.lens)
    off = difference(valid(masked), valid(stepped))
    assert off <= TOLERANCE, f"{subject.name} {context} in steps of {split} chunks: off by {off:.3g}"


def gradients(subject: Subject, batch: Batch, run) -> list[Tensor]:
    """Gradients of a fixed random sum over the valid frames, for the input and every parameter."""
    x = batch.x.clone().requires_grad_()
    rows = valid(run(Batch(x, batch.lens)))
    generator = torch.Generator().manual_seed(1)
    loss = sum((row * torch.randn(row.shape, generator=generator)).sum() for row in rows)
    leaves = [x, *subject.parameters()]
    found = torch.autograd.grad(loss, leaves, allow_unused=True)
    return [torch.zeros_like(leaf) if grad is None else grad for leaf, grad in zip(leaves, found)]


def assert_same_gradients(a: list[Tensor], b: list[Tensor], what: str) -> None:
    total = sum(grad.double().norm() ** 2 for grad in a) ** 0.5
    assert total > 0
    for first, second in zip(a, b):
        off = (first - second).double().norm()
        assert off <= 1e-4 * first.double().norm() + 1e-6 * total, f"{what}: gradient of {tuple(first.shape)}"


def check_gradients(subject: Subject, batch: Batch, context: ChunkContext, split: list[int]) -> None:
    """Back-propagation through steps gives what it gives through the mask."""
    masked = gradients(subject, batch, lambda b: subject.whole(*b, context))
    stepped = gradients(subject, batch, lambda b: run_steps(subject, b, context, split))
    assert_same_gradients(masked, stepped, f"{subject.name} {context}")


def _modes(subject: Subject, context: ChunkContext, rng: random.Random):
    """Ways to run a batch: without chunks, under the mask, in steps."""

    def steps(batch: Batch) -> Output:
        return run_steps(subject, batch, context, random_split(num_chunks(subject, batch.lens, context), rng))

    yield "whole", lambda batch: subject.whole(*batch, ChunkContext())
    yield "masked", lambda batch: subject.whole(*batch, context)
    yield "stepped", steps


def with_garbage(subject: Subject, batch: Batch) -> Batch:
    """The same rows, with something else behind their ends."""
    beyond = torch.arange(batch.x.shape[1]) >= batch.lens.unsqueeze(1)
    garbage = 1e3 * torch.randn(batch.x.shape, generator=torch.Generator().manual_seed(2))
    if subject.padding_may_be_nan:
        garbage[:, 0::3], garbage[:, 1::3] = torch.nan, torch.inf
    return Batch(torch.where(beyond.unsqueeze(2), garbage, batch.x), batch.lens)


def check_padding(subject: Subject, batch: Batch, context: ChunkContext, rng: random.Random) -> None:
    """What lies in padding changes nothing, neither results nor gradients."""
    for mode, run in _modes(subject, context, rng):
        state = rng.getstate()
        with torch.no_grad():
            clean = valid(run(batch))
            rng.setstate(state)
            dirty = valid(run(with_garbage(subject, batch)))
        assert difference(clean, dirty) <= SAME, f"{subject.name} {mode}: padding shows"
        clean_grads = gradients(subject, batch, run)
        dirty_grads = gradients(subject, with_garbage(subject, batch), run)
        assert_same_gradients(clean_grads, dirty_grads, f"{subject.name} {mode} with garbage")


@torch.no_grad()
def check_neighbours(subject: Subject, batch: Batch, context: ChunkContext, rng: random.Random) -> None:
    """A row is what it is alone, whatever stands beside it and however long that is."""
    for mode, run in _modes(subject, context, rng):
        together = valid(run(batch))
        for row, length in enumerate(batch.lens.tolist()):
            alone = Batch(batch.x[row : row + 1, :length], batch.lens[row : row + 1])
            off = difference(valid(run(alone)), together[row : row + 1])
            assert off <= SAME * 10, f"{subject.name} {mode} row {row}: off by {off:.3g} from itself alone"


@torch.no_grad()
def check_positions(subject: Subject, batch: Batch, context: ChunkContext, rng: random.Random) -> None:
    """Streams that started at different moments share a batch, in any order, and can be reordered on the way."""
    expected = valid(subject.whole(*batch, context))
    feeds = [Feed(subject, Batch(x[None], n[None]), context) for x, n in zip(*batch)]
    chunks = [num_chunks(subject, n[None], context) for n in batch.lens]
    heads = [rng.randint(0, n - 1) for n in chunks]
    states, found = [], []
    for feed, head in zip(feeds, heads):
        state, out = subject.init_state(1, context), []
        for chunk in range(head):
            piece, lens, state = subject.step(*feed.window(chunk, 1), state, context)
            out.append(piece[0, : int(lens)])
        states.append(state)
        found.append(out)
    order = torch.tensor(rng.sample(range(len(feeds)), len(feeds)))
    state = tree_select(tree_cat(states), order)
    for step in range(max(total - head for total, head in zip(chunks, heads))):
        windows = [feeds[row].window(heads[row] + step, 1) for row in order.tolist()]
        out, lens, state = subject.step(*map(torch.cat, zip(*windows)), state, context)
        for place, row in enumerate(order.tolist()):
            found[row].append(out[place, : int(lens[place])])
        shuffle = torch.tensor(rng.sample(range(len(feeds)), len(feeds)))
        order, state = order[shuffle], tree_select(state, shuffle)
    off = difference(expected, [torch.cat(pieces) for pieces in found])
    assert off <= TOLERANCE, f"{subject.name} {context}: streams at different positions, off by {off:.3g}"


@torch.no_grad()
def check_future(subject: Subject, batch: Batch, context: ChunkContext, rng: random.Random) -> None:
    """Nothing beyond a chunk and its lookahead moves its output; the last frame within reach does."""
    chunk = rng.randrange(max(int(subject.num_frames(batch.lens).min()) // context.chunk_size - 1, 1))
    reach = subject.input_rate * context.chunk_size * (chunk + 1) + reach_beyond(subject, context)
    done = context.chunk_size * (chunk + 1) // subject.frames_per_output
    before = subject.whole(*batch, context).out[:, :done]
    beyond, within = batch.x.clone(), batch.x.clone()
    beyond[:, reach:] = torch.randn(beyond[:, reach:].shape, generator=torch.Generator().manual_seed(3))
    assert beyond.shape[1] > reach, "the batch is too short to have a future"
    moved = subject.whole(beyond, batch.lens, context).out[:, :done]
    assert (moved - before).abs().max() <= 1e-6, f"{subject.name} {context}: chunk {chunk} sees beyond its lookahead"
    within[:, reach - 1] += 3.0
    moved = subject.whole(within, batch.lens, context).out[:, :done]
    assert (moved - before).abs().max() > 1e-6, f"{subject.name}: needs less lookahead than it says"


@torch.no_grad()
def check_context_counts(subject: Subject, batch: Batch, context: ChunkContext) -> None:
    """Another chunk size, another result; another left context, too, where there is any attention."""
    outputs = valid(subject.whole(*batch, context))
    if subject.sees_chunks:
        other = ChunkContext(chunk_size=context.chunk_size * 2, left_context=context.left_context)
        assert difference(outputs, valid(subject.whole(*batch, other))) > 1e-3, f"{subject.name}: chunks do not count"
    if subject.sees_left_context:
        other = ChunkContext(chunk_size=context.chunk_size, left_context=context.left_frames + context.chunk_size)
        assert difference(outputs, valid(subject.whole(*batch, other))) > 1e-4, f"{subject.name}: the past is ignored"


def check_contract(subject: Subject, context: ChunkContext, *, seed: int) -> None:
    """All clauses, on ragged rows: one fills its last chunk, others do not, one is shorter than a chunk."""
    assert all(module.supports_step for module in subject.modules()), subject.name
    assert sum(module.lookahead for module in subject.modules()) == subject.overlap, subject.name
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    size, past = context.chunk_size, context.left_frames
    past += context.lookahead
    frames = [past + 3 * size + rng.randrange(1, size), 3 * size, past + 2 * size + rng.randrange(1, size), size // 2]
    rng.shuffle(frames)
    batch = make_batch(subject, frames, generator)
    split = random_split(num_chunks(subject, batch.lens, context), rng)
    check_masked_equals_stepped(subject, batch, context, split)
    check_gradients(subject, batch, context, split)
    check_padding(subject, batch, context, rng)
    check_neighbours(subject, batch, context, rng)
    check_positions(subject, batch, context, rng)
    long = Batch(*(leaf[batch.lens > batch.lens.min()] for leaf in batch))
    check_future(subject, long, context, rng)
    check_context_counts(subject, batch, context)
