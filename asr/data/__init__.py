"""Cuts to batches: manifests, stored features, sampling, augmentation, collation."""

from asr.data.augment import Augmenter
from asr.data.capacity import Bin, Capacity, bins_for
from asr.data.collate import Batch, collate
from asr.data.config import (
    AugmentConfig,
    ColourConfig,
    DataConfig,
    FeatureSource,
    LevelConfig,
    MaskConfig,
    NoiseConfig,
    ReverbConfig,
    SilenceConfig,
    WarpConfig,
)
from asr.data.features_store import at_speeds, feats_path, feature_stats, store_features
from asr.data.loader import TrainLoader, all_cuts, eval_loader, heard_cuts, split_cuts, train_loader
from asr.data.manifests import (
    Manifest,
    Rejected,
    Utterance,
    build_cuts,
    cuts_from_paths,
    cuts_path,
    read_cuts,
    transcript,
    write_cuts,
    write_quarantine,
)
from asr.data.masks import spec_augment_rows
from asr.data.replay import ReplayConfig
from asr.data.usable import left_out, usable

__all__ = [
    "AugmentConfig",
    "Augmenter",
    "Batch",
    "Bin",
    "Capacity",
    "DataConfig",
    "FeatureSource",
    "ColourConfig",
    "LevelConfig",
    "Manifest",
    "MaskConfig",
    "NoiseConfig",
    "Rejected",
    "ReplayConfig",
    "ReverbConfig",
    "SilenceConfig",
    "TrainLoader",
    "Utterance",
    "WarpConfig",
    "all_cuts",
    "at_speeds",
    "bins_for",
    "build_cuts",
    "collate",
    "cuts_from_paths",
    "cuts_path",
    "eval_loader",
    "feats_path",
    "feature_stats",
    "left_out",
    "read_cuts",
    "spec_augment_rows",
    "split_cuts",
    "store_features",
    "train_loader",
    "heard_cuts",
    "transcript",
    "usable",
    "write_cuts",
    "write_quarantine",
]
