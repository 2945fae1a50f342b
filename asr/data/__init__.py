"""Cuts to batches: manifests, stored features, sampling, augmentation, collation."""

from asr.data.features_store import feature_stats, store_features
from asr.data.manifests import (
    Manifest,
    Rejected,
    Utterance,
    build_cuts,
    check_lengths,
    cuts_from_paths,
    read_cuts,
    write_cuts,
    write_quarantine,
)

__all__ = [
    "Manifest",
    "Rejected",
    "Utterance",
    "build_cuts",
    "check_lengths",
    "cuts_from_paths",
    "feature_stats",
    "read_cuts",
    "store_features",
    "write_cuts",
    "write_quarantine",
]
