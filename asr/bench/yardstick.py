"""The work all encoder benchmarks share: our medium model and torchaudio's Conformer, on the same four utterances."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from asr.models.transducer import EncoderOutput, Transducer, TransducerConfig
from asr.models.zipformer import ZipformerConfig
from asr.nn.chunks import ChunkContext
from asr.nn.schedule import set_schedule_position

FEATURE_FRAMES = (1000, 950, 900, 800)
"""Our side's, at 100 Hz."""
YARDSTICK_FRAMES = (250, 237, 225, 200)
"""Theirs: already at 25 Hz, so without the cost of a front end."""
FORWARD_FLOP = 77e9
"""Our encoder's products for these utterances, two operations per multiply-add."""
SCHEDULE_POSITION = 10000.0


@dataclass(frozen=True)
class Work:
    """A model with what it is given; calling it runs the encoder."""

    model: nn.Module
    x: Tensor
    lens: Tensor

    def __call__(self) -> Tensor:
        if isinstance(self.model, Transducer):
            out = self.model.encode(self.x, self.lens, context=ChunkContext())
            assert isinstance(out, EncoderOutput)
            return out.out
        return self.model(self.x, self.lens)[0]


def our_work(*, recompute: bool = False) -> Work:
    """The medium model with its front end, all regularisers on, in the middle of their schedules."""
    torch.manual_seed(1)
    model = Transducer(TransducerConfig(encoder=ZipformerConfig(recompute=recompute)))
    set_schedule_position(model, SCHEDULE_POSITION)
    lens = torch.tensor(FEATURE_FRAMES)
    return Work(model, 4 * torch.randn(len(lens), int(lens.max()), 80) - 8, lens)


def yardstick_work() -> Work:
    """torchaudio's Conformer of 54.6 M parameters."""
    from torchaudio.models import Conformer

    torch.manual_seed(1)
    model = Conformer(input_dim=384, num_heads=6, ffn_dim=1536, num_layers=16, depthwise_conv_kernel_size=31)
    lens = torch.tensor(YARDSTICK_FRAMES)
    return Work(model, torch.randn(len(lens), int(lens.max()), 384), lens)
