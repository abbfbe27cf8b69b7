"""The skip-gram by hand: who stands around whom, what is drawn, what is left out, and what is nearest to a sum."""

import bz2

import pytest
import torch
from torch.nn import functional as F

from sensorium import Padded, UserError
from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium_word2vec.corpora import PlainText, Wikipedia, plain
from sensorium_word2vec.counted import counted
from sensorium_word2vec.grammar import Grammar
from sensorium_word2vec.metrics import AnalogyAccuracy, Similarity
from sensorium_word2vec.pairs import around, running
from sensorium_word2vec.plot import analogies, plane
from sensorium_word2vec.tests_of_words import Analogies, WordPairs

SMALL = ("dataset.train=600", "dataset.seed=3")


@pytest.fixture(scope="module")
def build():
    def build(*overrides):
        assembly = assemble(load("word2vec", [*SMALL, *overrides]))
        torch.manual_seed(0)
        for table in (assembly.task.words, assembly.task.contexts):
            torch.nn.init.normal_(table.weight)
        return assembly.task

    return build


def test_words_that_are_left_out_bring_their_neighbours_together():
    text = Padded(torch.tensor([[1, 5, 6, 7, 2]]), torch.ones(1, 5, dtype=torch.bool))
    ids, kept = running(text, torch.tensor([[False, True, False, True, False]]))
    assert ids[kept].tolist() == [5, 7]
    assert kept.tolist() == [[True, True, False, False, False]]


def test_each_pair_within_the_window_is_seen_from_both_sides():
    kept = torch.tensor([[True, True, True, False]])
    assert seen(kept, 2) == {(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)}
    nearer = seen(kept, 2, torch.tensor([[2, 1, 1, 1]]))
    assert nearer == {(0, 1), (0, 2), (1, 0), (1, 2), (2, 1)}, "the first word alone reaches over two"


def seen(kept, *reach):
    places, near = around(kept, *reach)
    return {(centre, int(places[centre, which])) for centre, which in near[0].nonzero().tolist()}


def test_the_whole_softmax_is_the_cross_entropy_of_every_neighbour(build):
    task = build("model.loss=softmax", "model.window=1", "model.counted=0")
    batch = task.batched([{"text": "the king"}, {"text": "this king rules his throne"}])
    task.eval()
    loss = task.losses(task(batch), batch)["around"]
    ids = batch["text"].data[1, 1:6]  # of the first sentence one word is known, which nobody stands around
    logits = task.words.weight @ task.contexts.weight[4:].T
    pairs = [(i, j) for i in range(5) for j in (i - 1, i + 1) if 0 <= j < 5]
    entropies = [F.cross_entropy(logits[ids[i]], ids[j] - 4) for i, j in pairs]
    assert float(loss) == pytest.approx(float(torch.stack(entropies).sum()) / 5, rel=1e-5)


def test_negative_sampling_is_the_formula_of_the_paper_with_the_words_that_are_drawn(build):
    task = build("model.window=1", "model.negatives=3", "model.counted=0")
    task.counts.fill_(1)
    task.eval()
    batch = task.batched([{"text": "this king rules his throne"}])
    ids = batch["text"].data[0, 1:6]
    drawn = task._drawn(batch, task.text.config.max_length)[0, :5]
    logits = task.words.weight @ task.contexts.weight.T
    total = torch.zeros(())
    for i, word in enumerate(ids):
        for j in (i - 1, i + 1):
            if 0 <= j < 5:
                total -= F.logsigmoid(logits[word, ids[j]])
                total -= sum(F.logsigmoid(-logits[word, n]) for n in drawn[i] if n != ids[j])
    assert float(task.losses(task(batch), batch)["around"]) == pytest.approx(float(total) / 5, rel=1e-5)


def test_words_are_drawn_by_their_frequency_to_the_power(build):
    task = build("model.negatives=2000")
    task.counts.zero_()
    task.counts[4:6] = torch.tensor([16.0, 1.0])
    drawn = task._drawn(task.batched([{"text": "king"}]), 8)
    assert set(drawn.unique().tolist()) == {4, 5}
    assert float((drawn == 4).double().mean()) == pytest.approx(8 / 9, abs=0.01)  # 16 ** 0.75 = 8


def test_frequent_words_are_left_out_as_often_as_the_paper_says(build):
    task = build("model.sample=0.01")
    task.counts.fill_(0.01)
    task.counts[task.text.tokenizer.token_to_id("king")] = 100  # nearly every word, of 100
    many = task.batched([{"id": str(number), "text": "king king king king king king"} for number in range(500)])
    share, stays = float(task(many)["runs"].sum() / 3000), 0.1 + 0.01
    assert share == pytest.approx(stays * (1 - (1 - stays) ** 5), abs=0.01)  # who stays alone has no neighbour


def test_words_are_counted_and_their_meetings_too(build):
    task = build("model.counted=2", "model.window=1")
    sentences = [{"text": "king rules king"}, {"text": "queen"}]
    task.count([task.batched(sentences)])
    number = task.text.tokenizer.token_to_id
    assert {word: int(task.counts[number(word)]) for word in ("king", "rules", "queen")} == {
        "king": 2,
        "rules": 1,
        "queen": 1,
    }
    assert task.counted[number("king")].any()
    assert not task.counted[number("queen")].any(), "nobody was met"


def test_counting_is_the_positive_mutual_information():
    near = torch.tensor([[0.0, 3.0, 1.0], [3.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    vectors = counted(near, 3, 1.0)
    information = (near * near.sum() / (near.sum(1, keepdim=True) * near.sum(0, keepdim=True))).log().clamp(min=0)
    values = torch.linalg.svdvals(information)
    torch.testing.assert_close((vectors.T @ vectors).diagonal().sort().values, values.sort().values, atol=1e-4, rtol=0)
    assert counted(near, 5, 1.0)[:, 3:].abs().sum() == 0


def test_the_answer_is_nearest_to_the_sum_but_for_the_words_of_the_question(build):
    task = build()
    with torch.no_grad():
        number = task.text.tokenizer.token_to_id
        task.words.weight.normal_(0, 1e-3)
        axes = {"king": [1, 1.0, 0], "man": [0, 1.0, 0], "woman": [0, 0, 1.0], "queen": [1, 0, 0.9]}
        for word, values in axes.items():
            task.words.weight[number(word), :3] = torch.tensor(values)
    question = {"word": "king", "minus": "man", "plus": "woman"}
    answer = task.predict(task.batched([question]))
    said = task.outputs["nearest"].encode(answer["nearest"][0])
    assert next(iter(said)) == "queen"
    assert not set(question.values()) & set(said)
    assert len(said) <= task.config.nearest
    rows = task.rows(*(lambda batch: (task(batch), batch))(task.batched([{**question, "answer": "queen"}])))
    assert rows["right.learnt"].tolist() == [True]
    assert rows["asked"].tolist() == [True]
    strange = task.batched([{**question, "answer": "empress"}])
    assert task.rows(task(strange), strange)["asked"].tolist() == [False]


def test_a_word_that_the_training_did_not_have_is_named_with_the_nearest(build):
    task = build()
    with pytest.raises(UserError, match=r"no word 'kign' .*Did you mean 'king'\?"):
        task.predict(task.batched([{"word": "queen"}, {"word": "kign"}]))


def test_analogies_that_ask_for_unknown_words_do_not_count():
    rows = {"right.learnt": torch.tensor([1, 0, 1]), "asked": torch.tensor([1, 1, 0])}
    assert AnalogyAccuracy(AnalogyAccuracy.Config())(rows) == {"asked": pytest.approx(2 / 3), "learnt_analogies": 0.5}
    assert AnalogyAccuracy(AnalogyAccuracy.Config())({"id": ["a"]}) == {}


def test_similarity_is_spearmans_correlation_of_what_is_known():
    rows = {
        "cosine.learnt": torch.tensor([0.1, 0.4, 0.2, 0.9]),
        "rating": torch.tensor([1.0, 2.0, 3.0, 0.0]),
        "known": torch.tensor([1, 1, 1, 0]),
    }
    found = Similarity(Similarity.Config())(rows)
    assert found == {"rated": 0.75, "learnt_spearman": pytest.approx(0.5)}


def test_the_grammar_has_five_words_a_sentence_and_each_analogy_once():
    sentences, questions = (Grammar(Grammar.Config()).open(split) for split in ("train", "test"))
    assert {len(sentences[index]["text"].split()) for index in range(200)} == {5}
    asked = [tuple(questions[index][name] for name in ("minus", "word", "plus", "answer")) for index in range(840)]
    assert len(questions) == len(set(asked)) == 4 * 15 * 14
    assert ("man", "woman", "king", "queen") in asked
    assert ("boy", "boys", "man", "men") in asked
    words = {word for sample in map(sentences.__getitem__, range(12_000)) for word in sample["text"].split()}
    assert {word for question in asked for word in question} <= words
    shuffled = Grammar(Grammar.Config(shuffle=True)).open("train")
    count = lambda split: sorted(word for index in range(12_000) for word in split[index]["text"].split())  # noqa: E731
    assert count(shuffled) == count(sentences)
    assert shuffled[0] != sentences[0]


MARKUP = """{{Infobox|name={{nested}}}}
'''Ada''' was a [[mathematician|woman of numbers]].<ref name="a">{{cite|x}}</ref> She knew [[Bell]] &amp; Co!
== Life ==
* a list
{| class="t"
| a cell
|}
[[File:Ada.jpg|thumb|A [[picture]] of her]][http://x.org A site] says so.
"""


def test_markup_is_taken_away_and_words_of_links_stay():
    text = " ".join(plain(MARKUP.replace("&amp;", "&")).split())
    assert text == "Ada was a woman of numbers. She knew Bell & Co! A site says so."


def test_articles_of_a_dump_are_read_sentence_by_sentence(tmp_path):
    page = '<page><title>{}</title><text bytes="9">{}</text></page>\n'
    dump = page.format("Old", "#REDIRECT [[New]]") + page.format(
        "New", "One is here. Two\nis &lt;b&gt;there&lt;/b&gt;."
    )
    (tmp_path / "pages.xml.bz2").write_bytes(bz2.compress(dump.encode()))
    split = Wikipedia(Wikipedia.Config(root=str(tmp_path))).open("train")
    assert [split[index]["text"] for index in range(len(split))] == ["One is here.", "Two", "is there ."]
    assert "'New'" in split.place(0)
    (tmp_path / "pages.xml.bz2").write_bytes(b"BZh91AY&SY torn")
    with pytest.raises(UserError, match="cannot be read"):
        Wikipedia(Wikipedia.Config(root=str(tmp_path))).open("train")


def test_plain_text_is_cut_at_its_lines_and_signs(tmp_path):
    (tmp_path / "a.txt").write_text("One. Two?\n\n42\nThree")
    split = PlainText(PlainText.Config(root=str(tmp_path))).open("train")
    assert [split[index]["text"] for index in range(len(split))] == ["One.", "Two?", "Three"]
    assert split.place(2) == f"{tmp_path / 'a.txt'}:4"
    with pytest.raises(UserError, match="no text in"):
        PlainText(PlainText.Config(root=str(tmp_path / "b"))).open("train")


def test_lists_of_questions_are_read_and_torn_lines_named(tmp_path):
    (tmp_path / "q.txt").write_text(": family\nboy girl man woman\n")
    (tmp_path / "p.tsv").write_text("# Words\nlove\tsex\t6.77\n")
    asked = Analogies(Analogies.Config(file=str(tmp_path / "q.txt"))).open("test")[0]
    assert asked == {"id": "0", "word": "girl", "minus": "boy", "plus": "man", "answer": "woman", "section": "family"}
    assert WordPairs(WordPairs.Config(file=str(tmp_path / "p.tsv"))).open("test")[0]["rating"] == 6.77
    (tmp_path / "q.txt").write_text(": family\nboy girl man\n")
    with pytest.raises(UserError, match=r"q\.txt:2 is 'boy girl man'\. Four words"):
        Analogies(Analogies.Config(file=str(tmp_path / "q.txt"))).open("test")


def test_real_lists_and_articles_are_read(data):
    folder = data / "word-text"
    pairs = WordPairs(WordPairs.Config(file=str(folder / "wordsim353.tsv"))).open("test")
    questions = Analogies(Analogies.Config(file=str(folder / "questions-words.txt"))).open("test")
    assert (len(pairs), len(questions)) == (353, 19544)
    (dump,) = folder.glob("enwiki*.bz2")
    split = Wikipedia(Wikipedia.Config(root=str(dump))).open("train")
    text = " ".join(split[index]["text"] for index in range(len(split)))
    assert len(text.split()) > 300_000
    assert not [sign for sign in ("{{", "[[", "<ref", "|-") if text.count(sign) > 20]


def test_the_plane_that_is_shown_keeps_lengths_within_it():
    square = torch.tensor([[0.0, 0.0], [0.0, 1.0], [2.0, 0.0], [2.0, 1.0]])
    turn = torch.linalg.qr(torch.randn(5, 2, generator=torch.Generator().manual_seed(0))).Q
    flat = plane(square @ turn.T + 3)
    assert torch.allclose(torch.cdist(flat, flat), torch.cdist(square, square).double(), atol=1e-5)
    assert plane(torch.ones(1, 5)).shape == (1, 2)


def test_analogies_that_are_known_are_drawn(build):
    task = build("model.counted=0")
    split = Grammar(Grammar.Config()).open("test")
    batch = task.batched([split[place] for place in range(8)])
    rows = task.eval().rows(task(batch), batch)
    assert rows["vector.answer"].shape == rows["embedding.word"].shape
    assert task.plots(rows, split)["analogies.png"].startswith(b"\x89PNG")
    assert analogies(rows, split)
    assert not task.plots({**rows, "asked": torch.zeros(8, dtype=torch.bool)}, split)
