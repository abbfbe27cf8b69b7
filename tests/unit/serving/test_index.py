"""Embeddings and search over HTTP: the digits of `predict`, what is found, and what is refused."""

import base64
import json

import faiss
import numpy as np
import pytest
from PIL import Image as Pillow
from starlette.testclient import TestClient

from sensorium.errors import UserError
from sensorium.inference import index as indexing
from sensorium.inference.bulk import plan
from sensorium.inference.index import Index, make
from sensorium.inference.predictor import Predictor
from sensorium.serving.application import application
from sensorium.serving.served import Local, load
from sensorium.serving.settings import Limits
from training import train


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two models that differ in their seed."""
    options = ["training.epochs=1", "dataset.limit={train: 256, test: 64}", "evaluation.contributions=false"]
    folders = [tmp_path_factory.mktemp("clip") for _ in range(2)]
    return [train("clip", folder, *options, f"run.seed={n}").outcome.model for n, folder in enumerate(folders)]


@pytest.fixture(scope="module")
def predictor(models):
    return Predictor.load(models[0])


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for number in range(9):
        Pillow.fromarray(random.integers(0, 255, (8, 8), dtype=np.uint8)).save(folder / f"{number}.png")
    (folder / "4.png").write_bytes(b"\x89PNG torn")
    return folder


@pytest.fixture(scope="module")
def made(predictor, models, pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("index") / "pictures"
    return folder, make(predictor, plan(models[0], predictor, f"{pictures}/*.png", []), [], folder)


@pytest.fixture(scope="module")
def client(models, made):
    local = Local(load(models[0], "clip/1", Limits(), 1))
    with TestClient(application({"clip": local}, indexes={"clip": Index(made[0])})) as client:
        yield client


def coded(path):
    return base64.b64encode(path.read_bytes()).decode()


def refused(answer, status, text):
    assert answer.status_code == status, answer.text
    assert text in " ".join(answer.json()["error"].values())


def test_embed_equals_predict_to_the_last_digit(client, pictures):
    question = {"image": coded(pictures / "1.png"), "text": "three"}
    predicted = client.post("/predict", json=question).json()
    embedded = client.post("/embed", json=question)
    assert embedded.json() == {name: predicted[name] for name in ("image_embedding", "text_embedding")}
    assert embedded.headers["x-model-version"] == "clip/1"
    files = {"image": ("1.png", (pictures / "1.png").read_bytes(), "image/png")}
    alone = client.post("/models/clip/embed", files=files).json()
    assert alone == {"image_embedding": predicted["image_embedding"]}


def test_a_picture_of_the_index_finds_itself_first(client, predictor, pictures):
    for number in (0, 3, 8):
        path = pictures / f"{number}.png"
        hits = client.post("/search?k=3", json={"image": coded(path)}).json()["hits"]
        assert len(hits) == 3
        assert hits[0]["id"] == hits[0]["fields"]["image"] == str(path)
        assert hits[0]["score"] == pytest.approx(1, abs=1e-5)
        assert hits[0]["score"] >= hits[1]["score"] >= hits[2]["score"]
    others = [n for n in range(9) if n != 4]
    rows = np.array([predictor([{"image": str(pictures / f"{n}.png")}])[0]["image_embedding"] for n in others])
    words = client.post("/embed", json={"text": "a three"}).json()["text_embedding"]
    hits = client.post("/models/clip/search", json={"text": "a three"}).json()["hits"]
    order = np.argsort(-(rows @ words))
    assert [hit["score"] for hit in hits] == pytest.approx((rows @ words)[order], abs=1e-5)
    assert hits[0]["id"] == str(pictures / f"{others[order[0]]}.png")


def test_what_cannot_be_read_is_left_out_and_told(made):
    folder, result = made
    assert (result.about.rows, result.about.inputs, len(result.errors)) == (8, ["image"], 1)
    assert "4.png" in result.errors[0]
    assert sorted(path.name for path in folder.iterdir()) == ["index.json", "rows.jsonl", "vectors.faiss"]


@pytest.mark.parametrize("count", ["0", "-1", "101", "1.5", "many", "", "9999999999999999999999"])
def test_k_is_bounded(client, pictures, count):
    question = {"image": coded(pictures / "1.png")}
    refused(client.post(f"/search?k={count}", json=question), 422, "from 1 to 100")
    assert len(client.post("/search?k=100", json=question).json()["hits"]) == 8


def test_what_cannot_be_searched_is_refused(client, models, made, pictures):
    both = {"image": coded(pictures / "1.png"), "text": "three"}
    refused(client.post("/search", json=both), 422, "2 embeddings")
    refused(client.post("/search", json={}), 422, "Missing")
    refused(client.post("/models/clap/search", json=both), 404, "Did you mean 'clip'")
    local = Local(load(models[0], "clip/1", Limits(), 1))
    with TestClient(application({"clip": local})) as bare:
        refused(bare.post("/search", json=both), 404, "has no index")
        assert "/embed" in (paths := bare.get("/openapi.json").json()["paths"])
        assert "/search" not in paths


def test_an_index_of_another_model_is_refused(models, made, pictures):
    index = Index(made[0])
    index.check("mine", models[0])
    with pytest.raises(UserError, match=r"made with .+, not with mine"):
        index.check("mine", models[1])
    other = Local(load(models[1], "clip/2", Limits(), 1))
    with TestClient(application({"clip": other}, indexes={"clip": index})) as client:
        question = {"image": coded(pictures / "1.png")}
        refused(client.post("/search", json=question), 409, "made with another model")
        assert client.post("/embed", json=question).status_code == 200


def test_models_without_embeddings(client):
    import echo

    with TestClient(application({"echo": echo.local()})) as bare:
        refused(
            bare.post("/embed", json={"picture": base64.b64encode(echo.png()).decode()}), 404, "gives no embeddings"
        )


def test_the_document_is_true(client, pictures):
    import jsonschema

    paths = client.get("/openapi.json").json()["paths"]
    assert {"/embed", "/models/clip/embed", "/search", "/models/clip/search"} <= set(paths)
    names = [
        operation["operationId"] for path in paths.values() for operation in path.values() if "operationId" in operation
    ]
    assert len(names) == len(set(names))
    (count,) = paths["/search"]["post"]["parameters"]
    assert (count["name"], count["in"], count["schema"]["maximum"]) == ("k", "query", 100)
    question = {"image": coded(pictures / "1.png")}
    for verb in ("embed", "search"):
        schema = paths[f"/{verb}"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.validate(client.post(f"/{verb}", json=question).json(), schema)


def test_a_dataset_is_indexed_with_what_shows_a_hit(predictor, models, tmp_path):
    work = plan(models[0], predictor, "digits:test", ["dataset.limit={test: 6}"])
    result = make(predictor, work, ["text"], tmp_path / "words")
    assert (result.about.rows, result.about.inputs) == (6, ["text"])
    index = Index(tmp_path / "words")
    hit = index.search(predictor([{"text": "the digit three"}])[0]["text_embedding"], 1)[0]
    assert isinstance(hit.fields["text"], str)
    assert hit.id.startswith("test/")
    assert make(predictor, work, [], tmp_path / "pictures").about.inputs == ["image"]
    with pytest.raises(UserError, match="Did you mean 'image'"):
        make(predictor, work, ["imge"], tmp_path / "no")
    with pytest.raises(UserError, match="is there already"):
        make(predictor, work, ["text"], tmp_path / "words")


def test_an_index_holds_several_inputs_side_by_side(predictor, models, tmp_path):
    work = plan(models[0], predictor, "digits:test", ["dataset.limit={test: 6}"])
    result = make(predictor, work, ["image", "text", "image"], tmp_path / "both")
    assert (result.about.rows, result.about.inputs) == (12, ["image", "text"])
    hits = Index(tmp_path / "both").search(predictor([{"text": "the digit three"}])[0]["text_embedding"], 12)
    assert sorted((hit.id, hit.input) for hit in hits) == [
        (f"test/{number}", name) for number in range(6) for name in ("image", "text")
    ]


def test_a_large_index_is_a_graph_that_finds_the_same(predictor, models, pictures, tmp_path, monkeypatch, made):
    monkeypatch.setattr(indexing, "EXACT", 4)
    make(predictor, plan(models[0], predictor, f"{pictures}/*.png", []), [], tmp_path / "graph")
    graph, exact = Index(tmp_path / "graph"), Index(made[0])
    assert isinstance(faiss.read_index(str(tmp_path / "graph" / "vectors.faiss")), faiss.IndexHNSWFlat)
    embedding = predictor([{"image": str(pictures / "7.png")}])[0]["image_embedding"]
    assert [hit.id for hit in graph.search(embedding, 8)] == [hit.id for hit in exact.search(embedding, 8)]


def test_a_broken_index_is_refused(made, tmp_path):
    import shutil

    with pytest.raises(UserError, match="holds no index"):
        Index(tmp_path)
    for name, content in (("vectors.faiss", b"IxFI torn"), ("index.json", b"[]"), ("rows.jsonl", b"{")):
        shutil.copytree(made[0], tmp_path / name)
        (tmp_path / name / name).write_bytes(content)
        with pytest.raises(UserError, match="holds no index"):
            Index(tmp_path / name)
    shutil.copytree(made[0], tmp_path / "short")
    lines = (tmp_path / "short" / "rows.jsonl").read_text().splitlines()
    (tmp_path / "short" / "rows.jsonl").write_text("\n".join(lines[1:]))
    with pytest.raises(UserError, match="no whole index"):
        Index(tmp_path / "short")


def test_the_command(sensorium, models, pictures, tmp_path):
    folder = tmp_path / "index"
    answer = sensorium("index", models[0], f"{pictures}/*.png", "--output", folder, "--json")
    assert answer.status == 0, answer.err
    assert (answer.json["rows"], answer.json["errors"], answer.json["dim"]) == (8, 1, Index(folder).about.dim)
    assert "4.png" in answer.err
    assert json.loads((folder / "index.json").read_text())["model"] == models[0]
    again = sensorium("index", models[0], f"{pictures}/*.png", "--output", folder)
    assert again.status == 2
    assert "is there already" in again.err


def test_serve_takes_an_index_of_the_model_alone(sensorium, models, made, tmp_path):
    file = tmp_path / "serve.yaml"

    def serve(model, index):
        return sensorium("serve", f"clip={model}", "--index", index, "--write", file)

    assert serve(models[0], f"clip={made[0]}").status == 0
    assert str(made[0]) in file.read_text()
    for model, index, said in (
        (models[1], f"clip={made[0]}", "was made with"),
        (models[0], f"clop={made[0]}", "Did you mean 'clip'"),
        (models[0], f"clip={tmp_path}/none", "holds no index"),
        (models[0], str(made[0]), "NAME=FOLDER"),
    ):
        answer = serve(model, index)
        assert answer.status == 2
        assert said in answer.err
