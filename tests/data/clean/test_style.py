from __future__ import annotations

from pathlib import Path

import pytest

from jojo.data.clean.style import Style, load_style
from jojo.files import ROOT

TSUKI = load_style(ROOT / "examples" / "tsuki-style.toml")
REWORDED = {
    "I do not know.": "Hmm, not sure about that one.",
    "Sorry, I don’t know!": "Sorry, hmm, not sure about that one!",
    "i don't know": "hmm, not sure about that one",
    "That is correct.": "Yep, nailed it!",
    "Nice. That's correct!": "Nice. Yep, nailed it!",
    "I apologize.": "Oops, my bad.",
    "I apologise for the delay.": "Oops, my bad for the delay.",
    "Therefore, we stay.": "So like, we stay.",
    "We ate; therefore, we stay.": "We ate; so like, we stay.",
    "It is recommended that you rest.": "You should probably rest.",
    "It's recommended to rest.": "You should probably rest.",
}
UNTOUCHED = [
    "I don't know him.",
    "That's correct, sir.",
    "However hard it is, go on.",
    "It is, however, late.",
    "Write `I do not know.` here.",
    "```\nHowever, this is code.\n```",
    "See https://a.example/However, then",
    "What I do not know-how about is this.",
    "",
]


@pytest.mark.parametrize(("before", "after"), REWORDED.items())
def test_tsuki_rewords(before: str, after: str) -> None:
    text, changed_by = TSUKI.apply(before)
    assert text == after
    assert len(changed_by) == 1
    assert TSUKI.apply(after) == (after, [])


@pytest.mark.parametrize("text", UNTOUCHED)
def test_tsuki_leaves_alone(text: str) -> None:
    assert TSUKI.apply(text) == (text, [])


def test_the_guides_table_is_complete() -> None:
    """Every row of the shipped table: what stands left becomes what stands right."""
    said = {TSUKI.apply(f"However, it rains on day {i}.")[0].split(",")[0] for i in range(40)}
    assert said == {"But yeah", "Still though"}


def test_the_text_chooses_among_several_ways() -> None:
    first = [TSUKI.apply(f"However, it rains on day {i}.")[0] for i in range(20)]
    again = load_style(ROOT / "examples" / "tsuki-style.toml")
    assert [again.apply(f"However, it rains on day {i}.")[0] for i in range(20)] == first


@pytest.fixture
def style(tmp_path):
    def write(text: str) -> Style:
        (tmp_path / "style.toml").write_text(text, encoding="utf-8")
        return load_style(tmp_path / "style.toml")

    return write


def test_whole_words_and_case(style) -> None:
    rules = style('[[rule]]\ninstead_of = ["cat", "I will"]\nuse = "Kitty \\\\1"')
    assert rules.apply("Cat")[0] == r"Kitty \1"
    assert rules.apply("a cat, cats, concat, cat's")[0] == r"a kitty \1, cats, concat, cat's"
    assert rules.apply("so I'll go") == (r"so kitty \1 go", ["cat"])


def test_marks_at_the_ends_and_a_byte_order_mark(style) -> None:
    rules = style('\ufeff[[rule]]\ninstead_of = "C++"\nuse = "Rust"')
    assert rules.apply("C++, C++11, (C++)!")[0] == "Rust, C++11, (Rust)!"


def test_short_and_long_forms_are_one(style) -> None:
    rules = style('[[rule]]\ninstead_of = ["we cannot", "it isn\'t"]\nuse = "x"')
    for said in ("we cannot", "We can't", "we can not", "it is not", "it isn’t"):
        assert rules.apply(said)[0].lower() == "x", said


BAD = {
    "no = 1": "unknown key 'no'",
    "[[rule]\n": "is not valid TOML",
    "": "has no rules",
    "rule = [1]": "has no rules",
    '[[rule]]\ninstead_of = "a"\nuze = "b"': "rule 1: unknown key 'uze': did you mean 'use'?",
    '[[rule]]\ninstead_of = ""\nuse = "b"': "rule 1: instead_of is empty",
    '[[rule]]\ninstead_of = "a"\nuse = []': "rule 1: use is empty",
    '[[rule]]\nuse = "a"': "rule 1: instead_of must be text",
    '[[rule]]\ninstead_of = 3\nuse = "a"': "rule 1: instead_of must be text",
    '[[rule]]\ninstead_of = "a"\nuse = "b"\nwhere = "end"': "where = 'end' is none of anywhere",
}


@pytest.mark.parametrize(("text", "says"), BAD.items())
def test_bad_files(style, complaint, text: str, says: str) -> None:
    message = complaint(style, text)
    assert says in message
    assert "style.toml" in message


def test_missing_file(complaint, tmp_path: Path) -> None:
    assert "no.toml does not exist" in complaint(load_style, tmp_path / "no.toml")
