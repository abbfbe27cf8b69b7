import pytest
import torch
from torch import nn

from gloo import together
from sensorium.contracts import workers
from sensorium.engine.norms import join_norms

SHARES = [4, 3]
SHAPES = {"vectors": (7, 3), "signals": (7, 3, 5), "pictures": (7, 3, 2, 4)}


def network(shape, **options):
    torch.manual_seed(0)
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)]
    norm = kind(3, **options)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.normal_()
    return norm


CASES = {
    **{kind: ({}, 0.0, shape) for kind, shape in SHAPES.items()},
    "far from 0": ({}, 1000.0, (7, 3)),
    "no weights": ({"affine": False}, 0.0, (7, 3, 5)),
    "cumulative": ({"momentum": None}, 0.0, (7, 3)),
    "no statistics": ({"track_running_stats": False}, 0.0, (7, 3)),
}


def passes(case):
    """Two passes forward and back of this worker's part: outputs, gradients, statistics."""
    options, offset, shape = CASES[case]
    norm = network(shape, **options)
    join_norms(norm)
    kind = type(norm).__name__
    counts = SHARES if workers.size() > 1 else [sum(SHARES)]
    start = sum(counts[: workers.rank()])
    own = slice(start, start + counts[workers.rank()])
    outputs, gradients = [], []
    for turn in range(2):
        random = torch.Generator().manual_seed(turn)
        x = (torch.randn(shape, generator=random) + offset)[own].requires_grad_()
        slopes = torch.randn(shape, generator=random)[own]
        y = norm(x)
        (y.square() * slopes).sum().backward()
        outputs.append(y.detach())
        gradients.append(x.grad)
    parameters = {name: parameter.grad for name, parameter in norm.named_parameters()}
    norm.eval()
    x = torch.full(shape, offset + 0.5)
    return outputs, gradients, parameters, dict(norm.named_buffers()), norm(x).detach(), kind


def every_case():
    return {case: passes(case) for case in CASES}


@pytest.fixture(scope="module")
def joined():
    return together(2, every_case)


@pytest.mark.parametrize("case", CASES)
def test_two_workers_normalise_as_one_with_the_whole_batch(case, joined):
    outputs, gradients, parameters, statistics, judged, kind = passes(case)
    first, second = (answers[case] for answers in joined)
    assert first[5] == second[5] == "GlobalBatchNorm" != kind
    close = {"rtol": 1e-4, "atol": 1e-5} if case != "far from 0" else {"rtol": 2e-3, "atol": 2e-3}
    for turn in range(2):
        torch.testing.assert_close(torch.cat([first[0][turn], second[0][turn]]), outputs[turn], **close)
        torch.testing.assert_close(torch.cat([first[1][turn], second[1][turn]]), gradients[turn], **close)
    for name, gradient in parameters.items():
        torch.testing.assert_close(first[2][name] + second[2][name], gradient, **close)
    for worker in (first, second):
        assert worker[3].keys() == statistics.keys()
        for name, value in statistics.items():
            torch.testing.assert_close(worker[3][name], value, **close)
        torch.testing.assert_close(worker[4], judged, **close)


def test_a_single_worker_keeps_the_norms_of_torch():
    norm = network((7, 3))
    join_norms(norm)
    assert type(norm) is nn.BatchNorm1d
