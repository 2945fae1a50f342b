"""From a list of digit strings and a folder of recordings to 16 kHz audio and its cuts."""

from pathlib import Path

import soundfile
from lhotse import CutSet, MonoCut

from asr.errors import DataError
from asr.recipes.audio import Word, save_cuts, utterance_cut, write_flac
from asr.recipes.digits.lists import DigitString, read_list
from asr.recipes.digits.recordings import RecordingFolder
from asr.recipes.digits.strings import build, layout
from asr.recipes.stages import Stage, fingerprint, in_parallel

BUILDER_VERSION = 1  # raised when the same list would give other audio, so that old audio is made anew


def cuts_from_list(
    list_tsv: str | Path,
    recordings_folder: str | Path,
    out_folder: str | Path,
    levelled: bool = True,
    *,
    num_workers: int = 2,
) -> CutSet:
    """Build every utterance of a list and describe it; a second call with the same inputs only reads the result.

    Args:
        list_tsv: any list with the columns of `digit-strings-test.tsv`.
        recordings_folder: holds `fsdd-<speaker>.tar` for every speaker of the list, and `manifest.tsv`.
        out_folder: receives `audio/<utt_id>.flac` and `cuts.jsonl.gz`.
        levelled: False gives the "raw-level" variant.
    Returns:
        cuts with absolute paths, transcript, speaker and the alignment "word", in the order of the list.
    Raises:
        DataError: naming the row and column of the list that is wrong.
    """
    out_folder = Path(out_folder).absolute()
    manifest = out_folder / "cuts.jsonl.gz"
    build_split(
        Path(list_tsv),
        Path(recordings_folder),
        audio=out_folder / "audio",
        manifest=manifest,
        levelled=levelled,
        num_workers=num_workers,
    )
    return CutSet.from_file(manifest).with_recording_path_prefix(out_folder).to_eager()


def build_split(
    list_tsv: Path, recordings_folder: Path, *, audio: Path, manifest: Path, levelled: bool, num_workers: int
) -> None:
    """Write `audio/<utt_id>.flac` for every row, then `manifest` with paths relative to its folder.

    An interrupted run goes on with the utterances that are missing; a finished one is left as it is, until the list or
    the recordings change.
    """
    strings = read_list(list_tsv)
    recordings = RecordingFolder(recordings_folder)
    sources = [recordings.tar_path(speaker) for speaker in sorted({string.speaker for string in strings})]
    contents = [source.read_bytes() if source.exists() else b"" for source in sources]
    stage = Stage(audio / ".stage", fingerprint(BUILDER_VERSION, int(levelled), list_tsv.read_bytes(), *contents))
    if stage.finished(manifest):
        return
    stage.begin(leftovers=[manifest, *audio.glob("*.flac")])

    def make(string: DigitString) -> MonoCut:
        try:
            return _make(string, recordings, audio, manifest.parent, levelled)
        except DataError as error:
            raise DataError(f"{list_tsv}: {error}") from error

    save_cuts(in_parallel(make, strings, f"{manifest.name}", num_workers), manifest)
    stage.finish()


def _make(string: DigitString, recordings: RecordingFolder, audio: Path, root: Path, levelled: bool) -> MonoCut:
    path = audio / f"{string.utt_id}.flac"
    spans = layout(string, recordings)
    if not path.exists():
        write_flac(path, build(string, recordings, levelled=levelled).samples)
    return utterance_cut(
        string.utt_id,
        path.relative_to(root).as_posix(),
        soundfile.info(path).frames,
        text=string.transcript,
        speaker=string.speaker,
        words=[Word(word, start, end) for word, (start, end) in zip(string.words, spans, strict=True)],
    )
