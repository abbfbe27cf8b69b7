"""The text modality: vocabularies, ids and the way back."""

import json
import random
import unicodedata

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from sensorium import MediaError, UserError
from sensorium.builtin.modalities.text import Text
from sensorium.builtin.values import clean

TEXTS = ["a dog and a cat", "a dog", "A bird!"]


def fitted(texts=TEXTS, **options):
    modality = Text.Config(**options).build()
    modality.fit(texts)
    return modality


def test_ids_of_words_by_hand():
    modality = fitted()
    # By count, then by letter: a 3, dog 2, then !, A, and, bird, cat.
    assert modality.transform("a dog", None).tolist() == [1, 4, 5, 2]
    assert modality.transform("cat and A bird!", None).tolist() == [1, 10, 8, 7, 9, 6, 2]
    assert modality.transform("a zebra", None).tolist() == [1, 4, 3, 2]
    assert modality.transform("", None).tolist() == [1, 2]
    assert modality.transform("", None).dtype == torch.int64
    assert modality.vocabulary == 11


def test_the_commonest_words_are_kept():
    modality = fitted(vocabulary_size=6)
    assert modality.vocabulary == 6
    assert modality.transform("a dog cat", None).tolist() == [1, 4, 5, 3, 2]


def test_lowercase():
    modality = fitted(lowercase=True)
    assert torch.equal(modality.transform("A DOG", None), modality.transform("a dog", None))


def test_marks_within_a_word_belong_to_it():
    inner, outer = "a man's t-shirt doesn't say rock'n'roll , it\u2019s a 2-year-old", "cats' '90s a--b c- -d"
    modality = fitted([inner, outer])
    assert len(modality.transform(inner, None)) == 1 + len(inner.split()) + 1
    assert modality.encode(modality.transform(inner, None)) == inner
    assert modality.encode(modality.transform(outer, None)) == "cats ' ' 90s a -- b c - - d"


LETTERS = st.text(st.characters(categories=("L", "Nd")), min_size=1)
SPOKEN = st.lists(
    st.lists(LETTERS, min_size=1).map("'".join) | st.lists(LETTERS, min_size=1).map("-".join),
    min_size=1,
    max_size=20,
)


@settings(deadline=None)
@given(SPOKEN)
def test_words_come_back_as_they_were(words):
    text = unicodedata.normalize("NFC", " ".join(words))
    modality = fitted([*TEXTS, text])
    assert modality.encode(modality.transform(text, None)) == text


@settings(deadline=None)
@given(st.text().filter(lambda text: not set(text) & set("'-\u2019")))
def test_texts_without_marks_are_cut_between_letters_and_signs(text):
    cut = pre_tokenizers.Whitespace().pre_tokenize_str(text)
    assert fitted().tokenizer.pre_tokenizer.pre_tokenize_str(text) == cut


BPE = fitted(tokenizer="bpe", vocabulary_size=280, max_length=10_000)


@settings(deadline=None)
@given(st.text().filter(clean))
def test_byte_pairs_lose_nothing(text):
    assert BPE.encode(BPE.transform(BPE.decode(text), None)) == clean(text)


@pytest.mark.parametrize("text", ["", " \t\n", "\ufeff"])
def test_a_text_of_which_nothing_is_left_is_refused(text):
    with pytest.raises(MediaError, match="The text is empty"):
        fitted().decode(text)


def test_byte_pairs_shorten_what_is_frequent():
    assert BPE.vocabulary <= 280
    assert len(BPE.transform("a dog", None)) < len(BPE.transform("q xyz", None))


@pytest.mark.parametrize("tokenizer", ["words", "bpe"])
def test_the_vocabulary_is_a_function_of_the_values(data, tokenizer):
    captions = [
        entry["caption"]
        for entry in json.loads((data / "tiny_coco/annotations/captions_train2017.json").read_text())["annotations"]
    ]
    options = {"tokenizer": tokenizer, "vocabulary_size": 500}
    state = fitted(captions, **options).state()
    for seed in range(3):
        random.Random(seed).shuffle(captions)
        assert fitted(captions, **options).state() == state


@pytest.mark.parametrize("tokenizer", ["words", "bpe"])
def test_names_of_special_tokens_in_a_text_are_ordinary(tokenizer):
    modality = fitted([*TEXTS, "<eos> <pad>"] * 9, tokenizer=tokenizer, vocabulary_size=300)
    restored = Text.Config(tokenizer=tokenizer, vocabulary_size=300).build()
    restored.restore(modality.state())
    for known in (modality, restored):
        ids = known.transform("a <eos> <pad> dog", None).tolist()
        assert ids.index(2) == len(ids) - 1
        assert 0 not in ids


def test_long_texts_are_cut_and_keep_their_end():
    modality = fitted(max_length=4)
    assert modality.transform("a dog and a cat", None).tolist() == [1, 4, 5, 2]
    assert modality.shape == (4,)


def test_collate_pads_and_masks():
    modality = fitted()
    batch = modality.collate([modality.transform(text, None) for text in ("a dog", "", "a")])
    assert batch.data.tolist() == [[1, 4, 5, 2], [1, 2, 0, 0], [1, 4, 2, 0]]
    assert batch.mask.tolist() == [[True] * 4, [True, True, False, False], [True, True, True, False]]


def test_encode_ends_at_the_end():
    assert fitted().encode(torch.tensor([1, 4, 5, 2, 4, 0])) == "a dog"
    assert fitted().encode(torch.tensor([4, 5])) == "a dog"


@pytest.mark.parametrize("tokenizer", ["words", "bpe"])
def test_state_is_json_and_comes_back(tokenizer):
    modality = fitted(tokenizer=tokenizer, lowercase=True, vocabulary_size=300)
    restored = Text.Config(tokenizer=tokenizer, lowercase=True, vocabulary_size=300).build()
    restored.restore(json.loads(json.dumps(modality.state())))
    assert restored.vocabulary == modality.vocabulary
    assert torch.equal(restored.transform("A new cat", None), modality.transform("A new cat", None))
    assert restored.encode(restored.transform("a dog", None)) == "a dog"


def test_use_before_fit_is_refused():
    modality = Text.Config().build()
    for use in (lambda: modality.transform("a", None), lambda: modality.encode(torch.tensor([1])), modality.state):
        with pytest.raises(UserError, match="no vocabulary yet"):
            use()
    with pytest.raises(UserError, match="split is empty"):
        modality.fit([])


def test_what_is_no_text_is_refused():
    for value, words in ((7, "7 is not a text"), (b"a", "not a text"), (None, "not a text"), ("\ud800", "Unicode")):
        with pytest.raises(MediaError, match=words):
            fitted().decode(value)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"tokenizer": "bpe", "vocabulary_size": 259}, "260"), ({"vocabulary_size": 4}, "5"), ({"max_length": 2}, "3")],
)
def test_options_that_make_no_sense_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Text.Config(**options)
