"""Where an experiment comes from."""

import pytest

from sensorium.assembly.loading import load
from sensorium.errors import UserError

RUN = "0123456789abcdef" * 2


@pytest.mark.parametrize("source", [RUN, f"run:/{RUN}", f"run://{RUN}"])
def test_the_id_of_a_run_is_told_how_it_is_named(source):
    with pytest.raises(UserError, match=f"There is no task '{source}'") as caught:
        load(source)
    assert caught.value.hint == f"Did you mean 'runs:/{RUN}'?"
