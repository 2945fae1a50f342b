"""Cuts to batches: manifests, stored features, sampling, augmentation, collation."""

from asr.data.features_store import at_speeds, feats_path, feature_stats, store_features
from asr.data.manifests import (
    Manifest,
    Rejected,
    Utterance,
    build_cuts,
    check_lengths,
    cuts_from_paths,
    cuts_path,
    read_cuts,
    transcript,
    write_cuts,
    write_quarantine,
)

__all__ = [
    "Manifest",
    "Rejected",
    "Utterance",
    "at_speeds",
    "build_cuts",
    "check_lengths",
    "cuts_from_paths",
    "cuts_path",
    "feats_path",
    "feature_stats",
    "read_cuts",
    "store_features",
    "transcript",
    "write_cuts",
    "write_quarantine",
]
