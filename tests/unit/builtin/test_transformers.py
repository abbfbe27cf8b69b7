"""Networks of transformers: the features that the library gives, and inputs as the weights know them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from PIL import Image as Pillow
from torch.export import Dim
from torch.nn import functional as F

from sensorium import Padded, UserError
from sensorium.assembly.build import load_model
from sensorium.assembly.loading import load
from sensorium.builtin.encoders.processors import pictures
from sensorium.builtin.encoders.transformers import Image, Text
from sensorium.builtin.encoders.transformers_audio import Audio
from sensorium.builtin.modalities.audio import Audio as Sound
from sensorium.builtin.modalities.image import Image as Picture
from sensorium.builtin.modalities.text import Text as Words
from sensorium.conformance.modules import flat
from training import train

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
SEEING = {**SMALL, "image_size": 32, "patch_size": 8}
READING = {**SMALL, "vocab_size": 50, "max_position_embeddings": 14, "pad_token_id": 0, "eos_token_id": 2}
HEARING = {
    **SMALL,
    "conv_dim": [8, 8],
    "conv_kernel": [10, 8],
    "conv_stride": [5, 4],
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "num_feat_extract_layers": 2,
}
BOTH = {"text_config": READING, "vision_config": SEEING}
READERS = {
    "bert": READING,
    "roberta": READING,
    "distilbert": {"dim": 16, "n_heads": 2, "n_layers": 2, "hidden_dim": 16, "vocab_size": 50},
    "t5": {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2, "vocab_size": 50},
    "clip": BOTH,
    "siglip": BOTH,
}
SEERS = {
    "vit": SEEING,
    "dinov2_with_registers": SEEING,
    "clip": BOTH,
    "siglip": BOTH,
    "swin": {
        "image_size": 32,
        "patch_size": 2,
        "embed_dim": 8,
        "depths": [1, 1],
        "num_heads": [1, 1],
        "window_size": 4,
    },
    "convnext": {"hidden_sizes": [4, 8], "depths": [1, 1], "num_stages": 2},
}
GRIDS = {"swin": (8, 8)}
"""Of 32 pixels where patches are joined; else (4, 4)."""


@pytest.fixture
def stored(tmp_path):
    """Writes a model with random weights, as the library does, and returns it with its folder."""

    def store(kind, options, cls=transformers.AutoModel):
        torch.manual_seed(1)
        config = transformers.AutoConfig.for_model(kind, **options)
        model = cls.from_config(config) if cls is transformers.AutoModel else cls(config)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)  # so that biases and positions count
        model.save_pretrained(tmp_path / kind)
        return str(tmp_path / kind), model.eval()

    return store


def encoder(cls, modality, weights, **options):
    torch.manual_seed(0)
    made = cls(cls.Config(weights=weights, **options), modality)
    made.initialise()
    return made.eval()


def words(most=12):
    modality = Words(Words.Config(max_length=most))
    modality.vocabulary = 50
    return modality


def sentences():
    ids, mask = torch.randint(3, 50, (3, 7)), torch.arange(7) < torch.tensor([7, 4, 2])[:, None]
    ids[~mask], ids[torch.arange(3), mask.sum(1) - 1] = 0, 2
    return Padded(ids, mask)


@pytest.mark.parametrize("kind", READERS)
def test_texts_are_read_as_the_library_reads_them(stored, kind):
    weights, theirs = stored(kind, READERS[kind])
    batch = sentences()
    reader = {"clip": "text_model", "siglip": "text_model", "t5": "encoder"}.get(kind)
    with torch.no_grad():
        ours = encoder(Text, words(), weights)
        found = ours(batch)
        right = (getattr(theirs, reader) if reader else theirs)(batch.data, batch.mask.long())
    assert torch.allclose(found.tokens[batch.mask], right.last_hidden_state[batch.mask], atol=1e-5)
    assert torch.equal(found.mask, batch.mask)
    pooled = right.get("pooler_output")
    if kind == "distilbert":
        pooled = right.last_hidden_state[:, 0]
    if kind == "t5":
        pooled = torch.stack([row[real].mean(0) for row, real in zip(right.last_hidden_state, batch.mask, strict=True)])
    assert torch.allclose(found.pooled, pooled, atol=1e-5)
    assert found.pooled.shape == (3, ours.dim)


def test_an_encoder_that_was_stored_without_its_decoder_reads(stored):
    weights, theirs = stored("t5", READERS["t5"], transformers.T5EncoderModel)
    batch = sentences()
    with torch.no_grad():
        found, right = encoder(Text, words(), weights)(batch), theirs(batch.data, batch.mask.long())
    assert torch.allclose(found.tokens[batch.mask], right.last_hidden_state[batch.mask], atol=1e-5)


@pytest.mark.parametrize(("kind", "most"), [("bert", 14), ("roberta", 13), ("t5", None)])
def test_texts_are_as_long_as_there_are_positions(stored, kind, most):
    weights, _ = stored(kind, READERS[kind])
    assert Text.Config(weights=weights).suits().get("max_length") == most, "of RoBERTa's, the first stand for padding"


@pytest.mark.parametrize("kind", SEERS)
def test_pictures_are_seen_as_the_library_sees_them(stored, kind):
    weights, theirs = stored(kind, SEERS[kind])
    picture = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        ours = encoder(Image, Picture(Picture.Config(size=32)), weights)
        found, right = ours(picture), getattr(theirs, "vision_model", theirs)(pixel_values=picture)
        grey = ours(picture[:, :1]).pooled
        assert torch.equal(grey, ours(picture[:, :1].expand(-1, 3, -1, -1)).pooled)
    states = right.last_hidden_state
    states = states.flatten(2).transpose(1, 2) if states.ndim == 4 else states
    assert found.grid == GRIDS.get(kind, (8, 8) if kind == "convnext" and states.shape[1] == 64 else (4, 4))
    assert found.tokens.shape == (2, found.grid[0] * found.grid[1], ours.dim)
    assert torch.allclose(found.tokens, states[:, -found.tokens.shape[1] :], atol=1e-5)
    assert torch.allclose(found.pooled, right.pooler_output.flatten(1), atol=1e-5)


def waves(*lengths):
    data, mask = (
        0.1 * torch.randn(len(lengths), 1, max(lengths)),
        torch.arange(max(lengths)) < torch.tensor(lengths)[:, None],
    )
    return Padded(data * mask[:, None], mask)


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert", "wavlm"])
def test_waves_are_heard_as_the_library_hears_them(stored, kind):
    layered = {**HEARING, "feat_extract_norm": "layer", "do_stable_layer_norm": True}
    weights, theirs = stored(kind, layered)
    batch = waves(400, 250, 100)
    with torch.no_grad():
        found = encoder(Audio, Sound(Sound.Config(view="waveform")), weights)(batch)
        right = theirs(batch.data[:, 0], attention_mask=batch.mask).last_hidden_state
    assert found.mask.sum(1).tolist() == [18, 11, 3]  # (400 - 10) // 5 + 1 = 79, (79 - 8) // 4 + 1 = 18
    assert torch.allclose(found.tokens[found.mask], right[found.mask], atol=1e-5)
    assert torch.allclose(found.pooled[2], right[2, :3].mean(0), atol=1e-5)


def test_a_sound_shorter_than_a_frame_counts_as_one(stored):
    layered = {**HEARING, "feat_extract_norm": "layer", "do_stable_layer_norm": True}
    ours = encoder(Audio, Sound(Sound.Config(view="waveform")), stored("wav2vec2", layered)[0])
    with torch.no_grad():
        alone, beside = ours(waves(7)), ours(waves(400, 7))
    assert alone.mask.sum(1).tolist() == [1]
    assert beside.mask.sum(1).tolist() == [18, 1]
    assert alone.pooled.isfinite().all()
    assert beside.pooled.isfinite().all()


def test_a_network_that_normalises_whole_waves_wants_them_of_one_length(stored):
    weights, theirs = stored("wav2vec2", HEARING)
    with pytest.raises(UserError, match="silence that pads"):
        encoder(Audio, Sound(Sound.Config(view="waveform")), weights)
    batch = waves(400, 400)
    with torch.no_grad():
        found = encoder(Audio, Sound(Sound.Config(view="waveform", seconds=0.025)), weights)(batch)
        right = theirs(batch.data[:, 0]).last_hidden_state
    assert torch.allclose(found.tokens, right, atol=1e-5)


def test_whisper_and_ast_hear_what_their_processors_make_of_a_wave(stored):
    batch = waves(12000, 8000, 500)
    raw = [row[real].numpy() for row, real in zip(batch.data[:, 0], batch.mask, strict=True)]
    told = {
        f"{part}_{size}": 16 if size == "ffn_dim" else 2
        for part in ("encoder", "decoder")
        for size in ("ffn_dim", "attention_heads")
    }
    signs = {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0, "vocab_size": 60}
    layers = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "num_mel_bins": 20, "max_source_positions": 50}
    weights, theirs = stored("whisper", {**told, **signs, **layers})
    mel = transformers.WhisperFeatureExtractor(feature_size=20, chunk_length=1)(
        raw, sampling_rate=16000, return_tensors="pt"
    )
    sound = Sound(Sound.Config(view="waveform"))
    with torch.no_grad():
        found, right = encoder(Audio, sound, weights)(batch), theirs.encoder(mel.input_features)
    assert torch.allclose(found.tokens, right.last_hidden_state, atol=1e-5)
    assert found.mask.sum(1).tolist() == [38, 25, 2]  # frames of 320 samples

    weights, theirs = stored("audio-spectrogram-transformer", {**SMALL, "num_mel_bins": 32, "max_length": 64})
    processor = transformers.ASTFeatureExtractor(num_mel_bins=32, max_length=64, mean=-3.0, std=2.0)
    processor.save_pretrained(weights)
    with torch.no_grad():
        found = encoder(Audio, sound, weights)(batch)
        right = theirs(processor(raw, sampling_rate=16000, return_tensors="pt").input_values)
    assert torch.allclose(found.tokens, right.last_hidden_state[:, 2:], atol=1e-5)
    assert torch.allclose(found.pooled, right.pooler_output, atol=1e-5)
    assert found.grid == (2, 5)  # (32 - 16) // 10 + 1 bands, (64 - 16) // 10 + 1 times
    module, tensors = flat(encoder(Audio, sound, weights), batch)
    shapes = tuple({0: Dim("batch", min=1)} for _ in tensors)
    graph = torch.export.export(module, tensors, dynamic_shapes=(shapes,), strict=False).module()
    two = tuple(each[:2] for each in tensors)
    assert torch.allclose(graph(*two)[0], module(*two)[0], atol=1e-5)


def test_pooling_is_chosen_or_follows_from_the_weights(stored):
    weights, theirs = stored("bert", READING, transformers.BertForMaskedLM)
    batch = sentences()
    with torch.no_grad():
        right = theirs.bert(batch.data, batch.mask.long()).last_hidden_state
        pooled = {
            how: encoder(Text, words(), weights, **({"pool": how} if how else {}))(batch).pooled
            for how in (None, "first", "last", "mean")
        }
    last = right[torch.arange(3), batch.mask.sum(1) - 1]
    mean = (right * batch.mask[..., None]).sum(1) / batch.mask.sum(1, keepdim=True)
    assert Text.Config(weights=weights).pool == "first", "masked language models have no pooling layers"
    for how, expected in {None: right[:, 0], "first": right[:, 0], "last": last, "mean": mean}.items():
        assert torch.allclose(pooled[how], expected, atol=1e-5), how
    with pytest.raises(UserError, match="they lack 2 tensors, such as pooler"):
        encoder(Text, words(), weights, pool="model")


def test_pictures_of_another_size_have_their_positions_interpolated(stored):
    weights, theirs = stored("vit", SEEING)
    picture = torch.randn(1, 3, 48, 40)
    with torch.no_grad():
        found = encoder(Image, Picture(Picture.Config(size=(48, 40))), weights)(picture)
        right = theirs(picture, interpolate_pos_encoding=True)
    assert found.grid == (6, 5)
    assert torch.allclose(found.tokens, right.last_hidden_state[:, 1:], atol=1e-5)


PROCESSORS = {
    "vit": (transformers.ViTImageProcessor(size={"height": 48, "width": 40}), 1e-6),
    "clip": (transformers.CLIPImageProcessor(size={"shortest_edge": 48}, crop_size={"height": 48, "width": 48}), 0.001),
    "dinov2": (
        transformers.BitImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 56, "width": 56}, resample=2),
        0.001,
    ),
    "convnext": (transformers.ConvNextImageProcessor(size={"shortest_edge": 48}), 0.001),
    "scaled": (transformers.ViTImageProcessor(size={"height": 32, "width": 32}, rescale_factor=1 / 127.5), 1e-6),
    "plain": (transformers.ViTImageProcessor(size={"height": 32, "width": 32}, do_normalize=False), 1e-6),
}
"""Kind -> processor, and the mean difference of pixels from 0 to 1 that is tolerated: theirs are of 8 bits."""


@pytest.mark.parametrize("kind", PROCESSORS)
@pytest.mark.parametrize("sides", [(96, 96), (120, 90), (100, 160)])
def test_pictures_are_brought_to_what_the_processor_makes_of_them(tmp_path, kind, sides):
    processor, tolerance = PROCESSORS[kind]
    processor.save_pretrained(tmp_path)
    spots = F.interpolate(torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(0)), sides, mode="bilinear")
    picture = Pillow.fromarray(spots[0].mul(255).byte().permute(1, 2, 0).numpy())
    told = json.loads((tmp_path / "preprocessor_config.json").read_text())
    modality = Picture(Picture.Config(**pictures(told)))
    right = processor(picture, return_tensors="pt").pixel_values[0]
    ours = modality.transform(modality.decode(picture), None)
    assert ours.shape == right.shape
    assert float(((ours - right) * modality.std).abs().mean()) < tolerance


def test_processors_of_the_first_versions_are_understood():
    assert pictures({"size": 24, "resample": 2}) == {"size": [24, 24], "stretch": True, "interpolation": "bilinear"}
    assert pictures({"size": 32, "crop_size": 28, "do_center_crop": True}) == {
        "size": [28, 28],
        "stretch": False,
        "central": 0.875,
        "crop_last": True,
    }


def test_waves_are_brought_to_what_the_processor_makes_of_them(tmp_path):
    processor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True, sampling_rate=8000)
    torch.manual_seed(0)
    wave = 0.1 * torch.randn(900) + 0.05
    right = processor(wave.numpy(), sampling_rate=8000, return_tensors="pt").input_values[0]
    for seconds in (None, 0.2):
        sound = Sound(Sound.Config(view="waveform", sample_rate=8000, normalise=True, seconds=seconds))
        ours = sound.transform(sound.decode((wave, 8000)), None)[0]
        assert torch.allclose(ours[:900], right, atol=1e-5)
        assert not ours[900:].any(), "silence after the end stays silence"


@pytest.fixture
def folders(stored, tmp_path):
    """Folders of a text, a picture and a sound model with what belongs to them: tokenizer, processors, a card."""
    text, _ = stored("bert", {**READING, "vocab_size": 300, "max_position_embeddings": 40})
    tokenizer = transformers.BertTokenizerFast().train_new_from_iterator(["a photo of the number two", "three"], 300)
    tokenizer.model_max_length = 24
    tokenizer.save_pretrained(text)
    image, _ = stored("vit", {**SEEING, "image_size": 8, "patch_size": 4})
    size = {"height": 8, "width": 8}
    transformers.ViTImageProcessor(size=size, image_mean=[0.1, 0.2, 0.3], image_std=[0.4] * 3).save_pretrained(image)
    audio, _ = stored("wav2vec2", {**HEARING, "feat_extract_norm": "layer", "do_stable_layer_norm": True})
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=8000, do_normalize=True).save_pretrained(audio)
    for place, licence in {text: "apache-2.0", image: "mit"}.items():
        (tmp_path / place / "README.md").write_text(f"---\ntags: [x]\nlicense: {licence}\n---\n# A model\n")
    return {"text": text, "image": image, "audio": audio}


def given(folders, *fields):
    return [
        f"model.encoders.{field}={json.dumps({'name': f'transformers_{field}', 'weights': folders[field]})}"
        for field in fields
    ]


def test_modalities_are_as_the_weights_know_them_unless_the_experiment_says_otherwise(folders):
    plain = "modalities={image: {name: image, std: [0.25]}, text: text, label: label}"
    loaded = load("clip", [plain, *given(folders, "text", "image")])
    image, text = loaded.experiment.modalities["image"], loaded.experiment.modalities["text"]
    assert (tuple(image.size), image.mean, image.std) == ((8, 8), [0.1, 0.2, 0.3], [0.25])
    assert (image.stretch, image.interpolation) == (True, "bilinear")
    assert (text.pretrained, text.max_length) == (folders["text"], 24)
    own = "modalities={image: image, text: {name: text, pretrained: null, max_length: 8}, label: label}"
    text = load("clip", [own, *given(folders, "text")]).experiment.modalities["text"]
    assert (text.pretrained, text.max_length) == (None, 8)
    sound = "modalities={audio: {name: audio, seconds: 1}, text: text, label: label}"
    own = {"audio": {"name": "transformers_audio", "weights": folders["audio"]}, "text": "text_transformer"}
    audio = load("clip", [sound, f"model.encoders={json.dumps(own)}"]).experiment.modalities["audio"]
    assert (audio.view, audio.sample_rate, audio.normalise, audio.seconds) == ("waveform", 8000, True, 1)


SHORT = ("training.steps=2", "dataset.limit={train: 64, test: 32}", "training.global_batch=16")


def test_what_was_trained_is_loaded_without_the_folders(folders, tmp_path):
    done = train("clip", tmp_path / "run", *given(folders, "text", "image"), "modalities.image.channels=3", *SHORT)
    assert done.outcome.status == "finished"
    task, fields = done.assembly.task.eval(), done.assembly.modalities
    batch = fields["text"].collate([fields["text"].transform("a photo of the number two", None)])
    with torch.no_grad():
        before = task.encoders["text"](batch).pooled, task.encoders["image"](torch.ones(1, 3, 8, 8)).pooled
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "apache-2.0 |" in card
    assert "mit |" in card
    assert "license:" not in card.split("---")[1], "weights of two licences have none in common"
    for folder in folders.values():
        shutil.rmtree(folder)
    model = load_model(tmp_path / "run" / "model")
    text = model.modalities["text"]
    again = text.collate([text.transform("a photo of the number two", None)])
    assert torch.equal(again.data, batch.data)
    with torch.no_grad():
        assert torch.equal(model.task.encoders["text"](again).pooled, before[0])
        assert torch.equal(model.task.encoders["image"](torch.ones(1, 3, 8, 8)).pooled, before[1])


def test_nothing_is_drawn_while_it_trains(stored):
    weights, _ = stored("wav2vec2", {**HEARING, "feat_extract_norm": "layer", "do_stable_layer_norm": True})
    hearing = encoder(Audio, Sound(Sound.Config(view="waveform")), weights).train()
    reading = encoder(Text, words(), stored("bert", READING)[0]).train()
    sound, text = waves(4000, 3000), sentences()
    assert torch.equal(hearing(sound).pooled, hearing(sound).pooled)
    assert torch.equal(reading(text).pooled, reading(text).pooled)


def test_nothing_of_a_configuration_is_run_or_fetched(stored):
    weights, _ = stored("bert", READING)
    told = json.loads((config := Path(weights, "config.json")).read_text())
    told |= {"auto_map": {"AutoModel": "x.Model"}, "attn_implementation": "somebody/kernel", "dtype": "float16"}
    config.write_text(json.dumps(told))
    ours = encoder(Text, words(), weights)
    assert not {"auto_map", "attn_implementation", "dtype"} & set(ours.config.architecture)
    assert next(ours.parameters()).dtype == torch.float32
    with pytest.raises(UserError, match="has quantization_config"):
        Text.Config(architecture={"model_type": "bert", "quantization_config": {"quant_method": "x"}})


def test_a_misspelt_key_of_an_architecture_is_refused(stored):
    with pytest.raises(UserError, match=r"no key 'hiden_size' at architecture\..*Did you mean 'hidden_size'"):
        Text.Config(architecture={"model_type": "bert", **READING, "hiden_size": 16})
    towers = {"model_type": "clip", "text_config": {"num_hiden_layers": 1}}
    with pytest.raises(UserError, match=r"at architecture\.text_config\..*Did you mean 'num_hidden_layers'"):
        Text.Config(architecture=towers)
    older = {"model_type": "modernbert", "vocab_size": 50, "pad_token_id": 0, "global_rope_theta": 7.0}
    rope = Text.Config(architecture=older).network().rope_parameters
    assert rope["full_attention"]["rope_theta"] == 7, "translated, and so heeded"
    assert Text.Config(architecture={"model_type": "t5", "num_hidden_layers": 3}).network().num_layers == 3
    for kind in ("bert", "t5", "clip"):
        saved = transformers.CONFIG_MAPPING[kind]().to_dict()
        Text.Config(architecture=saved)
    weights, _ = stored("bert", READING)
    told = json.loads((config := Path(weights, "config.json")).read_text())
    config.write_text(json.dumps({**told, "gradient_checkpointing": False}))
    assert Text.Config(weights=weights).architecture["hidden_size"] == 16, "of an older version"


def test_what_cannot_be_taken_is_said(stored, tmp_path):
    bert, model = stored("bert", READING)
    with pytest.raises(UserError, match="reads input_ids, which this encoder does not give"):
        Image.Config(weights=bert)
    with pytest.raises(UserError, match=r"There is no model at .*nowhere"):
        Text.Config(weights=str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"has no config\.json with a"):
        Text.Config(weights=str(tmp_path))
    with pytest.raises(UserError, match=r"no model_type 'brt' at architecture\..*Did you mean 'bert'"):
        Text.Config(architecture={"model_type": "brt"})
    with pytest.raises(UserError, match=r"no model_type '' at architecture\..*Correct it, or"):
        Text.Config(architecture={"hidden_size": 16})
    with pytest.raises(UserError, match="does not take the architecture 'bert'"):
        Text.Config(architecture={"model_type": "bert", "hidden_size": "many"})
    with pytest.raises(ValueError, match="weights, or an architecture"):
        Text.Config()
    with pytest.raises(UserError, match="Texts have up to 15 tokens; bert has 14 positions"):
        encoder(Text, words(15), bert)
    many = words()
    many.vocabulary = 51
    with pytest.raises(UserError, match="The text has 51 ids; bert knows 50"):
        encoder(Text, many, bert)
    other = {"model_type": "bert", **READING, "hidden_size": 32}
    with pytest.raises(UserError, match="cannot be taken for 'bert'"):
        encoder(Text, words(), bert, architecture=other)
    torch.save(model.state_dict(), tmp_path / "bert" / "pytorch_model.bin")
    (tmp_path / "bert" / "model.safetensors").unlink()
    with pytest.raises(UserError, match="holds no weights as safetensors"):
        Text.Config(weights=bert)
    architecture = {"model_type": "vit_mae", **SEEING}
    with pytest.raises(UserError, match="this encoder does not give"):
        Image.Config(architecture=architecture)
    with pytest.raises(UserError, match=r"does not take pictures of 4 x 4|Choose another"):
        Image(Image.Config(architecture={"model_type": "vit", **SEEING}), Picture(Picture.Config(size=4)))


@pytest.mark.parametrize(("how", "shares"), [("frozen", (0, 0)), ("lora", (0.05, 0.6))])
def test_it_is_fine_tuned_as_encoders_of_other_libraries_are(how, shares, stored):
    weights, _ = stored("bert", READING)
    made = encoder(Text, words(), weights, fine_tune=how)
    batch = Padded(torch.tensor([[3, 4, 5, 2]]), torch.ones(1, 4, dtype=torch.bool))
    before = made(batch).pooled
    made.adapt()
    assert torch.equal(made(batch).pooled, before)
    count = {name: each.numel() for name, each in made.named_parameters()}
    share = sum(each for name, each in count.items() if name not in made.given()) / sum(count.values())
    assert shares[0] <= share <= shares[1]
    made.merge()
    assert torch.equal(made(batch).pooled, before)
