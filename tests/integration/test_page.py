"""The page in a headless Chromium: something real is uploaded, and the page shows what `predict` answers."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote

import httpx
import numpy as np
import pytest
import soundfile
import torch
from PIL import Image as Pillow
from playwright.sync_api import Browser, Page, expect
from sklearn.datasets import load_digits

from sensorium.builtin.modalities.boxes import Boxes
from sensorium.inference.predictor import Predictor
from sensorium.serving.application import application
from sensorium.serving.description import Description, Input, Output
from sensorium.serving.served import Local, load
from sensorium.serving.service import Answer
from sensorium.serving.settings import Limits, digest
from training import train
from visits import running

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "serving"))
import echo

pytestmark = pytest.mark.timeout(400)

KEY = "a key of the tests"
LIMITS = Limits(body=200_000, max_pixels=10_000, max_seconds=2)


@pytest.fixture(scope="module")
def digit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of a three that somebody wrote."""
    digits = load_digits()
    number = int((digits.target == 3).nonzero()[0][-1])
    path = tmp_path_factory.mktemp("digit") / "three.png"
    Pillow.fromarray((digits.images[number] * 15.9).astype("uint8")).save(path)
    return path


class Visit:
    """A page that is open, with every address that it asked and everything that it complained of."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.server = "/".join(url.split("/")[:3])
        self.context = browser.new_context(viewport={"width": 1200, "height": 900}, **options)
        self.page: Page = self.context.new_page()
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.set_default_timeout(20_000)
        self.page.goto(url)

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def input(self, name: str) -> Any:
        return self.page.locator(f"[data-input='{name}']")

    def output(self, name: str) -> Any:
        return self.page.locator(f"[data-output='{name}']")

    def choose(self, name: str, path: Path) -> None:
        self.input(name).locator("input[type=file]").set_input_files(path)

    def ask(self) -> None:
        self.page.get_by_role("button", name="Ask", exact=True).click()

    def check(self, refused: int = 0) -> None:
        """Nothing was asked of anybody else, nor tried, and nothing failed but what the server refused."""
        outside = [url for url in self.asked if not url.startswith((self.server, "data:", "blob:"))]
        assert outside == []
        assert [line for line in self.complaints if "Failed to load resource" not in line] == []
        assert len(self.complaints) == refused


def test_a_picture_is_uploaded_and_the_page_shows_what_predict_answers(
    browser: Browser, digit: Path, artefacts: Path, tmp_path: Path
) -> None:
    options = ["training.epochs=1", "dataset.limit={train: 256, test: 64}", "evaluation.contributions=false"]
    model = train("clip", tmp_path / "clip", *options).outcome.model
    assert model is not None
    (right,) = Predictor.load(model)([{"image": str(digit)}])
    local = Local(load(model, "clip/1", Limits(), 1))
    person = {"http_credentials": {"username": "anybody", "password": KEY}, "color_scheme": "dark"}
    with running(application({"clip": local}, key=digest(KEY))) as url:
        assert httpx.get(f"{url}/").status_code == 401
        assert httpx.get(f"{url}/models/clip/page").status_code == 401
        assert httpx.get(f"{url}/models/clip/page", auth=("x", KEY[:-1])).status_code == 401
        with Visit(browser, url, **person) as visit:
            visit.choose("image", digit)
            visit.ask()
            said = visit.output("image_embedding").locator("pre")
            expect(said).to_be_visible(timeout=60_000)
            assert json.loads(said.inner_text()) == right["image_embedding"], "to the last digit"
            best, chance = next(iter(right["label"].items()))
            first = visit.output("label").locator(".bar").first
            expect(first).to_contain_text(best)
            expect(first.locator("[title]")).to_have_attribute("title", str(chance))
            expect(visit.output("text_embedding")).to_have_count(0)
            visit.page.screenshot(path=artefacts / "page.png", full_page=True)
            visit.check()
        metrics = httpx.get(f"{url}/metrics", auth=("x", KEY)).text
        assert 'sensorium_requests_total{model="clip",status="200"} 1.0' in metrics
    assert (artefacts / "page.png").stat().st_size > 10_000


def test_every_kind_of_input_and_output(browser: Browser, digit: Path, artefacts: Path, tmp_path: Path) -> None:
    question = {"picture": digit.read_bytes(), "sound": echo.sound(), "words": "two\nthree", "numbers": [0.1, 1e-30]}
    (right,) = echo.predictor()([question])
    sound = tmp_path / "sound.wav"
    sound.write_bytes(echo.sound())
    models = {"echo": echo.local(limits=LIMITS), "other": echo.local()}
    with running(application(models, LIMITS)) as url, Visit(browser, url) as visit:
        expect(visit.page.get_by_role("link", name="other")).to_be_visible()
        visit.page.screenshot(path=artefacts / "page-list.png")
        visit.page.get_by_role("link", name="echo").first.click()
        visit.choose("picture", digit)
        visit.choose("sound", sound)
        visit.input("words").locator("textarea").fill("two\nthree")
        visit.input("numbers").locator("textarea").fill("[0.1, 1e-30]")
        visit.ask()
        expect(visit.output("words").locator("p")).to_have_text(right["words"])
        assert json.loads(visit.output("numbers").locator("pre").inner_text()) == right["numbers"]
        for tag, field in (("img", "picture"), ("audio", "sound")):
            shown = visit.output(field).locator(tag).get_attribute("src")
            assert base64.b64decode(str(shown).partition("base64,")[2]) == right[field]
        expect(visit.output("sound").locator("canvas")).to_be_visible()
        visit.page.screenshot(path=artefacts / "page-all.png", full_page=True)
        visit.page.set_viewport_size({"width": 390, "height": 844})
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390, "it fits a telephone"
        visit.page.screenshot(path=artefacts / "page-phone.png", full_page=True)
        visit.check()


class Shows:
    """A model that answers with one value of each kind, whatever it is asked."""

    NUMBER: ClassVar[dict[str, Any]] = {"type": "number"}
    ROW: ClassVar[dict[str, Any]] = {"type": "array", "items": NUMBER}
    OUTPUTS: ClassVar[dict[str, Output]] = {
        "map": Output("application/json", {"type": "array", "items": ROW}),
        "box": Output("application/json", Boxes(Boxes.Config()).json_schema()),
        "shares": Output("application/json", Boxes(Boxes.Config(follows="picture", shares=True)).json_schema()),
        "name": Output("application/json", {"oneOf": [{"type": "string"}, {"additionalProperties": NUMBER}]}),
        "chances": Output("application/json", {"oneOf": [{"type": "string"}, {"additionalProperties": NUMBER}]}),
        "number": Output("application/json", NUMBER),
        "mesh": Output("model/gltf", {"type": "string"}),
        'odd "name"': Output("text/plain", {"type": "string"}),
    }
    ANSWER: ClassVar[dict[str, Any]] = {
        "map": [[0.0, 1.0], [1.0, 0.25]],
        "box": [[2.0, 4.0, 6.0, 7.0]],
        "shares": [[0.25, 0.5, 0.75, 0.875]],
        "name": "cat",
        "chances": {"9": 0.6, "10": 0.4},
        "number": 0.1,
        "mesh": b"gltf",
        'odd "name"': "<img src=x onerror=alert(1)>",
    }

    async def describe(self) -> Description:
        picture = Input(("image/png",), {"type": "string"}, True, base64.b64encode(echo.png()).decode())
        answer = {"number": 0.1}
        return Description("Shows <b>.", "shows/1", {"picture": picture}, self.OUTPUTS, answer)

    async def ask(self, example: Any) -> Answer:
        assert example == {"picture": echo.png()}
        return Answer(self.ANSWER, "shows/1", 1)


def test_each_kind_of_answer_has_its_place(browser: Browser, artefacts: Path) -> None:
    with running(application({"shows": Shows()})) as url, Visit(browser, url) as visit:
        visit.page.get_by_role("button", name="Fill in an example").click()
        visit.ask()
        expect(visit.output("map").locator("canvas")).to_be_visible()
        corner = "(canvas) => [...canvas.getContext('2d').getImageData(0, 0, 8, 1).data].slice(0, 3)"
        over = visit.output("map").locator("canvas")
        assert over.evaluate("(canvas) => [canvas.width, canvas.height]") == [8, 8], "over the picture"
        dark = [round(0.45 * 100 + 0.55 * level) for level in (68, 1, 84)]
        assert over.evaluate(corner) == pytest.approx(dark, abs=2)
        expect(visit.output("map").locator(".scale span")).to_have_text(["0", "1"])
        for name in ("box", "shares"):
            drawn = visit.output(name).locator("canvas")
            side = drawn.evaluate("(canvas) => canvas.width") / 8  # pixels of the canvas for one of the picture
            look = "(canvas, at) => [...canvas.getContext('2d').getImageData(...at, 1, 1).data].slice(0, 3)"
            assert drawn.evaluate(look, [round(4 * side), round(4 * side)]) == [255] * 3, "the upper edge"
            assert drawn.evaluate(look, [round(2 * side), round(5 * side)]) == [255] * 3, "the left one"
            assert drawn.evaluate(look, [round(4 * side), round(5.5 * side)]) == [100] * 3, "the picture within"
            assert json.loads(visit.output(name).locator("pre").inner_text()) == Shows.ANSWER[name]
        expect(visit.output("name").locator("p")).to_have_text("cat")
        expect(visit.output("chances").locator(".bar")).to_have_text(["960.0 %", "1040.0 %"])
        expect(visit.output("number").locator("p")).to_have_text("0.1")
        assert visit.output("mesh").locator("a").get_attribute("href") == "data:model/gltf;base64,Z2x0Zg=="
        expect(visit.output('odd "name"').locator("p")).to_have_text("<img src=x onerror=alert(1)>")
        visit.page.screenshot(path=artefacts / "page-kinds.png", full_page=True)
        visit.check()


def test_a_film_that_is_made_is_played_with_its_sound(browser: Browser, artefacts: Path, tmp_path: Path) -> None:
    options = ["dataset.seconds=1", "dataset.train=16", "dataset.held_out=2", "training.steps=1"]
    trained = train("lips", tmp_path / "lips", *options, "evaluation.contributions=false")
    model = trained.outcome.model
    assert model is not None
    sample = trained.assembly.splits["test"][0]
    audio, target, landmarks = (tmp_path / name for name in ("digits.wav", "target.mp4", "landmarks.csv"))
    soundfile.write(audio, *sample["audio"])
    film, series = (trained.assembly.modalities[name] for name in ("target", "target_landmarks"))
    target.write_bytes(film.encode(film.transform(film.decode(sample["target"]), None)))
    landmarks.write_text(series.encode(torch.from_numpy(sample["target_landmarks"]).T))
    (right,) = Predictor.load(model)([{"audio": str(audio), "target": str(target), "target_landmarks": str(landmarks)}])
    local = Local(load(model, "lips/1", Limits(), 1))
    with running(application({"lips": local})) as url, Visit(browser, url) as visit:
        for name, path in (("audio", audio), ("target", target), ("target_landmarks", landmarks)):
            visit.choose(name, path)
        visit.ask()
        player = visit.output("video").locator("video")
        expect(player).to_be_visible(timeout=60_000)
        shown = player.get_attribute("src")
        assert base64.b64decode(str(shown).partition("base64,")[2]) == right["video"], "to the last bit"
        expect(visit.output("video").locator("canvas.wave")).to_be_visible()
        ended = "(film) => new Promise((done) => { film.onended = () => done(film.currentTime); film.play(); })"
        assert player.evaluate(ended) == pytest.approx(1, abs=0.1), "a second of it is played"
        assert player.evaluate("(film) => film.videoWidth") == 96
        assert player.evaluate("(film) => film.webkitAudioDecodedByteCount") > 0
        expect(visit.output("mouth").locator("canvas.curves")).to_be_visible()
        saved = visit.output("mouth").locator("a").get_attribute("href")
        assert unquote(str(saved).partition(",")[2]) == right["mouth"]
        visit.page.screenshot(path=artefacts / "page-film.png", full_page=True)
        visit.check()


def spoken() -> bytes:
    """Returns half a second of silence, then half a second of a tone."""
    buffer = io.BytesIO()
    tone = 0.5 * np.sin(np.arange(8000) / 3) * (np.arange(8000) >= 4000)
    soundfile.write(buffer, tone, 8000, "PCM_16", format="WAV")
    return buffer.getvalue()


class Speaks(Shows):
    """A model that answers with a sound."""

    OUTPUTS: ClassVar[dict[str, Output]] = {"speech": Output("audio/wav", {"type": "string"})}
    ANSWER: ClassVar[dict[str, Any]] = {"speech": spoken()}


def test_what_a_model_says_is_played_with_a_picture_of_its_wave(browser: Browser, artefacts: Path) -> None:
    bar = """(canvas, share) => {
        const left = 4 * Math.floor(share * 160) + 1;
        const pixels = canvas.getContext('2d').getImageData(left, 0, 1, 64).data;
        const drawn = Array.from({ length: 64 }, (_, row) => pixels[4 * row + 3] > 0);
        return [drawn.filter(Boolean).length, ...pixels.slice(4 * 32, 4 * 32 + 3)];
    }"""
    with running(application({"speaks": Speaks()})) as url, Visit(browser, url) as visit:
        visit.page.get_by_role("button", name="Fill in an example").click()
        visit.ask()
        wave, player = visit.output("speech").locator("canvas"), visit.output("speech").locator("audio")
        expect(wave).to_have_attribute("aria-label", re.compile(r"^1\.00 seconds of sound"))
        quiet, *ahead = wave.evaluate(bar, 0.25)
        loud, *_ = wave.evaluate(bar, 0.75)
        assert quiet <= 3, "nothing is heard in the first half"
        assert loud >= 50, "and something as loud as can be in the second"
        assert player.evaluate("(player) => player.paused"), "nobody is shouted at"
        box = wave.bounding_box()
        assert box is not None
        note = "(player) => player.addEventListener('seeking', () => { player.dataset.from = player.currentTime })"
        player.evaluate(note)
        wave.click(position={"x": 0.6 * box["width"], "y": 20})
        expect(player).to_have_attribute("data-from", re.compile(r"^0\.6"))
        visit.page.wait_for_function("() => document.querySelector('[data-output=speech] audio').ended")
        (_, *gone), (_, *past) = wave.evaluate(bar, 0.25), wave.evaluate(bar, 0.97)
        assert gone == past != ahead, "what was heard has another colour"
        saved = visit.output("speech").get_by_role("link", name="Save")
        assert saved.get_attribute("download") == "answer.wav"
        visit.page.screenshot(path=artefacts / "page-speech.png", full_page=True)
        visit.check()


def test_the_document_is_shown_and_no_other_host_is_asked(browser: Browser, tmp_path: Path, artefacts: Path) -> None:
    with running(application({"echo": echo.local()})) as url, Visit(browser, f"{url}/docs") as visit:
        expect(visit.page.get_by_role("article").first).to_contain_text("POST /models/echo/predict")
        expect(visit.page.get_by_role("article").first).to_contain_text("-F 'picture=@FILE'")
        visit.page.screenshot(path=artefacts / "docs.png", full_page=True)
        visit.check()


def test_what_predict_refuses_the_page_refuses_in_words(browser: Browser, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(echo.png(200))
    with running(application({"echo": echo.local(limits=LIMITS)}, LIMITS)) as url, Visit(browser, url) as visit:
        visit.ask()
        expect(visit.page.get_by_text("Missing: picture.")).to_be_visible()
        visit.choose("picture", large)
        visit.ask()
        expect(visit.page.get_by_text("200 x 200 pixels")).to_be_visible()
        visit.input("numbers").locator("textarea").fill("[0.1,")
        visit.ask()
        expect(visit.page.get_by_text("is not JSON")).to_be_visible()
        visit.check(refused=3)


def test_the_page_keeps_nothing_and_opens_no_file(digit: Path, tmp_path: Path) -> None:
    with running(application({"echo": echo.local(limits=LIMITS)}, LIMITS)) as url:
        for path in ("gradio_api/upload", "gradio_api/queue/join", f"file={digit}", "../../etc/passwd"):
            assert httpx.post(f"{url}/models/echo/page/{path}", json={"data": [{"path": str(digit)}]}).status_code in (
                404,
                405,
            )
        policy = httpx.get(f"{url}/models/echo/page").headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "http" not in policy
        answer = httpx.get(f"{url}/models/ecko/page")
        assert answer.status_code == 404
        assert "Did you mean 'echo'" in answer.json()["error"]["hint"]
