"""The attention decoder as judge over the sequences that a search kept.

Source: Watanabe et al. 2017, "Hybrid CTC/attention architecture for end-to-end speech recognition", section III-B.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from asr.decoding.hypothesis import Hypothesis
from asr.decoding.search import NbestSearch
from asr.errors import ConfigError
from asr.models.transducer import AttentionDecoder, Transducer
from asr.nn.chunks import ChunkContext


@torch.no_grad()
def rescored_whole(
    model: Transducer, search: NbestSearch, features: Tensor, lens: Tensor, context: ChunkContext, *, scale: float
) -> list[Hypothesis]:
    """Of each utterance's n-best list, the sequence of the highest log-probability by search and attention together.

    Args:
        features: (B, T, F) at 100 Hz.
        lens: (B,).
        scale: weight of the attention decoder's log-probability; the search's has 1.
    Raises:
        ConfigError: the model has no attention decoder.
    """
    decoder = model.attention_decoder
    if decoder is None:
        raise ConfigError("attention_scale needs a model trained with an attention decoder; leave it null")
    encoded = model.encode(features, lens, context=context)
    lists = search.nbest(search.advance(encoded.out, encoded.lens, search.init(len(lens), features.device)))
    frames = [encoded.out[row : row + 1, :count] for row, count in enumerate(encoded.lens.tolist())]
    return [_best(decoder, *pair, scale) for pair in zip(frames, lists)]


def _best(decoder: AttentionDecoder, frames: Tensor, found: Sequence[Hypothesis], scale: float) -> Hypothesis:
    """Of one utterance's list; silence where it is empty."""
    if not found:
        return Hypothesis()
    judged = attention_log_probs(decoder, frames, [hypothesis.tokens for hypothesis in found])
    total = [hypothesis.log_prob + scale * value for hypothesis, value in zip(found, judged.tolist())]
    return found[max(range(len(found)), key=total.__getitem__)]


def attention_log_probs(decoder: AttentionDecoder, frames: Tensor, sequences: Sequence[Sequence[int]]) -> Tensor:
    """Log-probability of each of N sequences, its end included, given one utterance's frames, (1, T, C); (N,)."""
    count, device = len(sequences), frames.device
    tokens = pad_sequence([torch.tensor(one, dtype=torch.int64) for one in sequences], batch_first=True).to(device)
    token_lens = torch.tensor([len(one) for one in sequences], device=device)
    frame_lens = torch.full((count,), frames.shape[1], device=device)
    logits = decoder(frames.expand(count, -1, -1), frame_lens, tokens, token_lens)
    targets = decoder.targets(tokens, token_lens)
    chosen = logits.float().log_softmax(dim=-1).gather(2, targets.clamp(min=0).unsqueeze(2)).squeeze(2)
    return chosen.masked_fill(targets < 0, 0.0).sum(dim=1)
