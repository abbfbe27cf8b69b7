"""The modality `clip_text`: ids of open_clip's own tokenizer, from each file that has the vocabulary."""

import json
import random

import pytest
import torch

from sensorium import UserError
from sensorium_clip.byte_pairs import BytePairs, typed

WORDS = {
    "latin": "a Photo of the DOG's naïve Ærøskøbing straße ΟΔΟΣ Việt don\u2019t \u201cquoted\u201d \ufb01re"
    " \uff21\uff22 &amp; 3.14 !!! #42 co-op I'LL \uff11",
    "hangul": "안녕하세요 고양이가 소파에서 자고 있다 서울의 밤 한국어 ㅋㅋ 사진, 두 마리. 값",
    "arabic": "قطة تجلس على الأريكة صورة لِكَلْبٍ في الحديقة ١٢٣ السماء زرقاء، جدا؟ لا",
    "emoji": "🙂 👩‍👩‍👧 🏳️‍🌈 ❤️ 🐱🐶 ☕ 👍🏽 🇰🇷 ✨",
}
"""Words of four kinds, out of which sentences are drawn."""


def sentences(count=1000):
    draw, kinds = random.Random(0), {name: words.split(" ") for name, words in WORDS.items()}
    made = []
    for number in range(count):
        kind = list(kinds)[number % 4]
        mixed = kinds[kind] + (kinds["latin"] + kinds["emoji"] if number % 3 == 0 else [])
        made.append(
            draw.choice(["", "  "]) + draw.choice([" ", "  ", " \n"]).join(draw.choices(mixed, k=1 + number % 40))
        )
    return made


def read(pretrained="open_clip"):
    modality = BytePairs.Config(pretrained=pretrained).build()
    modality.fit([])
    return modality


@pytest.fixture(scope="module")
def modality():
    return read()


@pytest.fixture(scope="module")
def theirs():
    from open_clip import SimpleTokenizer

    return SimpleTokenizer()


def ids(modality, text):
    return modality.transform(modality.decode(text), None).tolist()


def test_ids_are_those_of_open_clip(modality, theirs):
    texts = sentences()
    assert len(set(texts)) > 950
    long = 0
    for text, row in zip(texts, theirs(texts).tolist(), strict=True):
        end = row.index(49407) + 1
        assert ids(modality, text) == row[:end], text
        long += end == 77
    assert long > 50, "some are cut"


def test_ids_of_real_captions_are_those_of_open_clip(modality, theirs, data):
    captions = json.loads((data / "tiny_coco/annotations/captions_train2017.json").read_text())["annotations"]
    texts = [caption["caption"] for caption in captions]
    for text, row in zip(texts, theirs(texts).tolist(), strict=True):
        assert ids(modality, text) == row[: row.index(49407) + 1]


def test_each_file_with_the_vocabulary_gives_the_same_ids(modality, hugging_face_tokenizer, tmp_path):
    from open_clip.tokenizer import default_bpe

    hugging_face_tokenizer.save_pretrained(tmp_path)
    for where in (default_bpe(), str(tmp_path), str(tmp_path / "tokenizer.json")):
        other = read(where)
        assert all(ids(other, text) == ids(modality, text) for text in sentences(200)), where


def test_texts_come_back_in_small_letters(modality):
    for text, back in (("A  Dog's LIFE 안녕 🐶", "a dog 's life 안녕 🐶"), ("é", "é")):
        assert modality.encode(torch.tensor(ids(modality, text))) == back


def test_what_stands_for_the_end_is_text_where_somebody_wrote_it(modality):
    written = ids(modality, "a <|endoftext|> <|startoftext|> dog")
    assert written.count(49407) == 1
    assert written.count(49406) == 1


def test_cleaning_by_hand():
    assert (
        typed("\u201cIt\u2019s \ufb01ne\u201d &amp;lt; \uff2f\uff2b\u200b\x07 \u3000 1") == '"it\'s fine" < ok\u200b 1'
    )


def test_the_state_is_all_that_serving_needs(modality, tmp_path):
    state = json.loads(json.dumps(modality.state()))
    served = BytePairs.Config(pretrained=str(tmp_path / "gone")).build()
    served.restore(state)
    assert served.vocabulary == 49408
    assert ids(served, "A cat") == ids(modality, "a cat")


def test_batches_are_padded_behind_the_end(modality):
    batch = modality.collate([modality.transform(text, None) for text in ("a dog on a sofa", "cat")])
    assert batch.mask.sum(1).tolist() == [7, 3]
    assert batch.data[1].tolist()[:3] == [49406, 2368, 49407]


def test_what_is_not_the_vocabulary_is_refused(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="There is no vocabulary at"):
        read(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="is not CLIP's vocabulary"):
        read(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text(json.dumps(json.loads(small())))
    with pytest.raises(UserError, match=r"is not CLIP's vocabulary.*startoftext"):
        read(str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="The package open_clip, which has CLIP's vocabulary, is not installed"):
        read()


def small():
    from tokenizers import Tokenizer, models

    return Tokenizer(models.BPE(vocab={"a": 0}, merges=[])).to_str()
