"""A published checkpoint through `asr import-icefall`: the same numbers come out, from a file of ours."""

from __future__ import annotations

import csv
from pathlib import Path

import torch

from asr.checkpoint.model import load_model
from asr.nn.chunks import ChunkContext


def test_a_published_checkpoint_gives_its_published_output(golden, golden_dir: Path, tmp_path: Path, command):
    weights = {name: torch.from_numpy(value) for name, value in golden("tiny_noncausal_state_dict.npz").items()}
    reference = golden("tiny_noncausal_encoder.npz")
    with open(golden_dir / "tiny_noncausal_config.csv", encoding="utf-8") as file:
        told = {row["name"]: row["value"] for row in csv.DictReader(file)}
    torch.save({"model": weights}, tmp_path / "pretrained.pt")
    symbols = ["<blk>", "<sos/eos>", "<unk>", *(f"t{index}" for index in range(3, int(told["vocab_size"])))]
    lines = [f"{symbol} {index}\n" for index, symbol in enumerate(symbols)]
    (tmp_path / "tokens.txt").write_text("".join(lines), encoding="utf-8")
    heads = [f"{key}={told[key]}" for key in ("query_head_dim", "value_head_dim", "pos_head_dim")]

    source, out = tmp_path / "pretrained.pt", tmp_path / "imported"
    status, _, errors = command("import-icefall", source, out, f"tokens={tmp_path / 'tokens.txt'}", *heads)

    assert status == 0, errors
    model = load_model(out).model
    features, lens = torch.from_numpy(reference["features"]), torch.from_numpy(reference["feature_lens"]).long()
    with torch.no_grad():
        encoded = model.encode(features, lens, context=ChunkContext())
    whole = (lens == features.shape[1]).nonzero().squeeze(1).tolist()
    assert whole, "no row fills the batch"
    for row in whole:
        expected = torch.from_numpy(reference["encoder_out"])[row]
        torch.testing.assert_close(encoded.out[row, : len(expected)], expected, atol=1e-4, rtol=0)
