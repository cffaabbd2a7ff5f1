from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jojo.data.clean.truecase import truecase


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("hello! how are you? i am fine.", "Hello! How are you? I am fine."),
        ("well i'm ok, and i", "Well I'm ok, and I"),
        ("in the usa i watch tvs, my gps on tv", "In the USA I watch TVs, my GPS on TV"),
        ("on mondays and in july, not in may", "On Mondays and in July, not in may"),
        ("i moved from new york city to south korea", "I moved from New York City to South Korea"),
        ("my italian friend speaks french", "My Italian friend speaks French"),
        ("my name is zorg. her name's not odd", "My name is Zorg. Her name's not odd"),
        ("a dog named rex, named after my dad", "A dog named Rex, named after my dad"),
        ("i m sure you re ok, it s late, i didn t", "I'm sure you're ok, it's late, I didn't"),
        ("guess how old i'm? as young as i've.", "Guess how old I am? As young as I have."),
        ("yes i'm, so they're. i'll if that's it's", "Yes I am, so they are. I'll if that's it is"),
        ("i've two dogs, i've been away", "I have two dogs, I've been away"),
        ("i've to go", "I have to go"),
        ("i work in it and love it", "I work in IT and love it"),
        ("taylor swift likes me, taylor does not", "Taylor Swift likes me, Taylor does not"),
        ("ask mr. jones, e.g. tomorrow... or not", "Ask Mr. jones, e.g. tomorrow... or not"),
        ('he said "go." then i left', 'He said "go." Then I left'),
        ("game of thrones and the walking dead", "Game of Thrones and the Walking Dead"),
        ("Somebody typed this. i stays", "Somebody typed this. i stays"),
        ("a wifi tail. an i-beam is no i", "A wifi tail. An i-beam is no I"),
        ("turkey and a polish china plate will do", "Turkey and a polish china plate will do"),
        ("", ""),
    ],
)  # fmt: skip
def test_capitals(before: str, after: str):
    assert truecase(before) == after
    assert truecase(after) == after


@given(st.text(alphabet='abi dsto.?!"n', max_size=60))
def test_only_capitals_and_apostrophes_change(text: str):
    assert truecase(truecase(text)) == truecase(text)
    done = truecase(text).lower().replace("'", "")
    assert done.replace(" ", "") == text.replace(" ", "")
