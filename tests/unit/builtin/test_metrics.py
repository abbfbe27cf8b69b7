"""The figures, against examples worked out by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium import UserError
from sensorium.builtin.metrics import retrieval as retrieval_module
from sensorium.builtin.metrics.classification import Accuracy
from sensorium.builtin.metrics.retrieval import BLOCK, Retrieval

retrieval = Retrieval.Config().build()
accuracy = Accuracy.Config().build()


def unit(rows: list[list[float]]) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.tensor(rows), dim=1)


def rows_of(images, texts, image_keys, text_keys, groups):
    return {
        "embedding.image": images,
        "embedding.text": texts,
        "key.image": image_keys,
        "key.text": text_keys,
        "group": torch.tensor(groups),
    }


def test_ranks_by_hand():
    # Cosines of images (rows) and texts: the right ones are on the diagonal.
    #   a: 1.0 0.6 0.0     b: 0.8 0.96 0.6     c: 0.6 1.0 0.8
    images = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]])
    texts = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    figures = retrieval(rows_of(images, texts, list("abc"), list("xyz"), [1, 2, 3]))
    assert figures["image_to_text_r1"] == pytest.approx(2 / 3)  # c finds y first
    assert figures["image_to_text_median_rank"] == 1
    # x: 1.0 0.8 0.6, y: 0.6 0.96 1.0, z: 0.0 0.6 0.8, so ranks 1, 2, 1
    assert figures["text_to_image_r1"] == pytest.approx(2 / 3)
    assert figures["text_to_image_r5"] == figures["image_to_text_r10"] == 1
    assert len(figures) == 8


def test_median_rank_lies_between_the_middle_two():
    # Every image is the same; the texts score 4, 3, 2 and 1 tenths with it.
    images = torch.tensor([[1.0, 0.0]]).repeat(4, 1)
    texts = torch.tensor([[0.4], [0.3], [0.2], [0.1]])
    texts = torch.cat([texts, (1 - texts**2).sqrt()], 1)
    figures = retrieval(rows_of(images, texts, list("abcd"), list("wxyz"), [1, 2, 3, 4]))
    assert figures["image_to_text_median_rank"] == 2.5  # of the ranks 1, 2, 3, 4
    assert figures["image_to_text_r1"] == 0.25
    assert figures["text_to_image_r1"] == 0  # all four images tie: each query finds its own last
    assert figures["text_to_image_median_rank"] == 4


def test_any_of_several_captions_counts_and_images_are_listed_once():
    # Two images with two captions each; image a scores 0.8 and 0.0 with its own, 0.6 and 0.6 with b's.
    a, b = [1.0, 0.0], [0.0, 1.0]
    texts = torch.tensor([[0.8, 0.6], [0.0, 1.0], [0.6, 0.8], [0.6, 0.8]])
    rows = rows_of(torch.tensor([a, a, b, b]), texts, ["a", "a", "b", "b"], list("wxyz"), [1, 1, 2, 2])
    figures = retrieval(rows)
    # a: w 0.8 is best. b: its own y and z score 0.8, the wrong x scores 1.0: rank 2.
    assert figures["image_to_text_r1"] == 0.5
    assert figures["image_to_text_median_rank"] == 1.5
    # w -> a, x -> b (wrong), y, z -> b: three of four; in a gallery of two images.
    assert figures["text_to_image_r1"] == 0.75
    assert figures["text_to_image_median_rank"] == 1


def test_a_caption_that_two_images_have_is_right_for_both():
    images = torch.eye(3)
    texts = unit([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    figures = retrieval(rows_of(images, texts, list("abc"), ["a dog", "a dog", "a cat"], [1, 2, 3]))
    assert figures["image_to_text_r1"] == 1
    assert figures["text_to_image_r1"] == 1


@pytest.mark.parametrize("count", [2, 5, 40])
def test_a_collapsed_model_is_the_worst(count):
    same = unit([[0.3, 0.5, 0.7]]).repeat(count, 1)
    keys = [str(i) for i in range(count)]
    figures = retrieval(rows_of(same, same, keys, keys, list(range(count))))
    assert figures["image_to_text_r1"] == 0
    assert figures["image_to_text_median_rank"] == count


def test_scores_that_are_no_numbers_are_the_worst():
    images, keys = torch.eye(3), list("abc")
    images[1] = torch.nan
    figures = retrieval(rows_of(images, torch.eye(3), keys, keys, [1, 2, 3]))
    assert figures["image_to_text_r1"] == pytest.approx(2 / 3)
    assert figures["text_to_image_r1"] == 0  # the score of b may be above any other


def test_perfect_embeddings_over_several_blocks():
    count = 2 * BLOCK + 3
    angle = torch.arange(count) * (6 / count)
    rows = torch.stack([angle.cos(), angle.sin()], 1).double()
    keys = [str(i) for i in range(count)]
    figures = retrieval(rows_of(rows, rows, keys, keys, list(range(count))))
    assert all(value == 1 for value in figures.values())


def test_classes_as_groups():
    # Samples of one group are right for each other, across fields and keys.
    images = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    texts = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.6, 0.8]])
    figures = retrieval(rows_of(images, texts, list("abc"), list("xyz"), [1, 1, 2]))
    assert figures["image_to_text_r1"] == pytest.approx(2 / 3)  # a finds y, of its group; c finds x
    assert figures["image_to_text_median_rank"] == 1


def brute_force(rows, a, b):
    """The ranks straight from the definition, one query at a time, sorted."""
    found = []
    keys = {name: rows[f"key.{name}"] for name in (a, b)}
    groups = rows["group"].tolist()
    for query in dict.fromkeys(keys[a]):
        mine = {g for key, g in zip(keys[a], groups, strict=True) if key == query}
        vector = rows[f"embedding.{a}"][keys[a].index(query)]
        right, wrong = [], []
        for item in dict.fromkeys(keys[b]):
            theirs = {g for key, g in zip(keys[b], groups, strict=True) if key == item}
            score = (vector * rows[f"embedding.{b}"][keys[b].index(item)]).sum().item()
            (right if mine & theirs else wrong).append(score)
        found.append(1 + sum(score >= max(right) for score in wrong))
    return sorted(found)


@st.composite
def splits(draw):
    """Rows of a few samples with few distinct values, so that keys repeat and scores tie."""
    count = draw(st.integers(2, 12))
    pick = st.lists(st.integers(0, 5), min_size=count, max_size=count)
    table = torch.randint(-2, 3, (6, 3), generator=torch.Generator().manual_seed(draw(st.integers(0, 99)))).float()
    images, texts, groups = draw(pick), draw(pick), draw(pick)
    rows = rows_of(table[images], -table[texts], [f"i{k}" for k in images], [f"t{k}" for k in texts], groups)
    return rows, torch.tensor(draw(st.permutations(range(count))))


@given(splits())
@settings(deadline=None, max_examples=60, derandomize=True)
def test_agrees_with_the_definition_and_does_not_depend_on_the_order(drawn):
    rows, order = drawn
    figures = retrieval(rows)
    for a, b in (("image", "text"), ("text", "image")):
        ranks = torch.tensor(brute_force(rows, a, b)).double()
        assert figures[f"{a}_to_{b}_median_rank"] == ranks.quantile(0.5)
        for k in (1, 5, 10):
            assert figures[f"{a}_to_{b}_r{k}"] == pytest.approx((ranks <= k).double().mean().item())
    moved = {
        name: value[order] if isinstance(value, torch.Tensor) else [value[i] for i in order]
        for name, value in rows.items()
    }
    assert retrieval(moved) == pytest.approx(figures)


@given(splits())
@settings(deadline=None, max_examples=30, derandomize=True)
def test_blocks_of_queries_and_of_the_gallery_change_no_figure(drawn):
    rows, _ = drawn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval_module, "BLOCK", 2)
        patch.setattr(retrieval_module, "GALLERY", 3)
        in_blocks = retrieval(rows)
    assert in_blocks == retrieval(rows)


def test_a_query_with_nothing_right_or_a_score_that_is_no_number_ranks_last_in_blocks_too(monkeypatch):
    monkeypatch.setattr(retrieval_module, "GALLERY", 2)
    queries, gallery = torch.eye(5)[:3], torch.eye(5)
    gallery[4] = torch.nan
    right = [{0}, {4}, {9}]
    found = retrieval_module.ranks(
        retrieval_module.Items(queries, right), retrieval_module.Items(gallery, [{k} for k in range(5)])
    )
    # Beside its own, the first has the score that is no number before it; the second's own is no number.
    assert found.tolist() == [2, 5, 6]


def test_memory_does_not_grow_with_the_product_of_queries_and_gallery(monkeypatch):
    monkeypatch.setattr(retrieval_module, "BLOCK", 64)
    monkeypatch.setattr(retrieval_module, "GALLERY", 128)
    largest = []
    real = torch.Tensor.float
    monkeypatch.setattr(torch.Tensor, "float", lambda tensor: (largest.append(tensor.numel()), real(tensor))[1])
    items = retrieval_module.Items(torch.randn(1500, 4), [{k % 3} for k in range(1500)])  # classes: many are right
    retrieval_module.ranks(items, items)
    assert max(largest) == 64 * 128


def test_three_fields_give_six_directions():
    keys = list("abcd")
    rows = {"group": torch.arange(4)}
    for name in ("image", "text", "audio"):
        rows |= {f"embedding.{name}": torch.eye(4), f"key.{name}": keys}
    figures = retrieval(rows)
    assert len(figures) == 24
    assert set(figures.values()) == {1.0}
    assert "audio_to_image_r10" in figures


def test_retrieval_says_which_rows_it_misses():
    with pytest.raises(UserError, match=r"embedding\.<field> for two fields; the task gives embedding\.image"):
        retrieval({"embedding.image": torch.eye(2)})


def test_accuracy_by_hand():
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0], [0.0, 3.0, 1.0], [1.0, 1.0, 0.0]])
    figures = accuracy({"logits.label": logits, "target.label": torch.tensor([0, 1, 1, 0])})
    assert figures == {"label_accuracy": 0.5}  # right, second, right, tie


def test_top5_of_more_than_ten_classes():
    logits = torch.arange(12.0).repeat(12, 1)  # class 11 scores highest
    figures = accuracy({"logits.kind": logits, "target.kind": torch.arange(12)})
    assert figures["kind_accuracy"] == pytest.approx(1 / 12)
    assert figures["kind_top5_accuracy"] == pytest.approx(5 / 12)
    ten = accuracy({"logits.kind": logits[:, :10], "target.kind": torch.arange(12) % 10})
    assert ten.keys() == {"kind_accuracy"}


def test_logits_that_are_no_numbers_are_wrong():
    rows = {"logits.x": torch.full((2, 3), torch.nan), "target.x": torch.tensor([0, 2])}
    assert accuracy(rows) == {"x_accuracy": 0.0}


def test_accuracy_of_several_outputs_and_of_none():
    rows = {f"logits.{name}": torch.eye(3) for name in "ab"} | {
        "target.a": torch.arange(3),
        "target.b": torch.tensor([0, 0, 0]),
    }
    assert accuracy(rows) == {"a_accuracy": 1.0, "b_accuracy": pytest.approx(1 / 3)}
    with pytest.raises(UserError, match="the task gives group"):
        accuracy({"group": torch.arange(3)})


def test_a_class_without_a_logit_is_told_wrongly():
    rows = {"logits.a": torch.tensor([[2.0, 1.0], [2.0, 1.0]]), "target.a": torch.tensor([0, -100])}
    assert Accuracy.Config().build()(rows) == {"a_accuracy": 0.5}
