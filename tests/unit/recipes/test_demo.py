import json
import subprocess
import sys
import wave
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest

from asr.errors import ConfigError, DataError
from asr.recipes.demo import corpus, prepare
from asr.recipes.demo.config import DemoConfig
from asr.recipes.demo.sentences import DIGITS, GRAMMAR, SPLITS, commands, draw_digits, split_of
from asr.recipes.demo.voices import ACCENTS, VARIANTS, draw_voice

SIZES = {split: DemoConfig().size(split) for split in SPLITS}


def test_sentences_and_voices_are_kept_apart() -> None:
    plans = {split: corpus.plan(split, SIZES[split], 1) for split in SPLITS}
    for one, other in [("train", "dev"), ("train", "test"), ("dev", "test")]:
        texts = {line.text for line in plans[one]} & {line.text for line in plans[other]}
        assert all(len(text.split()) <= 2 and set(text.split()) <= set(DIGITS) for text in texts)
        assert not {line.voice.speaker for line in plans[one]} & {line.voice.speaker for line in plans[other]}
        assert not set(VARIANTS[one]) & set(VARIANTS[other])


def test_plan_is_large_enough_and_trains_every_word() -> None:
    plans = {split: corpus.plan(split, SIZES[split], 1) for split in SPLITS}
    words = {split: Counter(word for line in lines for word in line.text.split()) for split, lines in plans.items()}
    vocabulary = {part for form in GRAMMAR for slot in form for words in slot for part in words.split()} | set(DIGITS)
    assert 40 <= len(vocabulary) <= 60
    assert words["train"].keys() == vocabulary
    assert min(words["train"].values()) >= 50
    assert len(plans["test"]) >= 300 and words["test"].total() >= 1000
    assert len({line.voice.speaker for line in plans["train"]}) > 200


def test_plan_depends_on_seed_and_split_alone() -> None:
    assert corpus.plan("dev", 30, 5) == corpus.plan("dev", 40, 5)[:30]
    assert corpus.plan("dev", 30, 5) != corpus.plan("dev", 30, 6)
    assert all(split_of(sentence) == "dev" for form in commands("dev") for sentence in form)
    assert all(form for split in SPLITS for form in commands(split))


def test_spoken_text_differs_in_commas_only() -> None:
    lines = corpus.plan("train", 300, 2)
    assert all(line.spoken.replace(",", "") == line.text for line in lines)
    assert any("," in line.spoken for line in lines)
    lengths = Counter(len(draw_digits("test", Random(seed)).split()) for seed in range(200))
    assert sorted(lengths) == [1, 2, 3, 4, 5, 6, 7]


def test_place_keeps_margins_levels_and_seed() -> None:
    speech = np.sin(np.arange(16000) / 10, dtype=np.float32)
    for seed in range(20):
        samples = corpus.place(speech, seed)
        assert 16000 + 2 * 800 <= len(samples) <= 16000 + 2 * 4800
        assert np.abs(samples).max() < 1
        assert -36 < 20 * np.log10(np.sqrt(np.mean(samples**2))) < -14
        assert samples[:500].any(), "the margins hold background, not zeros"
        assert np.array_equal(samples, corpus.place(speech, seed))


def test_noise_has_the_level_it_promises() -> None:
    for seed in range(5):
        assert np.sqrt(np.mean(corpus.noise(12345, np.random.default_rng(seed)) ** 2)) == pytest.approx(1, rel=1e-5)


def test_missing_synthesiser_is_one_sentence(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(prepare.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r'pip install "rill-asr\[demo\]"'):
        prepare.download(DemoConfig(out=str(tmp_path)))


def test_nothing_else_loads_the_synthesiser() -> None:
    code = (
        "import sys, asr.recipes.demo.prepare; "
        "sys.exit(any('espeak' in name or 'demo.synthesise' in name for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("change", [{"num_test": 0}, {"num_workers": 0}, {"speeds": []}])
def test_config_without_meaning(change) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        DemoConfig(**change)


# From here on the synthesiser itself is needed.


@pytest.fixture
def espeak():
    return pytest.importorskip("espeakng_loader", reason="the demo extra is not installed")


def worker(tmp_path: Path, *jobs: dict, code: str | None = None) -> subprocess.CompletedProcess:
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    start = ["-c", code] if code else ["-m", "asr.recipes.demo.synthesise"]
    command = [sys.executable, *start, str(tmp_path / "jobs.json"), str(tmp_path)]
    return subprocess.run(command, capture_output=True, text=True)


def job(**changes) -> dict:
    return {"id": "a", "text": "five", "voice": "gmw/en+f3", "rate": 170, "pitch": 50} | changes


def test_worker_speaks(espeak, tmp_path) -> None:
    result = worker(tmp_path, job(), job(id="b", text="five six seven"))
    assert result.returncode == 0, result.stderr
    with wave.open(str(tmp_path / "a.wav")) as a, wave.open(str(tmp_path / "b.wav")) as b:
        assert (a.getframerate(), a.getnchannels(), a.getsampwidth()) == (22050, 1, 2)
        assert 4000 < a.getnframes() < b.getnframes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"voice": "gmw/en+nobody"}, "no voice 'gmw/en+nobody'"),
        ({"voice": "gmw/xx+f3"}, "no voice 'gmw/xx"),
        ({"rate": 20}, "rate 20"),
        ({"pitch": 200}, "pitch 200"),
    ],
)
def test_worker_refuses_what_the_library_would_ignore(espeak, tmp_path, change, message) -> None:
    result = worker(tmp_path, job(**change))
    assert result.returncode == 2 and message in result.stderr
    assert not (tmp_path / "a.wav").exists()


def test_worker_copes_with_a_long_data_path(espeak, tmp_path) -> None:
    deep = tmp_path / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    (deep / "data").symlink_to(espeak.get_data_path())
    code = (
        f"import espeakng_loader; espeakng_loader.get_data_path = lambda: {str(deep / 'data')!r}\n"
        "import sys; from asr.recipes.demo.synthesise import main; sys.exit(main())"
    )
    result = worker(tmp_path, job(), code=code)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "a.wav").stat().st_size > 8000


def test_all_voices_exist(espeak) -> None:
    data = Path(espeak.get_data_path())
    assert all((data / "lang" / accent).is_file() for accent in ACCENTS)
    names = {path.name for path in (data / "voices" / "!v").iterdir()}
    assert {name for variants in VARIANTS.values() for name in variants} <= names
    assert draw_voice("test", Random(0)).name.count("+") == 1


def test_second_run_does_nothing(espeak, tmp_path) -> None:
    from lhotse import CutSet

    cfg = DemoConfig(out=str(tmp_path / "demo"), num_train=3, num_dev=2, num_test=2)
    prepare.manifests(cfg)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "demo").rglob("*") if path.is_file()}
    assert sum(path.suffix == ".flac" for path in files) == 7
    prepare.manifests(cfg)
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "demo").rglob("*") if path.is_file()}
    cuts = CutSet.from_file(tmp_path / "demo" / "cuts-train.jsonl.gz").with_recording_path_prefix(tmp_path / "demo")
    for cut, line in zip(cuts, corpus.plan("train", 3, cfg.seed)):
        assert cut.supervisions[0].text == line.text
        assert cut.load_audio().shape == (1, cut.num_samples) and cut.sampling_rate == 16000


def test_failing_synthesiser_is_one_sentence(espeak, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(VARIANTS, "dev", ("nobody",))
    with pytest.raises(DataError, match=r"Synthetic speech cannot be made: there is no voice '.*nobody' in [^\n]*\.$"):
        prepare.manifests(DemoConfig(out=str(tmp_path / "demo"), num_train=1, num_dev=1, num_test=1))
