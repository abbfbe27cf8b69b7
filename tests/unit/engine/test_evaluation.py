import pytest
import torch
from torch import nn

from gloo import together
from sensorium import Metric
from sensorium.engine.evaluation import evaluate, gather
from sensorium.engine.loader import Loader
from toys import Points
from training import build, train

CPU = torch.device("cpu")
SIZES = [1, 2, 3, 7, 16]


def passes():
    """The rows and figures of splits of several sizes, in passes of several sizes."""
    assembly = build("toy_regression")
    results = {}
    for count in SIZES:
        split = Points(Points.Config(others=count)).open("test")
        with Loader(split, assembly.modalities, 2) as loader:
            for batch in (1, 4, 100):
                evaluation = evaluate(assembly.task, loader, "test", CPU, batch, contributions=True)
                results[count, batch] = gather(assembly.task, loader, CPU, batch), dict(evaluation.metrics)
    return results


@pytest.fixture(scope="module")
def one():
    return passes()


@pytest.mark.parametrize("workers", [2, 3])
def test_the_number_of_workers_and_the_size_of_a_pass_change_no_figure(workers, one):
    for rank, results in enumerate(together(workers, passes)):
        for (count, batch), (rows, metrics) in results.items():
            expected, figures = one[count, 100]
            assert metrics == pytest.approx(figures, rel=1e-5)
            assert metrics["samples"] == count
            if rank > 0:
                assert rows == {}, "rows go to the first worker alone"
                continue
            assert rows["id"] == expected["id"] == [f"test/{index}" for index in range(count)], (count, batch)
            assert torch.equal(rows["group"], expected["group"])
            assert torch.equal(rows["right"], expected["right"])
            torch.testing.assert_close(rows["found"], expected["found"])


def test_the_figures_by_hand(one):
    rows, metrics = one[7, 4]
    assert metrics["error"] == pytest.approx((rows["found"] - rows["right"]).square().mean().item())


def solved():
    """A toy that has found the answer: y = x · w + 1."""
    assembly = build("toy_regression")
    task = assembly.task
    task.body = nn.Linear(4, 1)
    with torch.no_grad():
        task.body.weight.copy_(torch.tensor([[1.0, -2.0, 0.5, 3.0]]))
        task.body.bias.fill_(1)
    return assembly


def test_a_needed_input_contributes_much_and_a_useless_one_nothing():
    assembly = solved()
    with Loader(assembly.splits["test"], assembly.modalities, 1) as loader:
        metrics = evaluate(assembly.task, loader, "test", CPU, 4, contributions=True).metrics
        rows = gather(assembly.task, loader, CPU, 4)
        dealt = gather(assembly.task, loader, CPU, 4, "x")
    assert metrics["error"] < 1e-10
    assert metrics["contribution.x.error"] < -5  # the error rises, by twice the variance of y
    assert metrics["contribution.z.error"] == 0
    # Each sample got another's x: the same answers, none where it was.
    assert sorted(dealt["found"].flatten().tolist()) == pytest.approx(sorted(rows["found"].flatten().tolist()))
    assert (dealt["found"] - rows["found"]).abs().min() > 1e-3
    assert dealt["id"] == rows["id"]
    assert torch.equal(dealt["right"], rows["right"])


def test_contributions_are_left_out_on_request_and_for_a_single_input():
    assembly = solved()
    with Loader(assembly.splits["test"], assembly.modalities, 1) as loader:
        plain = evaluate(assembly.task, loader, "test", CPU, 4).metrics
        assembly.task.inputs = {"x": assembly.modalities["x"]}
        single = evaluate(assembly.task, loader, "test", CPU, 4, contributions=True).metrics
    assert set(plain) == set(single) == {"error", "samples"}


def test_modes_are_as_before_and_nothing_is_learnt_in_passing():
    assembly = build("toy_regression", "model.norm=true", "model.dropout=0.5")
    task = assembly.task.train()
    task.body[1].eval()
    before = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    with Loader(assembly.splits["test"], assembly.modalities, 1) as loader:
        first = evaluate(task, loader, "test", CPU, 4).metrics
        assert evaluate(task, loader, "test", CPU, 3).metrics == pytest.approx(first)  # no dropout
    assert [module.training for module in task.modules()].count(False) == 1
    assert not task.body[1].training
    assert all(torch.equal(before[name], tensor) for name, tensor in task.state_dict().items())


@pytest.mark.parametrize(("between", "steps"), [("true", [4, 8, 8]), ("false", [8])])
def test_pictures_between_epochs_are_drawn_if_asked_for(between, steps, tmp_path):
    options = ("dataset.train=32", "training.global_batch=8", "training.epochs=2", "evaluation.epochs=1")

    def draws(assembly):
        assembly.task.plots = lambda rows, split: {"a.png": b""}

    trained = train("toy_regression", tmp_path, *options, f"evaluation.plots={between}", events=draws)
    assert [evaluation.step for evaluation in trained.evaluations if evaluation.plots] == steps


def test_plots_of_a_metric_are_drawn():
    class Drawn(Metric):
        def __call__(self, rows):
            return {}

        def plots(self, rows):
            return {"drawn.png": bytes(len(rows["id"]))}

    assembly = build("toy_regression")
    assembly.task._metrics.append(Drawn(Drawn.Config()))
    with Loader(assembly.splits["test"], assembly.modalities, 1) as loader:
        plots = evaluate(assembly.task, loader, "test", CPU, 4).plots
        assert plots == {"drawn.png": bytes(len(assembly.splits["test"]))}
        assert not evaluate(assembly.task, loader, "test", CPU, 4, plots=False).plots
