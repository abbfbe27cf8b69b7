import json

import pytest
import torch
from torch import nn

from sensorium import UserError
from sensorium.engine.checkpoint import open_checkpoint, write
from sensorium.engine.loader import Loader
from sensorium.engine.optimizers import _CLASSES
from sensorium.engine.settings import Optimizer, Training
from sensorium.engine.state import load_optimizer_state, load_weights, optimizer_state, weights
from sensorium.engine.step import Stepper
from training import build

OPTIONS = {"sgd": {"momentum": 0.9, "nesterov": True}, "adamw": {"amsgrad": True}, "rmsprop": {"centered": True}}


def stepper(optimizer, precision="fp32"):
    task = build("toy_pairs", "model.loss=infonce").task  # its temperature is a scalar
    settings = Optimizer(name=optimizer, lr=0.01, options=OPTIONS.get(optimizer, {}))
    objective = task.stages()[0].objectives[0]
    return task, Stepper(task, objective, Training(precision=precision), settings, torch.device("cpu"))


def learn(stepper, steps):
    assembly = build("toy_pairs", "model.loss=infonce")
    with Loader(assembly.splits["train"], assembly.modalities, 1) as loader:
        plan = [(0, list(range(step, step + 8))) for step in steps]
        for batch in loader.stream(plan):
            stepper.step(batch, 8, 1.0, 0)


@pytest.mark.parametrize(
    ("optimizer", "precision", "steps"),
    [*((name, "fp32", 6) for name in sorted(_CLASSES)), ("adamw", "fp16", 20)],  # float16 looks for its scale first
)
def test_each_optimizer_goes_on_bit_for_bit(optimizer, precision, steps, tmp_path):
    task, undisturbed = stepper(optimizer, precision)
    learn(undisturbed, range(steps))
    first_task, first = stepper(optimizer, precision)
    learn(first, range(steps // 2))
    tensors, scalars = optimizer_state([first])
    write(f"{tmp_path}/saved", {"model": weights(first_task), "optimizer": tensors}, {"optimizer": scalars})
    saved = open_checkpoint(tmp_path / "saved")
    second_task, second = stepper(optimizer, precision)
    load_weights(second_task, saved.tensors("model"), "here")
    load_optimizer_state([second], saved.tensors("optimizer"), saved.document("optimizer"), "here")
    learn(second, range(steps // 2, steps))
    assert not torch.equal(second_task.state_dict()["left.0.weight"], first_task.state_dict()["left.0.weight"])
    assert all(torch.equal(task.state_dict()[name], tensor) for name, tensor in second_task.state_dict().items())


def test_the_state_of_optimizers_is_tensors_and_json_by_name():
    _, one = stepper("adamw")
    learn(one, [0])
    tensors, scalars = optimizer_state([one])
    assert tensors["main/left.0.weight/exp_avg"].shape == (8, 4)
    assert tensors["main/loss.log_scale/step"] == 1
    assert json.loads(json.dumps(scalars)) == scalars


def test_weights_that_do_not_fit_are_named():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    saved = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    saved["1.weight"] = torch.zeros(1, 3)
    saved["2.bias"] = saved.pop("1.bias")
    with pytest.raises(UserError, match=r"weights in here do not fit the model: 1\.bias, 2\.bias, 1\.weight differ"):
        load_weights(model, saved, "here")


def test_tied_weights_are_saved_and_stay_tied(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.out = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
            self.out.weight = self.embedding.weight

    model, other = Tied(), Tied()
    write(f"{tmp_path}/saved", {"model": weights(model)}, {})
    load_weights(other, open_checkpoint(tmp_path / "saved").tensors("model"), "here")
    assert other.out.weight is other.embedding.weight
    assert torch.equal(other.out.weight, model.embedding.weight)
