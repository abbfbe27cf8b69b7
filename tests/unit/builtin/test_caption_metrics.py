"""Metrics of captions against the reference scorer's numbers and against some worked out by hand."""

import json
import math

import pytest

from sensorium import UserError
from sensorium.builtin.metrics.captions import Captions, bleu, cider_d, longest_common, pictures, rouge_l
from sensorium.builtin.metrics.treebank import words

# What `java -cp stanford-corenlp-3.4.1.jar edu.stanford.nlp.process.PTBTokenizer -lowerCase` makes of them, without
# the punctuation that the reference scorer leaves out.
SENTENCES = {
    "A man's dog doesn't like the cats' food, and it can't/won't eat.": "a man 's dog does n't like the cats food"
    " and it ca n't / wo n't eat",
    "Two T-shirts, three black-and-white zebras... & a 2-year-old boy!": "two t-shirts three black-and-white zebras"
    " & a 2-year-old boy",
    'The sign says "STOP" (in red) at 5:30 p.m. on Dec. 3, 2014.': "the sign says stop -lrb- in red -rrb- at 5:30 p.m."
    " on dec. 3 2014",
    "Mr. Smith's $5.50 meal cost 10% more; he'll pay 1,000 dollars": "mr. smith 's $ 5.50 meal cost 10 % more he 'll"
    " pay 1,000 dollars",
    "I'm gonna wanna say that we've cannot gotta go y'all 'tis rock 'n' roll": "i 'm gon na wan na say that we 've can"
    " not got ta go y' all 't is rock 'n' roll",
    "a #1 fan @ the U.S. Open -- really?! yes/no": "a # 1 fan @ the u.s. open really ?! yes/no",
    "A woman in the 1920's style 50s dress 1/2 eaten   pizza": "a woman in the 1920 's style 50s dress 1/2 eaten pizza",
    "'quoted words' and ``ticks'' and [brackets] {curly} <tag>": "quoted words and ticks and -lsb- brackets -rsb-"
    " -lcb- curly -rcb- <tag>",
    "the dog,the cat;a bird.The end": "the dog the cat a bird.the end",
    "A cat sitting on a couch .": "a cat sitting on a couch",
    "There are 2x4 boards e.g. wood, etc. in St. Louis": "there are 2x4 boards e.g. wood etc. in st. louis",
    "an ipod/mp3 player w/ head-phones": "an ipod/mp3 player w / head-phones",
    "O'Reilly's d'art l'eau o'clock": "o'reilly 's d'art l'eau o'clock",
    "mother-in-law's t.v. and A.M. radio A.": "mother-in-law 's t.v. and a.m. radio a.",
    "http://example.com john@example.com a_b *star* 100,000.5 -5 +3 90's '90s": "http://example.com john@example.com"
    " a_b * star * 100,000.5 -5 +3 90 's '90s",
    "two dogs' toys; she'd've who're let's it'd": "two dogs toys she 'd 've who 're let 's it 'd",
    "lemme gimme more'n dunno": "lem me gim me more 'n dunno",
    "wheel- chair semi- truck -red car": "wheel chair semi truck red car",
    "a boy(with hat)runs": "a boy -lrb- with hat -rrb- runs",
    "20mph 10:30am 5¢ \N{FRIED SHRIMP} ½ cup": "20mph 10:30 am 5 cents 1/2 cup",
    "skate boarder!!! wow?? ok?!": "skate boarder !!! wow ?? ok ?!",
    "Mix 1 1/2 cups, 1½ lb, ⅓ lb and a 1-1/2 inch or 2⅛ inch piece": "mix 1\u00a01/2 cups 1 1/2 lb 1/3 lb"
    " and a 1-1/2 inch or 2 ⅛ inch piece",
    "Salt &amp; pepper, AT&amp;T, &quot;it&apos;s&quot; 5 &lt; 6 &#39;": "salt & pepper at&t it 's 5 < 6 &#39;",
    "First _then_ a dog&cat, R&B, #hashtag, @user, C++ and C# ## __": "first _ then _ a dog & cat r&b #hashtag @user"
    " c++ and c# ## __",
    "Hey ma'am, c'mon! Za'atar, s'mores, ol' G'day and D'Angelo's": "hey ma'am c'mon za'atar s'mores ol' g'day and"
    " d'angelo 's",
    "It takes approx. 5 oz., cf. pp. 5-6, for a Ph.D. of the dept. of art. 5 in Wash. or no. five": "it takes approx 5"
    " oz. cf. pp. 5-6 for a ph.d. of the dept. of art. 5 in wash. or no five",
    "Only US$ 5 or AU$5.50 for a 2.5-inch, U.S.-based, 1,000-a-day ruler": "only us$ 5 or au$ 5.50 for a 2.5-inch"
    " u.s.-based 1,000-a-day ruler",
    "Smile :) ;-) =D (yes :)) but note:(see)": "smile :-rrb- ;--rrb- =d -lrb- yes :-rrb- -rrb- but note -lrb- see"
    " -rrb-",
    "A zero\u200bwidth naïve/big 5 m² room with CO₂ and ₩": "a zero width naïve / big 5 m ² room with co ₂ and",
    "Bake at 165 °F. The grade is B. then J. R. Smith comes": "bake at 165 ° f the grade is b. then j. r. smith comes",
    "It\u2019s O\u2019Neil\u2019s \u201990s «bar», isn\u2019t it, \u2018yes\u2019 y\u2019know": "it 's o\u2019neil 's"
    " \u201990s bar is n't it yes y\u2019 know",
    "Call (555) 123-4567, write to john@example.com, or see www.example.com/menu/today.": "call"
    " -lrb-555-rrb-\u00a0123-4567 write to john@example.com, or see www.example.com/menu/today",
    'The <a href="x y">link</a> in a/b/c/d with well-known/a-b-c-1 and :5': 'the <a\u00a0href="x\u00a0y"> link </a>'
    " in a/b/c / d with well-known/a-b-c -1 and :5",
    "A soft\u00adhyphen does n't can'ts a dog., a cat": "a softhyphen does n't ca n'ts a dog. a cat",
    "Spiral\u2010shaped 1.5-2 cups at 10:30am, '50 style and 5-6pm --5": "spiral\u2010shaped 1.5-2 cups at 10:30 am"
    " '50 style and 5-6pm 5",
}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_words_are_cut_as_the_reference_scorer_cuts_them(sentence):
    assert " ".join(words(sentence)) == SENTENCES[sentence]


def score(generated, references):
    return Captions.Config().build()({"generated": generated, "references": references})


def test_the_example_of_nlg_eval_gives_its_published_figures():
    figures = score(
        [
            "this is the model generated sentence1 which seems good enough",
            "this is sentence2 which has been generated by your model",
        ],
        [
            ["this is one reference sentence for sentence1", "this is one more reference sentence for sentence1"],
            [
                "this is a reference sentence for sentence2 which was generated by your model",
                "this is the second reference sentence for sentence2",
            ],
        ],
    )
    published = {
        "bleu_1": 0.550000,
        "bleu_2": 0.428174,
        "bleu_3": 0.284043,
        "bleu_4": 0.201143,
        "rouge_l": 0.522104,
        "cider_d": 1.242192,
    }
    assert figures == pytest.approx(published, abs=1e-6)


def test_the_example_of_aac_metrics_gives_the_reference_scorers_figures():
    figures = score(
        ["a man is speaking", "rain falls"],
        [
            ["a man speaks.", "someone speaks.", "a man is speaking while a bird is chirping in the background"],
            ["rain is falling hard on a surface"],
        ],
    )
    expected = {
        "bleu_1": 0.42784759905121095,
        "bleu_2": 0.4058918713139846,
        "bleu_3": 0.43896546187160046,
        "bleu_4": 0.45649954547375826,
        "rouge_l": 0.48706932685053234,
        "cider_d": 0.9613547163493906,
    }
    assert figures == pytest.approx(expected, abs=1e-9)


def test_photographs_first_captions_against_the_others(data):
    content = json.loads((data / "tiny_coco/annotations/captions_train2017.json").read_text())
    captions = {}
    for each in content["annotations"]:
        captions.setdefault(each["image_id"], []).append(each["caption"].strip())
    figures = score([some[0] for some in captions.values()], [some[1:] for some in captions.values()])
    expected = {
        "bleu_1": 0.6441005802695472,
        "bleu_2": 0.4299033250120204,
        "bleu_3": 0.2751489144517385,
        "bleu_4": 0.17081741741586928,
        "rouge_l": 0.4736896921751574,
        "cider_d": 0.8242807823287376,
    }
    assert figures == pytest.approx(expected, abs=1e-9)


def test_a_picture_that_is_shown_for_each_of_its_captions_counts_once():
    generated, references = ["a dog runs", "a cat"], [["a dog sits", "a brown dog"], ["a cat sleeps"]]
    once = score(generated, references)
    shown = {"generated": [generated[0]] * 2 + generated[1:], "references": [references[0]] * 2 + references[1:]}
    again = Captions.Config().build()({**shown, "picture": ["1.jpg", "1.jpg", "2.jpg"]})
    assert again == once
    assert score(**shown) != once


def test_a_picture_has_the_references_of_all_its_samples():
    rows = {"generated": ["a"] * 3, "references": [["x", "x"], ["x", "x"], ["y"]], "picture": ["1.jpg"] * 3}
    assert pictures(rows) == [("a", ["x", "x", "y"])]


def test_repeated_words_count_as_often_as_in_a_reference():
    # One of four `the` counts; the reference of two words is nearer than that of eight, so nothing is too short.
    one, two, *_ = bleu([["the"] * 4], [[["the", "cat"], ["a"] * 8]])
    assert one == pytest.approx(1 / 4)
    assert two == pytest.approx(0, abs=1e-6)


def test_a_corpus_is_counted_together_and_short_sentences_pay():
    # 2 of 2 words and 1 of 1; 3 words said where 4 + 2 are nearest.
    assert bleu([["a", "b"], ["c"]], [[["a", "b", "x", "y"]], [["c", "z"]]])[0] == pytest.approx(math.exp(1 - 6 / 3))


def test_of_two_references_as_near_the_shorter_counts():
    assert bleu([["a", "b", "c"]], [[["a", "b", "c", "d"], ["a", "b"]]])[0] == pytest.approx(1.0)


def test_rouge_takes_the_best_precision_and_recall_apart():
    assert longest_common(["a", "b", "c", "d"], ["a", "c", "d"]) == 3
    assert rouge_l(["a", "b", "c", "d"], [["a", "c", "d"]]) == pytest.approx(2.44 * 0.75 / (1 + 1.44 * 0.75))
    # precision 3/4 by the long reference, recall 1 by the short one
    both = rouge_l(["a", "b", "c", "d"], [["a", "b", "c", "x", "y", "z"], ["a"]])
    assert both == pytest.approx(2.44 * 0.75 / (1 + 1.44 * 0.75))
    assert rouge_l(["q"], [["a"]]) == 0


def test_cider_by_hand():
    # `a` is in both documents and weighs nothing; `dog` and `a dog` are right; there are no longer n-grams.
    same = cider_d([["a", "dog"], ["a", "cat"]], [[["a", "dog"]], [["a", "cat"]]])
    assert same == pytest.approx([10 * 2 / 4] * 2)
    # `red` and `dog` weigh log 2 each: cosine 1 / sqrt(2); no pair is right; one word too many.
    longer, _ = cider_d([["a", "red", "dog"], ["a", "cat"]], [[["a", "dog"]], [["a", "cat"]]])
    assert longer == pytest.approx(10 * (1 / math.sqrt(2)) / 4 * math.exp(-1 / 72))
    # clipped: `dog dog` is worth no more than `dog`, and its vector is longer.
    twice, _ = cider_d([["dog", "dog"], ["cat"]], [[["dog", "sits"]], [["cat"]]])
    assert twice == pytest.approx(10 * (1 / (2 * math.sqrt(2))) / 4)


def test_an_empty_sentence_is_worth_nothing():
    figures = score(["."], [["a dog"]])
    assert all(value == pytest.approx(0, abs=1e-6) for value in figures.values())


def test_a_mixed_fraction_is_one_word_for_rouge_alone():
    figures = Captions.Config().build()({"generated": ["1 1/2 cups"], "references": [["2 1/2 cups of milk"]]})
    # Of `1`, `1/2`, `cups` two are right; of `1 1/2`, `cups` one, and one of four words is found.
    short = math.exp(1 - 5 / 3)
    assert figures["bleu_1"] == pytest.approx(short * 2 / 3, abs=1e-6)
    assert figures["rouge_l"] == pytest.approx((1 + 1.44) * 0.5 * 0.25 / (0.25 + 1.44 * 0.5), abs=1e-6)


@pytest.mark.parametrize("references", [[], "a dog"])
def test_references_that_are_none_are_named(references):
    with pytest.raises(UserError, match="no references for the sample '7'"):
        Captions.Config().build()({"id": ["7"], "generated": ["a dog"], "references": [references]})


def test_a_task_without_sentences_is_told_so():
    with pytest.raises(UserError, match="captions"):
        Captions.Config().build()({"logits.label": []})
