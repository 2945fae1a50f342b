"""LibriSpeech and AISHELL-1 in small: true folders, real utterances where there are some, the rest synthesised."""

from __future__ import annotations

import csv
import io
import shutil
import tarfile
from collections import defaultdict
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import soundfile

from asr.recipes.demo.sentences import draw_command
from tests.recipes.speech import Line, speak

VOICES = ("m1", "f1", "m4", "f4", "Alex", "linda")
WORDS = (
    "一下子",
    "今天",
    "天气",
    "很好",
    "我们",
    "去",
    "学校",
    "他",
    "在",
    "北京",
    "工作",
    "明天",
    "下雨",
    "吃饭",
    "时间",
)


class Told(NamedTuple):
    """What was written of one utterance."""

    split: str
    speaker: str
    text: str
    num_samples: int


def librispeech(root: Path, data_dir: Path, *, num_train: int = 36) -> dict[str, Told]:
    """Write `root/<subset>/<speaker>/<chapter>/`; returns what was written, by utterance."""
    lines = _english("train-clean-100", 100, num_train) + _english("dev-other", 300, 4) + _english("test-other", 400, 4)
    spoken = speak([line for _, line in lines], root.parent / "spoken-english")
    told: dict[str, Told] = {}
    for subset, line in lines:
        path = _flac_path(root, subset, line.utt_id)
        soundfile.write(path, spoken[line.utt_id], 16_000, subtype="PCM_16")
        told[line.utt_id] = Told(subset, line.utt_id.split("-")[0], line.text.upper(), len(spoken[line.utt_id]))
    for row in _recordings(data_dir):
        if row["id"].startswith("librispeech-"):
            utt_id, subset = row["id"].removeprefix("librispeech-"), _subset(row["corpus"])
            shutil.copyfile(data_dir / "utterances" / row["file"], _flac_path(root, subset, utt_id))
            told[utt_id] = Told(subset, row["speaker"], row["transcript"], int(row["num_samples"]))
    chapters = defaultdict(list)
    for utt_id, one in sorted(told.items()):
        chapters[_flac_path(root, one.split, utt_id).parent].append(f"{utt_id} {one.text}\n")
    for folder, rows in chapters.items():
        speaker, chapter = folder.parts[-2:]
        (folder / f"{speaker}-{chapter}.trans.txt").write_text("".join(rows), encoding="utf-8")
    return told


def _english(subset: str, first_speaker: int, count: int) -> list[tuple[str, Line]]:
    """Commands from a small grammar by several voices, in chapters of six."""
    random, lines = Random(subset), []
    for index in range(count):
        speaker = first_speaker + index % 4
        utt_id = f"{speaker}-{1000 + index // 24}-{index:04d}"
        voice = f"gmw/en-US+{VOICES[speaker % len(VOICES)]}"
        lines.append((subset, Line(utt_id, draw_command("train", random), voice, random.randint(140, 190))))
    return lines


def _recordings(data_dir: Path) -> list[dict[str, str]]:
    with open(data_dir / "utterances" / "transcripts.tsv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def _subset(corpus: str) -> str:
    return next(
        name
        for name, mark in {"train-clean-100": "train", "dev-clean": "dev", "test-clean": "test"}.items()
        if mark in corpus
    )


def _flac_path(root: Path, subset: str, utt_id: str) -> Path:
    speaker, chapter, _ = utt_id.split("-")
    path = root / subset / speaker / chapter / f"{utt_id}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def aishell(root: Path, data_dir: Path, *, num_train: int = 36) -> dict[str, Told]:
    """Write `root/data_aishell`; returns what was written, by utterance, with texts as they shall come out."""
    lines = _mandarin("train", 2, num_train) + _mandarin("dev", 725, 4) + _mandarin("test", 764, 4)
    spoken = speak([line for _, line in lines], root.parent / "spoken-mandarin")
    written: dict[str, tuple[str, str]] = {line.utt_id: (split, line.text) for split, line in lines}
    for row in _recordings(data_dir):
        if row["id"].startswith("aishell-"):
            utt_id = row["id"].removeprefix("aishell-")
            spoken[utt_id] = soundfile.read(data_dir / "utterances" / row["file"], dtype="float32")[0]
            written[utt_id] = ("dev", row["transcript"])
    for index, (text, samples) in enumerate(_read_words(data_dir, 12)):
        utt_id = f"BAC009S{'0765' if index < 4 else '0009'}W{index:04d}"
        spoken[utt_id], written[utt_id] = samples, ("test" if index < 4 else "train", text)
    told = {}
    for utt_id, (split, text) in written.items():
        speaker = utt_id[6:11]
        path = root / "data_aishell" / "wav" / split / speaker / f"{utt_id}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, spoken[utt_id], 16_000, subtype="PCM_16")
        told[utt_id] = Told(split, speaker, text.replace(" ", "").replace("ｔ", "T"), len(spoken[utt_id]))
    transcript = root / "data_aishell" / "transcript" / "aishell_transcript_v0.8.txt"
    transcript.parent.mkdir(parents=True)
    rows = [f"{utt_id} {text}\n" for utt_id, (_, text) in sorted(written.items())]
    transcript.write_text("".join(rows), encoding="utf-8")
    return told


def _mandarin(split: str, first_speaker: int, count: int) -> list[tuple[str, Line]]:
    """Strings of a few words, written with spaces as the corpus does; the first one has a full-width letter."""
    random, lines = Random(split), []
    for index in range(count):
        speaker = f"S{first_speaker + index % 3:04d}"
        text = (
            "ｔ 恤 很好" if index == 0 and split == "train" else " ".join(random.choices(WORDS, k=random.randint(2, 4)))
        )
        voice = f"sit/cmn+{VOICES[index % len(VOICES)]}"
        lines.append((split, Line(f"BAC009{speaker}W{index:04d}", text, voice, random.randint(140, 190))))
    return lines


def _read_words(data_dir: Path, count: int) -> list[tuple[str, np.ndarray]]:
    """The first few of the read Mandarin words, at 16 kHz."""
    from asr.recipes.demo.corpus import resampled

    with open(data_dir / "mandarin-words" / "manifest.tsv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[:count]
    with tarfile.open(data_dir / "mandarin-words" / "mandarin-words.tar") as tar:
        found = {Path(member.name).name: member for member in tar.getmembers()}
        words = []
        for row in rows:
            content = tar.extractfile(found[row["file"]])
            samples, rate = soundfile.read(io.BytesIO(content.read()), dtype="float32")
            words.append((row["text"], resampled(samples, rate)))
    return words
