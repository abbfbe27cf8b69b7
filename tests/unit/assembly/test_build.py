"""What does not fit is refused before anything is trained: real files broken in the ways files break."""

import json
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import sensorium_clip
from sensorium.assembly.build import assemble, load_model, open_split
from sensorium.assembly.loading import load
from sensorium.builtin.modalities.video import Video
from sensorium.contracts.run import Run
from sensorium.errors import MediaError, SensoriumError, UserError
from sensorium.plugins import Plugins
from sensorium.training.execution import execute

INSTALLED = Plugins()
SMALL = ("training.global_batch=2", "run.threads=2", "evaluation.split=train", "model.metrics=[retrieval]")
TEXT = "model.encoders.text={name: text_transformer, dim: 8, depth: 1, heads: 1}"
IMAGES = ("model.encoders.image={name: convnet, widths: [4], dim: 8}", TEXT, "model.fusion.dim=4")
SOUNDS = (
    "model.encoders={audio: {name: convnet, widths: [4], dim: 8}, text: {name: rnn, dim: 8}}",
    "model.fusion.dim=4",
)

FILMS = (
    "model.encoders={video: {name: frames, encoder: {name: convnet, widths: [4], dim: 8}}, text: {name: rnn, dim: 8}}",
    "model.fusion.dim=4",
)


def clip(*overrides):
    return assemble(load("clip", overrides, INSTALLED))


def refused(*overrides, kind=UserError):
    with pytest.raises(kind) as caught:
        clip(*overrides)
    return str(caught.value)


def manifest(folder, field, files, name="train"):
    """Writes files and a manifest of them; returns the overrides that read it."""
    rows = []
    for number, (file, content) in enumerate(files.items()):
        if content is not None:
            (folder / file).write_bytes(content)
        rows.append({"id": file, field: file, "text": f"the {number}. file"})
    (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    reader = {
        "image": "{name: image, size: 8, channels: 1}",
        "audio": "{name: audio, n_mels: 16}",
        "video": "{name: video, size: 8, channels: 1, seconds: 0.2, frame_rate: 10}",
    }[field]
    return (
        f"dataset={{name: manifest, fields: {{{field}: {field}, text: text}}, train: {folder}/{name}.jsonl}}",
        f"modalities={{{field}: {reader}, text: {{name: text, tokenizer: words}}}}",
        *SMALL,
        *{"image": IMAGES, "audio": SOUNDS, "video": FILMS}[field],
    )


@pytest.fixture
def photographs(data):
    """Four JPEG files as bytes."""
    files = sorted((data / "tiny_coco" / "train2017").iterdir())[:4]
    return {f"{n}.jpg": file.read_bytes() for n, file in enumerate(files)}


def png(width, height):
    """The beginning of a PNG that promises so many pixels, with all checksums right."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def wav(folder, samples, channels=1, rate=8000):
    path = folder / "written.wav"
    sound = np.linspace(-0.5, 0.5, samples * channels, dtype=np.float32).reshape(samples, channels)
    soundfile.write(path, sound, rate, "PCM_16")
    return path.read_bytes()


# ------------------------------------------------------------------------------------------- media


def test_photographs_with_captions_are_ready_to_train_on(tmp_path, photographs):
    assembly = clip(*manifest(tmp_path, "image", photographs))
    assert len(assembly.splits["train"]) == 4
    assert assembly.skipped == {}
    assert assembly.modalities["text"].vocabulary > 4


@pytest.mark.parametrize(
    ("broken", "cause"),
    [
        (lambda whole: whole[: len(whole) // 2], "bad.jpg is not a readable picture"),
        (lambda whole: b"", "bad.jpg is empty (0 bytes)"),
        (lambda whole: b"GIF89a, but not really", "bad.jpg is not a readable picture"),
        (
            lambda whole: png(60_000, 60_000),
            "bad.jpg is not a readable picture (Image size (3600000000 pixels) exceeds limit",
        ),
    ],
    ids=["truncated", "empty", "other", "huge"],
)
def test_a_broken_picture_is_refused_with_file_and_cause(tmp_path, photographs, broken, cause):
    files = {"bad.jpg": broken(photographs["0.jpg"]), **photographs}
    text = refused(*manifest(tmp_path, "image", files), kind=MediaError)
    assert "Split 'train', " in text
    assert "sample bad.jpg, field 'image': " in text
    assert cause in text


@pytest.mark.parametrize(
    ("broken", "cause"),
    [
        (lambda whole: b"RIFF" + b"\xff" * 40, "bad.wav is not a readable sound"),
        (lambda whole: whole[:20], "bad.wav is not a readable sound"),
        (lambda whole: b"", "bad.wav is empty (0 bytes)"),
        (None, "bad.wav holds no samples"),
    ],
    ids=["header", "cut", "empty", "silent"],
)
def test_a_broken_sound_is_refused_with_file_and_cause(tmp_path, broken, cause):
    whole = wav(tmp_path, 4000)
    files = {"bad.wav": wav(tmp_path, 0) if broken is None else broken(whole), "a.wav": whole, "b.wav": whole}
    text = refused(*manifest(tmp_path, "audio", files), kind=MediaError)
    assert "Split 'train', " in text
    assert "sample bad.wav, field 'audio': " in text
    assert cause in text


def test_six_channels_are_mixed_down(tmp_path):
    files = {"a.wav": wav(tmp_path, 4000, channels=6), "b.wav": wav(tmp_path, 4000)}
    assembly = clip(*manifest(tmp_path, "audio", files))
    split = assembly.splits["train"]
    assert assembly.modalities["audio"].decode(split[0]["audio"]).shape[0] == 1


def test_captions_without_their_picture_are_refused(tmp_path, photographs):
    text = refused(*manifest(tmp_path, "image", {**photographs, "gone.jpg": None}))
    assert "train.jsonl names files that are not there, 1 in all" in text
    assert "gone.jpg" in text


def test_coco_without_a_picture_is_refused_or_skipped(tmp_path, data):
    shutil.copytree(data / "tiny_coco", tmp_path / "coco")
    gone = sorted((tmp_path / "coco" / "train2017").iterdir())[0]
    gone.unlink()
    coco = (
        f"dataset={{name: coco_captions, root: {tmp_path}/coco}}",
        "modalities={image: {name: image, size: 8, channels: 1}, text: {name: text, tokenizer: words}}",
        *SMALL,
        *IMAGES,
    )
    assert gone.name in refused(*coco)
    assembly = clip(*coco, "dataset.broken=skip")
    whys = [why for _, why in assembly.skipped["train"]]
    assert len(whys) == 5  # one for each of its captions
    assert all(gone.name in why and "cannot be opened" in why for why in whys)


def test_broken_media_are_skipped_and_counted_when_the_experiment_says_so(tmp_path, photographs):
    broken = {"cut.jpg": photographs["0.jpg"][:500], "zero.jpg": b"", "huge.jpg": png(60_000, 60_000), "gone.jpg": None}
    files = {**broken, **photographs}
    assembly = clip(*manifest(tmp_path, "image", files), "dataset.broken=skip")
    assert [index for index, _ in assembly.skipped["train"]] == [0, 1, 2, 3]
    whys = [why for _, why in assembly.skipped["train"]]
    for why, file, cause in zip(
        whys, broken, ["not a readable picture", "0 bytes", "3600000000 pixels", "cannot be opened"], strict=True
    ):
        assert why.startswith(f"Sample {file}, field 'image': ")
        assert cause in why
    split = assembly.splits["train"]
    assert [split[i]["id"] for i in range(len(split))] == list(photographs)


@pytest.mark.parametrize("kind", ["image", "video"])
def test_a_training_over_hostile_files_goes_on_without_them(kind, tmp_path, data, photographs):
    hostile = {file.name: file.read_bytes() for file in sorted((data / "hostile").glob("*.bin"))}
    assert len(hostile) >= 4
    whole = photographs
    if kind == "video":
        film = Video.Config(size=8, channels=1, seconds=0.2, frame_rate=10).build()
        whole = {f"{seed}.mp4": film.example(torch.Generator().manual_seed(seed)) for seed in range(4)}
    options = manifest(tmp_path, kind, {**hostile, **whole})
    assembly = clip(*options, "dataset.broken=skip", "training.epochs=1")
    assert [why.split(",")[0] for _, why in assembly.skipped["train"]] == [f"Sample {name}" for name in hostile]
    folder = tmp_path / "run"
    folder.mkdir()
    outcome = execute(assembly, Run("clip", str(folder), assembly.loaded.plain(), 0, 0, 1))
    assert outcome.model is not None


def test_a_split_of_broken_media_alone_is_empty(tmp_path):
    text = refused(*manifest(tmp_path, "image", {"a.jpg": b"", "b.jpg": b""}), "dataset.broken=skip")
    assert "The split 'train' of the dataset is empty. 2 samples were found, 2 of them broken, the first one" in text
    assert "a.jpg is empty" in text


def test_a_worker_leaves_out_the_same_without_looking(tmp_path, photographs, monkeypatch):
    overrides = (*manifest(tmp_path, "image", {"zero.jpg": b"", **photographs}), "dataset.broken=skip")
    first = clip(*overrides)
    learnt = json.loads(json.dumps(first.learnt()))
    monkeypatch.setattr("sensorium.assembly.splits._broken", lambda *_: pytest.fail("looked again"))
    monkeypatch.setattr("sensorium.assembly.build._try", lambda *_: pytest.fail("tried again"))
    again = assemble(load("clip", overrides, INSTALLED), learnt)
    assert [again.splits["train"][i]["id"] for i in range(4)] == list(photographs)
    assert again.modalities["text"].state() == first.modalities["text"].state()
    mine, other = first.task.state_dict(), again.task.state_dict()
    assert mine.keys() == other.keys()
    assert all(torch.equal(mine[name], other[name]) for name in mine)


# ----------------------------------------------------------------------------------------- dataset


def test_a_root_that_is_missing_is_refused_with_what_is_there(tmp_path):
    (tmp_path / "other").mkdir()
    text = refused("dataset.name=coco_captions", f"dataset.root={tmp_path}/coco", *IMAGES)
    assert f"There is no folder at {tmp_path}/coco." in text
    assert "holds other" in text


def test_an_empty_dataset_is_refused(tmp_path):
    text = refused(*manifest(tmp_path, "image", {}))
    assert "train.jsonl holds no samples." in text
    assert "The split 'train' of the dataset is empty." in refused("dataset.limit.train=0")


def test_limits_take_the_first_samples():
    splits = clip("dataset.limit={train: 70, test: 20}", "training.global_batch=70").splits
    assert (len(splits["train"]), len(splits["test"])) == (70, 20)
    assert splits["train"][69]["id"] == "train/69"
    assert "There is no split 'tset' at dataset.limit. Known: test, train. Did you mean 'test'?" in refused(
        "dataset.limit.tset=3"
    )


def test_samples_of_one_file_are_held_out_together(data):
    coco = Path(sensorium_clip.__file__).parent / "experiments/coco.yaml"
    splits = assemble(load(str(coco), [f"dataset.root={data}/tiny_coco", "dataset.holdout=0.2"])).splits
    shown = {name: [split[index]["image"] for index in range(len(split))] for name, split in splits.items()}
    assert len(shown["train"]) + len(shown["validation"]) == 250
    assert 50 <= len(shown["validation"]) <= 55
    assert not set(shown["train"]) & set(shown["validation"])


@pytest.mark.parametrize("during", ["validation", "[test, validation]"])
def test_a_split_to_evaluate_on_between_epochs_is_there(during):
    refusal = refused("evaluation.epochs=1", f"evaluation.during={during}")
    assert "There is no split 'validation' to evaluate on between epochs (evaluation.during)." in refusal
    assert "The dataset has train, test." in refusal


def test_a_dataset_without_the_split_that_is_asked_for_is_refused(tmp_path, photographs):
    overrides = [o for o in manifest(tmp_path, "image", photographs) if not o.startswith("evaluation")]
    assert "There is no split 'test' at evaluation.split. Known: train." in refused(*overrides)
    overrides[0] = overrides[0].replace("train:", "test:")
    assert "The dataset has no split to train on. It has test." in refused(*overrides)


def test_fields_that_the_dataset_does_not_have_are_refused():
    text = refused("modalities.imagge={name: image, size: 8, channels: 1}")
    assert "There is no field 'imagge' at modalities (the dataset is Digits)." in text
    assert "Did you mean 'image'?" in text


def test_fields_read_as_another_kind_are_refused():
    text = refused("modalities.image.name=audio")
    assert "The dataset's field 'image' holds image; the experiment reads it as spectrogram." in text
    assert "Set modalities.image.name=image." in text


def test_a_field_without_modality_is_refused():
    text = refused("model.encoders={picture: {name: convnet}, text: {name: rnn}}")
    assert "model.encoders names the field 'picture', which has no modality. Fields: image, text, label." in text


# ------------------------------------------------------------------------------------------- model


@pytest.mark.parametrize(
    ("field", "encoder", "takes"),
    [("image", "rnn", "'image'"), ("text", "vit", "'tokens'"), ("text", "convnet", "'tokens'")],
)
def test_an_encoder_for_another_modality_is_refused(field, encoder, takes):
    text = refused(f"model.encoders.{field}={encoder}")
    assert f"does not take {takes}. It takes " in text
    assert "Choose another encoder" in text


def test_pictures_too_small_for_the_network_are_refused():
    text = refused("model.encoders.image={name: torchvision, model: alexnet}")
    assert "'alexnet' does not take pictures of 8 x 8" in text
    assert "Choose another size of picture" in text


def test_a_fusion_or_loss_that_clip_cannot_use_is_refused():
    assert "model.fusion mixes the fields." in refused("model.fusion=concatenation")
    assert "model.loss takes classes. CLIP needs a loss over pairs." in refused("model.loss=cross_entropy")


def test_shapes_that_do_not_fit_are_refused_before_training(tmp_path, monkeypatch):
    (tmp_path / "misfit.py").write_text(
        "import every_hook\nfrom sensorium import hookimpl\n"
        "class Misfit(every_hook.Sum):\n"
        "    def __init__(self, config, dims):\n"
        "        super().__init__(config, dims)\n"
        "        self.dims = {'joint': 3}\n"
        "@hookimpl\ndef sensorium_fusions():\n    return {'misfit': Misfit}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    plugins = Plugins(["every_hook", "misfit"])
    with pytest.raises(UserError) as caught:
        assemble(load("lines", ["plugins=[every_hook, misfit]", "model.fusion=misfit"], plugins))
    assert "The parts of the model do not fit together: RuntimeError: mat1 and mat2 shapes" in str(caught.value)
    assert "Two samples of each split that is used were sent through it." in str(caught.value)


def test_the_trial_changes_nothing():
    """Weights are those of the seed, and the state of training follows from it alone."""
    first, second = clip(), clip()
    for name, tensor in first.task.state_dict().items():
        assert torch.equal(tensor, second.task.state_dict()[name]), name
    other = clip("run.seed=1").task.state_dict()
    assert any(not torch.equal(tensor, other[name]) for name, tensor in first.task.state_dict().items())
    assert all(parameter.grad is None for parameter in first.task.parameters())


# ---------------------------------------------------------------------------------------- training


def test_a_global_batch_larger_than_the_training_split_is_refused():
    text = refused("dataset.limit.train=50", "training.global_batch=64")
    assert "The training split has 50 samples, the global batch is 64." in text
    assert "Set training.global_batch to 50 at most." in text


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["training.global_batch=3", "run.workers=4"], "global batch of 3 cannot be cut among 4 workers and 1 parts"),
        (["training.global_batch=7", "run.workers=[1, 4]", "training.accumulate=2"], "among 4 workers and 2 parts"),
        (["training.optimizer.name=adamv"], "no optimizer 'adamv' at training.optimizer."),
        (["training.optimizer.options={betta: 1}"], "no option of adamw 'betta' at training.optimizer.options."),
        (
            ["training.stages.trian.epochs=1"],
            "no stage 'trian' at training.stages. Known: train. Did you mean 'train'?",
        ),
        (["training.stages.train.optimizer.name=sgdd"], "no optimizer 'sgdd' at training.stages.train.optimizer."),
        (["training.stages.train.optimizers={mian: {}}"], "no objective 'mian' at training.stages.train.optimizers."),
        (["training.stages.train.optimizers={main: {name: sgdd}}"], "at training.stages.train.optimizers.main."),
        (["training.early_stopping.metric=loss"], "Early stopping has nothing to look at."),
    ],
)
def test_a_training_that_cannot_be_is_refused(overrides, text):
    assert text in refused(*overrides)


def test_what_was_changed_for_a_resumed_run_is_checked_as_well():
    learnt = clip().learnt()
    with pytest.raises(UserError, match="no optimizer 'adamv'"):
        assemble(load("clip", ["training.optimizer.name=adamv"], INSTALLED), learnt)


# ------------------------------------------------------------------------------------ trained models


@pytest.fixture
def model(trained, tmp_path):
    """A copy of a trained model, to be spoilt."""
    return shutil.copytree(trained.result["model"], tmp_path / "model")


def test_a_model_comes_back_as_it_was(trained):
    model = load_model(trained.result["model"])
    again = load_model(trained.result["checkpoint"])
    assert not model.task.training
    assert all(not parameter.requires_grad for parameter in model.task.parameters())
    assert model.loaded.plain() == again.loaded.plain()
    for name, tensor in model.task.state_dict().items():
        assert torch.equal(tensor, again.task.state_dict()[name])
    assert model.modalities["text"].state() == again.modalities["text"].state()


def spoil_cut(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def spoil_bit(folder):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)


def spoil_pickle(folder):
    torch.save({"weight": torch.zeros(1)}, folder / "model.pt")


def spoil_exchanged(folder):
    torch.save({"weight": torch.zeros(1)}, folder / "model.safetensors")


def spoil_manifest(folder):
    (folder / "manifest.json").unlink()


def spoil_missing(folder):
    (folder / "modalities.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (spoil_cut, "model.safetensors is not as it was written"),
        (spoil_bit, "model.safetensors is not as it was written"),
        (spoil_pickle, "model.pt does not belong to it"),
        (spoil_exchanged, "model.safetensors is not as it was written"),
        (spoil_manifest, "manifest.json is missing"),
        (spoil_missing, "modalities.json is missing"),
    ],
)
def test_a_model_that_was_cut_or_changed_is_refused(model, spoil, cause):
    spoil(model)
    with pytest.raises(UserError, match="is not a whole checkpoint") as caught:
        load_model(model)
    assert cause in str(caught.value)


def test_a_pickle_is_never_read_even_with_the_right_hash(model):
    """Somebody who can write the folder can write the manifest: the reader itself must not unpickle."""
    import hashlib

    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    torch.save(Trap(), model / "model.safetensors")
    manifest = json.loads((model / "manifest.json").read_text())
    manifest["sha256"]["model.safetensors"] = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    (model / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="holds no tensors"):
        load_model(model)
    manifest["sha256"]["model.pt"] = manifest["sha256"].pop("model.safetensors")
    (model / "model.safetensors").rename(model / "model.pt")
    (model / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="is neither safetensors nor JSON"):
        load_model(model)


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"manifest\.json is missing"):
        load_model(tmp_path)


def test_another_dataset_must_have_the_fields_that_the_model_reads(trained, tmp_path, photographs):
    model = load_model(trained.result["model"])
    other = load("clip", manifest(tmp_path, "image", photographs), INSTALLED)
    with pytest.raises(UserError, match="There is no field 'label'"):
        open_split(other, model.modalities, "train")
    with pytest.raises(UserError, match=r"There is no split 'tset'.*Did you mean 'test'"):
        open_split(model.loaded, model.modalities, "tset")


@pytest.mark.parametrize(
    ("override", "size"),
    [
        ("modalities.image.size=4611686018427387904", "sizes=[1, 1, 4611686018427387904, 4611686018427387904]"),
        ("modalities.image.size=100000000", "10,000,000 GB at once"),
        ("model.fusion.dim=10000000000000", "5,120,000 GB at once"),
        ("modalities.text.max_length=10000000000000", "2,560,000 GB at once"),
        ("model.fusion.dim=4611686018427387904", ""),
    ],
)
def test_what_no_memory_holds_is_told_with_its_size(override, size):
    with pytest.raises(UserError, match="does not fit into memory") as caught:
        assemble(load("clip", [override]))
    assert size in str(caught.value)


def test_an_outage_is_waited_for_and_breaks_no_sample(monkeypatch):
    from sensorium.assembly.splits import _broken
    from sensorium.engine import storage

    class Afar:
        def __len__(self):
            return 3

        def __getitem__(self, index):
            return {"id": str(index), "image": "there"}

    def away(*_):
        raise MediaError("there cannot be opened (refused).") from ConnectionRefusedError("refused")

    monkeypatch.setattr("sensorium.assembly.splits.transform", away)
    monkeypatch.setattr(storage.awaited, "__defaults__", (-1.0,))
    with pytest.raises(SensoriumError, match=r"The server that sample 0 is read from cannot be reached") as caught:
        _broken(Afar(), {}, 1)
    assert not isinstance(caught.value, MediaError)
