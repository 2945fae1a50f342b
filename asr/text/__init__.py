"""Tokenizers and transcript normalisation."""

from asr.text.tokenizer import SPECIAL_SYMBOLS, Tokenizer

__all__ = ["SPECIAL_SYMBOLS", "Tokenizer"]
