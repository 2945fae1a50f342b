import tarfile

import numpy as np
import pytest

from asr.errors import DataError
from asr.recipes.digits.prepare import list_path
from asr.recipes.digits.recordings import RecordingFolder
from asr.recipes.digits.strings import build, level, noise, read_list
from tests.unit.recipes.tiny_digits import HEADER, LENGTHS, ROWS, burst, encoded, write_tar


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def test_noise_matches_its_definition() -> None:
    assert noise(1, 3) == pytest.approx([0.0000480, -0.0011233, -0.0006629], abs=5e-8)
    assert noise(103000, 3) == pytest.approx([-0.0016422, -0.0012388, 0.0001236], abs=5e-8)
    state, expected = 2**31 - 1, []
    for _ in range(1000):
        state = (1103515245 * state + 12345) % 2**31
        expected.append(0.001 * 3**0.5 * ((state >> 15) / 32768 - 1))
    assert np.array_equal(noise(2**31 - 1, 1000), np.array(expected, dtype=np.float32))
    assert np.array_equal(noise(5, 100), noise(5 + 2**31, 1000)[:100])


def test_published_lists_are_complete() -> None:
    sizes = {split: read_list(list_path(split)) for split in ("train", "dev", "test")}
    assert [len(strings) for strings in sizes.values()] == [4000, 200, 300]
    assert [sum(len(s.words) for s in strings) for strings in sizes.values()] == [15713, 855, 1210]
    used = [{r for s in strings for r in s.recordings} for strings in sizes.values()]
    assert [len(recordings) for recordings in used] == [2250, 100, 150]
    assert len(set.union(*used)) == 2500


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train", [(0.0468, 0.382), (0.0477, 0.405)]),
        ("dev", [(0.0482, 0.441), (0.0467, 0.376)]),
        ("test", [(0.0459, 0.419), (0.0472, 0.452)]),
    ],
)
def test_published_check_values(data_dir, split, expected) -> None:
    recordings = RecordingFolder(data_dir / "fsdd")
    for string, (expected_rms, expected_peak) in zip(read_list(list_path(split)), expected):
        samples = build(string, recordings).samples
        assert rms(samples) == pytest.approx(expected_rms, abs=6e-5)
        assert np.abs(samples).max() == pytest.approx(expected_peak, abs=6e-4)


def test_layout_follows_gaps_and_recordings(mara) -> None:
    string = read_list(mara / "list.tsv")[0]
    samples, spans = build(string, RecordingFolder(mara))
    assert spans == [(800, 4800), (5760, 7758)]
    assert len(samples) == 8878
    background = noise(7, 8878)
    assert np.array_equal(samples[4800:5760], background[4800:5760])
    for start, end in spans:
        assert rms(samples[start:end] - background[start:end]) == pytest.approx(10 ** (-25 / 20), rel=1e-4)


def test_raw_level_leaves_the_recording_alone(mara) -> None:
    string = read_list(mara / "list.tsv")[1]
    recordings = RecordingFolder(mara)
    samples, [(start, end)] = build(string, recordings, levelled=False)
    piece = recordings.samples_16k("mara", "1_mara_0")
    assert len(piece) == 2 * 1501
    assert rms(samples[start:end] - noise(8, len(samples))[start:end] - piece) < 1e-7


def test_level_never_passes_the_highest_peak() -> None:
    click = np.full(10_000, 1e-4, dtype=np.float32)
    click[5] = 0.5
    assert np.abs(level(click)).max() == pytest.approx(0.95)
    with pytest.raises(DataError, match="silent"):
        level(np.zeros(10, dtype=np.float32))


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("b\tmara\t2\t0_mara_0 2_mara_0\t50 60 70\t7\t8877\tzero two", "num_samples_16k"),
        ("b\tmara\t2\t0_mara_0 2_mara_0\t50 60 70\t7\t8878\tzero one", "transcript"),
        ("b\tmara\t1\t9_mara_0\t50 70\t7\t8878\tzero", "recordings"),
        ("b\tnobody\t1\t0_mara_0\t50 70\t7\t8878\tzero", "recordings"),
    ],
)
def test_row_that_disagrees_with_the_recordings(mara, row, column) -> None:
    (mara / "list.tsv").write_text(f"{HEADER}\n{row}\n")
    with pytest.raises(DataError, match=rf"Row 2 \(b\), column '{column}'"):
        build(read_list(mara / "list.tsv")[0], RecordingFolder(mara))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("utt_id", "../escape"),
        ("utt_id", ""),
        ("utt_id", "B-1"),
        ("speaker", "../mara"),
        ("n_digits", "3"),
        ("n_digits", "two"),
        ("recordings", "0_mara_0"),
        ("gaps_ms", "50 60"),
        ("gaps_ms", "50 -60 70"),
        ("gaps_ms", "50 60 nan"),
        ("noise_seed", "-1"),
        ("num_samples_16k", ""),
        ("num_samples_16k", "1e4"),
        ("transcript", "zero"),
    ],
)
def test_list_errors_name_row_and_column(tmp_path, column, value) -> None:
    cells = dict(zip(HEADER.split("\t"), ROWS[0].split("\t")))
    cells[column] = value
    path = tmp_path / "list.tsv"
    path.write_text("\n".join([HEADER, ROWS[1], "\t".join(cells.values())]))
    # A wrong count shows in the column that is counted as well.
    columns = "recordings|n_digits" if column == "n_digits" else column
    with pytest.raises(DataError, match=rf"row 3, column '({columns})'"):
        read_list(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "row 1: column 'utt_id' is missing"),
        (HEADER.replace("\tgaps_ms", "").encode(), "row 1: column 'gaps_ms' is missing"),
        (HEADER.encode(), "no rows"),
        (f"{HEADER}\n{ROWS[0]}\tmore\n".encode(), "row 2: it has 9 columns"),
        (f"{HEADER}\nb-0\tmara\n".encode(), "row 2: it has 2 columns.*'n_digits'"),
        (b"\xff\xfe\x00", "UTF-8"),
    ],
)
def test_list_files_that_are_none(tmp_path, content, message) -> None:
    path = tmp_path / "list.tsv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_list(path)


def test_list_of_another_editor_is_read(tmp_path) -> None:
    columns = HEADER.split("\t")[::-1]
    rows = ["\t".join([*row.split("\t")[::-1], "note"]) for row in ROWS]
    path = tmp_path / "list.tsv"
    path.write_bytes(("\ufeff" + "\r\n".join(["\t".join([*columns, "remark"]), *rows, ""])).encode())
    assert [string.transcript for string in read_list(path)] == ["zero two", "one"]


def test_members_that_lead_outside_are_refused(mara) -> None:
    write_tar(mara / "fsdd-mara.tar", {"../0_mara_0.flac": encoded(burst(2000))})
    with pytest.raises(DataError, match="leads outside"):
        RecordingFolder(mara).samples_16k("mara", "0_mara_0")


def test_links_are_no_recordings(mara) -> None:
    with tarfile.open(mara / "fsdd-mara.tar", "w") as tar:
        link = tarfile.TarInfo("0_mara_0.flac")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(DataError, match="no plain file"):
        RecordingFolder(mara).samples_16k("mara", "0_mara_0")


def flac_cut_off() -> bytes:
    content = encoded(burst(2000))
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (flac_cut_off(), "cut off|cannot be decoded"),
        (b"", "cannot be decoded"),
        (b"fLaC" + bytes(100), "cannot be decoded"),
        (encoded(burst(1999)), "1999 samples where manifest.tsv says 2000"),
        (encoded(burst(2000), rate=16000), "16000 Hz"),
        (encoded(np.stack([burst(2000)] * 2, axis=1)), "2 channel"),
        (encoded(np.full(2000, np.nan, dtype=np.float32), form="WAV", subtype="FLOAT"), "no numbers"),
    ],
)
def test_damaged_recordings_are_named(mara, content, message) -> None:
    write_tar(mara / "fsdd-mara.tar", {"0_mara_0.flac": content})
    with pytest.raises(DataError, match=message) as caught:
        build(read_list(mara / "list.tsv")[0], RecordingFolder(mara))
    assert "Row 2" in str(caught.value) and "0_mara_0" in str(caught.value)


def test_damaged_tar_is_named(mara) -> None:
    content = (mara / "fsdd-mara.tar").read_bytes()
    for damage in (b"not a tar", content[:5000]):
        (mara / "fsdd-mara.tar").write_bytes(damage)
        with pytest.raises(DataError, match=r"fsdd-mara\.tar"):
            [RecordingFolder(mara).samples_16k("mara", key) for key in LENGTHS]
