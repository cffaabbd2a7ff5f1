"""Replies: drawn, read as text, and ended where their template ends them."""

from __future__ import annotations

import pytest

import tokenizer
from jojo.chat.engine import ReplyReader, banned_ids
from jojo.text.template import TEMPLATES
from tokenizer import ENDOFTEXT, IM_END, IM_START

NEWLINE = 198


def read(template: str, ids: list[int], nonstop: bool = False) -> tuple[list[str], ReplyReader]:
    reader = ReplyReader(TEMPLATES[template], nonstop)
    pieces = [reader.push(token) for token in ids]
    return [*pieces, reader.finish()], reader


def text_ids(text: str) -> list[int]:
    return tokenizer.encode(text)


def test_a_chatml_reply_ends_at_im_end_without_its_line_break():
    pieces, reader = read("chatml", [*text_ids("Hello, you!\n"), IM_END, *text_ids("more")])
    assert "".join(pieces) == reader.reply.text == "Hello, you!"
    assert reader.reply.ended
    assert reader.reply.ids == [*text_ids("Hello, you!\n"), IM_END]


@pytest.mark.parametrize("stop", [IM_END, ENDOFTEXT])
def test_either_end_ends_a_chatml_reply(stop):
    pieces, reader = read("chatml", [*text_ids("Hi"), stop])
    assert "".join(pieces) == "Hi"
    assert reader.reply.ended


def test_a_line_break_is_held_back_until_words_follow():
    pieces, reader = read("chatml", [*text_ids("one"), NEWLINE, *text_ids("two"), NEWLINE, IM_END])
    assert pieces[0] == "one"
    assert pieces[1] == ""
    assert pieces[2] == "\ntwo"
    assert "".join(pieces) == reader.reply.text == "one\ntwo"


def test_an_emoji_is_shown_whole():
    pieces, _ = read("chatml", [*text_ids("🙂"), NEWLINE, IM_END])
    assert pieces[:2] == ["", "🙂"]
    assert "".join(pieces) == "🙂"


def test_a_line_break_before_an_emoji_is_kept():
    pieces, _ = read("chatml", [*text_ids("a\n🙂\n"), IM_END])
    assert "".join(pieces) == "a\n🙂"


def test_a_reply_that_never_ends_shows_all_but_the_last_line_break():
    pieces, reader = read("chatml", text_ids("Hello there\n"))
    assert "".join(pieces) == reader.reply.text == "Hello there"
    assert not reader.reply.ended


@pytest.mark.parametrize("template", ["person", "speaker"])
def test_a_line_template_ends_at_the_line(template):
    pieces, reader = read(template, text_ids(" Hello, you!\nPerson A: Bye"))
    assert "".join(pieces) == reader.reply.text == "Hello, you!"
    assert reader.reply.ended


@pytest.mark.parametrize("template", ["person", "speaker"])
def test_a_line_template_also_ends_with_the_conversation(template):
    pieces, reader = read(template, [*text_ids(" Hello"), ENDOFTEXT])
    assert "".join(pieces) == "Hello"
    assert reader.reply.ended


def test_a_text_goes_on_to_the_end_of_the_document():
    pieces, reader = read("text", [*text_ids("One.\n\nTwo.\n"), ENDOFTEXT])
    assert "".join(pieces).rstrip() == "One.\n\nTwo."
    assert pieces[1:4] == [".", "\n", "\n"]
    assert reader.reply.ended


def test_nonstop_shows_everything():
    ids = [*text_ids("Hi\n"), IM_END, NEWLINE, *text_ids("Yo")]
    pieces, reader = read("chatml", ids, nonstop=True)
    assert "".join(pieces) == "Hi\n<|im_end|>\nYo"
    assert not reader.reply.ended
    pieces, reader = read("person", text_ids("Hi\nPerson A: Yo\n"), nonstop=True)
    assert "".join(pieces) == "Hi\nPerson A: Yo\n"


def test_only_the_program_opens_a_turn():
    assert banned_ids(TEMPLATES["chatml"]) == [IM_START]
    assert banned_ids(TEMPLATES["chatml"], nonstop=True) == []


def test_an_empty_reply_is_empty():
    pieces, reader = read("chatml", [NEWLINE, IM_END])
    assert "".join(pieces) == reader.reply.text == ""
    assert reader.reply.ended
