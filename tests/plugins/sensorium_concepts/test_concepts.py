"""Concept cells worked out by hand: units that answer to a concept in two modalities, and distances that agree."""

import pytest
import torch

from sensorium import UserError
from sensorium.ops.ranking import auc
from sensorium_concepts.metric import Concepts, areas, distances
from sensorium_concepts.plot import best_units

GROUPS = torch.tensor([7, 7, 8, 8, 9, 9])
CELLS = torch.eye(3).repeat_interleave(2, 0) + 0.1 * torch.rand(6, 3, generator=torch.Generator().manual_seed(0))


def concepts(image, audio, **options):
    rows = {"embedding.image": image, "embedding.audio": audio, "group": GROUPS}
    return Concepts(Concepts.Config(**options))(rows)


def test_an_area_for_each_concept_and_unit():
    member = torch.nn.functional.one_hot(GROUPS - 7).double()
    values = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    values[3, 2] = values[0, 2]  # a tie
    found = areas(values, member)
    for concept in range(3):
        of = member[:, concept].bool()
        for unit in range(4):
            assert float(found[concept, unit]) == pytest.approx(auc(values[of, unit], values[~of, unit]))


def test_units_that_answer_in_both_modalities_are_cells():
    found = concepts(CELLS, CELLS.flip(0)[[4, 5, 2, 3, 0, 1]])
    assert found["cells"] == 1
    assert found["permuted_cells"] < 1
    one_alone = CELLS.clone()
    one_alone[:, 0] = 0  # the first concept has no unit in one modality
    assert concepts(CELLS, one_alone)["cells"] == pytest.approx(2 / 3)


def test_a_unit_that_answers_to_another_concept_is_not_a_cell():
    turned = CELLS[:, [1, 2, 0]]
    assert concepts(CELLS, turned)["cells"] == 0
    assert concepts(CELLS, turned)["similarity_image_audio"] == pytest.approx(
        concepts(CELLS, CELLS)["similarity_image_audio"]
    ), "distances do not depend on which unit says what"


def test_distances_that_agree_are_similar_and_dealt_out_they_are_not():
    random = torch.Generator().manual_seed(2)
    groups = torch.arange(30).repeat_interleave(2)
    image = torch.randn(30, 8, generator=random).repeat_interleave(2, 0)
    turn = torch.linalg.qr(torch.randn(8, 8, generator=random)).Q
    rows = {"embedding.image": image, "embedding.audio": image @ turn, "group": groups}
    found = Concepts(Concepts.Config())(rows)
    assert found["similarity_image_audio"] > 0.99
    assert abs(found["permuted_similarity_image_audio"]) < 0.05, "the mean over permutations"


def test_by_chance_no_two_of_three_modalities_agree():
    rows = {f"embedding.{name}": torch.eye(30).repeat_interleave(2, 0) for name in ("image", "audio", "depth")}
    found = Concepts(Concepts.Config())({**rows, "group": torch.arange(30).repeat_interleave(2)})
    assert found["cells"] == 1
    assert found["permuted_cells"] < 0.2  # two of three orders meet in one of 30 concepts now and then


def test_distances_by_hand():
    values = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    member = torch.nn.functional.one_hot(torch.tensor([0, 0, 1, 2])).double()
    expected = torch.tensor([[0, 1, 1 - 0.5**0.5], [1, 0, 1 - 0.5**0.5], [1 - 0.5**0.5, 1 - 0.5**0.5, 0]])
    torch.testing.assert_close(distances(values, member).float(), expected, atol=1e-6, rtol=0)


def test_what_cannot_be_compared_is_said():
    with pytest.raises(UserError, match="embedding"):
        Concepts(Concepts.Config())({"embedding.image": CELLS, "group": GROUPS})
    with pytest.raises(UserError, match="has 1 concepts"):
        Concepts(Concepts.Config())({"embedding.image": CELLS, "embedding.audio": CELLS, "group": GROUPS * 0})
    with pytest.raises(ValueError, match="area"):
        Concepts.Config(area=0.5)


def test_the_unit_shown_is_the_best_one_in_two_inputs():
    image = torch.tensor([[1.0, 0.8, 0.5], [0.6, 0.7, 0.9]])
    audio = torch.tensor([[0.5, 0.9, 0.6], [0.6, 0.8, 0.7]])
    best, shown = best_units(torch.stack([image, audio]))
    assert best.tolist() == [1, 1]  # unit 0 answers best in one input, unit 2 as well
    assert torch.equal(shown, torch.tensor([[0.8, 0.7], [0.9, 0.8]]))
    third = torch.tensor([[1.0, 0.5, 0.5], [0.5, 0.5, 0.95]])
    assert best_units(torch.stack([image, audio, third]))[0].tolist() == [0, 2], "any two of three will do"


def test_they_are_drawn():
    rows = {"embedding.image": CELLS, "embedding.audio": CELLS, "group": GROUPS}
    ((name, png),) = Concepts(Concepts.Config()).plots(rows).items()
    assert name == "concepts.png"
    assert png.startswith(b"\x89PNG")
