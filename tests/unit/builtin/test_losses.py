import math
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from forked import started
from sensorium.builtin.losses import blocks
from sensorium.builtin.losses.cross_entropy import CrossEntropy
from sensorium.builtin.losses.infonce import InfoNCE
from sensorium.builtin.losses.siglip import SigLIP
from sensorium.builtin.losses.triplet import Triplet

BUILDS = {
    "infonce": InfoNCE.Config(),
    "siglip": SigLIP.Config(),
    "triplet": Triplet.Config(),
    "triplet sum": Triplet.Config(hardest=False),
}
GROUPS = {"distinct": torch.arange(13) * 7, "shared": torch.tensor([5, 1, 5, 2, 9, 1, 5, 3, 8, 8, 4, 1, 0])}
EVERY_BUILD = pytest.mark.parametrize("build", BUILDS)
EVERY_GROUPS = pytest.mark.parametrize("groups", GROUPS.values(), ids=GROUPS)


def plain(module, a, b, groups):
    """The loss over the full matrix, as the papers write it, for autograd."""
    similarity = a @ b.T
    same = groups[:, None] == groups
    if isinstance(module, InfoNCE):
        logits, target = similarity * module.log_scale.exp(), same / same.sum(1, keepdim=True)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    if isinstance(module, SigLIP):
        logits = similarity * module.log_scale.exp() + module.bias
        return -F.logsigmoid(logits * (2 * same.to(a.dtype) - 1)).sum() / len(a)
    total = 0
    for scores in (similarity, similarity.T):
        hinge = (module.config.margin + scores - scores.diagonal()[:, None]).clamp(min=0).masked_fill(same, 0)
        total = total + (hinge.amax(1) if module.config.hardest else hinge.sum(1)).mean()
    return total


def pairs(count=13, dim=6, dtype=torch.float32, seed=0):
    random = torch.Generator().manual_seed(seed)
    a = torch.randn(count, dim, generator=random, dtype=dtype)
    b = a + torch.randn(count, dim, generator=random, dtype=dtype)
    return F.normalize(a, dim=1), F.normalize(b, dim=1)


def run(function, module, a, b, groups, weight=1.0):
    """Returns the weighted loss and its gradients: of a, of b, of each parameter."""
    a, b = a.clone().requires_grad_(), b.clone().requires_grad_()
    module.zero_grad()
    loss = function(a, b, groups) * weight
    loss.backward()
    return [loss.detach(), a.grad, b.grad, *(parameter.grad.clone() for parameter in module.parameters())]


def assert_equal(results, references, limit=1e-5):
    assert len(results) == len(references)
    for result, reference in zip(results, references, strict=True):
        assert result.shape == reference.shape
        assert (result - reference).norm() <= limit * reference.norm()


@pytest.mark.parametrize(("groups", "expected"), [([0, 1], math.log(1 + 1 / math.e)), ([3, 3], 0.813262)])
def test_infonce_by_hand(groups, expected):
    # Similarities are 1 on the diagonal and 0 beside it. With both columns positive:
    # log(e + 1) - (1 + 0) / 2.
    loss = InfoNCE(InfoNCE.Config(temperature=1))
    assert loss(torch.eye(2), torch.eye(2), torch.tensor(groups)).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("groups", "other"), [([0, 1], -2), ([4, 4], 2)])
def test_siglip_by_hand(groups, other):
    # Each row: its partner's logit is 1 - 2, the other's is -2; -log sigmoid(x) = log(1 + e^-x).
    loss = SigLIP(SigLIP.Config(scale=1, bias=-2))
    expected = math.log1p(math.exp(1)) + math.log1p(math.exp(other))
    assert loss(torch.eye(2), torch.eye(2), torch.tensor(groups)).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("hardest", "groups", "expected"),
    [(True, [0, 1, 2], 1.4 / 3), (False, [0, 1, 2], 1.6 / 3), (True, [0, 0, 2], 0.4 / 3), (True, [1, 1, 1], 0)],
)
def test_triplet_by_hand(hardest, groups, expected):
    # Similarities 1-2: 0.8, 2-3: 0.6, 1-3: 0, so hinges of 0.3, 0.1 and 0 both ways.
    rows = torch.tensor([[1, 0], [0.8, 0.6], [0, 1]])
    loss = Triplet(Triplet.Config(margin=0.5, hardest=hardest))
    assert loss(rows, rows, torch.tensor(groups)).item() == pytest.approx(expected, abs=1e-6)


@EVERY_BUILD
@EVERY_GROUPS
@pytest.mark.parametrize("block", [1, 4, 5, 1024])
def test_equals_the_full_matrix(build, groups, block, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", block)
    module = BUILDS[build].build()
    expected = run(lambda *inputs: plain(module, *inputs), module, *pairs(), groups)
    assert_equal(run(module, module, *pairs(), groups), expected)


@EVERY_BUILD
@EVERY_GROUPS
def test_gradient_is_the_derivative(build, groups, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 5)
    module = BUILDS[build].build().double()
    a, b = (rows.requires_grad_() for rows in pairs(dtype=torch.float64))
    inputs = (a, b, *module.parameters())
    assert torch.autograd.gradcheck(lambda a, b, *_: 3 * module(a, b, groups), inputs)


@EVERY_BUILD
def test_without_gradients_the_value_stays(build):
    module = BUILDS[build].build()
    value = module(*pairs(), GROUPS["shared"])
    module.requires_grad_(False)
    alone = module(*pairs(), GROUPS["shared"])
    assert not alone.requires_grad
    assert alone.item() == pytest.approx(value.item())


@EVERY_BUILD
def test_one_frozen_field_leaves_the_gradient_of_the_other(build):
    module = BUILDS[build].build()
    a, b = pairs()
    expected = run(module, module, a, b, GROUPS["shared"])[2]
    b.requires_grad_()
    module(a, b, GROUPS["shared"]).backward()
    assert a.grad is None
    assert torch.equal(b.grad, expected)


@EVERY_BUILD
def test_half_precision_is_computed_in_float32(build):
    module = BUILDS[build].build()
    half = [rows.bfloat16() for rows in pairs()]
    wide = run(module, module, *(rows.float() for rows in half), GROUPS["shared"])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        results = run(module, module, *half, GROUPS["shared"])
    assert results[0].dtype == torch.float32
    assert torch.equal(results[0], wide[0])
    for result, expected in zip(results[1:3], wide[1:3], strict=True):
        assert torch.equal(result, expected.bfloat16())


@EVERY_BUILD
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_the_order_of_pairs_does_not_matter(build, data):
    count = data.draw(st.integers(1, 12))
    groups = torch.tensor(data.draw(st.lists(st.integers(0, 5), min_size=count, max_size=count)))
    order = torch.tensor(data.draw(st.permutations(range(count))))
    a, b = pairs(count, seed=data.draw(st.integers(0, 99)))
    module = BUILDS[build].build()
    value = module(a, b, groups).item()
    assert module(a[order], b[order], groups[order]).item() == pytest.approx(value, rel=1e-5, abs=1e-6)


class Largest(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that an operation returns."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.numel = max(self.numel, tensor.numel())
        return result


@EVERY_BUILD
@pytest.mark.parametrize("groups", [torch.arange(96), torch.arange(96) // 3], ids=GROUPS)
def test_the_square_of_the_batch_never_exists(build, groups, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 16)
    module = BUILDS[build].build()
    with Largest() as full:
        run(lambda *inputs: plain(module, *inputs), module, *pairs(96, 8), groups)
    with Largest() as tiled:
        run(module, module, *pairs(96, 8), groups)
    assert full.numel == 96 * 96
    assert tiled.numel == 96 * 8


def test_the_scale_is_held_at_100_and_can_come_back():
    module = InfoNCE(InfoNCE.Config())
    with torch.no_grad():
        module.log_scale.fill_(math.log(500))
    a, b = pairs()
    module(a, b.roll(1, 0), GROUPS["distinct"]).backward()
    assert module.log_scale.item() == pytest.approx(math.log(100))
    assert module.log_scale.grad > 0  # partners are wrong: gradient descent lowers the scale


def test_a_fixed_temperature_is_no_parameter():
    module = InfoNCE(InfoNCE.Config(learnable=False))
    assert list(module.parameters()) == []
    learnt = InfoNCE(InfoNCE.Config())
    a, b = pairs()
    expected = run(learnt, learnt, a, b, GROUPS["shared"])
    assert_equal(run(module, module, a, b, GROUPS["shared"]), expected[:3], limit=0)
    assert learnt.state_dict().keys() == module.state_dict().keys()


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        (InfoNCE, {"temperature": 0.0}),
        (InfoNCE, {"temperature": 0.001}),
        (SigLIP, {"scale": -1.0}),
        (Triplet, {"margin": -0.1}),
        (CrossEntropy, {"label_smoothing": 1.5}),
    ],
)
def test_options_that_make_no_sense_are_refused(loss, options):
    with pytest.raises(ValueError, match="must"):
        loss.Config(**options)


SHARES = {4: [6, 0, 4, 3], 2: [4, 9]}


def worker(rank: int, folder: Path) -> None:
    """Takes a share of the step, on four workers and then on two, and stores what came of it."""
    torch.set_num_threads(1)
    blocks.BLOCK = 4
    a, b = pairs()
    for size, shares in SHARES.items():
        if rank >= size:
            break
        dist.init_process_group("gloo", init_method=f"file://{folder}/store{size}", rank=rank, world_size=size)
        own = slice(sum(shares[:rank]), sum(shares[: rank + 1]))
        for build, config in BUILDS.items():
            for kind, groups in GROUPS.items():
                module = config.build()
                results = run(module, module, a[own], b[own], groups[own], weight=shares[rank] / len(a))
                torch.save(results, folder / f"{build}-{kind}-{rank}-of-{size}")
        dist.barrier()
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def shares(tmp_path_factory):
    """A folder with the results of each of four and of two workers."""
    folder = tmp_path_factory.mktemp("workers")
    processes = [started(worker, rank, folder) for rank in range(4)]
    for process in processes:
        process.join(timeout=100)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    return folder


@EVERY_BUILD
@pytest.mark.parametrize("kind", GROUPS)
@pytest.mark.parametrize("size", SHARES)
def test_any_number_of_workers_gives_the_same_step(build, kind, size, shares):
    results = [torch.load(shares / f"{build}-{kind}-{rank}-of-{size}") for rank in range(size)]
    loss, a, b, *parameters = zip(*results, strict=True)
    summed = [torch.stack(values).sum(0) for values in (loss, *parameters)]
    module = BUILDS[build].build()
    expected = run(module, module, *pairs(), GROUPS[kind])
    assert_equal([summed[0], torch.cat(a), torch.cat(b), *summed[1:]], expected)


def test_cross_entropy_by_hand():
    logits = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])
    target = torch.tensor([1, 0])
    loss = CrossEntropy(CrossEntropy.Config())(logits, target)
    assert loss.tolist() == pytest.approx([math.log(4), math.log(2)])
    # Half of the target is spread over both classes: 3/4 of log 4 and 1/4 of log 4/3.
    smooth = CrossEntropy(CrossEntropy.Config(label_smoothing=0.5))(logits, target)
    expected = 0.75 * math.log(4) + 0.25 * math.log(4 / 3)
    assert smooth.tolist() == pytest.approx([expected, math.log(2)])


def test_cross_entropy_averages_over_real_tokens():
    logits = torch.tensor([[math.log(3), 0.0], [0.0, 0.0], [9.0, 0.0]]).expand(3, 3, 2)
    target = torch.tensor([[1, 0, 1]] * 3)
    mask = torch.tensor([[True, True, False], [True, False, False], [False, False, False]])
    loss = CrossEntropy(CrossEntropy.Config())
    assert loss(logits, target, mask).tolist() == pytest.approx([math.log(8) / 2, math.log(4), 0])
    assert loss(logits[:, :2], target[:, :2]).tolist() == pytest.approx([math.log(8) / 2] * 3)
