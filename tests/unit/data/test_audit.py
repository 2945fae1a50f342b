"""An audit finds what was put there to be found."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from asr.cli.main import main
from asr.data import Utterance, build_cuts, cuts_path, write_cuts

RATE = 16_000


def tone(seconds: float, *, pitch: float = 220.0, level: float = 0.1) -> np.ndarray:
    return level * np.sin(2 * np.pi * pitch * np.arange(int(seconds * RATE)) / RATE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("audited")
    sounds = {f"good{i}": (tone(2, pitch=100 + 20 * i), f"ten letters {i}", "ann", RATE) for i in range(8)}
    train = {
        **sounds,
        "fast": (tone(0.3), "far too many words for so little time", "ann", RATE),
        "slow": (tone(30), "hm", "ann", RATE),
        "loud": (np.clip(3 * tone(2, level=1), -1, 1), "ten letters", "bob", RATE),
        "quiet": (np.concatenate([tone(0.4), np.zeros(2 * RATE)]), "ten letters", "bob", RATE),
        "other": (tone(2, pitch=333), "ten letterz", "bob", 8000),
    }
    test = {
        "leaked": (sounds["good0"][0], "something else", "eve", RATE),
        "said": (tone(2, pitch=600), "ten letters 1", "ann", RATE),
        "new": (tone(2, pitch=700), "ten łetters", "eve", RATE),
    }
    for split, items in {"train": train, "test": test}.items():
        utterances = []
        for name, (samples, text, speaker, rate) in items.items():
            soundfile.write(root / f"{name}.wav", samples, rate)
            utterances.append(Utterance(id=name, audio=root / f"{name}.wav", text=text, speaker=speaker))
        write_cuts(build_cuts(utterances).cuts, cuts_path(root, split))
    assert main(["data", "audit", str(root)]) == 0
    return root


@pytest.fixture(scope="module")
def found(folder):
    return json.loads((folder / "audit.json").read_text(encoding="utf-8"))


def test_odd_utterances(found):
    names = {what: [one["id"] for one in odd] for what, odd in found["odd"].items()}
    assert names["spoken too fast for its text"] == ["fast"]
    assert names["spoken too slowly for its text"] == ["slow"]
    assert names["clipped"] == ["loud"]
    assert names["mostly silence"] == ["quiet"]
    assert names["cannot be read"] == names["no transcript"] == []


def test_leaks(found):
    assert found["same_audio"] == [["train/good0", "test/leaked"]]
    assert [one["text"] for one in found["same_text_across"]] == ["ten letters 1"]
    assert found["shared_speakers"] == ["ann"]
    assert found["new_characters"] == {"test": "gł"}


def test_numbers(found):
    train = found["splits"]["train"]
    assert (train["utterances"], train["speakers"]) == (13, 2)
    assert train["sample_rates"] == {"16000": 12, "8000": 1}


def test_unions_alone_are_left_out(tmp_path):
    """By content: a union's name may be anything, and other audio under the same ids is another split."""
    made = {}
    for index, name in enumerate(["train-a", "train-b", "dev", "dev-raw"]):
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, tone(1, pitch=150 + 90 * index), RATE)
        made[name] = build_cuts([Utterance(id=name.removesuffix("-raw"), audio=path, text="ten letters")]).cuts
    made |= {"train": made["train-a"] + made["train-b"], "everything": made["train-a"] + made["train-b"] + made["dev"]}
    made |= {"dev-other": made["dev"]}  # a union of one
    for split, cuts in made.items():
        write_cuts(cuts, cuts_path(tmp_path, split))
    assert main(["data", "audit", str(tmp_path)]) == 0
    audited = json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))["splits"]
    assert sorted(audited) == ["dev-other", "dev-raw", "train-a", "train-b"]


def test_page(folder):
    page = (folder / "audit.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," in page and "leaked" in page and "Clipped: 1" in page


def test_what_there_is_not(tmp_path, capsys):
    assert main(["data", "audit", str(tmp_path)]) == 1
    assert "there is no cuts-*.jsonl.gz" in capsys.readouterr().err
    assert main(["data", "polish", str(tmp_path)]) == 1
    assert "asr data polish is unknown" in capsys.readouterr().err
