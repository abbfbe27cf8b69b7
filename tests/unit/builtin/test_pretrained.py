"""Tokenizers and cards of published models: ids as transformers gives them, kept with what was trained."""

import json
import random
import shutil
import sys
from collections.abc import Iterator

import pytest
import torch
import transformers

from sensorium import UserError
from sensorium.builtin import pretrained
from sensorium.builtin.decoders.lstm import LSTM
from sensorium.builtin.encoders.transformers import Text as Reader
from sensorium.builtin.modalities.text import Text

LETTERS = {
    "Latin": "aàbcçdeéfghiíjklmnñoöpqrsßtuüvwxyzAEIOUÅØŁ",
    "Hangul": "".join(map(chr, range(0xAC00, 0xD7A4, 97))),
    "Arabic": "".join(map(chr, [*range(0x621, 0x63B), *range(0x641, 0x64B), 0x64E, 0x651])),
}
EMOJI = ["😀", "👩‍🚀", "🇰🇷", "❤️", "👍🏽", "🏳️‍🌈", "☕"]
MOST = 24
"""Tokens of a text; longer ones are cut."""
KINDS = ["Bert", "Roberta", "CLIP", "T5", "XLMRoberta"]


def sentences(count: int, seed: int) -> Iterator[str]:
    """Yields sentences of one to twelve words in one script or in all, with emoji and punctuation."""
    draw = random.Random(seed)
    lexicon = random.Random(0)
    words = [
        ["".join(lexicon.choices(letters, k=lexicon.randint(1, 8))) for _ in range(60)] for letters in LETTERS.values()
    ]
    for _ in range(count):
        known = draw.choice([*words, [word for script in words for word in script], EMOJI])
        said = [draw.choice(known) + draw.choice(["", "", "", ",", "!", "'s", draw.choice(EMOJI)]) for _ in range(12)]
        yield " ".join(said[: draw.randint(1, 12)])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of tokenizers that were trained on such sentences, as the library writes them."""
    root = tmp_path_factory.mktemp("tokenizers")
    for kind in KINDS:
        made = getattr(transformers, f"{kind}TokenizerFast")().train_new_from_iterator(sentences(300, 1), 500)
        made.model_max_length = MOST
        made.save_pretrained(root / kind)
    return root


def taken(folder, **options):
    modality = Text(Text.Config(pretrained=str(folder), **{"max_length": MOST, **options}))
    modality.fit([])
    return modality


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_those_of_the_library(folders, kind):
    theirs, ours = transformers.AutoTokenizer.from_pretrained(folders / kind), taken(folders / kind)
    texts = [ours.decode(text) for text in sentences(1000, 2)]
    texts += [f"a {sign} b" for sign in theirs.all_special_tokens]
    right = theirs(texts, truncation=True)["input_ids"]
    assert [ours.transform(text, None).tolist() for text in texts] == right
    assert max(map(len, right)) == MOST, "some are cut"
    assert min(map(len, right)) < MOST // 2
    assert ours.vocabulary == len(theirs)
    padded = theirs(texts[:32], truncation=True, padding=True, return_tensors="pt")
    batch = ours.collate([ours.transform(text, None) for text in texts[:32]])
    assert torch.equal(batch.data, padded["input_ids"])
    assert torch.equal(batch.mask, padded["attention_mask"].bool())


def test_it_is_kept_with_the_model(folders, tmp_path):
    place = shutil.copytree(folders / "Bert", tmp_path / "bert")
    first = taken(place)
    state = json.loads(json.dumps(first.state()))
    shutil.rmtree(place)
    again = Text(Text.Config(pretrained=str(place), max_length=MOST))
    again.restore(state)
    values = [[each.transform(text, None) for text in sentences(50, 3)] for each in (first, again)]
    assert all(torch.equal(one, other) for one, other in zip(*values, strict=True))
    assert torch.equal(again.collate(values[1]).data, first.collate(values[0]).data)
    assert (again.vocabulary, again.pad) == (first.vocabulary, first.pad)


def test_ids_are_answered_as_text_without_signs(folders):
    modality = taken(folders / "XLMRoberta")
    text = next(sentences(1, 1))
    padded = modality.collate([modality.transform(text, None), modality.transform(f"{text} {text}", None)])
    assert modality.encode(padded.data[0]) == text
    drawn = [modality.example(torch.Generator().manual_seed(seed)) for seed in range(20)]
    assert all(modality.decode(each) == each for each in drawn)


def test_signs_in_a_text_are_text_where_the_tokenizer_says_so(folders, tmp_path):
    place = shutil.copytree(folders / "Bert", tmp_path / "bert")
    sign = taken(place).tokenizer.token_to_id("[SEP]")
    assert taken(place).transform("a [SEP] b", None).tolist().count(sign) == 2
    told = json.loads((place / "tokenizer_config.json").read_text()) | {"split_special_tokens": True}
    (place / "tokenizer_config.json").write_text(json.dumps(told))
    assert taken(place).transform("a [SEP] b", None).tolist().count(sign) == 1


def test_the_side_that_is_cut_is_the_tokenizers(folders, tmp_path):
    place = shutil.copytree(folders / "Roberta", tmp_path / "roberta")
    told = json.loads((place / "tokenizer_config.json").read_text()) | {"truncation_side": "left"}
    (place / "tokenizer_config.json").write_text(json.dumps(told))
    text = " ".join(sentences(4, 5))
    right = transformers.AutoTokenizer.from_pretrained(place)(text, truncation=True)["input_ids"]
    assert taken(place).transform(text, None).tolist() == right


def test_a_vocabulary_without_tokenizer_json_is_converted(folders, tmp_path):
    vocabulary = json.loads((folders / "Bert" / "tokenizer.json").read_text())["model"]["vocab"]
    (tmp_path / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.get)), encoding="utf-8")
    told = {"tokenizer_class": "BertTokenizer", "model_max_length": MOST, "pad_token": "[PAD]"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(told))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ours, texts = taken(tmp_path), [*sentences(50, 4), "Ça! a b"]
    assert [ours.transform(text, None).tolist() for text in texts] == theirs(texts, truncation=True)["input_ids"]


def test_a_text_that_is_learnt_is_as_it_was():
    modality = Text(Text.Config())
    modality.fit(["a dog", "a cat"])
    assert set(modality.state()) == {"tokenizer"}
    assert modality.transform("a dog", None).tolist() == [1, 4, 6, 2]


def test_what_cannot_be_taken_is_said(folders, tmp_path):
    with pytest.raises(UserError, match=r"There is no model at \./nowhere"):
        taken("./nowhere")
    with pytest.raises(UserError, match="has no tokenizer that can be read"):
        taken(tmp_path)
    for kind in ("bert", "t5", "clip"):  # of which transformers makes a tokenizer that knows nothing
        (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
        with pytest.raises(UserError, match="its vocabulary is empty"):
            taken(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(UserError, match="holds a list"):
        pretrained.document(tmp_path, "config.json")
    with pytest.raises(UserError, match="says words that are learnt"):
        LSTM(LSTM.Config(), 8, taken(folders / "Bert"))


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"pip install 'sensorium\[hf\]'"):
        Reader.Config(architecture={"model_type": "bert"})


def test_a_name_that_cannot_be_fetched_is_said(monkeypatch):
    def refuse(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(UserError, match=r"'somebody/nothing' is not a folder.*no route"):
        taken("somebody/nothing")


def test_a_name_is_fetched_with_json_and_safetensors_alone(folders, monkeypatch):
    asked = []

    def answer(name, allow_patterns):
        asked.append((name, allow_patterns))
        return str(folders / "Bert")

    monkeypatch.setattr("huggingface_hub.snapshot_download", answer)
    assert taken("somebody/bert").vocabulary == taken(folders / "Bert").vocabulary
    patterns = {pattern for _, each in asked for pattern in each} | set(pretrained.WEIGHTS)
    assert {name for name, _ in asked} == {"somebody/bert"}
    assert not [pattern for pattern in patterns if pattern.endswith((".bin", ".pt", ".py", "*"))]


def test_licences_are_those_of_the_cards(tmp_path):
    assert pretrained.licence(str(tmp_path)) == ""
    for text, named in {
        "---\nlanguage: en\nlicense: apache-2.0\n---\n# x\nlicense: mit": "apache-2.0",
        "---\r\nlicense: 'mit'\r\n---\r\n": "mit",
        "# x\nlicense: mit\n": "",
        "---\ntags: []\n---\nlicense: mit": "",
    }.items():
        (tmp_path / "README.md").write_bytes(text.encode())
        assert pretrained.licence(str(tmp_path)) == named
