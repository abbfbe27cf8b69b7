"""Published weights: what open_clip and transformers compute from them is computed here, and trained, served and told.

Shapes: B samples, D = 24 channels of the common space.
"""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image as Pillow
from safetensors.torch import load_file, save_file

import sensorium_clip
from sensorium import Batch, UserError
from sensorium.assembly.build import assemble, build_modalities, build_task, load_model, restore
from sensorium.assembly.loading import load
from sensorium.assembly.trained import initialise
from sensorium.builtin.modalities.image import Image
from sensorium.inference.predictor import Predictor
from sensorium.inference.traced import difference, trace
from sensorium.training import runs
from sensorium.training.execution import execute
from sensorium_clip import layouts
from sensorium_clip.encoders import ClipImage, ClipText

EXPERIMENTS = Path(sensorium_clip.__file__).parent / "experiments"
CLASSES = ["dog", "teddy bear", "traffic light"]
PROMPTS = ["a photo of a {}.", "a blurry photo of the {}.", "{}"]


@pytest.fixture(scope="session")
def photographs(data):
    """The photographs of COCO with a caption each: paths and sentences."""
    content = json.loads((data / "tiny_coco/annotations/captions_train2017.json").read_text())
    names = {image["id"]: data / "tiny_coco/train2017" / image["file_name"] for image in content["images"]}
    first = {each["image_id"]: each["caption"] for each in reversed(content["annotations"])}
    return [(str(names[key]), first[key]) for key in sorted(first)]


@pytest.fixture(scope="session")
def pixels(photographs, written):
    """Name of a model -> what open_clip shows it of the photographs, (B, 3, H, W)."""
    pictures = [Pillow.open(path) for path, _ in photographs]
    return {name: torch.stack([each.transform(picture) for picture in pictures]) for name, each in written.items()}


def experiment(folder, *more):
    """Returns the overrides that fine-tune such weights on COCO."""
    both = [f"model.encoders.{field}.weights={json.dumps(str(folder))}" for field in ("image", "text")]
    return [*both, f"model.prompts={json.dumps(PROMPTS)}", *more]


def clip(folder, *more):
    """Returns the task with such weights, as a training begins with it."""
    loaded = load(str(EXPERIMENTS / "finetune.yaml"), experiment(folder, *more))
    modalities = build_modalities(loaded.experiment)
    modalities["text"].fit([])
    task = build_task(loaded, modalities)
    initialise(task)
    return task.eval()


@torch.no_grad()
def embedded(task, pictures, texts):
    """Returns the embeddings (B, D) of pictures as they are seen, and of texts."""
    batch = task.batched([{"text": text} for text in texts])
    batch.fields["image"] = pictures
    return task(Batch(batch.samples, batch.fields))


# ------------------------------------------------------------------------------------------ parity


@pytest.mark.parametrize("name", ["vit", "openai", "resnet"])
def test_embeddings_and_logits_are_those_of_open_clip(name, written, pixels, photographs):
    import open_clip

    theirs, texts = written[name].model, [text for _, text in photographs]
    ours = clip(written[name].folder)
    assert ours.modalities["text"].config.pretrained == str(written[name].folder), "where tokenizer.json lies"
    found = embedded(ours, pixels[name], texts)
    with torch.no_grad():
        image, text, scale = theirs(pixels[name], open_clip.SimpleTokenizer()(texts))
    assert image.std(0).mean() > 0.02, "pictures are told apart"
    assert torch.allclose(found["image"], image, atol=1e-5)
    assert torch.allclose(found["text"], text, atol=1e-5)
    logits = ours.loss.log_scale.exp() * found["image"] @ found["text"].T
    assert math.isclose(scale, math.exp(3.2), rel_tol=1e-6)
    assert logits.shape == (50, 50)
    assert torch.allclose(logits, scale * image @ text.T, atol=1e-5)


@pytest.mark.parametrize("name", ["vit", "resnet"])
def test_what_began_with_such_weights_is_exported_for_any_number_of_samples(name, written):
    ours = clip(written[name].folder)
    for exported in ours.exported().values():
        assert difference(trace(ours, exported), 5) < 1e-4


@pytest.mark.parametrize("name", ["vit", "openai"])
def test_classifiers_from_prompts_are_those_of_open_clip(name, written):
    import open_clip

    theirs = open_clip.build_zero_shot_classifier(
        written[name].model, open_clip.SimpleTokenizer(), CLASSES, PROMPTS, num_classes_per_batch=2
    )
    with torch.no_grad():
        ours = clip(written[name].folder).words(CLASSES).T
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_pictures_are_seen_as_open_clip_shows_them(written, photographs):
    from open_clip import image_transform

    suited = ClipImage.Config(weights=str(written["resnet"].folder)).suits()
    known = {"size": 64, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4], "interpolation": "bicubic"}
    assert suited == {**known, "crop_last": True}
    image = Image.Config(**{**suited, "size": 224}).build()
    shown = image_transform(224, is_train=False, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    apart = torch.stack(
        [
            (image.transform(image.decode(path), None) - shown(Pillow.open(path))).abs() * image.std * 255
            for path, _ in photographs[:20]
        ]
    )
    assert apart.mean() < 0.01, "levels of 255"
    assert apart.max() < 2.5


@pytest.mark.parametrize("name", ["ViT-B-32-quickgelu", "ViT-B-16", "ViT-L-14", "RN50-quickgelu", "RN50x4-quickgelu"])
def test_towers_of_published_sizes_are_those_of_open_clip(name):
    import open_clip

    config = open_clip.get_model_config(name)
    said = layouts.open_clip({"model_cfg": config}, {})
    words = build_modalities(load("clip").experiment)["text"]
    words.vocabulary, words.shape = 49408, (said.length,)
    with torch.device("meta"):
        theirs = open_clip.CLIP(**config).state_dict()
        image = ClipImage.Config(**said.image).build(Image.Config(**said.pictures).build()).body
        text = ClipText.Config(**said.text).build(words).body
    found = {}
    for tower, body in (("image", image), ("text", text)):
        own = body.state_dict()
        found |= {key: own[name] for name, (key,) in layouts.names_in_file(own, tower, theirs).items()}
    assert found.keys() ^ theirs.keys() == {"logit_scale"}
    assert all(tensor.shape == theirs[key].shape for key, tensor in found.items())
    assert said.image["quick_gelu"] == name.endswith("quickgelu")


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_transformers_layout_is_read_too(activation, tmp_path, written, hugging_face_tokenizer):
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    sizes = {"intermediate_size": 128, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    told = {"hidden_act": activation, "eos_token_id": 49407, "projection_dim": 24}
    config = CLIPConfig(
        text_config={**sizes, **told},
        vision_config={**sizes, **told, "image_size": 32, "patch_size": 16},
        projection_dim=24,
        logit_scale_init_value=3.1,
    )
    torch.manual_seed(0)
    theirs = CLIPModel(config).eval()
    theirs.save_pretrained(tmp_path)
    hugging_face_tokenizer.save_pretrained(tmp_path)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32, image_mean=[0.1, 0.2, 0.3]).save_pretrained(tmp_path)
    ours, pictures = clip(tmp_path), torch.randn(2, 3, 32, 32)
    asked = hugging_face_tokenizer(["a dog", "two cats on the sofa"], padding=True, return_tensors="pt")
    with torch.no_grad():
        right = theirs(**asked, pixel_values=pictures)
    found = embedded(ours, pictures, ["A dog", "two cats on the sofa"])
    assert torch.allclose(found["image"], right.image_embeds, atol=1e-5)
    assert torch.allclose(found["text"], right.text_embeds, atol=1e-5)
    assert ours.loss.log_scale.item() == pytest.approx(3.1)
    image = ours.modalities["image"].config
    assert (image.size, image.mean, image.interpolation) == ((32, 32), [0.1, 0.2, 0.3], "bicubic")


def test_positions_of_larger_pictures_are_interpolated_as_open_clip_does(written):
    import open_clip

    folder = written["vit"].folder
    theirs = open_clip.create_model(f"local-dir:{folder}", force_image_size=48).eval()
    larger = ClipImage.Config(weights=str(folder)).build(Image.Config(size=48).build()).eval()
    larger.initialise()
    picture = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        assert torch.allclose(larger(picture).pooled, theirs.encode_image(picture), atol=1e-5)
    assert larger(picture).grid == (6, 6)
    assert larger(picture).tokens.shape == (2, 36, 24)


def test_texts_that_are_shorter_than_the_weights_know_take_the_first_positions(written):
    both = [clip(written["vit"].folder, *more) for more in ((), ("modalities.text.max_length=12",))]
    whole, short = (embedded(task, torch.zeros(1, 3, 32, 32), ["a dog on a sofa"])["text"] for task in both)
    assert torch.allclose(whole, short, atol=1e-6)
    assert both[1].encoders["text"].body.positional_embedding.shape == (12, 32)


# ---------------------------------------------------------------------------------------- training


def test_a_model_is_fine_tuned_saved_and_served_without_the_weights_it_began_from(
    tmp_path, monkeypatch, written, data, photographs
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(written["openai"].folder, tmp_path / "published")
    root = json.dumps(str(data / "tiny_coco"))
    coco = f"dataset={{name: coco_captions, root: {root}, captions: 1, limit: {{train: 24}}}}"
    brief = ["training.global_batch=12", "training.epochs=6", "training.precision=fp32", "training.optimizer.lr=2e-3"]
    rest = ["evaluation={split: train, contributions: false}", "modalities.image.crop_scale=0", coco]
    assembly = assemble(load(str(EXPERIMENTS / "finetune.yaml"), experiment("published", *brief, *rest)))
    before = clip("published").encoders["image"].state_dict()
    outcome = execute(assembly, runs.create(assembly, {}))
    assert outcome.metrics["image_to_text_r1"] > 0.3, "what chance reaches is 0.04"
    shutil.rmtree(tmp_path / "published")
    predict = Predictor.load(outcome.model)
    (answer,) = predict([{"image": photographs[0][0]}])
    assert len(answer["image_embedding"]) == 24
    (words,) = predict([{"text": "A dog"}])
    assert len(words["text_embedding"]) == 24
    saved = load_file(Path(outcome.model) / "model.safetensors")
    moved = [key for key, value in before.items() if not torch.equal(saved[f"encoders.image.{key}"], value)]
    assert len(moved) == len(before), "all of the tower is trained"
    assert 0 < abs(saved["loss.log_scale"].item() - 3.2) < 0.1, "the temperature began as the weights have it"
    (tmp_path / "again.yaml").write_text(f"task: clip\nmodel: {{weights: {outcome.model}}}")
    again = load("again.yaml", [coco])
    assert again.experiment.modalities["text"].max_length == 77
    task = build_task(again, assembly.modalities)
    initialise(task)  # from the trained model alone: what it began from is gone
    assert torch.equal(task.loss.log_scale, saved["loss.log_scale"])


def test_without_epochs_the_model_is_the_published_one(tmp_path, monkeypatch, written, pixels, photographs, data):
    monkeypatch.chdir(tmp_path)
    coco = f"dataset={{name: coco_captions, root: {json.dumps(str(data / 'tiny_coco'))}, limit: {{train: 5}}}}"
    rest = ["training.epochs=0", "training.global_batch=2", "evaluation={split: train, contributions: false}", coco]
    assembly = assemble(load(str(EXPERIMENTS / "finetune.yaml"), experiment(written["vit"].folder, *rest)))
    served = load_model(execute(assembly, runs.create(assembly, {})).model).task
    texts = [text for _, text in photographs]
    found = embedded(served, pixels["vit"], texts)["image"]
    with torch.no_grad():
        assert torch.allclose(found, written["vit"].model.encode_image(pixels["vit"], normalize=True), atol=1e-5)


def test_the_temperature_is_taken_only_from_weights_that_both_encoders_share(written):
    folder = written["vit"].folder
    assert clip(folder).loss.log_scale.item() == pytest.approx(3.2)
    assert clip(folder, "model.loss.temperature=0.05").loss.log_scale.item() == pytest.approx(-math.log(0.05))
    other = f"model.encoders.text.weights={json.dumps(str(written['openai'].folder))}"
    assert clip(folder, other).loss.log_scale.item() == pytest.approx(-math.log(0.07))
    fresh = ("model.encoders.text.weights=null", "model.encoders.text.dim=24", "model.encoders.text.depth=1")
    assert clip(folder, *fresh).loss.log_scale.item() == pytest.approx(-math.log(0.07))


def test_training_at_published_sizes_is_described():
    loaded = load(str(EXPERIMENTS / "paper.yaml"))
    image, text = (loaded.experiment.model.encoders[field] for field in ("image", "text"))
    assert (image.depth, image.width, image.heads, image.patch, image.dim) == (12, 768, 12, 32, 512)
    assert (text.depth, text.width, text.heads, text.dim) == (12, 512, 8, 512)
    assert loaded.experiment.training.global_batch == 2**15
    modalities = build_modalities(loaded.experiment)
    restore({"text": modalities["text"]}, {"text": _vocabulary()})
    with torch.device("meta"):
        task = build_task(loaded, modalities)
    assert sum(each.numel() for each in task.parameters()) == 151_277_313  # as open_clip counts ViT-B-32


def _vocabulary():
    modality = build_modalities(load(str(EXPERIMENTS / "paper.yaml")).experiment)["text"]
    modality.fit([])
    return modality.state()


# ------------------------------------------------------------------------------------ where they lie


def test_weights_come_from_a_file_or_the_hub(written, monkeypatch, tmp_path):
    from huggingface_hub.errors import EntryNotFoundError

    folder, asked = written["vit"].folder, []

    def download(repository, name, revision):
        asked.append((repository, revision))
        if not (folder / name).is_file():
            raise EntryNotFoundError(name)
        return str(folder / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    picture = torch.randn(1, 3, 32, 32)
    right = clip(folder).encoders["image"](picture).pooled
    for where in ("hf-hub:me/tiny@v1", folder / "open_clip_model.safetensors"):
        assert torch.equal(clip(where).encoders["image"](picture).pooled, right)
    assert set(asked) == {("me/tiny", "v1")}

    def broken(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", broken)
    with pytest.raises(UserError, match=r"hf-hub:me/tiny cannot be read: OSError: no network\..*give a folder"):
        ClipImage.Config(weights="hf-hub:me/tiny")
    shutil.copy(folder / "open_clip_model.safetensors", tmp_path / "alone.safetensors")
    with pytest.raises(ValueError, match="the weights alone do not tell their activation: set quick_gelu=true for"):
        ClipImage.Config(weights=str(tmp_path / "alone.safetensors"))
    sizes = {"width": 48, "heads": 3, "depth": 2, "patch": 8, "dim": 24, "quick_gelu": False}
    alone = ClipImage.Config(weights=str(tmp_path / "alone.safetensors"), **sizes)
    assert alone.suits() == {}
    found = alone.build(Image.Config(size=32).build()).eval()
    found.initialise()
    assert torch.equal(found(picture).pooled, right)


def spoilt(folder, change, place):
    """Returns a copy of a folder whose weights were changed."""
    shutil.copytree(folder, place)
    tensors = load_file(place / "open_clip_model.safetensors")
    change(tensors)
    save_file(tensors, place / "open_clip_model.safetensors")
    return place


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.pop("visual.ln_pre.bias"), r"do not fit the image tower: they lack visual\.ln_pre\.bias\."),
        (
            lambda w: w.pop("transformer.resblocks.1.attn.in_proj_weight"),
            r"the text tower: they lack transformer\.resblocks\.1\.attn\.in_proj_weight\.",
        ),
        (
            lambda w: w.update({f"visual.more.{i}": torch.zeros(1) for i in range(5)}),
            r"they hold visual\.more\.0, visual\.more\.1, visual\.more\.2 and 2 more, which the model does not have",
        ),
        (lambda w: w.pop("logit_scale"), r"lack logit_scale\."),
        (lambda w: w.update(ln_more=torch.zeros(1)), r"the text tower: they hold ln_more, which"),
        (
            lambda w: w.update({"visual.proj": torch.zeros(48, 7)}),
            r"the image tower: visual\.proj is \(48, 7\) and not \(48, 24\)",
        ),
        (
            lambda w: w.update({"visual.positional_embedding": torch.zeros(18, 48)}),
            r"visual\.positional_embedding is \(18, 48\) and not \(17, 48\)",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(change, said, written, tmp_path):
    with pytest.raises(UserError, match=said):
        clip(spoilt(written["vit"].folder, change, tmp_path / "spoilt"))


def test_other_ids_than_the_weights_know_are_told(written):
    folder, text = written["vit"].folder, build_modalities(load("clip").experiment)["text"]
    text.fit(["a dog"])
    encoder = ClipText.Config(weights=str(folder)).build(text)
    with pytest.raises(UserError, match=r"token_embedding\.weight is \(49408, 32\) and not .*modality `clip_text`"):
        encoder.initialise()


def test_what_is_not_a_clip_is_refused(written, tmp_path):
    with pytest.raises(UserError, match=r"There are no weights at .*no other kind of file is opened"):
        ClipImage.Config(weights=str(tmp_path))
    (tmp_path / "open_clip_config.json").write_text("[]")
    with pytest.raises(UserError, match="is not the configuration of a CLIP"):
        ClipImage.Config(weights=str(tmp_path))
    config = json.loads((written["vit"].folder / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"]["timm_model_name"] = "resnet50"
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="a model with timm_model_name in its vision_cfg, which CLIP's towers"):
        ClipImage.Config(weights=str(tmp_path))
    config["model_cfg"]["vision_cfg"] = {"layers": "12"}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"is not the configuration of a CLIP \(TypeError: depth is"):
        ClipImage.Config(weights=str(tmp_path))
    (tmp_path / "open_clip_config.json").unlink()
    (tmp_path / "config.json").write_text('{"model_type": "siglip"}')
    with pytest.raises(UserError, match=r"config\.json is not the configuration of a CLIP .*model_type is 'siglip'"):
        ClipImage.Config(weights=str(tmp_path))
    for odd in ({"hidden_act": "relu"}, {"intermediate_size": 64}, {"layer_norm_eps": 1e-3}):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip", "vision_config": odd}))
        with pytest.raises(UserError, match=f"{next(iter(odd))} is .*, and CLIP's towers have"):
            ClipImage.Config(weights=str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    (tmp_path / "model.safetensors").write_bytes(b"not that")
    encoder = ClipImage.Config(weights=str(tmp_path), depth=1, width=8, heads=1).build(Image.Config(size=32).build())
    with pytest.raises(UserError, match="is not a safetensors file"):
        encoder.initialise()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"depth": 0}, "at least 1"),
        ({"heads": 5}, "heads is 5, which does not divide 768 channels"),
        ({"depth": (1, 1, 1, 1), "patch": 16}, "patch is 32 in a residual network"),
        ({"depth": (1, 1, 1, 1), "width": 8, "heads": 7}, "heads is 7, which does not divide 256 channels"),
    ],
)
def test_sizes_that_make_no_network_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        ClipImage.Config(**options)


@pytest.mark.parametrize(("depth", "size"), [(1, 16), ((1, 1, 1, 1), 48)])
def test_pictures_that_are_too_small_or_odd_are_refused(depth, size):
    config = ClipImage.Config(depth=depth, width=8, heads=2, dim=4)
    with pytest.raises(UserError, match=f"does not take pictures of {size} x {size}"):
        config.build(Image.Config(size=size).build())
