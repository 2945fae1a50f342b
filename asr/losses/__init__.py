"""Losses: the simple, pruned and full transducer loss, CTC with and without consistency, and cross-entropy."""

from asr.losses.backend import Backend
from asr.losses.config import LossScales, TransducerLossConfig, loss_scales
from asr.losses.consistency import consistency_loss
from asr.losses.ctc import ctc_loss
from asr.losses.full import full_transducer_loss
from asr.losses.lattice import LatticeScore, Topology, transducer_score
from asr.losses.pruned import pruned_joiner_loss, pruned_transducer_loss
from asr.losses.ranges import prune_ranges
from asr.losses.simple import SimpleLoss, smoothed_transducer_loss
from asr.losses.smoothing import smoothed_cross_entropy

__all__ = [
    "Backend",
    "LatticeScore",
    "LossScales",
    "SimpleLoss",
    "Topology",
    "TransducerLossConfig",
    "consistency_loss",
    "ctc_loss",
    "full_transducer_loss",
    "loss_scales",
    "prune_ranges",
    "pruned_joiner_loss",
    "pruned_transducer_loss",
    "smoothed_cross_entropy",
    "smoothed_transducer_loss",
    "transducer_score",
]
