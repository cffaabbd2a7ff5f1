"""Whether a reply carries its intent."""

from __future__ import annotations

import itertools
import random

from jojo.data.chitchat.judge import judge
from jojo.data.chitchat.table import load_table
from jojo.data.chitchat.talk import Talk, held_out_prompts, sentence_case

KNOWN = {
    "name": "Anna",
    "city": "Oslo",
    "colour": "blue",
}


def test_right_replies_are_judged_right_and_others_wrong(table):
    """Every intent's own reply to held-out prompts, and that reply taken for another's."""
    rng = random.Random(0)
    names = list(table.intents)
    for number, prompt in enumerate(held_out_prompts(seed=2, n=2 * len(names))):
        talk = Talk(table, random.Random(number))
        talk.known = dict(prompt.slots)
        intent = table.intents[prompt.intent]
        reply = talk.answer(intent)
        assert judge(reply, prompt.intent, prompt.slots), (prompt.intent, reply)
        for other in rng.sample(names, 3):
            kin = {intent.name, intent.same_as, table.intents[other].same_as} & {other, intent.name}
            if other != intent.name and len(kin) < 2:
                assert not judge(reply, other, prompt.slots), (other, reply)


def test_every_reply_template_is_nearest_to_its_own_intent(table):
    for intent in table.intents.values():
        talk = Talk(table, random.Random(1))
        talk.known = dict(KNOWN)
        talk.ask(intent, intent.user)
        talk.known |= table.rows["riddle"][0]
        for slot in intent.draws:
            talk.known |= talk.draw(slot)
        for text in itertools.chain(*intent.replies(talk.known)):
            reply = sentence_case(talk.fill(text))
            assert judge(reply, intent.name, talk.known), (intent.name, reply)


def test_a_remembered_name_must_be_the_right_one():
    assert judge("Your name is Anna.", "recall_name", {"name": "Anna"})
    assert not judge("Your name is Ben.", "recall_name", {"name": "Anna"})
    assert not judge("You haven't told me your name yet.", "recall_name", {"name": "Anna"})
    assert judge("You haven't told me your name yet.", "recall_name", {})
    assert not judge("Your name is Anna.", "recall_name", {})
    assert not judge("The capital of France is Rome.", "capital", load_table().rows["country"][0])


def test_a_loose_but_right_reply_is_right_and_rubbish_is_wrong():
    assert judge("You're welcome! Happy to help.", "thanks")
    assert judge("Goodbye! Come back soon.", "bye")
    assert judge("I can't do that, sorry. I only chat.", "errands")
    for rubbish in ("", "...", "the the the", "You're you name is is", "I'm"):
        assert not judge(rubbish, "thanks")
        assert not judge(rubbish, "who_are_you")
