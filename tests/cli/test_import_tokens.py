"""The tokens.txt of a published checkpoint: read as it is meant, or refused in one sentence that says where."""

from __future__ import annotations

import pytest

from asr.cli.import_icefall import _tokenizer

WRONG = {
    "empty": (b"\n\n", "holds no symbols"),
    "binary": (b"\xff\xfe\x00", "is no text in UTF-8"),
    "one column": (b"<blk> 0\na\n", "line 2: 'a' is not a symbol and an id"),
    "three columns": (b"<blk> 0\na b 1\n", "line 2: 'a b 1' is not"),
    "no number": (b"<blk> 0\na one\n", "line 2: 'a one' is not"),
    "other digits": ("<blk> 0\na ²\n".encode(), "line 2: 'a ²' is not"),
    "negative": (b"<blk> 0\na -1\n", "line 2: 'a -1' is not"),
    "twice": (b"<blk> 0\na 1\nb 1\n", "line 3: 'b 1' is not"),
    "huge": (b"<blk> 0\na 99999999999\n", "no model has so many symbols"),
    "only disambiguation": (b"#0 0\n", "holds no symbols"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_list_that_is_none_is_refused_in_a_sentence(refused, tmp_path, case):
    data, sentence = WRONG[case]
    (tmp_path / "tokens.txt").write_bytes(data)
    said = refused("import-icefall", tmp_path / "pretrained.pt", tmp_path / "out", f"tokens={tmp_path / 'tokens.txt'}")
    assert f"tokens={tmp_path / 'tokens.txt'}" in said and sentence in said


def test_symbols_that_tell_words_apart_are_left_out(tmp_path):
    path = tmp_path / "tokens.txt"
    path.write_text("<blk> 0\n<unk> 2\n\na 3\r\n<sos/eos> 1\n# 4\n#0 5\n#1 6\n", encoding="utf-8")
    assert _tokenizer(None, str(path)).symbols == ["<blk>", "<sos/eos>", "<unk>", "a", "#"]
