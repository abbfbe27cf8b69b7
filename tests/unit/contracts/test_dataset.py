"""What the contract does for every dataset."""

import pytest

from sensorium import Dataset, UserError


class Parts(Dataset):
    """Knows its splits once it is built, and looks at no name."""

    def __init__(self, config):
        super().__init__(config)
        self.splits = ("train", "few")

    def open(self, split):
        """Returns a part."""
        return [{"id": split}]


class More(Parts):
    """Opens what its parent opens."""


class Twice(Parts):
    """Opens twice what its parent opens."""

    def open(self, split):
        return super().open(split) * 2


@pytest.mark.parametrize("dataset", [Parts, More, Twice])
def test_a_split_that_is_not_there_reaches_no_dataset(dataset):
    with pytest.raises(UserError, match=rf"no split 'fwe' at {dataset.__name__}.*few, train.*mean 'few'"):
        dataset.Config().build().open("fwe")
    with pytest.raises(UserError, match="no split 'test'"):
        dataset.Config().build().open("test")
    assert dataset.Config().build().open("few")[0] == {"id": "few"}
    assert Parts.open.__doc__ == "Returns a part."
