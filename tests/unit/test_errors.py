"""Errors: three sentences, an exit status, the nearest name; whole after a trip through a Ray worker."""

import pickle

import pytest

from sensorium import MediaError, SensoriumError, UserError, unknown


def test_the_text_is_the_sentences_that_there_are():
    assert str(UserError("Wrong.", "Right.", "Do.")) == "Wrong. Right. Do."
    assert str(UserError("Wrong.", hint="Do.")) == "Wrong. Do."
    assert str(SensoriumError("Wrong.")) == "Wrong."


def test_the_exit_status_tells_whose_mistake_it_is():
    assert SensoriumError("").exit_status == 1
    assert UserError("").exit_status == 2
    assert MediaError("").exit_status == 2


@pytest.mark.parametrize("kind", [SensoriumError, UserError, MediaError])
def test_an_error_comes_back_whole_from_another_process(kind):
    error = pickle.loads(pickle.dumps(kind("Wrong.", "Right.", "Do.")))
    assert type(error) is kind
    assert (error.wrong, error.expected, error.hint) == ("Wrong.", "Right.", "Do.")


def test_an_unknown_name_comes_with_all_there_are_and_the_nearest():
    error = unknown("encoder", "vitt", {"vit": 1, "rnn": 2}, "model.encoders.image")
    assert isinstance(error, UserError)
    assert error.wrong == "There is no encoder 'vitt' at model.encoders.image."
    assert error.expected == "Known: rnn, vit."
    assert error.hint == "Did you mean 'vit'?"


def test_nothing_is_suggested_where_nothing_is_near():
    assert unknown("encoder", "zebra", ["vit"]).hint == ""
    assert unknown("encoder", 3, []).expected == "Known: none."


def test_names_of_any_length_and_number_are_bounded():
    error = unknown("input", "p" * 5_000_000, [f"input{number}" for number in range(1000)])
    assert len(str(error)) < 5000
    assert error.wrong == f"There is no input {'p' * 200 + '…'!r}."
    assert error.expected.endswith(" and 800 more.")
