"""word2vec: vectors of words that say which words stand around them (Mikolov et al. 2013)."""

from sensorium import hookimpl


@hookimpl
def sensorium_datasets() -> dict[str, str]:
    """A made-up grammar, plain text, Wikipedia's articles, and lists of analogies and of similar words."""
    return {
        "grammar": "sensorium_word2vec.grammar:Grammar",
        "plain_text": "sensorium_word2vec.corpora:PlainText",
        "wikipedia": "sensorium_word2vec.corpora:Wikipedia",
        "analogies": "sensorium_word2vec.tests_of_words:Analogies",
        "word_pairs": "sensorium_word2vec.tests_of_words:WordPairs",
    }


@hookimpl
def sensorium_metrics() -> dict[str, str]:
    """What vectors of words are measured by."""
    return {
        "analogies": "sensorium_word2vec.metrics:AnalogyAccuracy",
        "similarity": "sensorium_word2vec.metrics:Similarity",
    }


@hookimpl
def sensorium_tasks() -> dict[str, str]:
    """The task `word2vec`."""
    return {"word2vec": "sensorium_word2vec.task:SkipGram"}
