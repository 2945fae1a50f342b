"""Searches against published reference answers, on stored encoder outputs and weights."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from asr.decoding.beam import BeamSearch
from asr.decoding.config import FastBeamConfig, SearchConfig, SearchMethod
from asr.decoding.hotwords import ROOT, HotwordGraph
from asr.decoding.hypothesis import Hypothesis
from asr.decoding.search import Search, build_search
from asr.models.transducer.joiner import Joiner
from asr.models.transducer.predictor import Predictor

STREAMING = FastBeamConfig(beam=4.0, max_contexts=4, max_states=32, allow_partial=False)  # as published
LOGIT_TOLERANCE = 1e-4
LOG_PROB_TOLERANCE = 1e-3


def pytest_generate_tests(metafunc):
    """One test per group found in the reference file, so that what is skipped is skipped by name."""
    plugins = metafunc.config.pluginmanager.get_plugins()
    path = next(plugin.GOLDEN_DIR for plugin in plugins if hasattr(plugin, "GOLDEN_DIR")) / "decoding.npz"
    names = np.load(path).files if path.exists() else []
    if "offline_case" in metafunc.fixturenames:
        metafunc.parametrize("offline_case", find_groups(names, r"(\w+/offline/(?!context_phrases)[^/]+)/"))
    if "streaming_case" in metafunc.fixturenames:
        metafunc.parametrize("streaming_case", find_groups(names, r"(\w+/streaming_[^/]+/[^/]+)/"))


def find_groups(names: list[str], pattern: str) -> list[str]:
    return sorted({match[1] for name in names if (match := re.match(pattern, name))})


def test_offline(offline_case, golden):
    arrays = golden("decoding.npz")
    model_name, _, options = offline_case.split("/")
    model = load_model(golden, model_name)
    cfg = parse_options(options)
    search = search_for(cfg, model, arrays, offline_case)
    encoder_out = torch.from_numpy(arrays[f"{model_name}/encoder_out"])
    lens = torch.from_numpy(arrays[f"{model_name}/encoder_out_lens"])
    found = search.finish(search.advance(encoder_out, lens, search.init(len(lens))))

    stable = arrays[f"{offline_case}/stable_under_noise"]
    compare_answers(found, arrays, offline_case, stable)
    if f"{offline_case}/best_path_score" in arrays:
        scores = [hypothesis.log_prob for hypothesis in found]
        np.testing.assert_allclose(scores, arrays[f"{offline_case}/best_path_score"], atol=LOG_PROB_TOLERANCE)
    if f"{offline_case}/allow_partial/tokens/values" in arrays:
        partial = build_search(replace(cfg, fast=replace(cfg.fast, allow_partial=True)), model)
        found = partial.finish(partial.advance(encoder_out, lens, partial.init(len(lens))))
        compare_answers(found, arrays, f"{offline_case}/allow_partial", stable)
    if f"{offline_case}/token_logits" in arrays:
        logits = split_like(arrays, f"{offline_case}/token_logits", f"{offline_case}/tokens")
        for b in np.flatnonzero(stable):
            check_logits(model, cfg, encoder_out[b], found[b], torch.tensor(logits[b]))
    for b in np.flatnonzero(stable):
        if f"{offline_case}/nbest_utt{b}/log_prob" in arrays:
            check_nbest(search, encoder_out[b : b + 1], lens[b : b + 1], arrays, f"{offline_case}/nbest_utt{b}")


def test_streaming(streaming_case, golden):
    """Chunk by chunk, on the chunk outputs stored for the same features."""
    arrays, encoder = golden("decoding.npz"), golden("tiny_causal_encoder.npz")
    model_name, setting, method = streaming_case.split("/")
    source = "streaming/" + setting.removeprefix("streaming_")
    if f"{source}/chunk_outputs" not in encoder or not np.array_equal(
        encoder["features"], arrays[f"{model_name}/features"]
    ):
        pytest.skip(f"no stored encoder chunks for {streaming_case}")
    search = build_search(parse_options(method, STREAMING), load_model(golden, model_name))
    outputs = torch.from_numpy(encoder[f"{source}/chunk_outputs"])
    expected_counts = ragged(arrays, f"{streaming_case}/num_tokens_after_each_chunk")
    num_chunks = torch.tensor([len(row) for row in expected_counts])
    state = search.init(outputs.shape[1])
    counts = []
    for k, chunk in enumerate(outputs):
        # The reference searches a live stream's whole chunk, padding past the utterance's end included.
        state = search.advance(chunk, (k < num_chunks) * chunk.shape[1], state)
        counts.append([len(hypothesis.tokens) for hypothesis in search.partial(state)])

    assert [hypothesis.tokens for hypothesis in search.finish(state)] == ragged(arrays, f"{streaming_case}/tokens")
    for b, expected in enumerate(expected_counts):
        assert [count[b] for count in counts[: len(expected)]] == expected, f"utterance {b}"
    if isinstance(search, BeamSearch):
        for b, ranked in enumerate(search.nbest(state)):
            compare_nbest(ranked, arrays, f"{streaming_case}/nbest_utt{b}")


def test_the_hot_word_automaton_by_itself(golden):
    """Bonus at every step, how much of a phrase is matched, and what is given back at the end."""
    arrays = golden("decoding.npz")
    queries = find_groups(list(arrays), r"(context_graph_[^/]+/[^/]+/query\d+)/")
    if not queries:
        pytest.skip("no hot-word automaton by itself in this file")
    for query in queries:
        group, matching, _ = query.split("/")
        scores = arrays.get(f"{group}/scores")
        graph = HotwordGraph(
            ragged(arrays, f"{group}/phrases"),
            float(arrays[f"{group}/context_score"]),
            phrase_scores=None if scores is None else scores.tolist(),
            strict=matching == "strict",
        )
        state, bonuses, depths = torch.tensor(ROOT), [], []
        for token in torch.from_numpy(arrays[f"{query}/tokens"]):
            state, bonus = graph.step(state, token)
            bonuses.append(float(bonus))
            depths.append(int(graph.depth(state)))
        np.testing.assert_allclose(bonuses, arrays[f"{query}/step_score"], atol=1e-5, err_msg=query)
        np.testing.assert_allclose(-graph.pending(state), arrays[f"{query}/finalize_score"], atol=1e-5, err_msg=query)
        assert depths == arrays[f"{query}/state_depth"].tolist(), query


KINDS = {
    "greedy_search_batch": SearchMethod.GREEDY,
    "greedy_search": SearchMethod.GREEDY,
    "modified_beam_search": SearchMethod.BEAM,
    "fast_beam_search": SearchMethod.FAST_BEAM,
    "context_graph": SearchMethod.BEAM,
}
OPTIONS = {
    "max_sym": ("max_symbols_per_frame", int),
    "beam": ("beam", int),
    "blank_penalty": ("blank_penalty", float),
    "temperature": ("temperature", float),
}
FAST_OPTIONS = {"beam": float, "max_contexts": int, "max_states": int}


def parse_options(name: str, fast: FastBeamConfig | None = None) -> SearchConfig:
    """`modified_beam_search_beam4_blank_penalty1.0` and the like; skips what it cannot read.

    Args:
        fast: settings of fast beam search that the name does not give.
    """
    kind = next((kind for kind in KINDS if name.startswith(kind)), None)
    if kind is None:
        pytest.skip(f"{name}: no such search")
    found = re.findall(r"([a-z_]+?)(\d+(?:\.\d+)?)", name.removeprefix(kind))
    values = {key.strip("_"): value for key, value in found}
    method, settings = KINDS[kind], {}
    if method is SearchMethod.FAST_BEAM:
        given = {key: kind(values.pop(key)) for key, kind in FAST_OPTIONS.items() if key in values}
        settings["fast"] = replace(fast or FastBeamConfig(allow_partial=False), **given)
    if kind == "context_graph":
        values.pop("score")
    if unknown := set(values) - set(OPTIONS):
        pytest.skip(f"{name}: options {sorted(unknown)} are not built")
    settings |= {OPTIONS[key][0]: OPTIONS[key][1](value) for key, value in values.items()}
    return SearchConfig(method=method, **settings)


def search_for(cfg: SearchConfig, model, arrays: dict[str, np.ndarray], case: str) -> Search:
    """The search of a case, with its hot words where it has any."""
    model_name, _, options = case.split("/")
    if not options.startswith("context_graph"):
        return build_search(cfg, model)
    phrases = ragged(arrays, f"{model_name}/offline/context_phrases")
    return BeamSearch(model, cfg, HotwordGraph(phrases, float(options.removeprefix("context_graph_score"))))


def load_model(golden, name: str) -> SimpleNamespace:
    """Predictor and joiner of a stored tiny model."""
    weights = {
        key.replace("decoder", "predictor"): torch.from_numpy(value)
        for key, value in golden(f"tiny_{name}_state_dict.npz").items()
    }
    parts = {
        part: {key[len(part) + 1 :]: value for key, value in weights.items() if key.startswith(f"{part}.")}
        for part in ("predictor", "joiner")
    }
    vocab_size, dim = parts["predictor"]["embedding.weight"].shape
    conv = parts["predictor"].get("conv.weight")
    predictor = Predictor(vocab_size, dim, context_size=1 if conv is None else conv.shape[-1])
    joiner_dim, encoder_dim = parts["joiner"]["encoder_proj.weight"].shape
    joiner = Joiner(encoder_dim, dim, joiner_dim, vocab_size)
    predictor.load_state_dict(parts["predictor"])
    joiner.load_state_dict(parts["joiner"])
    return SimpleNamespace(predictor=predictor.eval(), joiner=joiner.eval(), ctc_head=None, has_transducer=True)


def compare_answers(found: list[Hypothesis], arrays: dict[str, np.ndarray], name: str, stable: np.ndarray) -> None:
    expected = zip(ragged(arrays, f"{name}/tokens"), ragged(arrays, f"{name}/timestamps"), strict=True)
    for b, (tokens, timestamps) in enumerate(expected):
        if stable[b]:
            assert found[b].tokens == tokens, f"utterance {b}"
            assert found[b].timestamps == timestamps, f"utterance {b}"


def ragged(arrays: dict[str, np.ndarray], name: str) -> list[list[int]]:
    values, splits = arrays[f"{name}/values"], arrays[f"{name}/row_splits"]
    return [values[start:end].tolist() for start, end in zip(splits[:-1], splits[1:], strict=True)]


def split_like(arrays: dict[str, np.ndarray], name: str, like: str) -> list[list[float]]:
    splits = arrays[f"{like}/row_splits"]
    return [arrays[name][start:end].tolist() for start, end in zip(splits[:-1], splits[1:], strict=True)]


def check_logits(model, cfg: SearchConfig, encoder_out: Tensor, found: Hypothesis, expected: Tensor) -> None:
    """Score the found tokens again, from scratch: logits as stored, and log-probabilities as the search reported."""
    context_size = model.predictor.context_size
    padded = torch.tensor([-1] * (context_size - 1) + [0] + found.tokens)
    contexts = padded.unfold(0, context_size, 1)[:-1]
    logits = model.joiner(encoder_out[found.timestamps], model.predictor(contexts, pad_left=False).squeeze(1)).detach()
    logits[:, 0] -= cfg.blank_penalty
    at = torch.tensor(found.tokens).unsqueeze(1)
    torch.testing.assert_close(logits.gather(1, at).squeeze(1), expected, atol=LOGIT_TOLERANCE, rtol=0)
    log_probs = logits.log_softmax(-1).gather(1, at).squeeze(1)
    torch.testing.assert_close(torch.tensor(found.token_log_probs), log_probs, atol=LOGIT_TOLERANCE, rtol=0)


def check_nbest(search: Search, encoder_out: Tensor, lens: Tensor, arrays: dict[str, np.ndarray], name: str) -> None:
    assert isinstance(search, BeamSearch)
    ranked = search.nbest(search.advance(encoder_out, lens, search.init(1)))[0]
    compare_nbest(ranked, arrays, name)
    assert [hypothesis.timestamps for hypothesis in ranked] == ragged(arrays, f"{name}/timestamps")


def compare_nbest(ranked: list[Hypothesis], arrays: dict[str, np.ndarray], name: str) -> None:
    assert [hypothesis.tokens for hypothesis in ranked] == ragged(arrays, f"{name}/tokens")
    log_probs = [hypothesis.log_prob for hypothesis in ranked]
    np.testing.assert_allclose(log_probs, arrays[f"{name}/log_prob"], atol=LOG_PROB_TOLERANCE)
