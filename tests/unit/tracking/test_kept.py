import uuid

import fsspec
import pytest

from sensorium.tracking import kept

POINT = ["train/a", 0.5, 1e9, 3]


@pytest.mark.parametrize("remote", [False, True])
def test_what_is_kept_up_to_a_step_is_found_until_it_is_dropped(remote, tmp_path):
    folder = f"memory://{uuid.uuid4()}/run" if remote else str(tmp_path / "run")
    assert kept.kept(folder, 9) == {}
    kept.keep(folder, 3, [POINT])
    kept.keep(folder, 12, [POINT, POINT])
    assert kept.kept(folder, 12) == {3: [POINT], 12: [POINT, POINT]}
    files, root = fsspec.core.url_to_fs(folder)
    files.pipe_file(f"{root}/points/00000012.json", b'[["train/')
    assert kept.kept(folder, 11) == {3: [POINT]}, "what may be torn is not read"
    kept.drop(folder, 3)
    kept.drop(folder, 3)
    assert kept.kept(folder, 11) == {}
