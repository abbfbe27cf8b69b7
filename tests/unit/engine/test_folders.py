"""Folders on storage: what is asked of a server, and how often."""

from pathlib import Path

import fsspec
import pytest

from sensorium.engine import folders


@pytest.fixture
def folder(tmp_path):
    """Three files."""
    for name in ("a.json", "b.json", "last.json"):
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.fixture
def asked(buckets, monkeypatch):
    """What was asked of the server: method and paths."""
    calls = []

    def listen(name):
        real = getattr(buckets, name)

        def method(self, path, *rest, **options):
            calls.append((name, path))
            return real(self, path, *rest, **options)

        monkeypatch.setattr(buckets, name, method)

    for name in ("ls", "exists", "isdir", "put", "get", "rm", "makedirs"):
        listen(name)
    return calls


def test_files_go_together_and_one_last(buckets, folder, asked):
    assert folders.send(folder, "s3://there/x", "last.json") == ["a.json", "b.json", "last.json"]
    first, second = asked
    assert [Path(path).name for path in first[1]] == ["a.json", "b.json"]
    assert [Path(path).name for path in second[1]] == ["last.json"]
    assert (first[0], second[0]) == ("put", "put")


def test_what_is_known_is_removed_without_listing_it(buckets, folder, asked):
    known = folders.send(folder, "s3://there/x", "last.json")
    asked.clear()
    folders.remove("s3://there/x", known)
    assert "ls" not in [name for name, _ in asked]
    assert folders.names("s3://there/x") == []


@pytest.mark.parametrize("uri", ["s3://there/x", "memory://folders/x", "local"])
def test_a_folder_comes_back(uri, buckets, folder, tmp_path):
    place = str(tmp_path.parent / "elsewhere" / tmp_path.name) if "://" not in uri else uri
    assert folders.names(place) == []
    folders.send(folder, place, "last.json")
    assert sorted(folders.names(place)) == ["a.json", "b.json", "last.json"]
    (tmp_path / "back").mkdir()
    folders.fetch(place, ["b.json"], tmp_path / "back")
    assert [path.read_text() for path in (tmp_path / "back").iterdir()] == ["b.json"]
    folders.remove(place)
    assert folders.names(place) == []


def test_what_another_process_wrote_is_seen(buckets):
    assert folders.names("s3://there/x") == []
    fsspec.filesystem("s3").pipe_file("there/x/new", b"1")
    assert folders.names("s3://there/x") == ["new"]
