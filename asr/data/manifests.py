"""From recordings and transcripts to lists of cuts; what is unfit goes to quarantine, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lhotse import AudioSource, CutSet, MonoCut, MultiCut, Recording, SupervisionSegment
from lhotse.cut import Cut
from lhotse.utils import perturb_num_samples

from asr.errors import AudioError, DataError
from asr.features import FbankConfig, audio_info, read_audio

SAMPLE_RATE = 16000


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One transcribed stretch of a recording."""

    id: str
    """Unique name; becomes the cut's id."""
    audio: Path
    """WAV, FLAC, ... file; any rate and channel count that `read_audio` takes."""
    text: str
    """Normalised transcript."""
    speaker: str = ""
    """Speaker's name; empty where unknown."""
    start_s: float = 0.0
    """Where the utterance begins in the recording, seconds."""
    duration_s: float | None = None
    """Its length in seconds; None means to the end of the recording."""


class Rejected(NamedTuple):
    """An utterance that is not used, and why."""

    id: str
    reason: str


class Manifest(NamedTuple):
    """Usable cuts and the rejected rest."""

    cuts: CutSet
    rejected: list[Rejected]


def build_cuts(utterances: Iterable[Utterance], *, num_workers: int = 2, need_text: bool = True) -> Manifest:
    """Read every recording once and make one 16 kHz cut per utterance.

    Rejected, never fatal: audio that is missing, empty, cut short, not audio or not finite; no transcript (where one is
    needed); an id that came before.

    Args:
        utterances: in the order the cuts shall have.
        num_workers: threads that read audio.
        need_text: whether an empty transcript rejects the utterance.
    """
    cuts: dict[str, Cut] = {}
    rejected: list[Rejected] = []
    with ThreadPoolExecutor(max(1, num_workers)) as pool:
        for utterance, made in pool.map(lambda u: (u, _try_cut(u, need_text)), utterances):
            if isinstance(made, str):
                rejected.append(Rejected(utterance.id, made))
            elif utterance.id in cuts:
                rejected.append(Rejected(utterance.id, "an utterance of this id came before"))
            else:
                cuts[utterance.id] = made
    return Manifest(CutSet.from_cuts(cuts.values()), rejected)


def cuts_from_paths(paths: Iterable[Path | str]) -> Manifest:
    """One cut per whole audio file, without transcript; its id is the path as given. Unreadable files are rejected."""
    return build_cuts((Utterance(id=str(path), audio=Path(path), text="") for path in paths), need_text=False)


def _try_cut(utterance: Utterance, need_text: bool) -> Cut | str:
    """The cut, or the reason why there is none."""
    if need_text and not utterance.text.strip():
        return "the transcript is empty"
    try:
        audio = read_audio(utterance.audio, start_s=utterance.start_s, duration_s=utterance.duration_s)
        return _cut(utterance, len(audio.samples))
    except AudioError as error:
        return str(error)


def _cut(utterance: Utterance, num_samples: int) -> Cut:
    """Describe the utterance; `num_samples` of it were found at the recording's own rate."""
    info = audio_info(utterance.audio)
    channels = list(range(info.num_channels))
    source = AudioSource(type="file", channels=channels, source=str(utterance.audio.resolve()))
    # An MPEG header only estimates its length; what was read to the end is the truth.
    total = max(info.num_samples, num_samples) if utterance.start_s or utterance.duration_s else num_samples
    recording = Recording(
        id=utterance.id,
        sources=[source],
        sampling_rate=info.sample_rate,
        num_samples=total,
        duration=total / info.sample_rate,
    )
    duration = num_samples / info.sample_rate
    supervision = SupervisionSegment(
        id=utterance.id,
        recording_id=utterance.id,
        start=0.0,
        duration=duration,
        channel=0 if len(channels) == 1 else channels,
        text=utterance.text,
        speaker=utterance.speaker or None,
    )
    kind = MonoCut if len(channels) == 1 else MultiCut
    cut = kind(
        id=utterance.id,
        start=utterance.start_s,
        duration=duration,
        channel=supervision.channel,
        recording=recording,
        supervisions=[supervision],
    )
    return cut if info.sample_rate == SAMPLE_RATE else cut.resample(SAMPLE_RATE)


def transcript(cut: Cut) -> str:
    """The text of a cut: its supervisions' texts, joined by spaces."""
    return " ".join(s.text for s in cut.supervisions if s.text)


def num_frames(cut: Cut, speed: float = 1.0, *, fbank: FbankConfig | None = None) -> int:
    """Feature frames (100 Hz) of a cut, played `speed` times as fast."""
    return (fbank or FbankConfig()).num_frames(perturb_num_samples(cut.num_samples, speed))


def encoder_frames(num_frames: int) -> int:
    """Frames (25 Hz) that the encoder makes of so many feature frames (100 Hz)."""
    return max(0, ((num_frames - 7) // 2 + 1) // 2)


def frames_needed(tokens: Sequence[int]) -> int:
    """Fewest encoder frames in which `tokens` can be said: CTC says a blank between two of the same."""
    return len(tokens) + sum(a == b for a, b in zip(tokens, tokens[1:]))


def min_frames(encoder_frames: int) -> int:
    """Fewest feature frames (100 Hz) of which the encoder makes so many (25 Hz)."""
    return 4 * encoder_frames + 5


def cuts_path(folder: Path | str, split: str) -> Path:
    """Where the cuts of a split are."""
    return Path(folder) / f"cuts-{split}.jsonl.gz"


def write_cuts(cuts: Iterable[Cut], path: Path | str) -> None:
    """Write a `cuts-*.jsonl.gz` file, whole or not at all; paths inside its folder are stored relative to it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"unfinished-{path.name}")
    root = path.parent.resolve()
    with CutSet.open_writer(unfinished, overwrite=True) as writer:
        for cut in cuts:
            writer.write(_map_paths(cut, lambda p: p.relative_to(root) if p.is_relative_to(root) else p))
    unfinished.replace(path)


def read_cuts(path: Path | str, *, lazy: bool = False) -> CutSet:
    """Read a `cuts-*.jsonl.gz` file; relative audio and feature paths are resolved against its folder.

    Args:
        path: the file.
        lazy: read it again at every pass instead of keeping it in memory; for some hundred thousand cuts and more.
    Raises:
        DataError: the file is missing or is no list of cuts.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"there is no list of cuts {path}; run the recipe's preparation first")
    root = path.parent.resolve()
    try:
        cuts = CutSet.from_jsonl_lazy(path).map(_Resolve(root))
        return cuts if lazy else cuts.to_eager()
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no list of cuts ({error}); prepare it again") from error


class _Resolve:
    """Makes relative paths absolute; a class because lazy sets are pickled."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, cut: Cut) -> Cut:
        return _map_paths(cut, lambda p: self.root / p)


def _map_paths(cut: Cut, change: Callable[[Path], Path]) -> Cut:
    """A copy of `cut` with `change` applied to the paths of its audio and features."""
    cut = cut.with_recording_path_prefix("").with_features_path_prefix("")  # copies of all that is changed below
    for source in cut.recording.sources if cut.has_recording else []:
        if source.type == "file":
            source.source = str(change(Path(source.source)))
    if cut.has_features:
        cut.features.storage_path = str(change(Path(cut.features.storage_path)))
    return cut


def write_quarantine(folder: Path | str, rejected: Iterable[Rejected]) -> Path:
    """Merge `rejected` into `folder/quarantine.tsv` (id, reason; one header line, no quoting) and return its path."""
    path = Path(folder) / "quarantine.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    old = path.read_text(encoding="utf-8").splitlines()[1:] if path.exists() else []
    reasons = dict(line.split("\t", 1) for line in old)
    reasons.update((" ".join(entry.id.split()), " ".join(entry.reason.split())) for entry in rejected)
    lines = ["id\treason", *(f"{name}\t{reason}" for name, reason in sorted(reasons.items()))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
