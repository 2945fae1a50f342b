"""Sub-word units from sentencepiece."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Iterable, Sequence
from typing import Any

import sentencepiece

from asr.errors import TokenizerError
from asr.text.tokenizer import (
    BLANK,
    SOS_EOS,
    UNKNOWN,
    UNKNOWN_ID,
    check_symbols,
    join_pieces,
    refuse_unknown,
)


class BpeTokenizer:
    """A sentencepiece model. "BPE" by custom: published recipes train a unigram model under that name, and so do we."""

    kind = "bpe"

    def __init__(self, model: bytes) -> None:
        self._model = model
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except RuntimeError as error:
            raise TokenizerError(f"these {len(model)} bytes are no sentencepiece model ({error})") from error
        self.vocab_size = self._processor.get_piece_size()
        self.symbols = check_symbols([self._processor.id_to_piece(index) for index in range(self.vocab_size)])

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> BpeTokenizer:
        """Train a unigram model of exactly `vocab_size` pieces, as the published recipes do."""
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(texts),
                model_writer=model,
                model_type="unigram",
                vocab_size=vocab_size,
                character_coverage=1.0,
                input_sentence_size=100_000_000,
                user_defined_symbols=[BLANK, SOS_EOS],
                unk_piece=UNKNOWN,
                unk_id=UNKNOWN_ID,
                bos_id=-1,
                eos_id=-1,
                num_threads=1,  # sums in another order give another model now and then
                minloglevel=2,
            )
        except (RuntimeError, OSError) as error:
            raise TokenizerError(f"cannot train {vocab_size} sub-word units: {str(error).splitlines()[-1]}") from error
        return cls(model.getvalue())

    def encode(self, text: str, *, strict: bool = False) -> list[int]:
        """Ids of the best segmentation (no sampling)."""
        # sentencepiece finds user-defined symbols in running text; a transcript must not be able to spell a blank.
        ids = [max(index, UNKNOWN_ID) for index in self._processor.encode(text)]
        if strict and UNKNOWN_ID in ids:
            refuse_unknown(text, self._processor.encode(text, out_type=str)[ids.index(UNKNOWN_ID)])
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text, with a space wherever a piece opens a word."""
        return join_pieces(ids, self.symbols)

    def to_state(self) -> dict[str, Any]:
        """Kind and the model's bytes in base64."""
        return {"kind": self.kind, "model": base64.b64encode(self._model).decode("ascii")}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> BpeTokenizer:
        """The inverse of `to_state`."""
        try:
            return cls(base64.b64decode(state["model"], validate=True))
        except binascii.Error as error:
            raise TokenizerError(f"the tokenizer's model is no base64 text ({error})") from error
