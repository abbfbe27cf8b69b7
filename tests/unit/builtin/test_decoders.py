"""Decoders of words: what they look at, how they are taught, and how they search.

Shapes: B samples, T words, P places, V words of the vocabulary.
"""

import math

import pytest
import torch

from sensorium import Features, Padded, UserError
from sensorium.builtin.decoders.attention_lstm import AttentionLSTM
from sensorium.builtin.decoders.lstm import LSTM
from sensorium.builtin.decoders.words import WordDecoder
from sensorium.builtin.modalities.label import Label
from sensorium.builtin.modalities.text import BOS, EOS, PAD, Text
from sensorium.builtin.modalities.vector import Vector


@pytest.fixture(scope="module")
def text():
    made = Text.Config(max_length=8).build()
    made.fit(["a red three", "two blue sevens and a nine"])
    return made


def built(config, text, dim=6):
    torch.manual_seed(0)
    return config.build(dim, text).eval()


def seen(count, places=12, dim=6, seed=1):
    random = torch.Generator().manual_seed(seed)
    tokens = torch.randn(count, places, dim, generator=random)
    return Features(tokens.mean(1), tokens, None, (3, places // 3))


def padded(text, *sentences):
    return text.collate([text.transform(each, None) for each in sentences])


class Rigged(WordDecoder):
    """Words by a table: the probabilities of the next word follow from the last one."""

    def __init__(self, table, text):
        super().__init__(WordDecoder.Config(), 1, text)
        self.table = table

    def begin(self, features):
        return (features.pooled,)

    def step(self, word, state):
        logits = torch.full((len(word), max(map(max, self.table.values())) + 1), -30.0)
        for row, last in enumerate(word.tolist()):
            for following, chance in self.table.get(last, {EOS: 1.0}).items():
                logits[row, following] = math.log(chance)
        return logits, state, word[:, None].float()


NOTHING = Features(torch.zeros(1, 1))


def test_a_beam_finds_the_likelier_sentence_that_greed_misses(text):
    # 4 is the likelier first word; but 5 6 is worth 0.4 * 0.9, and 4 with its best word 0.6 * 0.4.
    table = {BOS: {4: 0.6, 5: 0.4}, 4: {6: 0.4, 7: 0.3, 8: 0.3}, 5: {6: 0.9, 7: 0.1}}
    rigged = Rigged(table, text)
    assert rigged.generate(NOTHING).words[0].tolist()[:3] == [4, 6, EOS]
    assert rigged.generate(NOTHING, beam=2).words[0].tolist()[:3] == [5, 6, EOS]


def test_the_length_decides_between_a_short_sentence_and_a_long_one(text):
    # One word: 0.5. Four words: 0.45. Their means a word are 0.5 ** (1 / 2) and 0.45 ** (1 / 5).
    table = {BOS: {4: 0.5, 5: 0.5}, 4: {EOS: 1.0}, 5: {6: 0.9, 9: 0.1}, 6: {7: 1.0}, 7: {8: 1.0}, 8: {EOS: 1.0}}
    rigged = Rigged(table, text)
    assert rigged.generate(NOTHING, beam=3, length_power=0.0).words[0].tolist()[:2] == [4, EOS]
    assert rigged.generate(NOTHING, beam=3, length_power=1.0).words[0].tolist()[:5] == [5, 6, 7, 8, EOS]


def test_a_sentence_that_has_ended_is_not_forgotten(text):
    # 4 alone is worth 0.51. 5 leads on surely, past the beam's width, and then falls apart.
    table = {BOS: {4: 0.51, 5: 0.49}, 5: {6: 1.0}, 6: {7: 1.0}, 7: {8: 1.0}, 8: {9: 1.0}}
    table[9] = dict.fromkeys(range(10, 20), 0.1)
    for beam in (2, 3, 4):
        assert Rigged(table, text).generate(NOTHING, beam=beam, length_power=0.7).words[0].tolist()[:2] == [4, EOS]


class Drawn(WordDecoder):
    """Probabilities of the next word that follow from the sample and the last two words."""

    def begin(self, features):
        return features.pooled, torch.zeros(len(features.pooled), dtype=torch.long)

    def step(self, word, state):
        sample, before = state
        logits = torch.empty(len(word), 7)
        for row, key in enumerate(zip(sample[:, 0].tolist(), before.tolist(), word.tolist(), strict=True)):
            logits[row] = 2 * torch.randn(
                7, generator=torch.Generator().manual_seed(int(key[0]) * 64 + key[1] * 8 + key[2])
            )
        return logits, (sample, word), None


@pytest.mark.parametrize("power", [0.0, 0.7, 1.0])
def test_a_wide_beam_finds_the_best_of_all_sentences(power):
    text = Text.Config(max_length=5).build()
    text.fit(["a b c d"])
    decoder = Drawn(WordDecoder.Config(), 1, text)
    samples = torch.arange(8.0)[:, None]
    said = decoder.generate(Features(samples), beam=7 * 64, length_power=power).words
    for row, sample in enumerate(samples):
        best = max(ended(decoder, sample[None], power), key=lambda each: each[0])[1]
        assert said[row].tolist()[: len(best)] == best


def ended(decoder, sample, power, words=(), total=0.0, state=None):
    """Yields the value and the words of each sentence that ends in time, by trying all."""
    state = state or decoder.begin(Features(sample))
    logits, after, _ = decoder.step(torch.tensor([words[-1] if words else BOS]), state)
    chances = logits.log_softmax(1)[0].tolist()
    for word, chance in enumerate(chances):
        if word in (PAD, BOS):
            continue
        longer, value = [*words, word], total + chance
        if word == EOS:
            yield value / len(longer) ** power, longer
        elif len(longer) < decoder.longest:
            yield from ended(decoder, sample, power, longer, value, after)


def test_the_weights_of_a_beam_are_those_of_its_words(text):
    # The rigged weight of a step is its last word: they follow the sentence, not the row of the beam.
    table = {BOS: {4: 0.6, 5: 0.4}, 4: {6: 0.4, 7: 0.3, 8: 0.3}, 5: {6: 0.9, 7: 0.1}}
    said = Rigged(table, text).generate(NOTHING, beam=2)
    assert said.attention[0, :3, 0].tolist() == [BOS, 5, 6]


def test_words_are_drawn_as_often_as_they_are_likely(text):
    rigged = Rigged({BOS: {4: 0.75, 5: 0.25}, 4: {EOS: 1.0}, 5: {6: 1.0}, 6: {EOS: 1.0}}, text)
    evenly = ((torch.arange(400) + 0.5) / 400)[:, None].expand(-1, 7)
    features = Features(torch.zeros(400, 1))
    said = rigged.draw(features, evenly).words
    assert said.shape == (400, 3), "as long as the longest"
    assert (said[:, 0] == 4).sum() == 300, "where the chance lies below 0.75"
    assert said[300:].tolist() == [[5, 6, EOS]] * 100
    assert said[:300].tolist() == [[4, EOS, EOS]] * 300
    cold = rigged.draw(features, evenly, temperature=0.5).words
    assert (cold[:, 0] == 4).sum() == 360, "0.75 ** 2 / (0.75 ** 2 + 0.25 ** 2)"
    assert rigged.draw(features, evenly).attention.shape == (400, 3, 1)


def test_what_is_never_said_is_never_drawn(text):
    rigged = Rigged({BOS: {PAD: 0.5, BOS: 0.4, 4: 0.1}, 4: {PAD: 0.9, EOS: 0.1}}, text)
    for chance in (1e-3, 0.5, 1.0):
        assert rigged.draw(NOTHING, torch.full((1, 7), chance)).words.tolist() == [[4, EOS]]


def test_padding_and_first_signs_are_never_said(text):
    table = {BOS: {PAD: 0.5, BOS: 0.3, 5: 0.2}}
    assert Rigged(table, text).generate(NOTHING).words[0].tolist()[:2] == [5, EOS]


@pytest.mark.parametrize("config", [LSTM.Config(dim=7), AttentionLSTM.Config(dim=7, attention_dim=5)])
def test_beam_of_one_is_the_likeliest_word_at_each_step(config, text):
    decoder, features = built(config, text), seen(3)
    free = decoder(features).clone()
    free[..., [PAD, BOS]] = -torch.inf
    words = decoder.generate(features).words
    for row in range(3):
        end = words[row].tolist().index(EOS) if EOS in words[row] else words.shape[1]
        taught = decoder.teacher_force(
            Features(features.pooled[row : row + 1], features.tokens[row : row + 1], None, features.grid),
            Padded(torch.cat([torch.tensor([BOS]), words[row, :end]])[None], torch.ones(1, end + 1, dtype=torch.bool)),
        )
        taught.logits[..., [PAD, BOS]] = -torch.inf
        assert taught.logits[0].argmax(1).tolist() == words[row, :end].tolist()


@pytest.mark.parametrize("config", [LSTM.Config(dim=7), AttentionLSTM.Config(dim=7, attention_dim=5)])
def test_sentences_of_other_lengths_change_nothing(config, text):
    decoder, features = built(config, text), seen(3)
    sentences = ["a nine", "two blue sevens and a nine", "red"]
    together = decoder.teacher_force(features, padded(text, *sentences))
    for row, sentence in enumerate(sentences):
        one = Features(features.pooled[row : row + 1], features.tokens[row : row + 1], None, features.grid)
        alone = decoder.teacher_force(one, padded(text, sentence)).logits[0]
        assert torch.allclose(together.logits[row, : len(alone)], alone, atol=1e-6)
        assert not together.logits[row, len(alone) :].any()


def test_show_and_tell_sees_the_features_once_and_first(text):
    decoder = built(LSTM.Config(dim=7), text)
    features = seen(2)
    state = decoder.cell(decoder.show(features.pooled))
    assert all(map(torch.equal, decoder.begin(features), state))
    word = torch.tensor([4, 5])
    logits, _, _ = decoder.step(word, state)
    assert torch.allclose(logits, decoder.out(decoder.cell(decoder.embed(word), state)[0]))


def test_show_and_tell_sees_the_same_at_any_scale_of_the_encoder(text):
    decoder, features = built(LSTM.Config(dim=7), text), seen(2)
    larger = Features(50 * features.pooled + 3)
    for one, other in zip(decoder.begin(features), decoder.begin(larger), strict=True):
        assert torch.allclose(one, other, atol=1e-3)
    assert decoder.embed.weight.std() > 0.5


def test_attention_comes_from_the_state_before_the_word_by_hand(text):
    decoder = built(AttentionLSTM.Config(dim=7, attention_dim=5), text)
    state = decoder.begin(seen(2))
    hidden, cell, places, keys, _ = state
    word = torch.tensor([4, 5])
    logits, after, weights = decoder.step(word, state)
    scores = decoder.score(torch.tanh(keys + decoder.query(hidden)[:, None]))[..., 0]
    expected = scores.exp() / scores.exp().sum(1, keepdim=True)
    assert torch.allclose(weights, expected, atol=1e-6)
    context = torch.sigmoid(decoder.gate(hidden)) * (expected[..., None] * places).sum(1)
    new, _ = decoder.cell(torch.cat([decoder.embed(word), context], 1), (hidden, cell))
    deep = decoder.embed(word) + decoder.out_hidden(new) + decoder.out_seen(context)
    assert torch.allclose(after[0], new, atol=1e-6)
    assert torch.allclose(logits, decoder.out(torch.tanh(deep)), atol=1e-5)


def test_attention_knows_where_places_are(text):
    decoder = built(AttentionLSTM.Config(dim=7, attention_dim=5), text)
    same = torch.ones(1, 12, 6)
    places = decoder.begin(Features(same.mean(1), same, None, (3, 4)))[2][0]
    assert len({tuple(row.tolist()) for row in places}) == 12


def test_attention_leaves_padding_out(text):
    decoder = built(AttentionLSTM.Config(dim=7, attention_dim=5), text)
    tokens = torch.randn(2, 6, 6, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    _, _, weights = decoder.step(torch.tensor([4, 4]), decoder.begin(Features(tokens.mean(1), tokens, mask)))
    assert not weights[1, 4:].any()
    assert torch.allclose(weights.sum(1), torch.ones(2))


def test_uniform_attention_looks_at_all_places_alike(text):
    decoder = built(AttentionLSTM.Config(dim=7, attention="uniform"), text)
    assert torch.allclose(decoder.generate(seen(2)).attention, torch.full((), 1 / 12))


def test_scheduled_sampling_gives_the_decoders_own_word(text):
    decoder, features = built(LSTM.Config(dim=7), text), seen(1)
    words = padded(text, "two blue sevens and a nine")
    own = torch.zeros_like(words.mask)
    own[:, 1:] = True
    free = decoder(features)[:, : words.data.shape[1] - 1]
    assert torch.allclose(decoder.teacher_force(features, words, own).logits, free, atol=1e-6)
    assert not torch.allclose(decoder.teacher_force(features, words).logits, free, atol=1e-6)


def test_decoders_refuse_what_they_cannot_do(text):
    with pytest.raises(UserError, match="cannot say vector"):
        LSTM.Config().build(6, Vector.Config(size=4).build())
    with pytest.raises(UserError, match="no places"):
        built(AttentionLSTM.Config(), text).begin(Features(torch.zeros(1, 6)))
    with pytest.raises(UserError, match="cannot say label"):
        LSTM.Config().build(6, Label.Config().build())
