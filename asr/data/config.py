"""What training data there is, how it is batched, and how it is varied."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

from asr.errors import ConfigError

MAX_SHARD_CUTS = 10_000
"""Most utterances with audio that wait in memory: 2 GB of FLAC for LibriSpeech, in every process."""


class FeatureSource(Enum):
    """Where features come from while training."""

    STORED = "stored"
    ON_THE_FLY = "on_the_fly"


@dataclass(kw_only=True)
class DataConfig:
    """A prepared corpus and the way its utterances become batches."""

    folder: str = "data/digits"
    """Where the recipe put `cuts-<split>.jsonl.gz`, `feats-<split>.jsonl.gz` and `tokenizer.json`."""
    train: str = "train"
    """Name of the training split."""
    dev: str = "dev"
    """Name of the split that settings are chosen on."""
    test: list[str] = field(default_factory=lambda: ["test"])
    """Names of the splits that results are reported on."""
    shards: str | None = None
    """Read training data from tars of `asr data shard` instead: a folder; a URL (https://, s3://; needs smart_open);
    or a command to which `/NAME` is added for each file, such as "pipe:curl -sfL https://host/train"."""
    exclude_speakers: list[str] = field(default_factory=list)
    """Speakers left out of training, to see how well the model does on a voice it never heard."""
    features: FeatureSource = FeatureSource.STORED
    """Read the stored features, or compute them from audio in the loader's workers."""
    speeds: list[float] = field(default_factory=lambda: [0.9, 1.0, 1.1])
    """Speeds at which every training utterance is seen in an epoch (pitch changes too); above 0."""
    max_duration_s: float = 10.0
    """Audio per batch and process, padding included, seconds; exceeded by less than the batch's longest utterance."""
    frames_multiple: int = 1
    """Training batches are padded to a multiple of so many feature frames. Of few different lengths, libraries can keep
    what they work out for each; 32 suits small models on a CPU."""
    num_buckets: int = 10
    """Groups of similar duration that batches are drawn from; 1 draws without regard to duration."""
    buffer_cuts: int = 100_000
    """Utterances among which the order is drawn; with fewer than the corpus has, order is random only within them.
    Those of data.shards hold their audio, some 0.2 MB each: of them no more than 10 000 are taken, whatever is set."""
    drop_last: bool = False
    """Leave out, at the end of an epoch, what does not fill a batch."""
    min_utterance_s: float = 0.1
    """Shorter training utterances are left out, seconds."""
    max_utterance_s: float = 30.0
    """Longer training utterances are left out, seconds."""
    spare_frames: int = 0
    """Encoder frames, 25 Hz, that a training utterance must have beyond one per token; CTC is published with 2."""
    num_workers: int = 2
    """Processes that prepare batches; 0 prepares them in the training process. Never changes a batch's content."""
    prefetch: int = 4
    """Batches each worker prepares ahead; 1 or more."""
    lazy: bool = False
    """Read the list of cuts anew at every pass instead of keeping it in memory: for a million utterances and more."""
    seed: int = 0
    """Of order and augmentation; together with the epoch it determines both."""

    def __post_init__(self) -> None:
        if not self.speeds or min(self.speeds) <= 0:
            raise ConfigError(
                f"data.speeds={list(self.speeds)} must hold positive factors; use [0.9, 1.0, 1.1] or [1.0]"
            )
        for name in ("max_duration_s", "frames_multiple", "num_buckets", "buffer_cuts", "max_utterance_s", "prefetch"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"data.{name}={getattr(self, name)} must be above 0")
        if self.spare_frames < 0:
            raise ConfigError(f"data.spare_frames={self.spare_frames} must be 0 or more")
        if self.num_workers < 0:
            raise ConfigError(f"data.num_workers={self.num_workers} must be 0 or more; 0 works without processes")
        if not 0 <= self.min_utterance_s < self.max_utterance_s:
            raise ConfigError(
                f"data.min_utterance_s={self.min_utterance_s} must lie between 0 and "
                f"data.max_utterance_s={self.max_utterance_s}"
            )

    @property
    def order_cuts(self) -> int:
        """Utterances among which the order is really drawn: few enough for memory where they carry their audio."""
        return self.buffer_cuts if self.shards is None else min(self.buffer_cuts, MAX_SHARD_CUTS)

    def padded_s(self, seconds: float) -> float:
        """How long a training batch is, padding included, whose longest utterance has so many seconds."""
        return math.ceil(seconds * 100 / self.frames_multiple) * self.frames_multiple / 100


class MaskFill(Enum):
    """What stands where a mask is."""

    UTTERANCE = "utterance"
    """The mean of all the utterance's features, as published."""
    BIN = "bin"
    """Each mel bin's own mean: a gentler blank, of which small models learn sooner."""


@dataclass(kw_only=True)
class MaskConfig:
    """Blanked bands and stretches (SpecAugment); each utterance by its own length. Frames are 100 Hz."""

    prob: float = 0.9
    """Share of utterances that are masked, 0 to 1."""
    freq_masks: int = 2
    """Blanked bands per utterance, 0 or more."""
    freq_mask_bins: int = 26
    """Widest band, mel bins; the width is drawn from 0 up to this."""
    time_masks: int = 10
    """Most blanked stretches per utterance, 0 or more."""
    time_mask_frames: int = 100
    """Longest stretch, frames; an utterance gets one stretch per so many frames it may lose."""
    time_mask_fraction: float = 0.15
    """Largest share of an utterance that its stretches may take together, 0 to 1."""
    fill: MaskFill = MaskFill.UTTERANCE
    """What blanks are filled with."""
    time_warp_prob: float = 0.0
    """Share of utterances that are warped, 0 to 1."""
    time_warp_frames: int = 20
    """Farthest that a moment is moved by warping, frames; the length stays."""

    def __post_init__(self) -> None:
        _check_probs("augment.masks", self, "prob", "time_mask_fraction", "time_warp_prob")
        for name in ("freq_masks", "freq_mask_bins", "time_masks", "time_warp_frames"):
            if getattr(self, name) < 0:
                raise ConfigError(f"augment.masks.{name}={getattr(self, name)} must be 0 or more")
        if self.time_mask_frames < 1:
            raise ConfigError(f"augment.masks.time_mask_frames={self.time_mask_frames} must be 1 or more")


@dataclass(kw_only=True)
class LevelConfig:
    """Louder and quieter speech over an unchanged background."""

    prob: float = 0.5
    """Share of utterances whose level changes, 0 to 1."""
    min_db: float = -20.0
    """Lowest change, dB; when the level goes down, the background is filled up to where it was."""
    max_db: float = 6.0
    """Highest change, dB."""

    def __post_init__(self) -> None:
        _check_probs("augment.level", self, "prob")
        if self.min_db > self.max_db:
            raise ConfigError(f"augment.level.min_db={self.min_db} must not exceed augment.level.max_db={self.max_db}")


@dataclass(kw_only=True)
class ColourConfig:
    """Other microphones: smooth frequency responses of random shape."""

    prob: float = 0.5
    """Share of utterances that are coloured, 0 to 1."""
    max_db: float = 8.0
    """Largest gain or loss of a bin, dB."""
    bends: int = 5
    """Points of the curve, spread evenly over the mel bins, that are drawn; it is straight between them; 2 or more."""

    def __post_init__(self) -> None:
        _check_probs("augment.colour", self, "prob")
        if self.max_db < 0 or self.bends < 2:
            raise ConfigError(
                f"augment.colour.max_db={self.max_db} must be 0 or more and augment.colour.bends={self.bends} 2 or more"
            )


@dataclass(kw_only=True)
class SilenceConfig:
    """Silence before and behind the speech, so that neither an abrupt end nor a padded one surprises the model."""

    lead_prob: float = 0.3
    """Share of utterances that get silence in front, 0 to 1."""
    tail_prob: float = 0.5
    """Share of utterances that get silence behind, 0 to 1."""
    max_frames: int = 50
    """Longest silence, frames at 100 Hz; the length is drawn from 1 up to this."""
    digital_share: float = 0.3
    """Share of the silences that are digital (all samples zero, as clients pad); the others are background."""

    def __post_init__(self) -> None:
        _check_probs("augment.silence", self, "lead_prob", "tail_prob", "digital_share")
        if self.max_frames < 1:
            raise ConfigError(f"augment.silence.max_frames={self.max_frames} must be 1 or more; null switches it off")


@dataclass(kw_only=True)
class WarpConfig:
    """Slower, faster, deeper, higher: features stretched along time or along frequency."""

    tempo: float = 0.1
    """Largest change of tempo, natural log: 0.1 is a tenth slower to a tenth faster; 0 switches it off."""
    frequency: float = 0.0
    """Largest shift of mel bins, as a share of their index (0.1: up to ten percent); 0 switches it off."""

    def __post_init__(self) -> None:
        for name in ("tempo", "frequency"):
            if not 0 <= getattr(self, name) <= 0.5:
                raise ConfigError(f"augment.warp.{name}={getattr(self, name)} must lie between 0 and 0.5")


@dataclass(kw_only=True)
class NoiseConfig:
    """Recorded noise under the speech."""

    prob: float = 0.5
    """Share of utterances with noise, 0 to 1."""
    min_snr_db: float = 10.0
    """Lowest ratio of the mean powers of speech and noise, dB."""
    max_snr_db: float = 20.0
    """Highest ratio, dB."""
    cuts: str | None = None
    """List of noise recordings; null: `noise/cuts-musan.jsonl.gz` in data.folder, where recipes put it."""

    def __post_init__(self) -> None:
        _check_probs("augment.noise", self, "prob")
        if self.min_snr_db > self.max_snr_db:
            raise ConfigError(
                f"augment.noise.min_snr_db={self.min_snr_db} must not exceed augment.noise.max_snr_db={self.max_snr_db}"
            )


@dataclass(kw_only=True)
class ReverbConfig:
    """Rooms around the speech; needs data.features=ON_THE_FLY."""

    prob: float = 0.3
    """Share of utterances that are heard in a room, 0 to 1."""
    cuts: str | None = None
    """List of impulse responses; null: `noise/cuts-rirs.jsonl.gz` in data.folder, where recipes put it."""

    def __post_init__(self) -> None:
        _check_probs("augment.reverb", self, "prob")


@dataclass(kw_only=True)
class AugmentConfig:
    """Random variations of training utterances, in the order in which they are applied; null leaves one out."""

    warp: WarpConfig | None = None
    """Tempo and frequency."""
    level: LevelConfig | None = field(default_factory=LevelConfig)
    """Level over an unchanged background."""
    colour: ColourConfig | None = None
    """Microphones."""
    silence: SilenceConfig | None = field(default_factory=SilenceConfig)
    """Silence at the ends."""
    reverb: ReverbConfig | None = None
    """Rooms; waveforms only."""
    noise: NoiseConfig | None = None
    """Recorded noise."""
    masks: MaskConfig | None = field(default_factory=MaskConfig)
    """SpecAugment; leave it out where the training objective masks (CR-CTC)."""

    def longest_s(self, seconds: float) -> float:
        """How long these variations can make an utterance."""
        stretched = seconds * math.exp(self.warp.tempo) if self.warp else seconds
        return stretched + (2 * self.silence.max_frames / 100 if self.silence else 0.0)


def _check_probs(group: str, cfg: object, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(cfg, name) <= 1:
            raise ConfigError(f"{group}.{name}={getattr(cfg, name)} must lie between 0 and 1")
