from __future__ import annotations

import pytest

from jojo.data.clean.refine import CAPITAL, RULES, refine

REFINED = {
    "Yeah, I guess so.": "Yes, I guess so.",
    "Oh yeah?": "Oh yes?",
    "Nope. I'm gonna stay.": "No. I'm going to stay.",
    "You gotta go. I've gotta go.": "You have to go. I've got to go.",
    "I dunno.": "I'm not sure.",
    "Do you wanna come?": "Do you want to come?",
    "Thanks a lot.": "Thank you very much.",
    "Thanks for calling.": "Thank you for calling.",
    "ok, i'm ready.": "OK, I'm ready.",
    "Don't mention it.": "You're welcome.",
    "Bye!": "Goodbye!",
    "Why?": "Why is that?",
    "So what?": "Why does that matter?",
    "Shut up!": "Please be quiet!",
    "What the hell is that?": "What on earth is that?",
    "You are an idiot.": "You are a fool.",
    "Sure, honey.": "Sure.",
    "Um, let me see.": "Let me see.",
    "That's great!!!": "That's great!",
    "that is fine.": "That is fine.",
}
UNTOUCHED = [
    "I don't know.",
    "Thanks to you, I made it.",
    "My honey, bread and butter are in the bag.",
    "He is a good man. A bee makes honey.",
    "Why not?",
    "What?",
    "The Yeahs are a band; Mr. Okada likes them.",
    "Press i.e. the left key, or A-i.",
    "Hello! How can I help you?",
    "",
]


@pytest.mark.parametrize(("before", "after"), REFINED.items())
def test_refines(before: str, after: str) -> None:
    text, changed_by = refine(before)
    assert text == after
    assert changed_by
    assert refine(after) == (after, [])


@pytest.mark.parametrize("text", UNTOUCHED)
def test_leaves_alone(text: str) -> None:
    assert refine(text) == (text, [])


def test_names_say_what_changed() -> None:
    assert refine("yeah, gonna go")[1] == ["yeah -> yes", "gonna -> going to", CAPITAL]


class Unexpanded(dict):
    """Stands for a match; a rule's replacement is then the text in the table."""

    expand = staticmethod(str)


def test_nothing_is_ever_appended() -> None:
    """A long turn keeps its end and its length: rules reword, they don't add sentences."""
    text = "The train to London leaves at nine from platform two, I believe."
    assert refine(text)[0] == text
    assert all(len(rule.replacement(Unexpanded({0: ""}))) < 45 for rule in RULES)
    assert all(rule.needle == rule.needle.lower() for rule in RULES)
