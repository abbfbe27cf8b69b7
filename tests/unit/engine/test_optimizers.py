import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch._subclasses import FakeTensorMode

from sensorium import UserError
from sensorium.engine.optimizers import build, check, factor
from sensorium.engine.settings import Optimizer, Schedule

NAMES = ["adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw", "asgd", "nadam", "radam", "rmsprop", "rprop"]


def linear():
    torch.manual_seed(0)
    return nn.Linear(3, 2)


@pytest.mark.parametrize("name", [*NAMES, "sgd"])
def test_each_optimizer_of_torch_learns(name):
    settings = Optimizer(name=name, lr=0.05)
    check(settings, "training.optimizer")
    layer, x = linear(), torch.eye(3)
    optimizer = build(settings, dict(layer.named_parameters()))
    losses = []
    for _ in range(20):
        loss = (layer(x) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("settings", "device", "fused"),
    [
        (Optimizer(name="adamw"), "cuda", True),
        (Optimizer(name="sgd", options={"momentum": 0.9}), "cuda", True),
        (Optimizer(name="adamw", options={"foreach": True}), "cuda", None),
        (Optimizer(name="adamw"), "cpu", None),
        (Optimizer(name="rmsprop"), "cuda", None),
    ],
)
def test_a_gpu_updates_all_parameters_in_one_kernel(settings, device, fused):
    with FakeTensorMode():
        optimizer = build(settings, {"x": nn.Parameter(torch.zeros(3, 3, device=device))})
    assert optimizer.defaults.get("fused") is fused


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Optimizer(name="adamww"), r"no optimizer 'adamww' at training\.optimizer.*Did you mean 'adamw'"),
        (Optimizer(name="AdamW"), "no optimizer 'AdamW'"),
        (Optimizer(name="lbfgs"), "no optimizer 'lbfgs'"),
        (Optimizer(name="muon"), "no optimizer 'muon'"),
        (Optimizer(name="sparseadam"), "no optimizer 'sparseadam'"),
        (Optimizer(name="optimizer"), "no optimizer 'optimizer'"),
        (
            Optimizer(options={"bettas": [0.9, 0.9]}),
            r"option of adamw 'bettas' at training\.optimizer\.options.*'betas'",
        ),
        (Optimizer(options={"lr": 1.0}), "no option of adamw 'lr'"),
        (Optimizer(options={"betas": [0.9, 1.5]}), "adamw does not take these options: Invalid beta parameter"),
        (Optimizer(name="sgd", options={"momentum": "much"}), "sgd does not take these options"),
        (Optimizer(name="rprop", weight_decay=0.1), "rprop has no weight decay"),
    ],
)
def test_what_torch_would_refuse_later_is_refused_at_once(settings, message):
    with pytest.raises(UserError, match=message):
        check(settings, "training.optimizer")


def test_weight_decay_spares_biases_norms_and_scalars():
    parts = nn.ModuleDict({"linear": linear(), "norm": nn.LayerNorm(3), "conv": nn.Conv1d(1, 1, 3)})
    parts.scale = nn.Parameter(torch.tensor(5.0))
    before = {name: parameter.detach().clone() for name, parameter in parts.named_parameters()}
    optimizer = build(Optimizer(name="sgd", lr=0.1, weight_decay=0.5), dict(parts.named_parameters()))
    for parameter in parts.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in parts.named_parameters():
        share = 0.95 if name in ("linear.weight", "conv.weight") else 1.0
        assert parameter.tolist() == pytest.approx((before[name] * share).numpy(), rel=1e-6), name


def test_a_cosine_with_warmup_by_hand():
    schedule = Schedule(name="cosine", warmup=0.2, final=0.1)
    shares = [factor(schedule, step, 10) for step in range(10)]
    assert shares[:3] == [0.5, 1.0, 1.0]
    assert shares[-1] == pytest.approx(0.1)
    # Step 5 is 3/7 of the way from step 2 to step 9.
    assert shares[5] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 3 / 7)))


def test_a_line_and_a_constant_by_hand():
    line = Schedule(name="linear", warmup=0.0, final=0.0)
    assert [factor(line, step, 5) for step in range(5)] == [1.0, 0.75, 0.5, 0.25, 0.0]
    flat = Schedule(name="constant", warmup=0.3)
    assert [factor(flat, step, 4) for step in range(4)] == [0.5, 1.0, 1.0, 1.0]


@given(st.sampled_from(["constant", "linear", "cosine"]), st.floats(0, 0.99), st.floats(0, 1), st.integers(1, 300))
def test_the_rate_rises_then_falls_and_stays_within_0_and_1(name, warmup, final, steps):
    schedule = Schedule(name=name, warmup=warmup, final=final)
    shares = [factor(schedule, step, steps) for step in range(steps)]
    assert all(0 <= share <= 1 + 1e-12 for share in shares)
    top = math.ceil(warmup * steps)
    assert shares[:top] == sorted(shares[:top])
    assert shares[top:] == sorted(shares[top:], reverse=True)
