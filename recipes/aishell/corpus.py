"""What is true of AISHELL-1: where its archive is, how its folders are laid out, what its transcripts look like."""

from pathlib import Path

from asr.data import Utterance
from asr.errors import DataError
from asr.recipes.archives import Archive

ARCHIVE = Archive("33/data_aishell.tgz", "md5:2f494334227864a8a8fec932999db9d8")
SPLITS = ("train", "dev", "test")
_WIDE = str.maketrans("ａｂｃｋｔ", "abckt")


def utterances(root: Path, split: str) -> list[Utterance]:
    """All audio in `root/data_aishell/wav/<split>/<speaker>/`; some hundreds have no transcript, and never had.

    Raises:
        DataError: the split or the transcript file is not there.
    """
    folder = root / "data_aishell" / "wav" / split
    texts = {utt_id: normalise(text) for utt_id, text in transcripts(root).items()}
    paths = sorted(folder.rglob("*.wav"))
    if not paths:
        raise DataError(f"there is no WAV file in {folder}; check corpus.source, or run the stage download")
    return [
        Utterance(id=path.stem, audio=path, text=texts.get(path.stem, ""), speaker=path.parent.name) for path in paths
    ]


def transcripts(root: Path) -> dict[str, str]:
    """The transcript file as it stands, by utterance, in its order: an id and spaced words on each line."""
    path = root / "data_aishell" / "transcript" / "aishell_transcript_v0.8.txt"
    if not path.is_file():
        raise DataError(f"there is no transcript file {path}; check corpus.source, or run the stage download")
    lines = (line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return {utt_id: "".join(text) for utt_id, *text in lines}


def normalise(text: str) -> str:
    """The corpus' few full-width letters as ordinary ones, upper case, no spaces between words."""
    return "".join(text.translate(_WIDE).upper().split())


def characters(root: Path) -> list[str]:
    """Every character of the transcript file in the order of first occurrence, as written there.

    Published models number their characters so: all splits, before normalisation.
    """
    return list(dict.fromkeys(c for text in transcripts(root).values() for c in "".join(text.split())))
