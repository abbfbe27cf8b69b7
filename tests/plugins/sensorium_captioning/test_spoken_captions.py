"""Sounds put into words: spectrograms of any length, looks over time and frequency, a WAV by `predict` and the page."""

import base64
import io
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
import torch
from PIL import Image as Pillow
from torch.nn import functional as F

import sensorium_captioning
from sensorium import Batch, Features
from sensorium.assembly.build import assemble, open_split
from sensorium.assembly.loading import load
from sensorium.builtin.decoders.attention_lstm import AttentionLSTM
from sensorium.builtin.encoders.convnet import ConvNet
from sensorium.builtin.losses.cross_entropy import CrossEntropy
from sensorium.builtin.modalities.audio import Audio
from sensorium.builtin.modalities.heatmaps import LINE, TILE, Heat
from sensorium.builtin.modalities.text import Text
from sensorium.engine.evaluation import gather
from sensorium.engine.loader import Loader
from sensorium.inference.predictor import Predictor
from sensorium.ops import heat
from sensorium.serving.application import application
from sensorium.serving.served import Local
from sensorium.serving.served import load as served
from sensorium.serving.settings import Limits
from sensorium_captioning.attend import ShowAttendAndTell
from training import train
from visits import running

EXPERIMENTS = Path(sensorium_captioning.__file__).parent / "experiments"
SECONDS = (0.5, 0.3, 0.8)
RATE = 8000


@pytest.fixture(scope="module")
def task():
    """A task that hears sounds of any length."""
    torch.manual_seed(0)
    text = Text.Config(max_length=6).build()
    text.fit(["one two", "three"])
    sound = Audio.Config(sample_rate=RATE, n_mels=8, hop_length=200).build()
    config = ShowAttendAndTell.Config(
        image="audio",
        encoder=ConvNet.Config(widths=[4, 8], dim=6),
        decoder=AttentionLSTM.Config(dim=7, attention_dim=5),
        loss=CrossEntropy.Config(),
        doubly_stochastic=0.5,
    )
    return config.build({"audio": sound, "caption": text}).eval()


def batched(task, samples):
    fields = {}
    for name in ("audio", "caption"):
        modality = task.modalities[name]
        values = [modality.transform(modality.decode(sample[name]), None) for sample in samples]
        fields[name] = modality.collate(values)
    return Batch(samples, fields, seed=3)


@pytest.fixture(scope="module")
def samples():
    noise = np.random.default_rng(0)
    waves = [(0.1 * noise.standard_normal(round(each * RATE))).astype("float32") for each in SECONDS]
    told = ("one two", "three", "two three one")
    return [
        {"id": str(place), "audio": (wave, RATE), "caption": caption}
        for place, (wave, caption) in enumerate(zip(waves, told, strict=True))
    ]


@torch.no_grad()
def test_longer_neighbours_change_neither_losses_nor_looks(task, samples):
    """Padding is no place: it is not asked for looks, and peaks are shares of each sound's own length."""
    batch = batched(task, samples)
    together, rows, answers = task(batch), task.rows({}, batch), task.predict(batch)
    for row, sample in enumerate(samples):
        one = batched(task, [sample])
        alone, own = task(one), task.rows({}, one)
        for name, values in together.items():
            assert values[row].item() == pytest.approx(alone[name].item(), abs=1e-5), name
        assert rows["generated"][row] == own["generated"][0]
        frames = 1 + round(SECONDS[row] * RATE) // 200
        assert rows["looks"][row].shape[1:] == (4, -(-frames // 2))
        assert (rows["looks"][row].int() - own["looks"][0].int()).abs().max() <= 1
        np.testing.assert_allclose([each[1:] for each in rows["peaks"][row]], [each[1:] for each in own["peaks"][0]])
        shown = [drawn(task, answer, number) for answer, number in ((answers, row), (task.predict(one), 0))]
        assert shown[0].shape == shown[1].shape
        assert np.abs(shown[0].astype(int) - shown[1]).mean() < 8, "but for the edge"


def drawn(task, answer, row):
    """Returns the pixels of one answer."""
    found = answer["attention"]
    picture = type(found.picture)(found.picture.data[row], found.picture.mask[row])
    png = task.outputs["attention"].encode(Heat(found.maps[row], found.words[row], picture))
    return np.array(Pillow.open(io.BytesIO(png)))


def test_low_frequencies_lie_below_and_the_beginning_left(task, samples):
    """One word looks at the lowest row and the first column alone, of a spectrogram twice as wide as it is high."""
    maps = torch.zeros(1, 4, 8)
    maps[0, 0, 0] = 0.4
    sound = torch.zeros(1, 8, 16)
    word = task.text.transform("one", None)[1:2]
    png = task.outputs["attention"].encode(Heat(maps, word, sound))
    pixels = np.array(Pillow.open(io.BytesIO(png)).convert("RGB")).astype(float)
    assert pixels.shape == (TILE + LINE + heat.HEIGHT, 2 * 2 * TILE, 3)
    look = pixels[:TILE, 2 * TILE :]
    hottest = np.abs(look - 0.8 * 255 * np.array(heat.SCALE[4])).sum(2)
    down, across = np.unravel_index(hottest.argmin(), hottest.shape)
    assert down >= TILE * 3 // 4
    assert across < 2 * TILE // 8


WORDS = ["one", "two", "three", "four"]


def said(text, random, count):
    """Returns features of 12 times, a one where a word is said, and the sentences of three words in their order."""
    tokens, sentences = torch.zeros(count, 12, len(WORDS)), []
    for of_sample in tokens:
        places = torch.randperm(12, generator=random)[:3].sort().values
        words = torch.randint(len(WORDS), (3,), generator=random)
        of_sample[places, words] = 1.0
        sentences.append(text.transform(" ".join(WORDS[word] for word in words), None))
    return Features(tokens.mean(1), tokens, None, (1, 12)), text.collate(sentences)


def in_order(attention):
    """Returns the share of sentences that are right after a short training."""
    torch.manual_seed(0)
    text, random = Text.Config(max_length=6).build(), torch.Generator().manual_seed(1)
    text.fit(WORDS)
    decoder = AttentionLSTM.Config(dim=48, attention_dim=16, attention=attention).build(4, text)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-2)
    for _ in range(300):
        features, right = said(text, random, 64)
        logits = decoder.teacher_force(features, right).logits
        loss = F.cross_entropy(logits.flatten(0, 1), right.data[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    features, right = said(text, random, 256)
    return float((decoder.generate(features).words[:, :4] == right.data[:, 1:5]).all(1).double().mean())


@pytest.mark.learn
def test_looks_put_words_into_their_order():
    """All places seen alike tell which words there are, and hardly when."""
    looking = in_order("soft")
    assert looking >= 0.75
    assert in_order("uniform") <= looking - 0.3


def test_a_report_shows_when_each_word_listened(task, samples):
    batch = batched(task, samples)
    with torch.no_grad():
        rows = {**task.rows({}, batch), "id": batch.ids}
    plots = task.plots(rows, samples)
    assert set(plots) == {"captions.png", "listened.png"}
    assert all(png.startswith(b"\x89PNG") for png in plots.values())


def test_clotho_is_read_as_its_experiment_says(tmp_path):
    names = [f"caption_{number}" for number in range(1, 6)]
    for split in ("development", "validation", "evaluation"):
        (tmp_path / split).mkdir()
        soundfile.write(tmp_path / split / "a.wav", 0.1 * np.sin(np.arange(16000)), 8000)
        table = f"file_name,{','.join(names)}\na.wav,Rain falls,Rain,It rains,Water,Drops\n"
        (tmp_path / f"clotho_captions_{split}.csv").write_text(table)
    small = ["model.encoder.widths=[4, 4, 4, 4, 4, 4]", "model.encoder.dim=8", "model.decoder.dim=8"]
    options = [f"dataset.root={tmp_path}", "modalities.audio.seconds=2", "training.global_batch=2", *small]
    assembly = assemble(load(str(EXPERIMENTS / "clotho.yaml"), options))
    task, split = assembly.task.eval(), assembly.splits["train"]
    assert len(split) == 5
    batch = task.batched([split[0], split[4]])
    with torch.no_grad():
        assert all(term.isfinite().all() for term in task(batch).values())
        assert task.look(batch).grid == (2, 7)
    assert task.rows({}, batch)["references"][1] == ["Rain falls", "Rain", "It rains", "Water", "Drops"]


# ---- put to use --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    options = ("training.steps=10", "dataset.train=320", "dataset.held_out=24", "tracking.system=false")
    return train(str(EXPERIMENTS / "spoken_digits.yaml"), tmp_path_factory.mktemp("spoken") / "run", *options)


@pytest.mark.learn
@torch.no_grad()
def test_a_wav_is_answered_as_it_was_evaluated(trained):
    model = trained.outcome.model
    predictor = Predictor.load(model)
    task, modalities = predictor.model.task, predictor.model.modalities
    split = open_split(predictor.model.loaded, modalities, "test")
    with Loader(split, modalities, 0) as loader:
        rows = gather(task, loader, torch.device("cpu"), 16)
    answers = predictor([{"audio": wav(split[place])} for place in range(4)])
    assert [each["caption"] for each in answers] == list(rows["generated"][:4])
    assert {"exact", "word_errors", "pointing", "cider_d"} <= set(trained.outcome.metrics)
    assert all(each["attention"].startswith(b"\x89PNG") for each in answers)


@pytest.mark.learn
def test_a_wav_is_asked_over_http_and_on_the_page(trained, browser, artefacts, tmp_path):
    predictor = Predictor.load(trained.outcome.model)
    sound = wav(open_split(predictor.model.loaded, predictor.model.modalities, "test")[0])
    (tmp_path / "digits.wav").write_bytes(sound)
    (right,) = predictor([{"audio": sound}])
    local = Local(served(trained.outcome.model, "spoken", Limits(), 2))
    with running(application({"spoken": local})) as url:
        asked = {"audio": base64.b64encode(sound).decode()}
        answer = httpx.post(f"{url}/models/spoken/predict", json=asked, timeout=120).json()
        assert answer == {**right, "attention": base64.b64encode(right["attention"]).decode()}
        page = browser.new_page()
        page.goto(f"{url}/models/spoken/page")
        page.locator("[data-input='audio'] input[type=file]").set_input_files(tmp_path / "digits.wav")
        page.get_by_role("button", name="Ask", exact=True).click()
        page.locator("[data-output='attention'] img").wait_for(timeout=60_000)
        assert page.locator("[data-output='caption'] p").text_content() == right["caption"]
        assert page.locator("[data-input='audio'] canvas.wave").is_visible(), "the wave that was sent"
        shown = page.locator("[data-output='attention'] img").get_attribute("src").partition("base64,")[2]
        assert base64.b64decode(shown) == right["attention"]
        page.screenshot(path=artefacts / "page-spoken.png", full_page=True)
        page.close()


def wav(sample):
    """Returns the sound of a sample as a file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, *sample["audio"], format="WAV", subtype="FLOAT")
    return buffer.getvalue()
