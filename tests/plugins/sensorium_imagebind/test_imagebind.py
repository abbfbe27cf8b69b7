"""One space bound by pictures: what is trained by what, what sums find, where a thing lies, and what is answered.

Shapes: B samples, S channels of the space.
"""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from sensorium import Batch, UserError, hookimpl
from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.conformance.tasks import batches_of
from sensorium.engine.evaluation import gather
from sensorium.engine.loader import Loader
from sensorium_imagebind import measures
from sensorium_imagebind.arm import Arm
from sensorium_imagebind.report import lit, names_of
from training import train

SOURCES = ("caption", "audio", "depth", "thermal", "imu")
SMALL = (
    "plugins=[sensorium_imagebind]",
    *(f"dataset.sources.{name}.count=64" for name in SOURCES),
    "dataset.sources.all.count=12",
    "training.global_batch=16",
)


@pytest.fixture(scope="module")
def assembly():
    return assemble(load("imagebind", SMALL))


@pytest.fixture
def task(assembly):
    return assembly.task.eval()


@pytest.fixture(scope="module")
def batch(assembly):
    """Held-out samples, which have everything."""
    (read,) = batches_of(assembly.splits["all_test"], assembly.modalities, range(6))
    return read


def pairs(assembly, name):
    (read,) = batches_of(assembly.splits[f"{name}_train"], assembly.modalities, range(8))
    return read


class Towers:
    """Remembers the anchor as it is after its own stage."""

    def __init__(self, task):
        self.task, self.before = task, {}

    @hookimpl
    def sensorium_step_finished(self, step):
        if step.stage == "anchor":
            self.before = {name: value.clone() for name, value in self.task.anchor.state_dict().items()}


def test_the_towers_are_the_same_bit_for_bit_when_all_else_is_bound(tmp_path):
    towers = []

    def events(assembly):
        towers.append(Towers(assembly.task))
        return towers[0]

    cut = ("training.steps=2", "evaluation.contributions=false", "evaluation.plots=false", "tracking.system=false")
    trained = train("imagebind", tmp_path / "run", *SMALL, *cut, events=events)
    assert [step.stage for step in trained.steps] == [name for name in ("anchor", *SOURCES[1:]) for _ in range(2)]
    after = trained.assembly.task.anchor.state_dict()
    assert towers[0].before
    for name, value in towers[0].before.items():
        assert torch.equal(value, after[name]), name


def test_each_modality_learns_from_pictures_alone_and_from_its_own_source(assembly, task):
    stages = {stage.name: stage.objectives for stage in task.stages()}
    assert list(stages) == ["anchor", *SOURCES[1:]]
    assert [objective.source for objective in stages["anchor"]] == ["caption"]
    for name in SOURCES[1:]:
        (objective,) = stages[name]
        assert (objective.source, list(objective.updates)) == (name, [f"arms.{name}"])
        assert set(pairs(assembly, name).fields) == {"image", name}


def test_the_loss_is_infonce_both_ways_at_the_temperature_of_the_modality(assembly, task):
    read = pairs(assembly, "audio")
    (objective,) = next(stage.objectives for stage in task.stages() if stage.name == "audio")
    outputs = objective.forward(read)
    assert not outputs["image"].requires_grad
    outputs = {name: value.detach() for name, value in outputs.items()}
    logits = outputs["bound"] @ outputs["image"].T / 0.05
    right = torch.arange(len(read))
    by_hand = (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2
    assert float(objective.losses(outputs, read)["pairs"]) == pytest.approx(float(by_hand), rel=1e-4)
    temperatures = {name: math.exp(-float(arm.loss.log_scale)) for name, arm in task.arms.items()}
    assert temperatures == pytest.approx({name: bound.temperature for name, bound in task.config.bound.items()})
    assert not any(True for arm in task.arms.values() for _ in arm.loss.parameters()), "no temperature is learnt"


def test_words_for_a_class_are_the_mean_over_what_else_may_be_said(task):
    words = task.words("digit")
    names = task.labels["digit"].names
    texts = [f"a {colour} {names[3]}" for colour in ("red", "green", "blue", "yellow")]
    embedded = task.anchor(task.batched([{"caption": text} for text in texts]))["caption"]
    assert torch.allclose(words[3], F.normalize(embedded.mean(0), dim=0), atol=1e-5)


EYE = torch.eye(4)


def test_what_a_sum_finds_has_the_class_of_one_and_the_property_of_the_other():
    # Pictures along class + property, of classes 0 and 1 (axes 0 and 1) and properties 0 and 1 (axes 2 and 3).
    kinds = [(0, 0), (0, 1), (1, 0), (1, 1)]
    rows = {
        "target": torch.tensor([kind[0] for kind in kinds]),
        "property": torch.tensor([kind[1] for kind in kinds]),
        "asked": torch.tensor([1 - kind[1] for kind in kinds]),
        "embedding.image": torch.stack([F.normalize(EYE[c] + EYE[2 + p], dim=0) for c, p in kinds]),
        "embedding.audio": torch.stack([EYE[c] + 0.01 * EYE[2] for c, _ in kinds]),  # always the property 0
        "added": torch.stack([EYE[3 - p] + 0.01 * EYE[0] for _, p in kinds]),  # always the class 0
    }
    rows["sum"] = measures.joined({"heard": rows["embedding.audio"], "words": rows["added"]})
    found = measures.arithmetic(rows, "image", "audio")
    assert found == pytest.approx(
        {"arithmetic": 1, "arithmetic_without": 0.5, "arithmetic_words": 0.5, "arithmetic_times": 2}
    )


def test_the_partner_of_a_query_is_not_what_counts():
    rows = {"target": torch.tensor([0, 0, 1]), "embedding.a": EYE[:3]}
    rows["embedding.b"] = torch.stack([EYE[0] + EYE[1], EYE[1], EYE[2] + 0.1 * EYE[0]])
    # The nearest in b but its own: of 0 it is 2 (0.1 against 0), which is of another class; of 1 it is 0.
    assert measures.emergent(rows, "a", ["b"]) == {"a_to_b_p1": pytest.approx(1 / 3)}


def test_what_the_training_lacked_is_not_asked_about():
    rows = {"target": torch.tensor([0, -100, 0, -100]), "embedding.a": EYE, "embedding.b": EYE[[2, 3, 0, 1]]}
    assert measures.emergent(rows, "a", ["b"]) == {"a_to_b_p1": 1}
    rows["target"][2] = 1
    assert measures.emergent(rows, "a", ["b"]) == {"a_to_b_p1": 0}
    rows |= {"property": torch.tensor([0, 1, -100, 1]), "asked": torch.tensor([1, 0, 0, 0]), "sum": EYE[[1, 1, 1, 1]]}
    rows |= {"embedding.image": EYE, "embedding.audio": EYE, "added": EYE}
    assert measures.arithmetic(rows, "image", "audio")["arithmetic"] == 0
    assert names_of(rows["target"], ["zero", "one"]) == ["zero", "?", "one", "?"]


def test_the_box_with_the_highest_place_is_located():
    heat = torch.zeros(4, 4)
    heat[3, 0] = 1.0
    heat[:2, 2:] = 0.9
    corners = [(0.5, 0.5, 1, 1), (0, 0.5, 0.5, 1), (0.5, 0, 1, 0.5)]
    assert measures.located(heat, corners) == 1
    thin = [(0.0, 0.0, 0.001, 1.0), (1.0, 1.0, 1.0, 1.0)]
    assert measures.located(heat, thin) in (0, 1), "a box thinner than what is compared holds one cell"


def test_a_scene_is_hottest_where_its_features_are_what_is_looked_for(task, batch):
    features = task.anchor.encoder_of("image")(batch["scene"])
    assert features.grid == (6, 6)
    place = 4 * 6 + 1
    query = task.anchor.embedding_of("image", type(features)(features.tokens[:, place]))
    heat = task.heat(batch, query)
    assert heat.shape == (6, 6, 6)
    assert (heat.flatten(1).argmax(1) == place).all()
    assert torch.allclose(heat[:, 4, 1], torch.ones(6), atol=1e-5)
    shown = lit(batch["scene"], heat)
    assert shown.shape == batch["scene"].shape
    assert ((shown >= -1) & (shown <= batch["scene"] + 1e-5)).all(), "nothing becomes lighter"


def test_a_modality_is_a_question_of_its_own_and_several_are_one(task, batch):
    assert task.inputs["depth"].follows is None
    assert task.modalities["depth"].follows == "image"
    alone = {name: task.predict(Batch(batch.samples, {name: batch[name]})) for name in ("audio", "depth")}
    for name, answer in alone.items():
        assert {key for key in answer if key.endswith("_embedding")} == {f"{name}_embedding", "joint_embedding"}
        assert torch.allclose(answer["digit"].sum(1), torch.ones(6), atol=1e-5)
    both = task.predict(Batch(batch.samples, {name: batch[name] for name in alone}))
    total = sum(answer["joint_embedding"] for answer in alone.values())
    assert torch.allclose(both["joint_embedding"], F.normalize(total, dim=1), atol=1e-5)
    with pytest.raises(UserError, match="nothing to look for"):
        task.predict(Batch(batch.samples, {"scene": batch["scene"]}))


def test_what_lies_over_a_picture_is_dealt_out_alone(assembly, task):
    with torch.no_grad(), Loader(assembly.splits["all_test"], assembly.modalities, 0) as loader:
        straight, dealt = (gather(task, loader, torch.device("cpu"), 12, field) for field in (None, "depth"))
    assert torch.equal(straight["embedding.image"], dealt["embedding.image"])
    assert not torch.equal(straight["embedding.depth"], dealt["embedding.depth"])


class Painter(torch.nn.Module):
    """Draws the first numbers of an embedding."""

    def predict(self, batch):
        assert set(batch.fields) == {"embedding"}
        return {"image": batch["embedding"][:, :3, None, None].expand(-1, -1, 12, 12)}


@pytest.fixture
def painting(task):
    """A task with a painter, to which what is heard lies higher by 1 in the first number than pictures do."""
    painting = copy.deepcopy(task)
    painting.painter = Painter()
    for arm in painting.arms.values():
        arm.onto = torch.nn.Linear(64, 64)
        torch.nn.init.zeros_(arm.onto.weight)
        arm.onto.bias.data = -torch.eye(64)[0]
    return painting


def test_what_is_heard_is_drawn_where_its_picture_is_expected(painting, batch):
    answer = painting.predict(Batch(batch.samples, {"audio": batch["audio"]}))
    assert answer["drawn"].shape == (6, 3, 12, 12)
    moved = F.normalize(answer["audio_embedding"] - torch.eye(64)[0], dim=1)
    assert torch.allclose(answer["drawn"][:, :, 5, 5], moved[:, :3], atol=1e-6)


def test_what_is_seen_is_drawn_as_it_is_and_joined_with_what_is_heard(painting, batch):
    seen = painting.predict(Batch(batch.samples, {"image": batch["image"]}))
    assert torch.allclose(seen["drawn"][:, :, 5, 5], seen["image_embedding"][:, :3], atol=1e-6)
    both = painting.predict(Batch(batch.samples, {"image": batch["image"], "audio": batch["audio"]}))
    joined = F.normalize(both["image_embedding"] + both["audio_embedding"] - torch.eye(64)[0], dim=1)
    assert torch.allclose(both["drawn"][:, :, 5, 5], joined[:, :3], atol=1e-6)


def test_which_picture_belongs_to_a_sound_is_learnt_beside_it(assembly):
    torch.manual_seed(0)
    arm = Arm(assembly.task.config.bound["audio"], assembly.modalities["audio"], 8, drawn=True)
    heard = F.normalize(torch.randn(200, 8), dim=1).requires_grad_()
    turn = torch.linalg.qr(torch.randn(8, 8)).Q
    image = F.normalize(heard.detach() @ turn + 0.5, dim=1)
    optimizer = torch.optim.AdamW(arm.parameters(), lr=0.03)
    before = float(arm.seen_losses(heard, image).mean())
    for _ in range(100):
        optimizer.zero_grad()
        arm.seen_losses(heard, image).mean().backward()
        optimizer.step()
    assert float(arm.seen_losses(heard, image).mean()) < 0.05 * before
    assert heard.grad is None, "the space itself is not bent for the painter"


class Judge(torch.nn.Module):
    """Says that every picture shows the digit 1."""

    def forward(self, batch):
        return batch["image"]

    def rows(self, outputs, batch):
        assert torch.allclose(outputs[:, :, 5, 5], self.painted, atol=1e-6)
        return {
            "logits.digit": torch.eye(10)[torch.ones(len(batch), dtype=torch.int64)],
            "target.digit": batch["digit"],
        }


def test_a_judge_looks_at_what_is_drawn_of_what_is_heard(painting, batch):
    task = painting
    task.judge = Judge()
    outputs = task(batch)
    task.judge.painted = F.normalize(outputs["audio"] - torch.eye(64)[0], dim=1)[:, :3]
    ones = float((batch["digit"] == 1).double().mean())
    found = task.metrics(task.rows(outputs, batch))
    assert found["drawn_digit"] == found["drawn_all"] == pytest.approx(ones)
    assert "drawn_digit" not in task.metrics(task.rows({"image": outputs["image"]}, batch)), "nothing was heard"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("model.image=picture", "field 'picture' has no modality"),
        ("model.prompts={image: ['a {}']}", "which is not a label"),
        ("model.prompts={digit: []}", "at least one sentence"),
        ("model.prompts={digit: [a], colour: [b], size: [c]}", "two labels at most"),
        ("model.bound={}", "bound names at least one field"),
        ("model.bound={image: {encoder: convnet}}", "neither the pictures nor the sentences"),
        ("model.anchor={name: recognition, encoder: convnet, targets: [digit]}", "does not embed"),
        ("model.painter={name: recognition, encoder: convnet, targets: [digit]}", "cannot draw"),
        ("training.stages.audio.split=train", "Nothing learns from the source"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_trained(override, says):
    with pytest.raises(UserError, match=says):
        assemble(load("imagebind", [*SMALL, override]))
