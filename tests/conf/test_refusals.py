"""A setting that cannot be is refused in one sentence, which names its full key."""

from __future__ import annotations

import pytest

from asr.config.compose import compose
from asr.data import ReverbConfig
from asr.errors import ConfigError

UNKNOWN = {
    "foo=1": "foo is no setting; the command has name, run_dir, ",
    "nam=x": "nam is no setting; did you mean name?",
    "training.num_stepz=1": "training.num_stepz is no setting; did you mean training.num_steps?",
    "+training.num_stepz=1": "training.num_stepz is no setting; ",
    "++a.b=3": "a is no setting; ",
    "corpus.spedds=[1]": "corpus.spedds is no setting; did you mean corpus.speeds?",
    "augment={mask:null}": "augment.mask is no setting; did you mean augment.masks?",
    "augment.noise.probb=1": "augment.noise.probb is no setting; did you mean augment.noise.prob?",
    "recipe=nope": "recipe=nope is no choice; choose from aishell",
    "model=nope": "model=nope is no choice; choose from zipformer_large, ",
    "recipe=": "recipe=nothing is no choice; choose from aishell",
}
WRONG_TYPE = {
    "training.num_steps=abc": "training.num_steps=abc must be a whole number",
    "training.seed=1.5": "training.seed=1.5 must be a whole number",
    "optim.lr=": "optim.lr= must be a number",
    "optim.lr=fast": "optim.lr=fast must be a number",
    "optim.lr=nan": "optim.lr=nan must be a number",
    "model.ctc_head=perhaps": "model.ctc_head=perhaps must be true or false",
    "loss.topology=FOO": "loss.topology=FOO must be one of REGULAR, MODIFIED, CONSTRAINED",
    "model.encoder.num_layers=5": "model.encoder.num_layers=5 must be a list",
    "model.encoder.num_layers=[a]": "model.encoder.num_layers[0]=a must be a whole number",
    "augment.masks=3": "augment.masks=3 has no meaning: ",
    "training=null": "training must not be null",
    "~training": "~training would delete",
    "training.num_steps=???": "training.num_steps is not set",
    "data.folder=${nope}": "data.folder cannot be worked out",
    "training.num_steps=[": "'training.num_steps=[' cannot be read as key=value",
}
MEANINGLESS = {
    "recipe=digits,demo": "Ambiguous value for argument 'recipe=digits,demo'",
    "encoder=3": "encoder=3 is no choice; choose from cnn, conformer, ",
    "model=null": "model=null is no choice; choose from zipformer_large, ",
    "objective=[transducer,cr_ctc]": "objective=['transducer', 'cr_ctc'] is no choice; choose from ",
    "training.num_steps=0": "training.num_steps=0 must be at least 1",
    "training.num_threads=0": "training.num_threads=0 must be at least 1",
    "training.guard.patience=0": "training.guard.patience=0 must be at least 1",
    "evaluation.chunk_size=30": "evaluation.chunk_size=30 must be a multiple of ",
    "evaluation.left_context=0": "evaluation.left_context=0 must be a positive number",
    "evaluation.max_duration_s=0": "evaluation.max_duration_s=0.0 must be above 0",
    "model.encoder.chunk_sizes=[30]": "model.encoder.chunk_sizes=30 must be a multiple of ",
    "model.encoder.chunk_sizes=[]": "model.encoder.chunk_sizes=[] must hold",
    "model.encoder.left_contexts=[-1]": "model.encoder.left_contexts=[-1] must hold",
    "model.encoder.num_layers=[1]": "model.encoder.downsampling_factors has 4 entries but model.encoder.num_layers",
    "model.encoder.num_layers=[0,1,1,1]": "model.encoder.num_layers=[0, 1, 1, 1] must be at least 1",
    "model.encoder.unmasked_dims=[999,96,96,96]": "model.encoder.unmasked_dims=[999, 96, 96, 96] must lie within",
    "model.encoder.pos_dim=7": "model.encoder.pos_dim=7 must be even",
    "model.encoder.dropout_end=2": "model.encoder.dropout_end=2.0 must lie between 0 and 1",
    "model.context_size=0": "model.context_size=0 must be at least 1",
    "model.vocab_size=1": "model.vocab_size=1 leaves no symbol",
    "loss.ctc_scale=-1": "loss.ctc_scale=-1.0 must not be negative",
    "loss.lm_scale=2": "loss.lm_scale=2.0 and loss.am_scale=0.0 are shares",
    "optim.lr=-1": "optim.lr=-1.0 must be > 0",
    "schedule.decay_part=0": "schedule.decay_part=0.0 must lie in",
    "data.num_workers=-1": "data.num_workers=-1 must be 0 or more",
    "augment.masks.prob=2": "augment.masks.prob=2.0 must lie between 0 and 1",
    "augment.noise.prob=3": "augment.noise.prob=3.0 must lie between 0 and 1",
    "augment.noise={prob:3}": "augment.noise.prob=3.0 must lie between 0 and 1",
    "corpus.num_workers=0": "corpus.num_workers=0 must be 1 or more",
    "name=": "name and run_dir must not be empty",
}
OTHER_ROOTS = {
    ("decode", "chunk_size=-1"): "chunk_size=-1 must be a positive number",
    ("decode", "unit=syllable"): "unit=syllable must be one of WORD, CHARACTER",
    ("decode", "num_threads=0"): "num_threads=0 must be at least 1",
    ("decode", "max_duration_s=0"): "max_duration_s=0.0 must be above 0",
    ("decode", "search.beam=0"): "search.beam=0 keeps nothing",
    ("decode", "search.method=beem"): "search.method=beem must be one of GREEDY, BEAM, FAST_BEAM, ",
    ("decode", "data.lists=x"): "data.lists is no setting; did you mean data.list?",
    ("average", "chunk_size=0"): "chunk_size=0 must be a positive number",
    ("stream", "pace=minutes"): "pace is no setting of this command",
    ("stream", "left_context=0"): "left_context=0 must be a positive number",
    ("stream", "tail_s=-1"): "tail_s=-1.0 must be 0 seconds or more",
    ("stream", "endpoint.pause_s=0"): "endpoint.pause_s=0.0 must be above 0 seconds",
    ("export", "chunk_size=0"): "chunk_size=0 must be a positive number",
    ("export", "opset=3"): "opset=3 is not among those known to work",
}


def refusal(root: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        compose(root, list(overrides))
    sentence = str(caught.value)
    assert "\n" not in sentence and len(sentence) < 400
    assert not sentence.endswith(".")
    return sentence


@pytest.mark.parametrize(("override", "sentence"), [*UNKNOWN.items(), *WRONG_TYPE.items(), *MEANINGLESS.items()])
def test_train_refuses(override, sentence):
    assert refusal("train", "recipe=digits", override).startswith(sentence)


@pytest.mark.parametrize(("given", "sentence"), OTHER_ROOTS.items())
def test_other_commands_refuse(given, sentence):
    root, override = given
    assert refusal(root, "checkpoint=x", override).startswith(sentence)


def test_a_missing_checkpoint_is_named():
    assert refusal("decode") == "checkpoint is not set; give it a value"


def test_a_dictionary_sets_values_where_a_name_would_choose_a_file():
    assert compose("train", ["recipe=digits", "model={context_size:1}"]).model.context_size == 1


def test_settings_below_a_null_switch_it_on():
    assert compose("train", ["recipe=digits"]).augment.noise is None
    for override in ("augment.noise.prob=0.25", "augment.noise={prob:0.25}"):
        noise = compose("train", ["recipe=digits", override, "training.num_steps=7"]).augment.noise
        assert (noise.prob, noise.max_snr_db) == (0.25, 20.0)
    assert compose("stream", ["checkpoint=x", "endpoint.pause_s=0.5"]).endpoint.pause_s == 0.5


@pytest.mark.parametrize("recipe", ["digits", "librispeech", "aishell"])
def test_empty_settings_switch_a_null_on_with_its_defaults(recipe):
    def augment(*overrides):
        return compose("train", [f"recipe={recipe}", *overrides]).augment

    assert augment().reverb is None
    for override in ("augment.reverb={}", "augment={reverb:{}}"):
        assert augment(override).reverb == ReverbConfig()
        assert augment(override, "augment.warp.tempo=0.2").reverb == ReverbConfig()  # the way below a null
    both = augment("augment.reverb={}", "augment.noise={}")
    assert both.reverb == ReverbConfig() and both.noise.prob == 0.5
    assert augment("augment.reverb={}", "augment.reverb=null").reverb is None
    assert augment("augment.masks={}") == augment()  # what is on stays as it is
    assert compose("stream", ["checkpoint=x", "endpoint={}"]).endpoint is not None
