"""Recipes by hand: ragged lists, what pairs cost, what the classifier sees, what is measured, and the readers."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from gloo import together
from sensorium import MediaError, UserError
from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium_recipes.encoder import RecipeLSTM
from sensorium_recipes.loss import Cosine
from sensorium_recipes.metrics import ClassConsistency, Galleries, OrderAlone
from sensorium_recipes.modality import Recipe
from sensorium_recipes.recipe1m import Recipe1M
from sensorium_recipes.recipe_lines import RecipeLines
from sensorium_recipes.report import found

SMALL = ("dataset.train=48", "dataset.held_out=16", "training.global_batch=16")
SOUP = {"ingredients": ["two leeks", "salt"], "instructions": ["cut the leeks", "boil them for an hour", "add salt"]}
TOAST = {"ingredients": ["bread"], "instructions": ["toast it"]}


@pytest.fixture
def recipe():
    modality = Recipe(Recipe.Config(max_items=3, max_length=5))
    modality.fit([SOUP, TOAST])
    return modality


def batch_of(modality, *recipes):
    return modality.collate([modality.transform(modality.decode(each), None) for each in recipes])


@pytest.fixture
def world():
    torch.manual_seed(0)
    assembly = assemble(load("recipes", SMALL))
    return assembly.task.eval(), [assembly.splits["train"][index] for index in range(12)]


# ---- the modality ----------------------------------------------------------------------------


def test_lists_are_padded_to_the_longest_and_masked(recipe):
    batch = batch_of(recipe, SOUP, TOAST)
    assert batch["ingredients"].mask.tolist() == [[True, True], [True, False]]
    assert batch["instructions"].mask.tolist() == [[True] * 3, [True, False, False]]
    assert batch["instructions"].data.shape == (2, 3, 5), "five tokens, <bos> and <eos> included"
    assert not batch["instructions"].data[1, 1:].any()
    again = recipe.encode(recipe.transform(recipe.decode(SOUP), None))
    assert again == {**SOUP, "instructions": ["cut the leeks", "boil them for", "add salt"]}


@pytest.mark.parametrize(
    "raw", ["soup", {"ingredients": ["salt"]}, {**SOUP, "ingredients": []}, {**SOUP, "instructions": "boil"}]
)
def test_what_is_not_a_recipe_is_refused(recipe, raw):
    with pytest.raises(MediaError):
        recipe.decode(raw)


def test_what_is_beyond_the_bound_is_cut_off_and_the_state_comes_back(recipe):
    assert recipe.decode({**TOAST, "instructions": list("abcd")})["instructions"] == ["a", "b", "c"]
    other = Recipe(Recipe.Config(max_length=5))
    other.restore(recipe.state())
    assert torch.equal(batch_of(other, SOUP)["instructions"].data, batch_of(recipe, SOUP)["instructions"].data)


# ---- the reader ------------------------------------------------------------------------------


@pytest.mark.parametrize("instructions", ["lstm", "mean", "none"])
def test_neighbours_and_padding_change_nothing(recipe, instructions):
    torch.manual_seed(0)
    encoder = RecipeLSTM(RecipeLSTM.Config(hidden=6, dim=5, word_dim=4, instructions=instructions), recipe)
    together_ = encoder(batch_of(recipe, TOAST, SOUP)).pooled
    torch.testing.assert_close(together_[:1], encoder(batch_of(recipe, TOAST)).pooled)
    torch.testing.assert_close(together_[1:], encoder(batch_of(recipe, SOUP)).pooled)


@pytest.mark.parametrize(("instructions", "told"), [("lstm", True), ("mean", False), ("none", False)])
def test_only_the_lstm_hears_the_order_of_the_instructions(recipe, instructions, told):
    torch.manual_seed(0)
    encoder = RecipeLSTM(RecipeLSTM.Config(hidden=6, dim=5, word_dim=4, instructions=instructions), recipe)
    turned = {**SOUP, "instructions": SOUP["instructions"][::-1]}
    one, other = encoder(batch_of(recipe, SOUP, turned)).pooled
    assert (not torch.allclose(one, other, atol=1e-6)) == told


# ---- the losses ------------------------------------------------------------------------------


def test_the_cosine_loss_by_hand():
    seen, read = F.normalize(torch.tensor([[1.0, 0.0], [3.0, 4.0], [0.0, 1.0]]), dim=-1), torch.eye(2)[[0, 1, 1]]
    groups = torch.tensor([1, 2, 2])  # the second and the third are not taken for others
    partners = (0 + (1 - 0.8) + 0) / 3
    others = ((0.6 - 0.1) + 0 + 0 + 0) / 4  # 0-1 and 0-2 either way: cosines 0, 0, 0.6 and 0
    loss = Cosine(Cosine.Config(margin=0.1, others=0.8))(seen, read, groups)
    assert float(loss) == pytest.approx(0.2 * partners + 0.8 * others)


def of_share(parts):
    """Returns loss and gradients of both sides, of this worker's share of 7 pairs."""
    from sensorium import workers

    random = torch.Generator().manual_seed(0)
    a, b = (F.normalize(torch.randn(7, 4, generator=random), dim=-1) for _ in range(2))
    groups = torch.tensor([1, 2, 3, 3, 4, 1, 5])
    own = slice(0, 7) if parts == 1 else [slice(0, 3), slice(3, 7)][workers.rank()]
    sides = [each[own].clone().requires_grad_() for each in (a, b)]
    loss = Cosine(Cosine.Config())(*sides, groups[own])
    (loss * len(sides[0]) / 7).backward()
    return float(loss.detach()) * len(sides[0]) / 7, [side.grad.tolist() for side in sides]


def test_two_workers_have_the_cosine_loss_and_gradients_of_one():
    loss, gradients = of_share(1)
    shares = together(2, of_share, 2)
    assert sum(each[0] for each in shares) == pytest.approx(loss, rel=1e-5)
    for side in range(2):
        joined = torch.tensor(shares[0][1][side] + shares[1][1][side])
        torch.testing.assert_close(joined, torch.tensor(gradients[side]), rtol=1e-4, atol=1e-6)


def test_the_gradients_of_the_cosine_loss_are_those_of_autograd():
    torch.manual_seed(0)
    a, b = (F.normalize(torch.randn(6, 3, dtype=torch.float64), dim=-1).requires_grad_() for _ in range(2))
    groups = torch.tensor([0, 1, 1, 2, 3, 4])
    Cosine(Cosine.Config(margin=0.2))(a, b, groups).backward()
    own = [a.grad.clone(), b.grad.clone()]
    a.grad = b.grad = None
    cosines, others = a @ b.T, groups[:, None] != groups[None]
    hinges = F.relu(cosines - 0.2)[others]
    (0.2 * (1 - cosines.diagonal()).mean() + 0.8 * hinges.mean()).backward()
    torch.testing.assert_close(own, [a.grad, b.grad])


def test_one_classifier_learns_the_named_classes_of_both_sides(world):
    task, samples = world
    batch = task.batched(
        [{name: each[name] for name in ("id", "group", "image", "recipe", "class")} for each in samples]
    )
    outputs, classes = task(batch), task.classes(batch)
    named = [task.label.names.index(each["class"]) if each["class"] != "background" else -1 for each in samples]
    assert classes.tolist() == named
    real = classes >= 0
    costs = [F.cross_entropy(task.classifier(each)[real], classes[real]) for each in outputs.values()]
    expected = task.config.semantic * (costs[0] + costs[1])
    assert float(task.losses(outputs, batch)["semantic"].detach()) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_only_equal_dishes_are_one_to_the_loss(world, monkeypatch):
    task, samples = world
    bare = {name: samples[0][name] for name in ("image", "recipe")}
    batch = task.batched([{"id": str(n), "group": group, "class": "burger", **bare} for n, group in enumerate("aba")])
    monkeypatch.setattr(task.loss, "forward", lambda seen, read, groups: groups)
    groups = task.losses(task(batch), batch)["pairs"]
    assert (groups[:, None] == groups).tolist() == [[True, False, True], [False, True, False], [True, False, True]]


def test_a_picture_and_a_recipe_are_answered_alone_or_both(world):
    task, samples = world
    both = task.batched([{name: samples[0][name] for name in ("image", "recipe")}])
    whole = task.predict(both)
    assert set(whole) == {"image_embedding", "recipe_embedding", "class"}
    (image,) = (task.predict(replace(both, fields={"image": both["image"]})),)
    torch.testing.assert_close(image["image_embedding"], whole["image_embedding"])
    assert set(task.predict(replace(both, fields={"recipe": both["recipe"]}))) == {"recipe_embedding", "class"}


# ---- the metrics -----------------------------------------------------------------------------


def test_galleries_are_drawn_and_ties_count_against_the_model():
    right = {"embedding.image": torch.eye(6), "embedding.recipe": torch.eye(6), "group": torch.arange(6)}
    told = Galleries(Galleries.Config(size=4, count=3))(right)
    assert told["image_to_recipe_r1_of_4"] == told["recipe_to_image_median_rank_of_4"] == 1
    alike = {**right, "embedding.image": torch.ones(6, 6)}
    assert Galleries(Galleries.Config(size=4, count=3))(alike)["image_to_recipe_r1_of_4"] == 0
    assert Galleries(Galleries.Config(size=4))(alike)["image_to_recipe_median_rank_of_4"] == 4
    assert "image_to_recipe_r1_of_6" in Galleries(Galleries.Config(size=1000))(right)


def test_consistency_is_the_share_of_neighbours_of_the_class_the_partner_apart():
    space = F.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0], [1.0, 0.0]]), dim=-1)
    rows = {"embedding.image": space, "embedding.recipe": space, "of_class": torch.tensor([0, 0, 1, 1, -1])}
    told = ClassConsistency(ClassConsistency.Config())(rows)
    assert told["image_to_recipe_consistency"] == pytest.approx(1 / 3), "three neighbours, one of which is of the class"


def test_who_cannot_tell_the_order_is_right_half_of_the_time():
    rows = {"id": list("abcd"), "sample.twin": list("badc"), "embedding.image": torch.eye(4)}
    told = OrderAlone(OrderAlone.Config())({**rows, "embedding.recipe": torch.eye(4)})
    assert told == {"image_order": 1.0, "recipe_order": 1.0}
    blind = torch.eye(4)[[0, 0, 2, 2]]
    assert OrderAlone(OrderAlone.Config())({**rows, "embedding.recipe": blind})["image_order"] == 0.5


def test_a_sheet_shows_a_dish_its_steps_and_what_was_found_for_them(monkeypatch):
    monkeypatch.setattr("sensorium_recipes.report.sheet", lambda rows, size, wrap: rows)
    groups = torch.tensor([7, 8, 7])
    seen = F.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.5]]), dim=-1)
    first, *_ = found(seen, seen, groups, lambda place: SOUP, lambda place: bytes([place]))
    assert [(tile.png, tile.colour) for tile in first] == [
        (b"\0", "black"),
        (b"\0", "green"),
        (b"\2", "green"),
        (b"\1", "red"),
    ]
    assert first[0].title == "1. cut the leeks. 2. boil them for an hour. 3. add salt."


# ---- the readers -----------------------------------------------------------------------------


@pytest.fixture
def layers(tmp_path):
    """A copy of Recipe1M with three recipes, in the layout of its files."""
    texts = {"000018c8a5": "val", "00003a70b1": "train", "000075604a": "train"}
    layer1 = [
        {
            "id": name,
            "title": f"Dish {name}",
            "partition": partition,
            "url": "http://example.com/",
            "ingredients": [{"text": "6 ounces penne"}, {"text": "1 cup olive oil"}],
            "instructions": [{"text": "Boil it."}, {"text": "Serve."}],
        }
        for name, partition in texts.items()
    ]
    layer2 = [
        {"id": name, "images": [{"id": f"{name[5:]}{n}.jpg", "url": "http://example.com/"} for n in range(2)]}
        for name in list(texts)[:2]
    ]
    detected = [{"id": "00003a70b1", "valid": [True, False], "ingredients": [{"text": "olive oil"}, {"text": "x"}]}]
    for name, content in (("layer1", layer1), ("layer2", layer2), ("det_ingrs", detected)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    (tmp_path / "classes.json").write_text(json.dumps({"000018c8a5": "penne"}))
    for partition, ids in (("val", "8c8a5"), ("train", "a70b1")):
        for n in range(2):
            path = tmp_path / "images" / partition / "/".join(ids[:4]) / f"{ids}{n}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8)).save(path)
    return tmp_path


def test_recipe1m_has_a_sample_for_each_photograph_with_the_detected_ingredients(layers):
    (sample,) = Recipe1M(Recipe1M.Config(root=str(layers))).open("train")
    assert sample["id"] == "00003a70b1#a70b10.jpg"
    assert sample["group"] == "00003a70b1"
    assert sample["image"].endswith("images/train/a/7/0/b/a70b10.jpg")
    assert sample["recipe"] == {"ingredients": ["olive_oil"], "instructions": ["Boil it.", "Serve."]}
    assert sample["class"] == "background"
    both = Recipe1M(Recipe1M.Config(root=str(layers), images=2, classes="classes.json")).open("validation")
    assert [each["class"] for each in both] == ["penne", "penne"]
    assert both[0]["recipe"]["ingredients"] == ["6 ounces penne", "1 cup olive oil"]


def test_recipe1m_leaves_out_empty_texts(layers):
    detected = [{"id": "00003a70b1", "valid": [True, True], "ingredients": [{"text": ""}, {"text": "olive oil"}]}]
    (layers / "det_ingrs.json").write_text(json.dumps(detected))
    content = (layers / "layer1.json").read_text().replace("Boil it.", " ").replace("6 ounces penne", "")
    (layers / "layer1.json").write_text(content)
    (sample,) = Recipe1M(Recipe1M.Config(root=str(layers))).open("train")
    assert sample["recipe"] == {"ingredients": ["olive_oil"], "instructions": ["Serve."]}
    (other,) = Recipe1M(Recipe1M.Config(root=str(layers))).open("validation")
    assert other["recipe"] == {"ingredients": ["1 cup olive oil"], "instructions": ["Serve."]}


@pytest.mark.parametrize("name", ["layer1", "layer2", "det_ingrs"])
def test_a_recipe_that_a_file_has_twice_is_refused_with_both_places(layers, name):
    path = layers / f"{name}.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps([*content, content[0]]))
    with pytest.raises(UserError, match=rf"{name}.json, recipes\[0\] and .*{name}.json, recipes\[{len(content)}\]"):
        Recipe1M(Recipe1M.Config(root=str(layers))).open("train")


@pytest.mark.parametrize("content", ["[]", '{"000018c8a5": 7}', '{"000018c8a5": null}'])
def test_classes_that_are_not_names_are_refused(layers, content):
    (layers / "classes.json").write_text(content)
    with pytest.raises(UserError, match=r"classes\.json"):
        Recipe1M(Recipe1M.Config(root=str(layers), classes="classes.json")).open("train")


def test_a_missing_photograph_and_a_strange_partition_are_named(layers):
    next(layers.rglob("a70b10.jpg")).unlink()
    with pytest.raises(UserError, match=r"a70b10\.jpg"):
        Recipe1M(Recipe1M.Config(root=str(layers))).open("train")
    content = (layers / "layer1.json").read_text().replace('"val"', '"vla"')
    (layers / "layer1.json").write_text(content)
    with pytest.raises(UserError, match="'vla'"):
        Recipe1M(Recipe1M.Config(root=str(layers))).open("train")


@pytest.fixture
def kitchen(tmp_path):
    """Recipes as JSON lines, of which one has no photograph."""
    for number in range(5):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.webp")
    samples = [{"id": str(n), "title": "", "images": [f"{n}.webp"], **SOUP} for n in range(5)]
    samples.append({"id": "none", "title": "", "images": [], **SOUP})
    (tmp_path / "recipes.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in samples))
    return tmp_path


def test_each_recipe_with_a_photograph_is_held_out_once(kitchen):
    whole = RecipeLines(RecipeLines.Config(root=str(kitchen)))
    assert [each["id"] for each in whole.open("train")] == [each["id"] for each in whole.open("test")] == list("01234")
    held = [RecipeLines(RecipeLines.Config(root=str(kitchen), folds=5, fold=fold)) for fold in range(5)]
    assert [each["id"] for fold in held for each in fold.open("test")] == list("01234")
    assert [each["id"] for each in held[1].open("train")] == list("0234")
    assert whole.open("train")[2]["recipe"] == SOUP


def test_a_line_without_lists_is_named(kitchen):
    with (kitchen / "recipes.jsonl").open("a") as file:
        file.write('{"id": "x", "ingredients": "salt", "instructions": [], "images": []}\n')
    with pytest.raises(UserError, match=r"recipes\.jsonl:7 has no list of texts 'ingredients'"):
        RecipeLines(RecipeLines.Config(root=str(kitchen))).open("train")
