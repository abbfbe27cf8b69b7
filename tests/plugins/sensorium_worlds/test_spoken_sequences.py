"""The world `spoken_sequences`: what is told is said at the time that is told, and splits share nothing."""

import numpy as np
import pytest

from sensorium import UserError
from sensorium_worlds.heard import SpokenWords, distance, listened
from sensorium_worlds.spoken_sequences import RATE, SpokenSequences, sequences

WORLD = {"train": 60, "held_out": 30}


def opened(split, **more):
    return SpokenSequences(SpokenSequences.Config(**{**WORLD, **more})).open(split)


def words(split, takes):
    """Returns the samples of each word, cut out by its span."""
    return [split.speech(take)[: round(0.7 * RATE)].tobytes() for of_digit in takes.values() for take in of_digit]


def test_each_word_is_said_in_its_span_and_silence_is_elsewhere():
    split = opened("train", noise=0.0)
    for place in range(len(split)):
        sample = split[place]
        digits, (clip, rate) = sample["caption"].split(), sample["audio"]
        assert (len(clip), rate) == (20_000, RATE)
        assert 2 <= len(digits) == len(sample["spans"]) <= 3
        assert sample["digits"] == sorted(set(digits))
        quiet, before = np.ones(len(clip), bool), 0.0
        for digit, (begin, end) in zip(digits, sample["spans"], strict=True):
            assert before <= begin < end <= 1
            part = slice(round(begin * len(clip)), round(end * len(clip)))
            quiet[part], before = False, end
            takes = {key: found for key, found in split.takes.items() if key == (sample["speaker"], digit)}
            assert clip[part].tobytes() in words(split, takes)
        assert not clip[quiet].any()
    begins = [split[place]["spans"][0][0] for place in range(len(split))]
    assert min(begins) < 0.05
    assert max(begins) > 0.3, "words are to be found in time"


def test_splits_share_neither_takes_nor_sequences():
    heard, told = {}, {}
    for name in ("train", "validation", "test"):
        split = opened(name)
        heard[name] = set(words(split, split.takes))
        told[name] = {split[place]["caption"] for place in range(len(split))}
        assert told[name] <= {" ".join(each) for count in (2, 3) for each in sequences(count, name, 0)}
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not heard[one] & heard[other]
        assert not told[one] & told[other]
    every = [each for name in told for each in sequences(3, name, 0)]
    assert len(every) == len(set(every)) == 1000
    assert {each[0] for each in sequences(2, "train", 0)} == {each[1] for each in sequences(2, "train", 0)}


def test_who_reads_sentences_alone_has_nothing_spoken():
    split = opened("test")
    part = split.narrow(["caption", "digits"])
    for place in range(4):
        whole, alone = split[place], part[place]
        assert {"audio", "spans"} == whole.keys() - alone.keys()
        assert all(whole[name] == alone[name] for name in alone)


def test_the_control_hears_noise_alone():
    loud, silent = opened("test")[0], opened("test", silent=True)[0]
    assert (loud["caption"], loud["spans"]) == (silent["caption"], silent["spans"])
    assert np.abs(silent["audio"][0]).max() < 0.02 < np.abs(loud["audio"][0]).max()


def test_what_does_not_fit_is_refused(tmp_path):
    for wrong in ({"least": 1}, {"most": 5}, {"seconds": 2.0}, {"pause": -1.0}):
        with pytest.raises(ValueError, match=r"at least|between"):
            SpokenSequences.Config(**wrong)
    (tmp_path / "recordings").mkdir()
    for digit in range(9):
        (tmp_path / f"recordings/{digit}_ann_0.wav").touch()
    with pytest.raises(UserError, match=r"Nobody says all ten digits in the split 'test'.*ann"):
        opened("test", recordings=str(tmp_path))


def test_sentences_and_looks_are_counted_by_hand():
    """Of seven words two are wrong: one is another, one is too many; three of five looks fall into their word."""
    rows = {
        "generated": ["one two", "three four six", "five five five"],
        "references": [["one two"], ["three four five"], ["five five"]],
        "sample.spans": [[[0.1, 0.3], [0.4, 0.6]], [[0.0, 0.2]], [[0.0, 0.1]]],
        "peaks": [
            [("one", 0.5, 0.3), ("two", 0.5, 0.35)],
            [("three", 0.9, 0.1), ("four", 0.5, 0.1)],
            [("five", 0.1, 0.0)],
        ],
    }
    found = SpokenWords(SpokenWords.Config())(rows)
    assert found == pytest.approx({"exact": 1 / 3, "word_errors": 2 / 7, "pointing": 3 / 5})
    assert listened(rows["peaks"][1], rows["sample.spans"][1]) == [True, False], "nothing is said there"
    assert [distance(*pair) for pair in (("ab", ""), ("", "abc"), ("kitten", "sitting"))] == [2, 3, 3]
    del rows["peaks"]
    assert set(SpokenWords(SpokenWords.Config())(rows)) == {"exact", "word_errors"}
    with pytest.raises(UserError, match="spoken_words"):
        SpokenWords(SpokenWords.Config())({})
