"""The page in a headless Chromium: something real is uploaded, and the page shows what `predict` answers."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image as Pillow
from playwright.sync_api import Browser, Page, expect
from sklearn.datasets import load_digits

from sensorium.prediction import Predictor
from sensorium.serving.application import application
from sensorium.serving.served import Local, load
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
        self.url = url
        self.context = browser.new_context(viewport={"width": 1200, "height": 900}, **options)
        self.page: Page = self.context.new_page()
        self.asked: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)
        self.page.goto(url, timeout=90_000)
        self.page.set_default_timeout(20_000)

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def upload(self, label: str, path: Path) -> None:
        """Chooses a file, and waits until the server has it."""
        with self.page.expect_response(lambda response: "/upload" in response.url):
            self.block(label).locator("input[type=file]").first.set_input_files(path)

    def block(self, label: str) -> Any:
        """The part of the page with a label."""
        return self.page.locator(".block").filter(has=self.page.get_by_text(label, exact=True)).last

    def ask(self) -> None:
        self.page.get_by_role("button", name="Ask", exact=True).click()

    def check(self) -> None:
        """Nothing was asked of anybody else, nor tried."""
        outside = [url for url in self.asked if not url.startswith((self.url, "data:", "blob:"))]
        assert outside == []
        assert [line for line in self.complaints if "Content Security Policy" in line] == []


def test_a_picture_is_uploaded_and_the_page_shows_what_predict_answers(
    browser: Browser, digit: Path, artefacts: Path, tmp_path: Path
) -> None:
    options = ["training.epochs=1", "dataset.limit={train: 256, test: 64}", "evaluation.contributions=false"]
    model = train("clip", tmp_path / "clip", *options).outcome.model
    assert model is not None
    (right,) = Predictor.load(model)([{"image": str(digit)}])
    local = Local(load(model, "clip/1", Limits(), 1))
    person = {"http_credentials": {"username": "anybody", "password": KEY}}
    with running(application({"clip": local}, key=digest(KEY))) as url:
        assert httpx.get(f"{url}/").status_code == 401
        assert httpx.get(f"{url}/models/clip/page/").status_code == 401
        assert httpx.get(f"{url}/models/clip/page/config", auth=("x", KEY[:-1])).status_code == 401
        with Visit(browser, url, **person) as visit:
            visit.upload("image (optional)", digit)
            visit.ask()
            said = visit.page.get_by_label("image_embedding")
            expect(said).to_be_visible(timeout=60_000)
            assert json.loads(said.input_value()) == right["image_embedding"], "to the last digit"
            chances = visit.block("label")
            best, chance = next(iter(right["label"].items()))
            expect(chances.locator("h2")).to_have_text(best)
            expect(chances).to_contain_text(f"{round(100 * chance)}%")
            assert not visit.page.get_by_label("text_embedding").is_visible()
            visit.page.screenshot(path=artefacts / "page.png")
            visit.check()
        metrics = httpx.get(f"{url}/metrics", auth=("x", KEY)).text
        assert 'sensorium_requests_total{model="clip",status="200"} 1.0' in metrics
    assert (artefacts / "page.png").stat().st_size > 10_000


def test_every_kind_of_input_and_output(browser: Browser, digit: Path, artefacts: Path, tmp_path: Path) -> None:
    question = {"picture": digit.read_bytes(), "sound": echo.sound(), "words": "two three", "numbers": [0.1, 1e-30]}
    (right,) = echo.predictor()([question])
    sound = tmp_path / "sound.wav"
    sound.write_bytes(echo.sound())
    models = {"echo": echo.local(limits=LIMITS), "other": echo.local()}
    with running(application(models, LIMITS)) as url, Visit(browser, url) as visit:
        expect(visit.page.get_by_role("link", name="other")).to_be_visible()
        visit.page.get_by_role("link", name="echo").click()
        visit.upload("picture", digit)
        visit.upload("sound (optional)", sound)
        visit.page.get_by_label("words (optional)").fill("two three")
        visit.page.get_by_label("numbers (optional)").fill("[0.1, 1e-30]")
        visit.ask()
        expect(visit.page.get_by_label("words", exact=True)).to_have_value("two three")
        assert json.loads(visit.page.get_by_label("numbers", exact=True).input_value()) == right["numbers"]
        for tag, field in (("img", "picture"), ("audio", "sound")):
            shown = visit.page.locator(f"{tag}[src^='data:']").get_attribute("src")
            assert base64.b64decode(str(shown).partition("base64,")[2]) == right[field]
        visit.page.screenshot(path=artefacts / "page-all.png", full_page=True)
        visit.check()


def test_what_predict_refuses_the_page_refuses_in_words(browser: Browser, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(echo.png(200))
    with running(application({"echo": echo.local(limits=LIMITS)}, LIMITS)) as url, Visit(browser, url) as visit:
        visit.ask()
        expect(visit.page.get_by_text("Missing: picture.")).to_be_visible(timeout=60_000)
        visit.upload("picture", large)
        visit.ask()
        expect(visit.page.get_by_text("200 x 200 pixels")).to_be_visible(timeout=60_000)
        visit.page.get_by_label("numbers (optional)").fill("[0.1,")
        visit.ask()
        expect(visit.page.get_by_text("is no JSON")).to_be_visible(timeout=60_000)
        visit.check()
        # What no browser sends.
        page = f"{url}/models/echo/page"
        too_much = httpx.post(f"{page}/gradio_api/upload", files={"files": ("a.png", b"x" * 300_000)})
        assert too_much.status_code == 413
        unmeasured = httpx.post(f"{page}/gradio_api/queue/join", content=iter([b"{}"]))
        assert unmeasured.status_code == 411
        (event,) = httpx.get(f"{page}/config").json()["dependencies"]
        for path in ("/etc/passwd", f"{url}/healthz", "http://example.com/a.png"):
            for place in range(4):
                values: list[Any] = [None] * 4
                values[place] = {"path": path, "meta": {"_type": "gradio.FileData"}}
                body = {"data": values, "fn_index": event["id"], "session_hash": "me"}
                joined = httpx.post(f"{page}/gradio_api/queue/join", json=body)
                assert joined.status_code == 200
                heard = said(f"{page}/gradio_api/queue/data?session_hash=me")
                assert heard["success"] is False
                assert "root:" not in json.dumps(heard)


def said(url: str) -> dict[str, Any]:
    """Returns how an event ended."""
    with httpx.stream("GET", url, timeout=30) as stream:
        for line in stream.iter_lines():
            if line.startswith("data:") and (told := json.loads(line[5:]))["msg"] == "process_completed":
                return dict(told)
    raise AssertionError("the stream ended early")
