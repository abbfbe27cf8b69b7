"""The doctor says what works and what does not; one trouble hides no other."""

import pytest

from sensorium.cli import doctor


def test_all_is_well(trained, monkeypatch, sensorium):
    trained.at(monkeypatch)
    answer = sensorium("doctor", "--json")
    assert answer.status == 0, answer
    assert list(answer.json) == ["machine", "torch", "ray", "access", "mlflow", "storage", "plugins"]
    assert all(finding["ok"] for finding in answer.json.values())
    import torch

    assert f"torch {torch.__version__}, torchvision" in answer.json["torch"]["finding"]
    assert answer.json["mlflow"]["finding"].startswith(f"{trained.uri} answers, ")
    assert "clip" in answer.json["plugins"]["finding"]
    assert "GiB memory free" in answer.json["machine"]["finding"]


@pytest.fixture
def quick(monkeypatch):
    """Leaves out what takes seconds, but for what is looked at."""

    def leave(*looked_at):
        for name in {"_torch", "_mlflow", "_storage", "_plugins"} - set(looked_at):
            monkeypatch.setattr(doctor, name, lambda: "fine")
        monkeypatch.setattr(doctor, "_ray", lambda address: f"asked for {address}")
        monkeypatch.setattr(doctor, "_access", lambda address: "fine")

    return leave


def test_a_trouble_is_told_and_the_others_are_looked_at(quick, monkeypatch, sensorium):
    def broken():
        raise ConnectionError("no answer\nfrom there")

    quick()
    monkeypatch.setattr(doctor, "_mlflow", broken)
    answer = sensorium("doctor", "--address", "10.0.0.1:6379")
    assert answer.status == 1
    assert " ".join(line.split(maxsplit=1)[0] for line in answer.out.splitlines()) == "ok ok ok ok FAIL ok ok"
    assert "mlflow     ConnectionError: no answer from there" in answer.out
    assert "asked for 10.0.0.1:6379" in answer.out


def test_a_store_that_is_away_is_a_trouble(quick, monkeypatch):
    quick("_mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    findings = {finding.subject: finding for finding in doctor.examine()}
    assert [subject for subject, finding in findings.items() if not finding.ok] == ["mlflow"]
    assert "127.0.0.1" in findings["mlflow"].text


def test_a_folder_that_cannot_be_written_is_a_trouble(quick, monkeypatch, tmp_path):
    quick("_storage")
    monkeypatch.setattr(doctor.Path, "cwd", lambda: tmp_path / "gone")
    assert [finding.subject for finding in doctor.examine() if not finding.ok] == ["storage"]


def test_a_plugin_that_fails_is_a_trouble(tmp_path, monkeypatch):
    (tmp_path / "bitter.py").write_text("raise ImportError('libsour.so is missing')")
    info = tmp_path / "bitter-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bitter\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[sensorium]\nbitter = bitter\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match=r"bitter: ImportError: libsour\.so is missing"):
        doctor._plugins()
