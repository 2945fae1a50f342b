from pathlib import Path

import numpy as np
import pytest

from asr.errors import DataError
from asr.recipes.digits import prepare, source
from asr.recipes.digits.prepare import DigitsConfig, cuts_from_list
from asr.recipes.digits.recordings import RecordingFolder
from asr.recipes.digits.strings import build, read_list
from tests.unit.recipes.test_recipe_stages import Home
from tests.unit.recipes.tiny_digits import HEADER, LENGTHS, burst, encoded, write_tar


def snapshot(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.rglob("*") if path.is_file()}


def test_cuts_say_what_was_built(mara, tmp_path) -> None:
    cuts = list(cuts_from_list(mara / "list.tsv", mara, tmp_path / "out"))
    strings = read_list(mara / "list.tsv")
    assert [cut.id for cut in cuts] == ["b-0", "b-1"]
    assert [cut.supervisions[0].text for cut in cuts] == ["zero two", "one"]
    assert {cut.supervisions[0].speaker for cut in cuts} == {"mara"}
    expected = build(strings[0], RecordingFolder(mara)).samples
    assert cuts[0].load_audio()[0] == pytest.approx(expected, abs=1 / 32768)
    words = cuts[0].supervisions[0].alignment["word"]
    assert [(word.symbol, word.start, word.end) for word in words] == [
        ("zero", pytest.approx(0.05), pytest.approx(0.3)),
        ("two", pytest.approx(0.36), pytest.approx(7758 / 16000)),
    ]


def test_stored_paths_are_relative(mara, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    cuts_from_list("mara/list.tsv", "mara", "out")
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    from lhotse import CutSet

    sources = [cut.recording.sources[0].source for cut in CutSet.from_file("elsewhere/cuts.jsonl.gz")]
    assert sources == ["audio/b-0.flac", "audio/b-1.flac"]


def test_second_run_does_nothing_and_a_changed_list_is_noticed(mara, tmp_path) -> None:
    out = tmp_path / "out"
    cuts_from_list(mara / "list.tsv", mara, out)
    before = snapshot(out)
    cuts_from_list(mara / "list.tsv", mara, out)
    assert snapshot(out) == before
    text = (mara / "list.tsv").read_text().replace("\t8\t5418", "\t9\t5418")
    (mara / "list.tsv").write_text(text)
    cuts = cuts_from_list(mara / "list.tsv", mara, out)
    expected = build(read_list(mara / "list.tsv")[1], RecordingFolder(mara)).samples
    assert cuts["b-1"].load_audio()[0] == pytest.approx(expected, abs=1 / 32768)


def test_interrupted_run_goes_on(mara, tmp_path, monkeypatch) -> None:
    from asr.recipes.digits import cuts as module

    out, write_flac = tmp_path / "out", module.write_flac
    written: list[str] = []

    def stumbling(path: Path, samples: np.ndarray) -> None:
        if len(written) == 1:
            raise KeyboardInterrupt
        written.append(path.name)
        write_flac(path, samples)

    monkeypatch.setattr(module, "write_flac", stumbling)
    with pytest.raises(KeyboardInterrupt):
        cuts_from_list(mara / "list.tsv", mara, out, num_workers=1)

    def remembering(path: Path, samples: np.ndarray) -> None:
        written.append(path.name)
        write_flac(path, samples)

    monkeypatch.setattr(module, "write_flac", remembering)
    assert len(cuts_from_list(mara / "list.tsv", mara, out, num_workers=1)) == 2
    assert sorted(written) == ["b-0.flac", "b-1.flac"]


def test_list_error_leaves_no_cuts(mara, tmp_path) -> None:
    (mara / "list.tsv").write_text(f"{HEADER}\nb\tmara\t1\t9_mara_0\t50 70\t7\t8878\tzero\n")
    with pytest.raises(DataError, match="Row 2"):
        cuts_from_list(mara / "list.tsv", mara, tmp_path / "out")
    assert not (tmp_path / "out" / "cuts.jsonl.gz").exists()


def test_missing_source_folder_is_named(tmp_path) -> None:
    with pytest.raises(DataError, match="fsdd-george.tar"):
        prepare.download(DigitsConfig(source=str(tmp_path), out=str(tmp_path / "out")))
    with pytest.raises(DataError, match="does not exist"):
        prepare.manifests(DigitsConfig(source=str(tmp_path / "none"), out=str(tmp_path / "out")))


def test_unfit_recordings_that_no_list_uses_are_quarantined(mara, tmp_path, monkeypatch) -> None:
    for split in ("train", "dev", "test"):
        (mara / f"digit-strings-{split}.tsv").write_text((mara / "list.tsv").read_text())
    sound = {f"{key}.flac": encoded(burst(n)) for key, n in LENGTHS.items()}
    large = encoded(np.tile(burst(4000), 600), form="FLAC")
    monkeypatch.setattr("asr.recipes.digits.recordings.MAX_RECORDING_BYTES", len(large) - 1)
    write_tar(mara / "fsdd-mara.tar", {"8_mara_0.flac": large, **sound, "9_mara_0.flac": b"fLaC, or so it says"})
    cfg = DigitsConfig(source=str(mara), lists=str(mara), out=str(tmp_path / "out"))
    prepare.manifests(cfg)
    before = snapshot(tmp_path / "out")
    prepare.manifests(cfg)
    assert snapshot(tmp_path / "out") == before
    header, *rows = (tmp_path / "out" / "quarantine.tsv").read_text().splitlines()
    assert header == "id\treason" and [row.split("\t")[0] for row in rows] == ["8_mara_0", "9_mara_0"]
    assert "too many for one spoken digit" in rows[0] and "9_mara_0.flac in" in rows[1]


def test_an_unfit_recording_that_a_list_uses_is_named_with_the_list(mara, tmp_path) -> None:
    write_tar(mara / "fsdd-mara.tar", {f"{key}.flac": b"no audio" for key in LENGTHS})
    with pytest.raises(DataError, match=r"list\.tsv: Row .*_mara_0\.flac in .*cannot be decoded.*anew") as caught:
        cuts_from_list(mara / "list.tsv", mara, tmp_path / "out")
    assert "BytesIO" not in str(caught.value) and "\n" not in str(caught.value)


# What the public home sends, in small: two speakers of the lists, one who is in none.
WANTED = {"0_george_0": 2000, "1_george_7": 1501, "2_lucas_0": 999}


@pytest.fixture
def small_home(tmp_path, monkeypatch):
    """A server of an archive of WAVs, with the recipe expecting just these."""
    checksums = {
        key: source.Checksum(n, source.sample_digest(burst(n) / np.float32(32768))) for key, n in WANTED.items()
    }
    monkeypatch.setattr(source, "read_checksums", lambda: checksums)
    monkeypatch.setattr(prepare, "SPEAKERS", ("george", "lucas"))

    def serve(changes: dict[str, bytes | None] | None = None, **habits) -> Home:
        members = {f"digits-26eb9aa/recordings/{key}.wav": encoded(burst(n), form="WAV") for key, n in WANTED.items()}
        members |= {"digits-26eb9aa/README.md": b"hello", "digits-26eb9aa/recordings/0_other_0.wav": b"no one"}
        members |= changes or {}
        path = tmp_path / "sent.tar.gz"
        write_tar(path, {name: content for name, content in members.items() if content is not None}, "w:gz")
        return Home(path.read_bytes(), **habits)

    return serve


def config(home: Home, tmp_path: Path) -> DigitsConfig:
    return DigitsConfig(url=home.url + "/archive/{revision}.tar.gz", out=str(tmp_path / "out"))


def test_download_packs_the_speakers_of_the_lists(small_home, tmp_path) -> None:
    with small_home(break_first=True) as home:
        cfg = config(home, tmp_path)
        prepare.download(cfg)
        assert {path for path, _ in home.asked} == {"/archive/26eb9aa.tar.gz"}
        before, asked = snapshot(tmp_path / "out"), len(home.asked)
        prepare.download(cfg)
        assert (snapshot(tmp_path / "out"), len(home.asked)) == (before, asked)
    folder = tmp_path / "out" / "recordings"
    assert sorted(path.name for path in before) == ["fsdd-george.tar", "fsdd-lucas.tar", "manifest.tsv"]
    recordings = RecordingFolder(folder)
    assert recordings.manifest.keys() == WANTED.keys()
    assert recordings.manifest["1_george_7"].word == "one"
    assert np.array_equal(recordings._samples_8k("lucas", "2_lucas_0") * 32768, burst(999))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"digits-26eb9aa/recordings/2_lucas_0.wav": encoded(burst(998), form="WAV")}, "2_lucas_0.*not the recording"),
        ({"digits-26eb9aa/recordings/2_lucas_0.wav": b"RIFF"}, "2_lucas_0.*cannot be decoded"),
        ({"digits-26eb9aa/recordings/2_lucas_0.wav": None}, "lacks 1 recordings.*2_lucas_0"),
        ({"../../evil": b"x"}, "leads outside"),
        ({"/evil": b"x"}, "leads outside"),
    ],
)
def test_download_refuses_what_it_did_not_ask_for(small_home, tmp_path, changes, message) -> None:
    with small_home(changes) as home, pytest.raises(DataError, match=message):
        prepare.download(config(home, tmp_path))
    with small_home() as home:
        prepare.download(config(home, tmp_path))
    assert (tmp_path / "out" / "recordings" / "manifest.tsv").exists()


def test_download_of_something_else(small_home, tmp_path) -> None:
    with Home(b"<html>sorry</html>" * 100) as home, pytest.raises(DataError, match="no readable tar archive"):
        prepare.download(config(home, tmp_path))


def test_shipped_checksums_are_those_of_the_recordings(data_dir) -> None:
    checksums = source.read_checksums()
    assert len(checksums) == 2500
    recordings = RecordingFolder(data_dir / "fsdd")
    assert {key: entry.num_samples for key, entry in recordings.manifest.items()} == {
        key: checksum.num_samples for key, checksum in checksums.items()
    }
    for key in list(checksums)[::100]:
        samples = recordings._samples_8k(key.split("_")[1], key)
        assert source.sample_digest(samples) == checksums[key].sha256


def test_tokenizer_holds_the_letters_of_the_digits(tmp_path) -> None:
    from asr.text import load_tokenizer

    cfg = DigitsConfig(out=str(tmp_path))
    prepare.tokenizer(cfg)
    assert load_tokenizer(tmp_path / "tokenizer.json").vocab_size == 3 + 1 + 15
