"""Tokenizers and transcript normalisation."""

from asr.text.build import TokenizerKind, load_tokenizer, save_tokenizer, tokenizer_from_state, train_tokenizer
from asr.text.bytes import ByteBpeTokenizer
from asr.text.characters import CharTokenizer
from asr.text.normalise import collapse_spaces, normalise_english, normalise_mandarin, strip_punctuation
from asr.text.subwords import BpeTokenizer
from asr.text.tokenizer import SPECIAL_SYMBOLS, Tokenizer, write_tokens_txt
from asr.text.words import WordTokenizer

__all__ = [
    "SPECIAL_SYMBOLS",
    "BpeTokenizer",
    "ByteBpeTokenizer",
    "CharTokenizer",
    "Tokenizer",
    "TokenizerKind",
    "WordTokenizer",
    "collapse_spaces",
    "load_tokenizer",
    "normalise_english",
    "normalise_mandarin",
    "save_tokenizer",
    "strip_punctuation",
    "tokenizer_from_state",
    "train_tokenizer",
    "write_tokens_txt",
]
