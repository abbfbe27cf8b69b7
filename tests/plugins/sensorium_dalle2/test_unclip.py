"""Prior, decoder and what is drawn by them, on untrained networks and on made-up ones that know the answer.

Shapes: B samples.
"""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sensorium import Batch, Features, UserError
from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.builtin.painting import Sampler, UNet, steered
from sensorium_dalle2 import report
from sensorium_dalle2.prior import Prior, Sentence
from sensorium_dalle2.sampling import closest, slerp

SMALL = [
    "dataset.train=64",
    "dataset.held_out=8",
    "model.decoder={width: 8, sampled: 4}",
    "model.prior={dim: 16, sampled: 4}",
]
B = 4


@pytest.fixture(scope="module")
def assembly():
    return assemble(load("dalle2", SMALL))


@pytest.fixture
def task(assembly):
    return copy.deepcopy(assembly.task).eval()


@pytest.fixture(scope="module")
def batch(assembly):
    samples = [assembly.splits["train"][index] for index in range(B)]
    fields = {}
    for name, modality in assembly.modalities.items():
        fields[name] = modality.collate([modality.transform(modality.decode(s[name]), None) for s in samples])
    return Batch(samples, fields, seed=3)


def prior():
    torch.manual_seed(0)
    return Prior(Prior.Config(dim=16, depth=2, heads=2), words=6, space=8, length=5, steps=10).eval()


def told(count, embedding):
    torch.manual_seed(1)
    tokens = torch.randn(B, 5, 6)
    mask = torch.arange(5).expand(B, -1) < 3
    return Sentence(Features(tokens[:, 0], tokens[:, :count], mask[:, :count]), embedding)


@pytest.mark.parametrize(
    ("override", "wrong"),
    [
        ("modalities.image.std=[0.4]", "do not lie between -1 and 1"),
        (
            "model.clip.encoders.caption={name: rnn, cell: lstm, pool: all, hidden: 8, dim: 8}",
            "prior reads every word",
        ),
    ],
)
def test_what_does_not_fit_is_refused(override, wrong):
    with pytest.raises(UserError, match=wrong):
        assemble(load("dalle2", [*SMALL, override]))


def test_padding_of_the_sentence_changes_nothing_for_the_prior():
    noised, sentence, time, yes = torch.randn(B, 8), torch.randn(B, 8), torch.full((B,), 3), torch.ones(B).bool()
    network = prior()
    assert torch.allclose(
        network(noised, time, told(3, sentence), yes), network(noised, time, told(5, sentence), yes), atol=1e-5
    )


def test_an_unknown_sentence_is_replaced_by_what_was_learnt_for_it():
    network, time, noised = prior(), torch.full((B,), 3), torch.randn(B, 8)
    answers = {
        (known, words): network(noised, time, told(3, torch.full((B, 8), float(words))), torch.full((B,), known))
        for known in (True, False)
        for words in (0, 1)
    }
    assert torch.equal(answers[False, 0], answers[False, 1])
    assert not torch.allclose(answers[True, 0], answers[True, 1])
    with torch.no_grad():
        network.nothing += torch.randn(16)
    assert not torch.allclose(
        network(noised, time, told(3, torch.zeros(B, 8)), torch.zeros(B).bool()), answers[False, 0]
    )


def test_the_decoder_hears_time_and_embedding_and_nothing_of_its_neighbours():
    torch.manual_seed(0)
    network = UNet(UNet.Config(width=8), channels=3, space=8, steps=10).eval()
    noised, embedding, yes = torch.randn(B, 3, 12, 12), torch.randn(B, 8), torch.ones(B).bool()
    found = network(noised, torch.full((B,), 3), embedding, yes)
    assert found.shape == noised.shape
    alone = network(noised[:1], torch.full((1,), 3), embedding[:1], yes[:1])
    assert torch.allclose(alone, found[:1], atol=1e-5)
    for changed in (
        network(noised, torch.full((B,), 7), embedding, yes),
        network(noised, torch.full((B,), 3), embedding.flip(0), yes),
        network(noised, torch.full((B,), 3), embedding, ~yes),
    ):
        assert (changed - found).abs().max() > 1e-4
    unknown = network(noised, torch.full((B,), 3), embedding, ~yes)
    assert torch.equal(unknown, network(noised, torch.full((B,), 3), 0 * embedding, ~yes))


class Knows(nn.Module):
    """A prior that knows the clean embedding, or a decoder that knows the picture."""

    def __init__(self, find):
        super().__init__()
        self.find = find

    def forward(self, noised, time, *told):
        return self.find(noised, time)


def test_a_prior_that_knows_the_embedding_imagines_it(task, batch):
    clean = F.normalize(torch.randn(B, 64), dim=1) * task.scale
    task.prior = Knows(lambda noised, time: clean)
    assert torch.allclose(task.imagine(task.read(batch), batch), clean, atol=1e-4)


def test_a_decoder_that_knows_the_velocity_draws_the_picture(task, batch):
    picture = batch["image"]

    def velocity(noised, time):
        kept = task.diffusion.kept[time].view(-1, 1, 1, 1)
        noise = (noised - kept.sqrt() * picture) / (1 - kept).sqrt()
        return kept.sqrt() * noise - (1 - kept).sqrt() * picture

    task.decoder = Knows(velocity)
    assert torch.allclose(task.draw(torch.zeros(B, 64), batch, "any"), picture.clamp(-1, 1), atol=1e-3)


def test_before_its_stage_the_linear_map_is_fitted_to_the_pictures(task, assembly):
    prior = next(stage for stage in task.stages() if stage.name == "prior")
    samples = [assembly.splits["train"][index] for index in range(64)]
    batches = [task.batched(samples[:40]), task.batched(samples[40:])]
    prior.prepare(iter(batches))
    sentence, image = (torch.cat([task.embed(each, name) for each in batches]) for name in ("caption", "image"))
    error = image - task.linear(sentence)
    assert error.mean(0).abs().max() < 1e-3, "an offset leaves no mean error"
    assert task.linear.spread.square().sum() == pytest.approx(error.square().mean(0).sum().item(), rel=1e-3)
    assert error.square().sum() < (image - image.mean(0)).square().sum()


def test_an_answer_of_the_prior_is_the_middle_around_which_pictures_lie(task, batch):
    """Samples of a prior that always answers the same spread as the linear map leaves open, and not otherwise."""
    axes = torch.linalg.qr(torch.randn(64, 64, generator=torch.Generator().manual_seed(0))).Q
    task.linear.spread.copy_(axes * torch.cat([torch.full((4,), 0.5), torch.zeros(60)]))
    task.prior = Knows(lambda noised, time: torch.zeros_like(noised))
    many = Batch([{"id": str(number)} for number in range(400)])

    def denoise(value, time):
        return task.found(value, time, None, None)

    drawn = task.sampler(denoise, many, "any", (64,), 50) @ axes
    assert drawn[:, :4].std(0).tolist() == pytest.approx([0.5] * 4, rel=0.15)
    assert drawn[:, 4:].abs().max() < 1e-3


def test_the_losses_are_of_the_embedding_itself_and_of_the_velocity(task, batch):
    """Who answers with the clean embedding has no loss."""
    clean = task.embed(batch, "image", batch["image"])
    assert clean.square().mean().item() == pytest.approx(1, rel=1e-4), "the scale of the noise"
    task.prior = Knows(lambda noised, time: clean)
    assert task.prior_losses(task.embedded(batch), batch)["embedding"].abs().max() < 1e-6
    task.prior = Knows(lambda noised, time: clean + 2)
    assert task.prior_losses(task.embedded(batch), batch)["embedding"].tolist() == pytest.approx([4.0] * B, rel=1e-4)
    noise, time = batch.normal("noise", 3, 12, 12), task.diffusion.times(batch.uniform("time"))
    velocity = task.diffusion.velocity(batch["image"], time, noise)
    task.decoder = Knows(lambda noised, time: velocity + 1)
    assert task.decoder_losses(task.seen(batch), batch)["velocity"].tolist() == pytest.approx([1.0] * B, rel=1e-4)


def test_ddpm_draws_from_fresh_noise_and_both_follow_the_seed(task, batch):
    embedding = task.embed(batch, "image", batch["image"])
    by_ddim = [task.draw(embedding, batch, name) for name in ("one", "one", "two")]
    assert torch.equal(by_ddim[0], by_ddim[1])
    assert not torch.allclose(by_ddim[0], by_ddim[2])
    task.sampler = Sampler(task.diffusion, ancestral=True)
    by_ddpm = [task.draw(embedding, batch, "one") for _ in range(2)]
    assert torch.equal(*by_ddpm)
    assert not torch.allclose(by_ddpm[0], by_ddim[0])


def test_slerp_worked_out_by_hand():
    one, other = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    assert torch.allclose(slerp(one, other, torch.tensor([0.0])), one)
    assert torch.allclose(slerp(one, other, torch.tensor([1.0])), other, atol=1e-6)
    assert torch.allclose(slerp(one, other, torch.tensor([0.5])), torch.tensor([[2**0.5, 2**0.5]]), atol=1e-5)
    assert torch.allclose(slerp(one, one, torch.tensor([0.3])), one, atol=1e-3), "between the same there is the same"


def test_of_several_the_closest_to_the_sentence_is_taken():
    candidates = torch.tensor([[[1.0, 0.0], [0.0, 3.0]], [[1.0, 1.0], [-1.0, 0.0]]])
    assert closest(candidates, torch.tensor([[0.1, 1.0], [1.0, 0.5]])).tolist() == [[0.0, 3.0], [1.0, 1.0]]


def test_guidance_compares_with_and_without_the_condition():
    def network(value, time, told, known):
        return torch.where(known[:, None], told, torch.ones(B, 2))

    told = torch.full((B, 2), 3.0)
    assert torch.equal(steered(network, 2.0, torch.zeros(B, 2), None, told), torch.full((B, 2), 5.0))
    assert torch.equal(steered(network, 1.0, torch.zeros(B, 2), None, told), told)


@pytest.mark.parametrize(
    "given",
    [
        ("caption",),
        ("image",),
        ("image", "other"),
        ("image", "other", "share"),
        ("image", "seed"),
        ("caption", "image", "other", "share"),
    ],
)
def test_what_may_be_asked(task, batch, given):
    fields = {name: batch["image"] if name == "other" else batch.fields.get(name, torch.zeros(B)) for name in given}
    assert task.predict(Batch(batch.samples, fields))["image"].shape == (B, 3, 12, 12)


@pytest.mark.parametrize(("given", "wrong"), [((), "nothing to draw"), (("image", "share"), "nothing to share")])
def test_what_may_not(task, batch, given, wrong):
    fields = {name: batch.fields.get(name, torch.zeros(B)) for name in given}
    with pytest.raises(UserError, match=wrong):
        task.predict(Batch(batch.samples, fields))


def test_interpolation_goes_from_one_picture_to_the_other(task, batch):
    other = batch["image"].flip(0)

    def drawn(**fields):
        return task.predict(Batch(batch.samples, fields))["image"]

    assert torch.allclose(
        drawn(image=batch["image"], other=other, share=torch.zeros(B)), drawn(image=batch["image"]), atol=1e-3
    )
    assert torch.allclose(drawn(image=batch["image"], other=other, share=torch.ones(B)), drawn(image=other), atol=1e-3)


def test_an_embedding_in_the_space_of_clip_is_drawn_as_what_it_is_the_embedding_of(task, batch):
    clip = task.clip.predict(Batch(batch.samples, {"image": batch["image"]}))["image_embedding"]
    drawn, like = (
        task.predict(Batch(batch.samples, fields))["image"]
        for fields in ({"embedding": clip}, {"image": batch["image"]})
    )
    assert torch.allclose(drawn, like, atol=1e-3)


def test_conditions_are_withheld_from_a_tenth(task, batch):
    many = Batch([{"id": str(number)} for number in range(2000)], seed=1)
    assert 0.88 < task._told(many).float().mean() < 0.92


class Counting(nn.Module):
    """Remembers what it is asked, and answers with a constant for what is known and another for what is not."""

    def __init__(self, known, unknown):
        super().__init__()
        self.known, self.unknown, self.times = known, unknown, []

    def forward(self, noised, time, told, known):
        self.times.append(int(time[0]))
        return torch.where(known.view(-1, *[1] * (noised.ndim - 1)), self.known, self.unknown).expand_as(noised)


def test_a_picture_is_drawn_in_so_many_steps_from_noise_to_none(task, batch):
    task.decoder = Counting(torch.tensor(0.1), torch.tensor(0.1))
    task.draw(torch.zeros(B, 64), batch, "any")
    with_and_without = task.decoder.times
    assert len(with_and_without) == 2 * task.config.decoder.sampled
    assert with_and_without[0] >= task.config.steps - 1
    assert with_and_without == sorted(with_and_without, reverse=True)


@pytest.mark.parametrize("part", ["prior", "decoder"])
def test_the_guidance_of_the_experiment_steers(task, batch, part):
    """Without a condition the networks answer 0, with one 1: what is found is the guidance itself."""
    found = []
    options = replace(getattr(task.config, part), guidance=2.5)
    task.config = replace(task.config, **{part: options})
    setattr(task, part, Counting(torch.tensor(1.0), torch.tensor(0.0)))

    def sampler(denoise, batch, name, shape, count):
        assert count == 4
        noised, time = torch.zeros(B, *shape), torch.full((B,), 7)
        found.append(denoise(noised, time))
        return noised + 1

    task.sampler = sampler
    if part == "prior":
        task.imagine(task.read(batch), batch)
        assert torch.allclose(found[0], torch.tensor(2.5))
    else:
        task.draw(torch.zeros(B, 64), batch, "any")
        clean = task.diffusion.clean(torch.zeros(1), torch.tensor([7]), torch.tensor([2.5])).clamp(-1, 1)
        assert torch.allclose(found[0], clean)


def test_as_many_candidates_are_drawn_as_the_experiment_says_and_the_closest_is_taken(task, batch):
    sentence = task.read(batch)
    task.config = replace(task.config, prior=replace(task.config.prior, candidates=3))
    near = F.normalize(sentence.embedding, dim=1)
    far = F.normalize(torch.randn(B, 64, generator=torch.Generator().manual_seed(0)), dim=1)
    drawn = {"prior 0": far, "prior 1": near, "prior 2": -near}
    asked = []
    task.sampler = lambda denoise, batch, name, shape, count: asked.append(name) or drawn[name]
    assert torch.allclose(task.imagine(sentence, batch), near * task.scale, atol=1e-5)
    assert asked == list(drawn)


def test_rows_compare_what_they_say(task, batch):
    """With pictures and embeddings made up: cosines, differences and verdicts by hand."""
    real = batch["image"]
    image = torch.zeros(B, 64)
    image[:, 0] = 8.0
    imagined, sentence = image.clone(), torch.zeros(B, 64)
    imagined[:, 1], sentence[:, 1] = 8.0, 8.0
    pictures = {"decoder": real, "variation": real * 0, "second variation": real * 0 + 0.25}
    task.draw = lambda embedding, batch, name: pictures[name]
    right = {name: F.one_hot(batch[name], 10).float() for name in task.judge.outputs}

    class Judge(nn.Module):
        def forward(self, seen):
            blank = not seen["image"].any()
            return {name: logits.roll(1, 1) if blank else logits for name, logits in right.items()}

        def rows(self, outputs, seen):
            named = ((name, logits) for name, logits in outputs.items())
            return {f"{kind}.{n}": v for n, x in named for kind, v in (("logits", x), ("target", seen[n]))}

    task.judge = Judge()
    rows = task.rows({"sentence": sentence, "image": image, "imagined": imagined, "expected": -image}, batch)
    for name, cosine in (("prior", 0.5**0.5), ("text", 0.0), ("linear", -1.0)):
        assert report.cosines(rows, name).tolist() == pytest.approx([cosine] * B), name
    assert rows["apart"].tolist() == pytest.approx([0.25] * B)
    for kind, verdict in (("judge", True), ("ceiling", True), ("variation", False)):
        assert rows[f"{kind}.all"].tolist() == [verdict] * B, kind
