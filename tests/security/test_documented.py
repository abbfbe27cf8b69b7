"""SECURITY.md keeps its word: each sentence of a list names a test that holds it, and each that is named exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))
PROMISES = [" ".join(item.split()) for item in re.findall(r"^- (.*(?:\n  .*)*)", TEXT, re.MULTILINE)]


@pytest.mark.parametrize(("path", "test"), NAMED)
def test_each_test_that_is_named_exists(path, test):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise[:40])
def test_each_sentence_of_a_list_names_its_test(promise):
    assert re.search(r"\(`tests/[\w/]+\.py::\w+`(,? (and )?`tests/[\w/]+\.py::\w+`)*\)\.$", promise)


def test_promises_are_found():
    assert len(NAMED) > 20
    assert len(PROMISES) > 20
    assert TEXT.count("::") == len(re.findall(r"`tests/[\w/]+\.py::\w+`", TEXT))
