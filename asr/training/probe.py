"""A few training steps on made-up batches: what they take of time and memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from asr.models.transducer import Transducer
from asr.optim import ScaledAdam, parameter_groups
from asr.training.objective import TransducerObjective
from asr.training.precision import Precision
from asr.training.recompute import recompute_layers
from asr.training.run_config import RunConfig
from asr.training.world import own_device

CPU_AUDIO_S = 20.0
"""Audio of a probe where there is no GPU: enough to keep a core busy, little enough to wait for."""
TOKENS_PER_S = 3.0
"""Of read speech in sub-words; it has little influence."""


class Probe(NamedTuple):
    """What one made-up batch took."""

    duration_s: float
    """Of each utterance."""
    rows: int
    step_s: float
    """Forward, backward and update, seconds."""
    bytes_per_s: float
    """Memory that grows with the batch, per second of audio."""
    device: str
    """Its name, and how it computed."""

    @property
    def audio_s(self) -> float:
        return self.rows * self.duration_s


def probe_bins(config: RunConfig) -> Iterator[Probe]:
    """Batches of short, middling and long utterances, one after the other; draws from torch's generator."""
    training = config.training
    device, precision = own_device(training.device), training.precision
    model = Transducer(config.model).to(device).train()
    recomputes = training.recompute and recompute_layers(model) > 0
    how = f"{_name(device)} in {precision.value}" + (", layers recomputed" if recomputes else "")
    objective = TransducerObjective(model, config.loss, config.consistency).train()
    optimizer = ScaledAdam(parameter_groups(model), config.optim)
    longest = config.data.max_utterance_s
    for duration_s in (longest / 4, longest / 2, longest):
        audio_s = min(config.data.max_duration_s, CPU_AUDIO_S if device.type == "cpu" else float("inf"))
        rows = max(int(audio_s / duration_s), 1)
        batch = _made_up(rows, duration_s, config.model.vocab_size, device)
        _step(objective, optimizer, batch, precision)  # slow: kernels are chosen, memory is asked for
        started = time.perf_counter()
        _step(objective, optimizer, batch, precision)
        elapsed = time.perf_counter() - started
        yield Probe(duration_s, rows, elapsed, _batch_bytes(objective, batch, precision) / (rows * duration_s), how)


def _made_up(rows: int, duration_s: float, vocab_size: int, device: torch.device) -> tuple[Tensor, ...]:
    """Noise with random transcripts."""
    frames, symbols = int(100 * duration_s), max(int(TOKENS_PER_S * duration_s), 1)
    tokens = torch.randint(1, vocab_size, (rows, symbols))
    lens, token_lens = torch.full((rows,), frames), torch.full((rows,), symbols)
    return tuple(x.to(device) for x in (torch.randn(rows, frames, 80) - 8.0, lens, tokens, token_lens))


def _loss(objective: TransducerObjective, batch: tuple[Tensor, ...], precision: Precision) -> Tensor:
    with precision.autocast(batch[0].device):
        return objective(*batch, step=1).total


def _step(
    objective: TransducerObjective, optimizer: ScaledAdam, batch: tuple[Tensor, ...], precision: Precision
) -> None:
    _loss(objective, batch, precision).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if batch[0].is_cuda:
        torch.cuda.synchronize()


def _batch_bytes(objective: TransducerObjective, batch: tuple[Tensor, ...], precision: Precision) -> float:
    """Memory at the peak of a step beyond what was held before; on a CPU, what backward needs of forward."""
    if batch[0].is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        _loss(objective, batch, precision).backward()
        gradients = sum(4 * p.numel() for p in objective.parameters() if p.grad is not None)
        peak = torch.cuda.max_memory_allocated() - before - gradients
        objective.zero_grad(set_to_none=True)
        return peak
    kept: dict[int, int] = {}
    parameters = {p.untyped_storage().data_ptr() for p in objective.parameters()}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters and not _is_of_weights(tensor):
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = _loss(objective, batch, precision)  # alive until all is counted, or freed memory would be counted twice
    del loss
    return sum(kept.values())


def _is_of_weights(tensor: Tensor) -> bool:
    """Whether a tensor is made of a parameter alone, such as its copy in 16 bits, which no batch makes larger."""
    node: Any = tensor.grad_fn
    while node is not None and len(node.next_functions) == 1:
        node = node.next_functions[0][0]
    return hasattr(node, "variable")


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
