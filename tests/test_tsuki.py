"""The persona that is shipped: sixty conversations with Tsuki, and prompts she never saw."""

from __future__ import annotations

import json
import re

import pytest

from jojo.data.own.recipe import RECIPE, FileOptions
from jojo.data.prepare import prepare
from jojo.files import ROOT

FILE = ROOT / "examples" / "tsuki.jsonl"
PROMPTS = ROOT / "examples" / "tsuki_prompts.txt"
STYLE = re.compile(r"~|\b(?:hehe|hmph|aww|ooh|yay|yep|nope|oops|hmm|silly)\b", re.IGNORECASE)
IDENTITY = re.compile(r"\b(?:name|who|call|called|chatbot)\b", re.IGNORECASE)


@pytest.fixture(scope="module")
def conversations() -> list[list[dict[str, str]]]:
    return [json.loads(line)["messages"] for line in FILE.read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def replies(conversations) -> list[str]:
    return said_by("assistant", conversations)


@pytest.fixture(scope="module")
def prompts() -> list[str]:
    return PROMPTS.read_text("utf-8").splitlines()


def said_by(role: str, conversations: list[list[dict[str, str]]]) -> list[str]:
    return [m["content"] for messages in conversations for m in messages if m["role"] == role]


def words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", text.lower()))


def test_sixty_conversations_of_one_to_four_exchanges(conversations):
    assert len(conversations) == 60
    for messages in conversations:
        roles = [m["role"] for m in messages]
        if roles[0] == "system":
            roles = roles[1:]
        assert roles in [["user", "assistant"] * n for n in (1, 2, 3, 4)], messages[0]
    assert 15 <= len(said_by("system", conversations)) <= 25


def test_replies_are_short_plain_and_never_the_same(replies):
    assert all(5 <= len(reply.split()) <= 30 for reply in replies)
    assert all(reply.isascii() and reply == reply.strip() for reply in replies)
    assert len({words(reply) for reply in replies}) == len(replies)


def test_the_name_is_said_often_and_the_style_is_kept(conversations, replies):
    assert sum("Tsuki" in reply for reply in replies) >= 12
    assert sum(bool(STYLE.search(reply)) for reply in replies) >= 0.95 * len(replies)
    assert not any("Jojo" in reply for reply in replies)
    systems = set(said_by("system", conversations))
    assert len(systems) == 3
    assert all("Tsuki" in system for system in systems)


def test_held_out_prompts_stand_in_no_conversation(conversations, prompts):
    assert len(prompts) == len({words(prompt) for prompt in prompts}) == 20
    assert sum(bool(IDENTITY.search(prompt)) for prompt in prompts) >= 6
    asked = {words(text) for text in said_by("user", conversations)}
    assert not [prompt for prompt in prompts if words(prompt) in asked]


def test_nothing_of_it_is_dropped(tmp_path):
    options = FileOptions(paths=(FILE,), name="tsuki", out_dir=tmp_path)
    manifest = prepare(RECIPE, options)
    assert manifest.records_in == 60
    assert sum(manifest.conversations.values()) == 60
    assert min(manifest.conversations.values()) > 0
    assert not manifest.dropped
    assert not manifest.notes["skipped"]
    assert manifest.notes["quality"]["warnings"] == ["tiny"]
