"""ScaledAdam, its schedules and model averaging against recorded reference trajectories."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asr.checkpoint.average import RunningAverage, interval_average
from asr.optim import Eden, ScaledAdam, ScaledAdamConfig, Warmup, convert_published_state, set_rate

FILE = "scaled_adam_eden.npz"


def _runs(data):
    return sorted({key.split("/")[0] for key in data if "/param/" in key})


def _setting(data, run, key, default=None):
    value = data.get(f"{run}/cfg/{key}")
    return default if value is None else value.item() if value.ndim == 0 else value.tolist()


def _config(data, run):
    known = ("clipping_update_period", "size_update_period", "scalar_lr_scale", "param_min_rms", "param_max_rms",
             "scalar_max", "eps")  # fmt: skip
    settings = {key: _setting(data, run, key) for key in known if f"{run}/cfg/{key}" in data}
    scale = _setting(data, run, "clipping_scale", 2.0)
    beta1, beta2 = _setting(data, run, "betas", [0.9, 0.98])
    lr = _setting(data, run, "lr", 0.045)
    clip = None if np.isnan(scale) else scale
    return ScaledAdamConfig(lr=lr, clipping_scale=clip, beta1=beta1, beta2=beta2, **settings)


def _params(data):
    return {str(n): torch.nn.Parameter(torch.from_numpy(data[f"init/{n}"].copy())) for n in data["param_names"]}


def _groups(data, run, params):
    """Named groups; a second group trains at a tenth of the rate."""
    if f"{run}/group0" not in data:
        return list(params.items())
    groups = []
    while f"{run}/group{len(groups)}" in data:
        members = [(str(name), params[str(name)]) for name in data[f"{run}/group{len(groups)}"]]
        groups.append({"params": members, "lr_scale": 0.1 ** len(groups)})
    return groups


def _schedule(data, run, lr):
    if f"{run}/group0" in data:
        return Eden(base_lr=lr, lr_batches=7500, lr_epochs=3.5, warmup=Warmup(steps=500, start=0.5))
    if f"{run}/cfg/eden_lr_batches" not in data:
        return None
    warmup = Warmup(
        steps=_setting(data, run, "eden_warmup_batches"), start=_setting(data, run, "eden_warmup_start", 0.5)
    )
    batches, epochs = _setting(data, run, "eden_lr_batches"), _setting(data, run, "eden_lr_epochs")
    return Eden(base_lr=lr, lr_batches=batches, lr_epochs=epochs, warmup=warmup)


def _set_gradients(data, run, params, step):
    withheld = str(data["grad_is_none/param"]) if f"{run}/group0" not in data and "grad_is_none/param" in data else None
    for name, param in params.items():
        param.grad = torch.from_numpy(np.array(data[f"grad/{name}"][step]))
        if name == withheld and step in data["grad_is_none/steps_zero_based"]:
            param.grad = None
    if _setting(data, run, "step_zero_based") == step:
        params[str(data["param_names"][0])].grad.view(-1)[3] = float("inf")


class _Trace:
    """One run repeated with our optimizer, everything the reference recorded noted on the way."""

    def __init__(self, data, run):
        self.params = _params(data)
        config = _config(data, run)
        self.optimizer = ScaledAdam(_groups(data, run, self.params), config)
        schedule = _schedule(data, run, config.lr)
        grouped = f"{run}/group0" in data
        saved, self.saved, self.factors, self.norms, self.thresholds = set(data["saved_steps"].tolist()), [], [], [], []
        steps = len(data[f"grad/{data['param_names'][0]}"])
        for step in range(steps):
            epoch = 0 if step < 60 or grouped else 1
            if schedule and not (grouped and step == 0):
                set_rate(self.optimizer, schedule.rate(step, epoch))
            _set_gradients(data, run, self.params, step)
            self.optimizer.step()
            report = self.optimizer.last_clip
            self.factors.append(report.factor)
            self.norms.append(report.norm)
            self.thresholds.append(np.nan if report.threshold is None else report.threshold)
            if step + 1 in saved:
                self.saved.append({name: param.detach().clone().numpy() for name, param in self.params.items()})
        if grouped:
            set_rate(self.optimizer, schedule.rate(steps, 0))


@pytest.fixture(scope="module")
def traces(golden):
    data = golden(FILE)
    return data, {run: _Trace(data, run) for run in _runs(data)}


def test_parameters_follow_the_reference(traces):
    data, found = traces
    assert found
    for run, trace in found.items():
        for name in data["param_names"]:
            ours = np.stack([step[str(name)] for step in trace.saved])
            np.testing.assert_allclose(ours, data[f"{run}/param/{name}"], rtol=2e-6, atol=2e-6, err_msg=f"{run} {name}")


def test_clipping_follows_the_reference(traces):
    data, found = traces
    for run, trace in found.items():
        for key, ours in (("clipping_factor", trace.factors), ("norm_threshold_after_step", trace.thresholds)):
            if f"{run}/{key}" in data:
                np.testing.assert_allclose(ours, data[f"{run}/{key}"], rtol=1e-5, err_msg=f"{run} {key}")
        seen = data.get(f"{run}/grad_norm_seen", np.array([np.nan]))
        known = ~np.isnan(seen)
        np.testing.assert_allclose(np.array(trace.norms)[: len(seen)][known], seen[known], rtol=1e-5, err_msg=run)


def test_nonfinite_steps_are_counted(traces):
    data, found = traces
    for run, trace in found.items():
        assert trace.optimizer.nonfinite_steps == (f"{run}/cfg/step_zero_based" in data)


def test_rates_of_groups_at_the_end(traces):
    data, found = traces
    for run, trace in found.items():
        if f"{run}/final_lrs" in data:
            rates = [group["lr"] for group in trace.optimizer.param_groups]
            np.testing.assert_allclose(rates, data[f"{run}/final_lrs"], rtol=1e-9)


def _published_state(data, run):
    state: dict[str, dict] = {}
    for key in data:
        if key.startswith(f"{run}/final_state/"):
            name, entry = key.split("/")[2:]
            value = data[key]
            state.setdefault(name, {})[entry] = value.item() if value.ndim == 0 else torch.from_numpy(value)
    return state


def test_published_state_converts_to_ours(traces):
    data, found = traces
    checked = 0
    for run, trace in found.items():
        state = _published_state(data, run)
        if not state:
            continue
        shapes = {name: tuple(param.shape) for name, param in trace.params.items()}
        theirs, their_scalars = convert_published_state(state, [shapes])
        ours, our_scalars = trace.optimizer.state_tensors()
        one_element = trace.optimizer.param_groups[0]["is_scalar"]
        assert theirs.keys() == ours.keys()
        for key, value in theirs.items():
            mine = ours[key]
            if key.startswith("group.0/") and "clipping" not in key:
                mine, value = mine[..., ~one_element], value[..., ~one_element]
            tolerance = 2e-5 * float(value.abs().max()) + 1e-12
            torch.testing.assert_close(mine.float(), value.float(), rtol=2e-5, atol=tolerance, msg=f"{run} {key}")
        assert their_scalars["groups"][0]["step"] == our_scalars["groups"][0]["step"]
        mine, reference = our_scalars["groups"][0]["clipping"], their_scalars["groups"][0]["clipping"]
        assert mine["num_clipped"] == reference["num_clipped"]
        assert (mine["threshold"] or 0.0) == pytest.approx(reference["threshold"] or 0.0, rel=1e-5)
        checked += 1
    if not checked:
        pytest.skip("no final states in this folder")


def test_eden_rates(golden):
    data = golden(FILE)
    cases = sorted({key.split("/")[0] for key in data if key.startswith("eden_")})
    assert cases
    for case in cases:
        setting = {key: data[f"{case}/{key}"].item() for key in ("base_lr", "lr_batches", "lr_epochs")}
        warmup = Warmup(steps=data[f"{case}/warmup_batches"].item(), start=data[f"{case}/warmup_start"].item())
        schedule = Eden(**setting, warmup=warmup)
        ours = [schedule.rate(int(n), float(e)) for n, e in zip(data[f"{case}/batch"], data[f"{case}/epoch"])]
        np.testing.assert_allclose(ours, data[f"{case}/lr"], rtol=1e-12, err_msg=case)


def test_averages(golden):
    data = golden(FILE)
    if "averaging/current_flat" not in data:
        pytest.skip("no averaging case in this folder")
    period = int(data["averaging/average_period"])
    first = np.concatenate([data["averaging/init_weight"].ravel(), data["averaging/init_bias"].ravel()])
    average = RunningAverage({"x": torch.from_numpy(first)}, period=period)
    at = {}
    for step, current, expected in zip(
        data["averaging/update_batch_idx"].tolist(),
        data["averaging/current_flat"],
        data["averaging/running_avg_flat_float64"],
    ):
        average.update(lambda now=current: {"x": torch.from_numpy(now)}, step)
        at[step] = {"x": average.tensors["x"].clone()}
        np.testing.assert_allclose(at[step]["x"].numpy(), expected, rtol=1e-7, atol=1e-7)  # it rounds to float32
    start, end = int(data["averaging/range_start_batch_idx"]), int(data["averaging/range_end_batch_idx"])
    between = interval_average(
        at[start // period * period], at[end // period * period], start_step=start, end_step=end, period=period
    )
    np.testing.assert_allclose(between["x"].numpy(), data["averaging/range_avg_flat"], rtol=1e-5, atol=1e-6)
