"""The world that is seen and heard: nothing crosses between splits, and what is seen follows what is heard."""

from collections import Counter

import numpy as np
import pytest

from sensorium.errors import MediaError, UserError
from sensorium.experiment.parsing import parse
from sensorium.plugins import Plugins
from sensorium_worlds.av import DigitsAV
from sensorium_worlds.formants import RATE, VOICES, say
from sensorium_worlds.mixtures import DigitsAVMixtures, mixed, trimmed
from sensorium_worlds.mouth import aperture, mouth, place, spread
from sensorium_worlds.scene import DIGITS
from sensorium_worlds.speech import Synthesised, Take, chosen


@pytest.fixture(scope="module")
def world():
    plugins = Plugins()

    def build(**options):
        config = {"source": "digits", "train": 60, "held_out": 30, **options}
        return parse(DigitsAV.Config, config, plugins).build()

    return build


@pytest.fixture(scope="module")
def mixtures():
    plugins = Plugins()

    def build(**options):
        return parse(DigitsAVMixtures.Config, {"train": 20, "held_out": 20, **options}, plugins).build()

    return build


@pytest.fixture(params=["synthesised", "recorded"])
def recordings(request, data):
    return str(data / "free-spoken-digit-dataset") if request.param == "recorded" else None


def peak(sound, low, high):
    """Returns the loudest frequency between two, in Hz."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    frequency = np.fft.rfftfreq(len(sound), 1 / RATE)
    inside = (frequency >= low) & (frequency < high)
    return frequency[inside][spectrum[inside].argmax()]


def test_a_voice_has_its_pitch():
    for voice in VOICES:
        sound = say("four", voice, np.random.default_rng(0))
        middle = sound[len(sound) // 2 - 400 : len(sound) // 2 + 400]
        spectrum = np.abs(np.fft.rfft(middle * np.hanning(800), 8192))
        lags = np.fft.irfft(spectrum**2)
        pitch = RATE / (30 + lags[30:100].argmax())
        assert pitch == pytest.approx(voice.pitch, rel=0.3)


def test_vowels_have_their_formants():
    """The second formant of `three` ends high, that of `four` low (Peterson and Barney 1952)."""
    voice = VOICES[3]
    three, four = (say(digit, voice, np.random.default_rng(1)) for digit in ("three", "four"))
    assert peak(three[-900:-250], 1200, 2800) > 1900
    assert peak(four[1200:2200], 600, 1200) < 1000
    six = say("six", voice, np.random.default_rng(2))
    assert peak(six[:600], 200, 4000) > 2800, "an s is noise at high frequencies"


def test_takes_differ_and_follow_from_the_seed():
    first, again, other = Synthesised(0), Synthesised(0), Synthesised(1)
    take, next_take = Take("five", "eve", 7), Take("five", "eve", 8)
    assert np.array_equal(first(take), again(take))
    assert len(first(take)) != len(first(next_take)) or not np.allclose(first(take), first(next_take))
    assert not np.array_equal(first(take)[:1000], other(take)[:1000])
    assert np.abs(first(take)).max() <= 1


def test_splits_of_takes_worked_out_by_hand():
    takes = [Take("one", "ada", number) for number in range(25)]
    assert [take.number for take in chosen(takes, "test")] == [0, 1, 2, 3, 4]
    assert [take.number for take in chosen(takes, "validation")] == [23, 24]
    assert [take.number for take in chosen(takes, "train")] == list(range(5, 23))


def test_a_record_is_a_function_of_seed_split_and_index(world):
    first, again, other = world().open("train"), world().open("train"), world(seed=1).open("train")
    for index in (7, 0, 59):
        one, two = first[index], again[index]
        for name in ("audio", "image", "mouth"):
            a, b = (sample.pop(name) for sample in (one, two))
            assert np.array_equal(a[0] if isinstance(a, tuple) else a, b[0] if isinstance(b, tuple) else b)
        assert one == two
    assert [first[i]["take"] for i in range(9)] != [other[i]["take"] for i in range(9)]
    with pytest.raises(IndexError):
        first[60]


def test_no_recording_and_no_handwriting_crosses(world, recordings):
    used = {}
    for split in ("train", "validation", "test"):
        opened = world(recordings=recordings, train=600, held_out=300).open(split)
        samples = [opened[index] for index in range(0, len(opened), 2)]
        source = "test" if split == "test" else "train"
        used[split] = {s["take"] for s in samples} | {(source, s["written"]) for s in samples}
        assert {s["speech"] for s in samples} == {"synthesised" if recordings is None else "recorded"}
    assert not used["train"] & used["validation"]
    assert not used["train"] & used["test"]
    assert not used["validation"] & used["test"]


def test_what_is_read_is_the_same_whatever_else_is_made(world):
    whole = world().open("test")
    for fields in ({"label"}, {"image"}, {"audio"}, {"mouth"}, {"image", "mouth"}):
        part = whole.narrow(fields)[3]
        assert {"label", "speaker", *fields} <= set(part)
        assert not ({"image", "mouth"} - fields) & set(part)
        for name in fields:
            assert str(part[name]) == str(whole[3][name])


def test_what_is_not_taught_is_in_all_splits_but_one(world, recordings):
    built = world(recordings=recordings, untaught=["seven", "nine"], train=300, held_out=300)
    splits = {name: built.open(name) for name in built.splits}
    for name, split in splits.items():
        expected = set(DIGITS) - {"seven", "nine"} if name == "taught" else set(DIGITS)
        assert {take.digit for take in split.takes} == expected, name
    few = [splits["few"][index] for index in range(len(splits["few"]))]
    assert {sample["label"] for sample in few if not sample["taught"]} == {"seven", "nine"}
    assert all(sample["taught"] for sample in few if sample["label"] not in ("seven", "nine"))
    assert not set(splits["taught"].takes) & {*splits["validation"].takes, *splits["test"].takes}


@pytest.mark.parametrize(("untaught", "wrong"), [(["ten"], "'ten' is not a digit"), (list(DIGITS), "none is left")])
def test_digits_to_leave_out_are_digits_and_not_all_of_them(world, untaught, wrong):
    with pytest.raises(UserError, match=wrong):
        world(untaught=untaught)


def test_few_are_so_many_of_each_digit_and_of_training(world, recordings):
    train, few = (world(recordings=recordings, train=2700).open(split) for split in ("train", "few"))
    samples = [few[index] for index in range(len(few))]
    assert Counter(sample["label"] for sample in samples) == dict.fromkeys(DIGITS, 10)
    assert {sample["take"] for sample in samples} <= {f"{t.digit}/{t.speaker}/{t.number}" for t in train.takes}


def test_what_is_seen_is_what_is_heard(world):
    train = world().open("train")
    for index in range(20):
        sample = train[index]
        digit, speaker, _ = sample["take"].split("/")
        assert (digit, speaker) == (sample["label"], sample["speaker"])


def test_shuffled_pairs_tell_nothing_and_keep_pictures_labelled(world):
    plain, shuffled = (world(train=600, shuffle_pairs=shuffle).open("train") for shuffle in (False, True))
    same = [plain[index]["label"] == shuffled[index]["label"] for index in range(0, 600, 10)]
    assert all(same)
    heard = [shuffled.heard[index].digit == shuffled.takes[index].digit for index in range(600)]
    assert np.mean(heard) < 0.2
    test = world(shuffle_pairs=True).open("test")
    assert [take.digit for take in test.heard] == [take.digit for take in test.takes]


def test_a_place_is_told_by_its_stripes():
    """Stripes of the first place change along the columns, those half a half-turn further along the rows."""
    paper = np.zeros((8, 8), np.uint8)
    for number, along in ((0, 1), (2, 0)):
        picture = place(paper, number, 4, 16, np.random.default_rng(0)).astype(float).mean(2)
        assert picture.mean(1 - along).std() > 5 * picture.mean(along).std()


def test_a_mouth_worked_out_by_hand():
    sound = np.concatenate([np.zeros(100), np.full(100, 0.5), np.full(100, 0.05)]).astype(np.float32)
    opened = aperture(sound, 3)
    assert opened == pytest.approx([0, 1, 1 / 3], abs=1e-6), "20 of 30 dB below the loudest"
    assert aperture(np.zeros(300, np.float32), 3) == pytest.approx([0, 0, 0])
    video = mouth(opened, np.full(3, 0.5), 8, np.random.default_rng(0))
    dark = (255 - video.astype(float)).mean((1, 2))
    assert video.shape == (3, 8, 8)
    assert dark[0] < dark[2] < dark[1]


def test_lips_are_rounded_for_low_sounds_and_spread_for_high_ones():
    time = np.arange(480) / RATE
    low, high = (np.sin(2 * np.pi * hertz * time).astype(np.float32)[:160] for hertz in (400, 3000))
    apart = spread(np.concatenate([low, high, np.zeros(160, np.float32)]), 3)
    assert apart == pytest.approx([0, 1, 0.5], abs=1e-6)
    middle = spread(np.sin(2 * np.pi * np.sqrt(500 * 2500) * time).astype(np.float32)[:160], 1)
    assert middle == pytest.approx(0.5, abs=0.05), "octaves count"
    rounded, wide = mouth(np.full(2, 0.8), np.array([0.0, 1.0]), 16, np.random.default_rng(0)).astype(float)
    assert wide[8].mean() < rounded[8].mean() - 40
    assert wide[:, 8].mean() == pytest.approx(rounded[:, 8].mean(), abs=8), "the height is that of the level"


def test_the_mouth_follows_the_level_in_step_with_the_sound(world):
    for index in range(10):
        sample = world().open("test")[index]
        video, rate = sample["mouth"]
        sound, hertz = sample["audio"]
        assert len(video) / rate == pytest.approx(len(sound) / hertz)
        level = np.sqrt(np.square(sound).reshape(len(video), -1).mean(1))
        dark = 255 - video[:, :, 3:5].astype(float).mean((1, 2))
        assert np.corrcoef(np.log10(level + 10**-2.5), dark)[0, 1] > 0.9


def test_voices_add_up_to_their_mixture_at_the_ratio_said(mixtures, recordings):
    for split in ("train", "test"):
        opened = mixtures(recordings=recordings).open(split)
        for index in range(20):
            sample = opened[index]
            a, b = (sample[f"voice_{letter}"][0] for letter in "ab")
            assert sample["speaker_a"] != sample["speaker_b"]
            assert np.allclose(a + b, sample["mixture"][0], atol=1e-7)
            assert 10 * np.log10(np.mean(a**2) / np.mean(b**2)) == pytest.approx(sample["ratio"], abs=1e-3)
            assert abs(sample["ratio"]) <= 2.5
            assert len(sample["face_a"][0]) == len(sample["face_b"][0]) == 40
            assert sample["face_a"][1] * len(a) / RATE == pytest.approx(40)


def loud(sound):
    """Returns whether each 10 ms of a sound lie less than 30 dB below its loudest 10 ms."""
    energy = np.square(sound.reshape(-1, 80), dtype=np.float64).sum(1)
    return energy > 1e-3 * energy.max()


def test_both_speakers_sound_for_most_of_the_time(mixtures, recordings):
    for split in ("train", "validation", "test", "unknown"):
        opened = mixtures(recordings=recordings, held_out=24, train=24).open(split)
        samples = [opened[index] for index in range(24)]
        assert all(len(sample["takes_a"]) == len(sample["takes_b"]) == 6 for sample in samples)
        both = [loud(sample["voice_a"][0]) & loud(sample["voice_b"][0]) for sample in samples]
        assert np.mean(both) > 0.8


def test_who_speaks_in_unknown_speaks_nowhere_else(mixtures, recordings):
    who = {}
    for split in ("train", "validation", "test", "unknown"):
        opened = mixtures(recordings=recordings, train=60, held_out=60).open(split)
        who[split] = {opened[index][f"speaker_{letter}"] for index in range(60) for letter in "ab"}
    assert who["train"] == who["validation"] == who["test"]
    assert len(who["unknown"]) == 2
    assert not who["unknown"] & who["train"]


@pytest.mark.parametrize(("count", "split"), [(1, "unknown"), (5, "train"), (9, "train")])
def test_a_split_without_two_speakers_is_refused(mixtures, count, split):
    with pytest.raises(UserError, match=f"the split '{split}' has"):
        mixtures(unknown=count).open(split)


def test_silence_around_a_word_is_cut_off():
    word = np.concatenate([np.ones(160), np.full(80, 0.01), np.ones(80)])
    noise = np.full(240, 0.01)
    assert len(trimmed(np.concatenate([noise, word, noise]).astype(np.float32))) == len(word)
    for silent in (np.zeros(400, np.float32), np.zeros(3, np.float32)):
        assert len(trimmed(silent)) == len(silent)


def test_mixtures_share_no_recording_between_splits(mixtures):
    used = {}
    for split in ("train", "validation", "test"):
        opened = mixtures(train=200, held_out=200).open(split)
        samples = [opened[index] for index in range(0, 200, 4)]
        used[split] = {take for sample in samples for letter in "ab" for take in sample[f"takes_{letter}"]}
    assert not used["train"] & used["validation"]
    assert not (used["train"] | used["validation"]) & used["test"]


def test_silence_is_mixed_without_harm():
    silent, loud = mixed([np.zeros(80, np.float32), np.ones(80, np.float32)], 2.0)
    assert not silent.any()
    assert loud == pytest.approx(0.05 * 10**-0.1)


def test_of_few_takes_one_is_held_back():
    takes = [Take("one", "anna", number) for number in range(9)]
    assert [take.number for take in chosen(takes, "validation")] == [8]
    with pytest.raises(UserError, match="no recordings for the split 'train'"):
        chosen(takes[:5], "train")


def test_a_broken_recording_is_named(world, tmp_path):
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings/0_anna_10.wav").write_bytes(b"")
    with pytest.raises(MediaError, match=r"0_anna_10\.wav is not a readable sound"):
        world(recordings=str(tmp_path)).open("train")[0]


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"seconds": 0.3, "frame_rate": 1}, "one frame at least"),
        ({"source": {"name": "digits", "limit": {"train": 5}}}, "source.limit has no effect"),
    ],
)
def test_what_cannot_be_is_refused(world, options, wrong):
    with pytest.raises(UserError, match=wrong):
        world(**options)


def test_a_folder_without_recordings_is_refused(world, tmp_path):
    with pytest.raises(UserError, match="There are no recordings in"):
        world(recordings=str(tmp_path)).open("train")


def raw(value):
    """Returns the bytes of what is seen or heard."""
    return np.ascontiguousarray(value[0] if isinstance(value, tuple) else value).tobytes()


def test_no_sound_of_one_split_is_heard_in_another(world, recordings):
    """By their samples, whatever the numbers of takes say."""
    heard = {}
    for split in ("train", "validation", "test"):
        opened = world(recordings=recordings, train=300, held_out=150).open(split)
        heard[split] = {raw(opened[index]["audio"]) for index in range(0, len(opened), 3)}
        assert len(heard[split]) > 20
    assert not heard["train"] & heard["validation"]
    assert not heard["train"] & heard["test"]
    assert not heard["validation"] & heard["test"]
