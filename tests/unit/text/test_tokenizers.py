"""Text to ids and back, for every kind of unit."""

from __future__ import annotations

import json
import unicodedata

import pytest

from asr.errors import TokenizerError
from asr.text import (
    SPECIAL_SYMBOLS,
    CharTokenizer,
    load_tokenizer,
    save_tokenizer,
    tokenizer_from_state,
    train_tokenizer,
    write_tokens_txt,
)

TEXTS = [
    "nine five two zero",
    "one two three four five six seven eight nine zero",
    "the quick brown fox jumps over the lazy dog",
    "eight eight six six six",
    "pack my box with five dozen liquor jugs",
]


@pytest.fixture(params=["bpe", "char", "word"])
def tokenizer(request):
    return train_tokenizer(request.param, TEXTS, 40)


def test_text_survives_the_round_trip(tokenizer):
    for text in TEXTS:
        ids = tokenizer.encode(text, strict=True)
        assert min(ids) > 2
        assert tokenizer.decode(ids) == text


def test_spaces_are_not_content(tokenizer):
    assert tokenizer.encode("  nine \t five\n") == tokenizer.encode("nine five")
    assert tokenizer.encode("   ") == []
    assert tokenizer.decode([]) == ""


def test_vocabulary_opens_with_the_special_symbols(tokenizer):
    assert tuple(tokenizer.symbols[:3]) == SPECIAL_SYMBOLS
    assert tokenizer.vocab_size == len(tokenizer.symbols) == len(set(tokenizer.symbols))


def test_blank_and_sos_eos_are_not_decoded_and_unknown_is_shown(tokenizer):
    ids = tokenizer.encode("nine five")
    assert tokenizer.decode([0, *ids, 1, 0]) == "nine five"
    assert "<unk>" in tokenizer.decode([*ids, 2])


def test_state_brings_back_the_same_tokenizer(tokenizer, tmp_path):
    copy = tokenizer_from_state(json.loads(json.dumps(tokenizer.to_state())))
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    for other in (copy, loaded):
        assert other.symbols == tokenizer.symbols
        assert [other.encode(text) for text in TEXTS] == [tokenizer.encode(text) for text in TEXTS]


def test_what_the_vocabulary_lacks_is_unknown_or_refused(tokenizer):
    text = "nine ÿÿ five"
    assert 2 in tokenizer.encode(text)
    with pytest.raises(TokenizerError, match="ÿ"):
        tokenizer.encode(text, strict=True)


@pytest.mark.parametrize("text", ["<blk>", "nine <sos/eos>", "<unk> five", "ni▁ne"])
def test_no_text_can_spell_a_special_symbol(tokenizer, text):
    assert all(index > 1 for index in tokenizer.encode(text))


def test_tokens_txt_has_one_symbol_and_one_id_per_line(tokenizer, tmp_path):
    write_tokens_txt(tokenizer, tmp_path / "tokens.txt")
    rows = [line.split() for line in (tmp_path / "tokens.txt").read_text(encoding="utf-8").splitlines()]
    assert [row[0] for row in rows] == tokenizer.symbols
    assert [int(row[1]) for row in rows] == list(range(tokenizer.vocab_size))
    assert all(len(row) == 2 for row in rows)


def test_character_ids_do_not_depend_on_the_order_of_texts():
    assert train_tokenizer("char", TEXTS).symbols == train_tokenizer("char", TEXTS[::-1]).symbols


def test_characters_open_every_word_with_the_boundary():
    tokenizer = train_tokenizer("char", ["ab c"])
    assert [tokenizer.symbols[i] for i in tokenizer.encode("ab c")] == ["▁", "a", "b", "▁", "c"]


def test_scripts_without_spaces_need_no_boundary():
    tokenizer = train_tokenizer("char", ["你好 世界"], word_boundary=False)
    assert isinstance(tokenizer, CharTokenizer)
    assert tokenizer.decode(tokenizer.encode("世界 你好")) == "世界你好"
    assert tokenizer_from_state(tokenizer.to_state()).encode("世界") == tokenizer.encode("世界")


def test_bpe_has_the_size_asked_for():
    assert train_tokenizer("bpe", TEXTS, 40).vocab_size == 40


@pytest.mark.parametrize(
    ("kind", "texts", "size", "words"),
    [
        ("bpe", TEXTS, 5000, "5000"),
        ("bpe", TEXTS, None, "vocab_size"),
        ("bpe", TEXTS, 2, "vocab_size"),
        ("char", ["", "  "], None, "no transcript"),
        ("phone", TEXTS, None, "phone"),
    ],
)
def test_training_refuses_what_cannot_work(kind, texts, size, words):
    with pytest.raises(TokenizerError, match=words) as caught:
        train_tokenizer(kind, texts, size)
    assert "\n" not in str(caught.value)


def test_damaged_states_are_refused(tmp_path):
    for state in (
        {},
        {"kind": "char"},
        {"kind": "what"},
        {"kind": "bpe", "model": "AAAA"},
        {"kind": "bpe", "model": "A"},
    ):
        with pytest.raises(TokenizerError):
            tokenizer_from_state(state)
    with pytest.raises(TokenizerError, match="no tokenizer at"):
        load_tokenizer(tmp_path / "missing.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(TokenizerError, match="bad.json"):
        load_tokenizer(tmp_path / "bad.json")


@pytest.mark.parametrize("symbols", [["a", "b"], [*SPECIAL_SYMBOLS, "a", "a"], [*SPECIAL_SYMBOLS, "a b"]])
def test_impossible_vocabularies_are_refused(symbols):
    with pytest.raises(TokenizerError):
        CharTokenizer(symbols)


MANDARIN = ["广州市房地产中介协会分析", "甚至 出现 交易 几乎 停滞 的 情况", "一二线城市虽然也处于调整中", "ｔ恤 t bone"]


def test_bytes_have_a_letter_each_that_normalisation_leaves_alone():
    from asr.text.bytes import from_byte_text, to_byte_text

    plain = "".join(map(chr, range(33, 127))) + "é ж 广 😀"
    spelled = to_byte_text(plain)
    assert from_byte_text(spelled) == plain
    assert len(spelled) == len(plain.encode()) and unicodedata.normalize("NFKC", spelled) == spelled
    published = {0: 256, 31: 287, 127: 288, 144: 305, 145: 308, 156: 321, 164: 330, 216: 382, 217: 384, 255: 422}
    assert to_byte_text("\x7f") == chr(288) and from_byte_text(chr(330)) == ""  # half a character is none
    from asr.text.bytes import _TO_CHARACTER

    assert {byte: ord(_TO_CHARACTER[byte]) for byte in published} == published
    assert len(set(_TO_CHARACTER.values())) == 256


def test_byte_subwords_spell_any_text():
    tokenizer = train_tokenizer("bbpe", MANDARIN, 60)
    assert tokenizer.vocab_size == 60
    for text in MANDARIN[:3]:
        assert tokenizer.decode(tokenizer.encode(text, strict=True)) == text.replace(" ", "")
    assert tokenizer.decode(tokenizer.encode("广州 t bone")) == "广州 T BONE"
    whole = tokenizer.encode("广州")
    assert tokenizer.decode(whole[:-1]) in ("广", "")  # cut off within a character
    assert tokenizer.decode([*tokenizer.encode("广"), 2]) == "广<unk>"
