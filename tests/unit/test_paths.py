"""`~` is the home folder in every path that a user gives, and never a folder of that name. A new path is a line."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from sensorium import UserError
from sensorium.assembly.build import load_model
from sensorium.assembly.loading import load
from sensorium.assembly.trained import _model
from sensorium.builtin.datasets.coco import CocoCaptions
from sensorium.builtin.datasets.easy_vqa import EasyVQA
from sensorium.builtin.datasets.esc50 import ESC50
from sensorium.builtin.datasets.flickr import Flickr
from sensorium.builtin.datasets.fsdd import FSDD
from sensorium.builtin.datasets.karpathy import CocoKarpathy
from sensorium.builtin.datasets.manifest import Manifest
from sensorium.builtin.datasets.mnist import MNIST
from sensorium.builtin.datasets.parquet import Parquet
from sensorium.builtin.datasets.sound_captions import AudioCaps, Clotho
from sensorium.builtin.datasets.vqa_v2 import VQAv2
from sensorium.builtin.datasets.webdataset import WebDataset
from sensorium.builtin.modalities.source import opened
from sensorium.cli.predict import _medium
from sensorium.cli.serve import _settings
from sensorium.inference.bulk import Folder, Plan, _matching
from sensorium.inference.index import Index
from sensorium.paths import expanded
from sensorium.runtime import description, laptop, working_dir
from sensorium.scaffold.new import write
from sensorium.tracking import models, uri
from sensorium.training import runs
from sensorium_image2speech.layouts import Flickr8kAudio, LJSpeech, SpokenCOCO
from sensorium_imagebind.layouts import LLVIP, SUNRGBD
from sensorium_lips.layouts import GridFaces, LRSFaces
from sensorium_localization.layouts import SoundNetFlickr, VGGSoundSource
from sensorium_recipes.recipe1m import Recipe1M
from sensorium_recipes.recipe_lines import RecipeLines
from sensorium_separation.grid import GridMixtures
from sensorium_sound2scene.layouts import VEGAS, VGGSound
from sensorium_soundnet.flickr import FlickrSounds
from sensorium_speech2face.layouts import AVSpeech, TalkingFaces, VoxCeleb
from sensorium_tagging.coco import CocoCategories
from sensorium_text2image.photographs import DescribedPhotographs
from sensorium_word2vec.corpora import PlainText, Wikipedia
from sensorium_word2vec.tests_of_words import Analogies, WordPairs
from sensorium_worlds.speech import Recorded


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """The home folder; what is done begins in another one, which stays empty."""
    for name in ("home", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    yield tmp_path / "home"
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("~", "{}"),
        ("~/x #2", "{}/x #2"),
        ("file:~/x", "file://{}/x"),
        ("file:///~/x", "file://{}/x"),
        ("file://~/x", "file://{}/x"),
        ("local://~/x", "file://{}/x"),
        ("sqlite:///~/x.db?timeout=3", "sqlite:///{}/x.db?timeout=3"),
        ("sqlite:///x/~", "sqlite:///x/~"),
        ("x/~/y", "x/~/y"),
        ("~nobody-of-this-name/x", "~nobody-of-this-name/x"),
        ("s3://~/x", "s3://~/x"),
        ("~root/x", "/root/x"),
        ("", ""),
    ],
)
def test_what_is_expanded(given, path, home):
    assert expanded(given) == path.format(home)
    assert expanded(Path("~/x")) == f"{home}/x"


def test_a_user_without_a_home_is_told(monkeypatch):
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(UserError, match="no home folder"):
        expanded("~/x")


READ = {
    "experiment": lambda: load("~/x.yaml"),
    "model": lambda: load_model("~/x"),
    "model's URI": lambda: load_model(models.fetch("file:~/x")),
    "weights": lambda: _model("~/x"),
    "run": lambda: runs.reopen("~/x", "runs"),
    "run's storage": lambda: runs.reopen("x", "~"),
    "index": lambda: Index("~/x"),
    "cluster": lambda: description.read(Path("~/x.yaml")),
    "serve --file": lambda: _settings([], Path("~/x.yaml"), "127.0.0.1", 1, "1", 0.0, []),
    "medium": lambda: opened("~/x.png").__enter__(),
    "manifest": lambda: Manifest.Config(train="~/x.csv", fields={"a": "text"}).build().open("train"),
    "manifest's URI": lambda: Manifest.Config(train="file:~/x.csv", fields={"a": "text"}).build().open("train"),
    "tables": lambda: Parquet.Config(train="~/x.parquet", fields={"a": "text"}).build().open("train"),
    "shards": lambda: WebDataset.Config(train="~/x.tar").build().open("train"),
    "mnist": lambda: MNIST.Config(root="~/x").build().open("train"),
    "esc50": lambda: ESC50.Config(root="~/x").build().open("train"),
    "fsdd": lambda: FSDD.Config(root="~/x").build().open("train"),
    "coco": lambda: CocoCaptions.Config(root="~/x").build(),
    "flickr": lambda: Flickr.Config(root="~/x").build(),
    "karpathy": lambda: CocoKarpathy.Config(root="~/x").build(),
    "clotho": lambda: Clotho.Config(root="~/x").build(),
    "audiocaps": lambda: AudioCaps.Config(root="~/x").build(),
    "easy_vqa": lambda: EasyVQA.Config(root="~/x").build(),
    "vqa_v2": lambda: VQAv2.Config(root="~/x").build(),
    "grid": lambda: GridMixtures.Config(root="~/x").build().open("train"),
    "photographs": lambda: DescribedPhotographs.Config(root="~/x").build().open("train"),
    "flickr_sounds": lambda: FlickrSounds.Config(root="~/x").build().open("train"),
    "flickr8k_audio": lambda: Flickr8kAudio.Config(root="x", images="x", lists="~/x").build().open("train"),
    "spoken_coco": lambda: SpokenCOCO.Config(root="~/x", images="x").build().open("train"),
    "ljspeech": lambda: LJSpeech.Config(root="~/x").build().open("train"),
    "sun_rgbd": lambda: SUNRGBD.Config(root="~/x").build().open("train"),
    "llvip": lambda: LLVIP.Config(root="~/x").build().open("train"),
    "soundnet_flickr": lambda: SoundNetFlickr.Config(root="~/x").build().open("test"),
    "vgg_ss": lambda: VGGSoundSource.Config(root="~/x").build().open("test"),
    "grid_faces": lambda: GridFaces.Config(root="~/x").build().open("train"),
    "lrs_faces": lambda: LRSFaces.Config(root="~/x").build().open("train"),
    "avspeech": lambda: AVSpeech.Config(root="~/x").build().open("train"),
    "voxceleb": lambda: VoxCeleb.Config(root="~/x").build().open("train"),
    "talking_faces": lambda: TalkingFaces.Config(root="~/x").build().open("train"),
    "vggsound": lambda: VGGSound.Config(root="~/x").build().open("train"),
    "vegas": lambda: VEGAS.Config(root="~/x").build().open("train"),
    "recipe1m": lambda: Recipe1M.Config(root="~/x").build().open("train"),
    "recipe_lines": lambda: RecipeLines.Config(root="~/x").build().open("train"),
    "coco_categories": lambda: CocoCategories.Config(root="~/x").build().open("train"),
    "plain_text": lambda: PlainText.Config(root="~/x.txt").build().open("train"),
    "wikipedia": lambda: Wikipedia.Config(root="~/x.bz2").build().open("train"),
    "analogies": lambda: Analogies.Config(file="~/x.txt").build().open("test"),
    "word_pairs": lambda: WordPairs.Config(file="~/x.txt").build().open("test"),
    "recordings": lambda: Recorded("~/x"),
    "pattern": lambda: _matching("image=~/x*.png", SimpleNamespace(inputs={"image": None}), {}),
}
"""What reads a path -> how; nothing lies there."""


@pytest.mark.parametrize("name", READ)
def test_what_is_read_is_looked_for_in_the_home_folder(name, home, monkeypatch):
    asked = []
    for real in (Path.exists, Path.is_file, Path.is_dir, Path.open):

        def watched(path, *args, real=real, **kwargs):
            asked.append(str(path))
            return real(path, *args, **kwargs)

        monkeypatch.setattr(Path, real.__name__, watched)
    with pytest.raises(UserError) as caught:
        READ[name]()
    assert f"{home}" in str(caught.value) or any(path.startswith(str(home)) for path in asked)
    assert not any(path.startswith(("~", f"{Path.cwd()}/~")) for path in asked)


WRITTEN = {
    "run.storage": lambda: runs.write(runs.place("~/x", "run"), "run.json", "{}"),
    "predict --output": lambda: Folder("~/x", Plan("model", 0)).write(0, b""),
    "an answer": lambda: _medium("x", b"\x89PNG", "~"),
    "plugin new": lambda: write("mine", "encoder", Path("~")),
}
"""What writes a path -> how."""


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written_lies_in_the_home_folder(name, home):
    WRITTEN[name]()
    assert list(home.iterdir())


def test_stores_of_records_are_in_the_home_folder(home, monkeypatch):
    assert uri.check_uri("sqlite:///~/x.db") == f"sqlite:///{home}/x.db"
    with pytest.raises(UserError, match="cannot record at 'file:~/x'"):
        uri.check_uri("file:~/x")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///~/x.db")
    assert uri.default_uri() == f"sqlite:///{home}/x.db"
    overrides, variables = working_dir.places("~/runs", "sqlite:///~/y.db", Path("/sent/from"), True)
    assert overrides == [f"run.storage={home}/runs", f"tracking.uri=sqlite:///{home}/y.db"]
    assert variables == {"MLFLOW_TRACKING_URI": f"sqlite:///{home}/x.db"}


def test_what_is_resumed_is_found_by_its_storage(home):
    (home / "a #1" / "x").mkdir(parents=True)
    (home / "a #1" / "x" / "run.json").write_text(json.dumps({"name": "x", "experiment": {}}))
    storage = runs.named(["training.epochs=2", "run.storage=~/a #1"])
    assert runs.reopen("x", storage)["folder"] == str(home / "a #1" / "x")
    assert runs.named(["run.storage='~/a #1'"]) == storage
    assert runs.named([]) == "runs"


def test_states_of_clusters_are_in_the_home_folder(home, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "~/state")
    assert laptop.clusters() == []
    assert laptop._states() == home / "state" / "sensorium" / "clusters"
