"""What is true of LibriSpeech: where its archives are, how its folders are laid out, what its transcripts look like."""

from collections.abc import Iterator
from pathlib import Path

from asr.data import Utterance
from asr.errors import DataError
from asr.recipes.archives import Archive
from asr.text import collapse_spaces

ARCHIVES = {
    name: Archive(f"12/{name}.tar.gz", f"sha256:{digest}")
    for name, digest in {
        "dev-clean": "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
        "dev-other": "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365",
        "test-clean": "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23",
        "test-other": "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29",
        "train-clean-100": "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
        "train-clean-360": "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf",
        "train-other-500": "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2",
    }.items()
}
"""The seven archives; checksums as torchaudio's LibriSpeech reader has them."""


def utterances(root: Path, subset: str) -> list[Utterance]:
    """Everything in `root/subset/<speaker>/<chapter>/`: all audio, with or without transcript, and the reverse.

    Raises:
        DataError: the subset is not there.
    """
    folder = root / subset
    texts = dict(_transcripts(folder))
    audio = {path.stem: path for path in folder.rglob("*.flac")}
    if not audio:
        raise DataError(f"there is no FLAC file in {folder}; check corpus.source, or run the stage download")
    return [
        Utterance(
            id=utt_id,
            audio=audio.get(utt_id, _expected(folder, utt_id)),
            text=texts.get(utt_id, ""),
            speaker=utt_id.partition("-")[0],
        )
        for utt_id in sorted(audio.keys() | texts.keys())
    ]


def _transcripts(folder: Path) -> Iterator[tuple[str, str]]:
    """(utterance, text) of all `<speaker>-<chapter>.trans.txt`: an id and upper-case words on each line."""
    for path in folder.rglob("*.trans.txt"):
        for line in path.read_text(encoding="utf-8").splitlines():
            utt_id, _, text = line.strip().partition(" ")
            if utt_id:
                yield utt_id, collapse_spaces(text.upper())


def _expected(folder: Path, utt_id: str) -> Path:
    """Where the audio of a transcript without audio should be."""
    return folder.joinpath(*utt_id.split("-")[:-1], f"{utt_id}.flac")
