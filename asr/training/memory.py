"""How large a batch may be: measured with the real loss, by length of audio and transcript, once per machine."""

from __future__ import annotations

import gc
import hashlib
import json
import math
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asr.data import Batch, Bin, Capacity
from asr.errors import ConfigError
from asr.models.transducer import TransducerConfig
from asr.training.examine import Moment
from asr.training.objective import TransducerObjective
from asr.training.precision import Precision
from asr.training.snapshot import Snapshot

AIM = 0.95  # of the limit: what is left is for draws that need a little more than those that were measured
ENOUGH = 0.85
MOST = 4096  # utterances
_DRAWS = 3


def peak_bytes(work: Callable[[], Any], device: torch.device) -> int:
    """The most memory that tensors took while `work` ran, beyond what they took before."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as record:
        work()
    events = (event for event in record.profiler.kineto_results.events() if event.name() == "[memory]")
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


def standing_bytes(snapshot: Snapshot) -> int:
    """What a run holds all the time: parameters, two moments of each, and averages; gradients, while the next batch of
    a step goes forward; and where processes exchange gradients, the copy that they exchange."""
    model = snapshot.model
    held: list[Iterable[Tensor]] = [model.state_dict().values(), snapshot.average.tensors.values()]
    held += [snapshot.ema.tensors.values()] if snapshot.ema else []
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    copies = 2 + (snapshot.arrangement.accumulate > 1) + (snapshot.world.size > 1)
    return sum(map(_bytes, (tensor for tensors in held for tensor in tensors))) + copies * sum(map(_bytes, trained))


@contextmanager
def _at_once(objective: TransducerObjective) -> Iterator[None]:
    """Without the delay of a second view: made-up batches are as long as the longest would make them."""
    before = objective.consistency
    objective.consistency = replace(before, max_delay=0) if before else None
    try:
        yield
    finally:
        objective.consistency = before


class MemoryProbe:
    """Measures batches of made-up utterances; leaves weights, gradients and regularisers as they were.

    Args:
        objective: the loss that is trained with.
        snapshot: the run's state, for what it holds besides.
        precision: number format.
        limit: bytes that the run may take on its device.
        longest_s: how long augmentation may make an utterance, seconds to seconds.
        recompute: whether layers forget what they worked out.
    """

    def __init__(
        self,
        objective: TransducerObjective,
        snapshot: Snapshot,
        precision: Precision,
        limit: int,
        longest_s: Callable[[float], float] = lambda seconds: seconds,
        recompute: bool = False,
    ):
        self.objective, self.snapshot, self.precision = objective, snapshot, precision
        self.device = snapshot.world.device
        self.limit, self.longest_s, self.recompute = limit, longest_s, recompute
        self.standing = standing_bytes(snapshot)

    def need(self, bin: Bin, utterances: int, *, draws: int = 1) -> int:
        """Bytes that a run takes at the peak of a step over `utterances` at the upper end of `bin`."""
        seconds = self.longest_s(bin.seconds)
        batch = made_up(seconds, bin.tokens, utterances, self.objective.model.config).to(self.device)
        parameters = [parameter for parameter in self.objective.parameters() if parameter.requires_grad]

        def work() -> None:
            with self.precision.autocast(self.device):
                loss = self.objective(*batch[:4], step=1)
            torch.autograd.grad(loss.total, parameters, allow_unused=True)

        self.objective.train()
        peak = 0
        with _at_once(self.objective):
            for draw in range(draws):
                Moment(draw, 0, 0, self.precision).seed_all()
                peak = max(peak, peak_bytes(work, self.device))
        self.snapshot.regularisers.enter(0)
        return self.standing + peak + sum(map(_bytes, batch[:4]))

    def fit(self, bin: Bin) -> Bin:
        """The bin with as many utterances as fit.

        Raises ConfigError where not even one does.
        """
        one = self.need(bin, 1)
        if one > self.limit:
            raise ConfigError(
                f"one utterance of {bin.seconds:.1f} s needs {one / 1e9:.2f} GB, more than training.memory_limit_gb="
                f"{self.limit / 1e9:g}; raise it, lower data.max_utterance_s, or take a smaller model"
            )
        slope = max((self.need(bin, 3) - one) / 2, 1.0)
        best, count = 1, self._guess(1, one, slope)
        too_many = MOST + 1
        while best < count < too_many:
            found = self.need(bin, count, draws=_DRAWS)
            if found <= AIM * self.limit:
                best = count
                if found >= ENOUGH * self.limit:
                    break
            else:
                too_many = count
            slope = max((found - one) / (count - 1), 1.0)
            count = min(max(self._guess(count, found, slope), best + 1), too_many - 1)
        return Bin(bin.seconds, bin.tokens, best)

    def _guess(self, count: int, found: int, slope: float) -> int:
        """How many would fit, were the need a straight line."""
        return min(max(count + int((AIM * self.limit - found) // slope), 1), MOST)


def made_up(seconds: float, tokens: int, utterances: int, config: TransducerConfig) -> Batch:
    """A batch of utterances of given lengths, none of which means anything."""
    frames = math.ceil(seconds * 100)
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(utterances, frames, config.encoder.feature_dim, generator=draw) * 3 - 8
    symbols = torch.randint(1, config.vocab_size, (utterances, tokens), generator=draw)
    lens = torch.full((utterances,), frames), torch.full((utterances,), tokens)
    return Batch(features, lens[0], symbols, lens[1], [""] * utterances, [""] * utterances, 0)


def fit_batches(probe: MemoryProbe, bins: Sequence[Bin]) -> Capacity:
    """How many utterances fit, for each bin; measured once per machine, model, loss, limit and set of bins."""
    path = _cache_folder() / f"{_key(probe, bins)}.json"
    try:
        return Capacity.from_plain(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        capacity = Capacity(tuple(probe.fit(bin) for bin in bins))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(capacity.to_plain()) + "\n", encoding="utf-8")
    temporary.replace(path)
    return capacity


def memory_limit(limit_gb: float, device: torch.device) -> int:
    """The limit in bytes; 0 stands for nine tenths of what a GPU has free; raises ConfigError on a CPU."""
    if limit_gb > 0:
        return int(limit_gb * 1e9)
    if device.type != "cuda":
        raise ConfigError("training.memory_limit_gb=0 takes what a GPU has free, and there is none; give a number")
    return int(0.9 * torch.cuda.mem_get_info(device)[0])


def _key(probe: MemoryProbe, bins: Sequence[Bin]) -> str:
    on_gpu = probe.device.type == "cuda"
    facts = {
        "device": torch.cuda.get_device_name(probe.device) if on_gpu else platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "model": repr(probe.objective.model.config),
        "loss": repr((probe.objective.config, probe.objective.consistency)),
        "precision": probe.precision.value,
        "recompute": probe.recompute,
        "standing": probe.standing,
        "limit": probe.limit,
        "bins": [[asdict(bin), probe.longest_s(bin.seconds)] for bin in bins],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "rill" / "memory"


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
