from asr.data import read_cuts
from asr.recipes.digits.prepare import cuts_from_list
from asr.recipes.products import store_splits, write_character_tokenizer


def test_features_are_stored_once_until_speeds_or_cuts_change(mara, tmp_path, monkeypatch) -> None:
    out = tmp_path / "out"
    cuts_from_list(mara / "list.tsv", mara, out)
    (out / "cuts.jsonl.gz").rename(out / "cuts-train.jsonl.gz")
    stored = out / "feats-train.jsonl.gz"

    def store(speeds: list[float]) -> int:
        store_splits(out, {"train": speeds}, num_workers=1)
        return stored.stat().st_mtime_ns

    first = store([1.0])
    assert [cut.load_features().shape for cut in read_cuts(stored)] == [(55, 80), (34, 80)]
    with monkeypatch.context() as patch:
        patch.setattr("asr.recipes.products.read_cuts", None)  # what is finished is not even looked at
        assert store([1.0]) == first
    second = store([1.0, 1.1])
    assert second != first and len(read_cuts(stored)) == 4
    (out / "cuts-train.jsonl.gz").touch()
    assert store([1.0, 1.1]) != second


def test_tokenizer_is_written_once(tmp_path) -> None:
    write_character_tokenizer(tmp_path, ["ab", "ba"])
    before = (tmp_path / "tokenizer.json").read_text()
    write_character_tokenizer(tmp_path, ["cd"])
    assert (tmp_path / "tokenizer.json").read_text() == before
