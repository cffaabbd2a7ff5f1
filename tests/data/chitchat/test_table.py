"""The phrasing table of chit-chat."""

from __future__ import annotations

import itertools
import re
from collections import Counter

import pytest
from bots import SMALL, write_table

from jojo.data.chitchat.table import Table, expansions, normal, row_name


def test_alternatives_are_all_read_and_spaces_mended():
    assert expansions("[hi|hello] Jojo [now|], ok") == (
        "hi Jojo now, ok",
        "hi Jojo, ok",
        "hello Jojo now, ok",
        "hello Jojo, ok",
    )
    assert set(expansions("[a|b [c|d]|] e")) == {"a e", "b c e", "b d e", "e"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("plans = ", "not a phrasing table"),
        ("a = 1", "no plans and no intents"),
        (SMALL.replace("@any", "@nothing"), "@nothing"),
        (SMALL + "then = ['nobody']", "'nobody'"),
        (SMALL.replace('"Hi!"', '""'), "`user` and `reply`"),
        (SMALL.replace('"hello"', '"I am {name}"'), "{name}: add its values under [rows]"),
        (SMALL.replace('"Hi!"', '"Hi, {name}!"'), "add `otherwise`"),
        (SMALL + "context = true", "`then` of another"),
    ],
)
def test_a_wrong_table_is_told_in_one_line(tmp_path, text, complaint):
    with pytest.raises(ValueError, match=re.escape(complaint)) as error:
        Table(write_table(tmp_path, text))
    assert "\n" not in str(error.value) or complaint == "not a phrasing table"


def test_every_intent_has_many_phrasings_and_some_held_out(table):
    assert len(table.intents) >= 60
    for intent in table.intents.values():
        lines = len(intent.user) + len(intent.held_out)
        assert lines >= 24, intent.name
        assert 2 <= len(intent.held_out) <= 0.2 * lines + 1, intent.name
        if not intent.same_as:
            assert intent.reply, intent.name
    held_out = sum(len(i.held_out) for i in table.intents.values())
    assert 0.13 < held_out / sum(len(i.user + i.held_out) for i in table.intents.values()) < 0.17


def test_words_of_held_out_phrasings_are_covered_in_training(table):
    spread = Counter()
    for intent in table.intents.values():
        spread.update({w for line in intent.user for text in line for w in normal(text).split()})
    for intent in table.intents.values():
        lines = Counter(w for line in intent.user for w in {w for t in line for w in words(t)})
        for word in {w for line in intent.held_out for text in line for w in words(text)}:
            assert lines[word] >= 2 or spread[word] >= 8, (intent.name, word)


def words(text):
    return [row_name(word) for word in normal(text).split()]


def test_replies_are_short_and_unlike_those_of_other_intents(table):
    owner = {}
    for intent in table.intents.values():
        for text in itertools.chain(*intent.reply, *intent.otherwise):
            assert len(text.split()) <= 30
            source = intent.same_as or intent.name
            assert owner.setdefault(normal(text), source) == source, text
    for rows in table.rows.values():
        assert all(len(value.split()) <= 30 for row in rows for value in row.values())
