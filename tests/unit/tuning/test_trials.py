"""What an interrupted search left is read again."""

import pytest

from sensorium.errors import UserError
from sensorium.experiment.search import Search
from sensorium.tuning.trials import Trials


@pytest.mark.parametrize("content", ["{", "[]", '{"seconds": 1, "trials": [1]}', '{"seconds": null, "trials": []}'])
def test_what_is_not_a_list_of_trials_is_named(tmp_path, content):
    (tmp_path / "trials.json").write_text(content)
    with pytest.raises(UserError, match=r"trials\.json is not what Sensorium wrote.*Remove it"):
        Trials.read("search", str(tmp_path), Search(), 0)
