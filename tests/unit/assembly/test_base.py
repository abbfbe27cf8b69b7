"""Trainings beside published weights: small checkpoints, whole models, the base told apart by its hash."""

import contextlib
import json
import shutil
import sys

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from gloo import together
from sensorium import UserError, hookimpl
from sensorium.assembly.build import load_model
from sensorium.engine.checkpoint import open_checkpoint
from sensorium.inference.predictor import Predictor
from training import build, train

SIZE = 32
PICTURES = f"modalities={{image: {{name: image, size: {SIZE}}}, label: label}}"
DATA = ("dataset={name: digits, limit: {train: 48, test: 16}}", PICTURES)
COMMON = (
    *DATA,
    "training.global_batch=8",
    "training.epochs=1",
    "training.checkpoints={steps: 2, keep: 9}",
    "run.threads=0",
)


def network(folder, seed=1):
    """Writes random weights and returns their file."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(timm.create_model("test_vit", img_size=SIZE).state_dict(), folder / "model.safetensors")
    return folder / "model.safetensors"


def model(file, how, weights=None, **lora):
    encoder = {"name": "timm", "model": "test_vit", "weights": str(file), "fine_tune": how, "lora": {"rank": 2, **lora}}
    return "model=" + json.dumps(
        {"encoder": encoder, "targets": ["label"], "metrics": ["accuracy"], "weights": weights}
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return network(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def lora(tmp_path_factory, file):
    """A training with adapters: its folder, and what it told."""
    folder = tmp_path_factory.mktemp("lora")
    return folder, train("recognition", folder, *COMMON, model(file, "lora"))


def checkpoint(folder, step=6):
    return folder / "checkpoints" / f"step-{step:08d}"


class Trip:
    @hookimpl
    def sensorium_step_finished(self, step):
        if step.number == 5:
            raise RuntimeError("tripped")


def test_checkpoints_hold_what_was_trained_and_models_all(lora, file):
    folder, _ = lora
    saved = open_checkpoint(checkpoint(folder)).tensors("model")
    assert all(".lora_" in name or name.startswith("heads.") for name in saved)
    assert len(saved) == 6 * 4 * 2 + 2
    whole = open_checkpoint(folder / "model")
    published = {f"encoder.body.{name}": tensor for name, tensor in load_file(file).items() if "head" not in name}
    named = whole.tensors("model")
    assert named.keys() == {*published, "heads.label.weight", "heads.label.bias"}
    changed = {name for name, tensor in published.items() if not torch.equal(tensor, named[name])}
    layers = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    assert changed == {f"encoder.body.blocks.{n}.{layer}.weight" for n in range(6) for layer in layers}
    assert not (folder / "model" / "base.json").exists()


def test_less_than_a_twentieth_is_trained(file):
    task = build("recognition", *COMMON, model(file, "lora", targets=["qkv"])).task
    whole = sum(parameter.numel() for parameter in task.parameters())
    task.encoder.adapt()
    given = task.encoder.given()
    own = sum(each.numel() for name, each in task.encoder.named_parameters() if name not in given)
    assert own == 6 * 2 * (64 + 3 * 64)
    assert own + task.heads["label"].weight.numel() < whole / 20


@pytest.mark.parametrize("how", ["frozen", "lora"])
def test_a_resumed_training_ends_bit_for_bit_the_same(how, tmp_path, file):
    options = (*COMMON, model(file, how), "training.optimizer.parts={heads: {lr: 0.01}}", "training.average=0.9")
    with contextlib.suppress(RuntimeError):
        train("recognition", tmp_path / "tripped", *options, events=lambda assembly: Trip())
    again = train("recognition", tmp_path / "tripped", *options)
    right = train("recognition", tmp_path / "right", *options)
    assert again.steps[0].number in (3, 5)
    for name, tensor in right.weights().items():
        assert torch.equal(again.weights()[name], tensor), name
    assert again.outcome.metrics == right.outcome.metrics
    body = load_file(file)
    frozen = {
        name
        for name, tensor in body.items()
        if torch.equal(right.weights().get(f"encoder.body.{name}", tensor), tensor)
    }
    assert (frozen == set(body)) == (how == "frozen")


def test_another_base_is_refused(tmp_path, file):
    own = network(tmp_path / "own")
    options = (*COMMON, model(own, "lora"))
    with contextlib.suppress(RuntimeError):
        train("recognition", tmp_path / "run", *options, events=lambda assembly: Trip())
    network(tmp_path / "own", seed=2)
    with pytest.raises(
        UserError, match=r"model\.safetensors of the encoder 'encoder' are not those.*SHA-256 is \w{12}…"
    ) as error:
        train("recognition", tmp_path / "run", *options)
    assert "Put back the weights of then" in str(error.value)
    own.unlink()
    with pytest.raises(UserError, match="There are no weights at"):
        load_model(checkpoint(tmp_path / "run", 4))


def test_a_model_answers_without_its_base_and_without_peft(tmp_path, file, monkeypatch):
    own = network(tmp_path / "own")
    trained = train("recognition", tmp_path / "run", *COMMON, model(own, "lora"))
    with torch.no_grad():
        images = trained.assembly.splits["test"]
        before = Predictor.load(tmp_path / "run" / "model")([{"image": images[n]["image"]} for n in range(4)])
    shutil.rmtree(tmp_path / "own")
    monkeypatch.setitem(sys.modules, "peft", None)
    monkeypatch.setitem(sys.modules, "timm.models._hub", None)
    after = Predictor.load(tmp_path / "run" / "model")([{"image": images[n]["image"]} for n in range(4)])
    assert before == after
    options = (*DATA, "training.steps=1", "training.global_batch=8")
    begun = model(own, "full", weights=f"{tmp_path}/run/model")
    again = train("recognition", tmp_path / "full", *options, begun)
    assert len(again.steps) == 1


def test_a_checkpoint_answers_as_the_model_where_its_base_is(lora):
    folder, trained = lora
    sample = {"image": trained.assembly.splits["test"][0]["image"]}
    (one,), (other,) = (Predictor.load(place)([sample]) for place in (checkpoint(folder), folder / "model"))
    assert one["label"] == pytest.approx(other["label"], rel=1e-5)


def test_a_model_is_where_a_training_starts_and_a_checkpoint_is_not(lora, tmp_path):
    folder, _ = lora
    options = (*DATA, "training.steps=1", "training.global_batch=8")
    again = train("recognition", tmp_path / "again", *options, f"model={{weights: {folder}/model}}")
    heard = open_checkpoint(folder / "model").tensors("model")["encoder.body.blocks.0.mlp.fc1.bias"]
    assert torch.equal(again.weights()["encoder.body.blocks.0.mlp.fc1.bias"], heard)
    with pytest.raises(UserError, match="holds what was trained beside published weights"):
        build("recognition", *options, f"model={{weights: {checkpoint(folder)}}}")


def test_what_cannot_be_trained_is_refused_before_anything_starts(file):
    with pytest.raises(UserError, match=r"no linear layer or convolution 'query' at lora\.targets"):
        build("recognition", *COMMON, model(file, "lora", targets=["query"]))
    parts = "training.optimizer.parts={encoder: {lr: 1e-5}}"
    with pytest.raises(UserError, match="names 'encoder', of which this optimizer trains nothing"):
        build("recognition", *COMMON, model(file, "frozen"), parts)
    assert build("recognition", *COMMON, model(file, "lora"), parts)
    decay = "training.optimizer.parts={encoder: {layer_decay: 0.7}}"
    assert build("recognition", *COMMON, model(file, "lora"), decay)


KINDS = ("ddp", "fsdp")


def learnt(folder, kinds, *options):
    """Returns, for each way to train in parallel, the losses and the whole weights at the end."""
    found = []
    for kind in kinds:
        trained = train("recognition", folder / kind, *COMMON, "training.steps=3", f"run.parallel={kind}", *options)
        found.append(([float(step.losses["main/label"]) for step in trained.steps], trained.weights()))
    return found


def test_workers_learn_what_one_learns(tmp_path, file):
    options = (model(file, "lora"), "training.optimizer.parts={encoder: {lr: 0.003, layer_decay: 0.5}}")
    ((losses, weights),) = learnt(tmp_path / "one", KINDS[:1], *options)
    for worker in together(2, learnt, tmp_path / "two", KINDS, *options, seconds=300):
        for found, own in worker:
            assert found == pytest.approx(losses, rel=1e-4)
            assert own.keys() == weights.keys()
            assert all(torch.allclose(own[name], tensor, rtol=1e-3, atol=1e-5) for name, tensor in weights.items())
