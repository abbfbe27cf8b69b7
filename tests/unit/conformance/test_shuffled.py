"""What the controls learn from: fields that are dealt out to other samples, one by one or together."""

from sensorium.conformance.learning import Shuffled

SPLIT = [{"id": str(i), "caption": i, "captions": [i], "tags": i} for i in range(50)]


def test_sentences_go_together_to_other_pictures_and_the_rest_stays():
    dealt = list(map(Shuffled(SPLIT, ["caption", "captions"], together=True).__getitem__, range(50)))
    assert all([each["caption"]] == each["captions"] for each in dealt)
    assert all(each["tags"] == int(each["id"]) for each in dealt)
    assert sum(each["caption"] == each["tags"] for each in dealt) < 10
    assert sorted(each["caption"] for each in dealt) == list(range(50))


def test_else_each_field_goes_by_itself():
    dealt = list(map(Shuffled(SPLIT, ["caption", "captions"]).__getitem__, range(50)))
    assert sum([each["caption"]] == each["captions"] for each in dealt) < 10
