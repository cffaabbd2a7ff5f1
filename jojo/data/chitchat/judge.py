"""Whether a reply carries the intent that was asked for, by the table of chit-chat."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

from jojo.data.chitchat.table import SLOT, Intent, Line, Slots, Table, load_table, normal, row_name

RIGHT = 0.6  # the least score of a right reply
MARGIN = 0.04  # and by how much it must lead every other intent
PIECES = 0.95  # the worth of a reply put together from right sentences


Grams = frozenset[str]


def judge(reply: str, intent: str, slots: Slots | None = None, table: Table | None = None) -> bool:
    """Does `reply` carry this intent: nearer to one of its replies than to any other intent's?

    It must also name the slots that all the intent's replies name (the user's name, a capital).
    """
    table = table or load_table()
    own, slots = table.intents[intent], slots or {}
    said = f" {normal(reply)} "
    if not all(f" {normal(slots[slot])} " in said for slot in _required(own, slots)):
        return False
    found = scores(reply, own, slots, table)
    source = own.same_as or own.name
    kin = {name for name, i in table.intents.items() if source in (i.name, i.same_as)}
    rival = max((score for name, score in found.items() if name not in kin), default=0.0)
    return found[intent] >= RIGHT and found[intent] >= rival + MARGIN


def scores(reply: str, own: Intent, slots: Slots, table: Table) -> dict[str, float]:
    """How near the reply is to each intent's nearest reply, 0 to 1.

    Nearness is the F1 of shared words and word pairs, of the whole or sentence by sentence,
    so that two halves of two right replies are right as well.
    """
    whole, parts = _grams(reply), [_grams(part) for part in _sentences(reply)]
    size = sum(map(len, parts))
    found = {}
    for intent in table.intents.values():
        lines = own.replies(slots) if intent is own else intent.reply + intent.otherwise
        known = tuple((slot, slots[slot]) for slot in intent.told_slots & slots.keys())
        texts, sentences = _filled(intent, lines, known, table)
        best = max((_f1(whole, text) for text in texts), default=0.0)
        if len(parts) > 1 and best < 1:
            near = (len(p) * max((_f1(p, s) for s in sentences), default=0.0) for p in parts)
            best = max(best, PIECES * sum(near) / size)
        found[intent.name] = best
    return found


def _required(own: Intent, slots: Slots) -> set[str]:
    named = [set(SLOT.findall(text)) for line in own.replies(slots) for text in line]
    return (set.intersection(*named) & slots.keys()) - set(own.draws) if named else set()


@lru_cache(maxsize=1 << 12)
def _filled(
    intent: Intent, lines: tuple[Line, ...], known: tuple[tuple[str, str], ...], table: Table
) -> tuple[set[Grams], set[Grams]]:
    """The word sets of all these replies, whole and by sentence, with all that they may draw."""
    fillings = [dict(known)]
    for slot in intent.draws:
        fillings = [{**slots, **row} for slots in fillings for row in table.rows[row_name(slot)]]
    texts = {
        SLOT.sub(lambda match, slots=slots: slots.get(match[1], ""), template)
        for line in lines
        for template in line
        for slots in fillings
    }
    sentences = {sentence for text in texts for sentence in _sentences(text)}
    return set(map(_grams, texts)), set(map(_grams, sentences))


def _sentences(text: str) -> list[str]:
    return [part for part in re.split(r"(?<=[.!?:])\s+", text) if normal(part).strip()]


@lru_cache(maxsize=1 << 16)
def _grams(text: str) -> Grams:
    words = normal(text).split()
    return frozenset(words) | {f"{a} {b}" for a, b in pairwise(words)}


def _f1(a: Grams, b: Grams) -> float:
    return 2 * len(a & b) / (len(a) + len(b)) if a and b else 0.0
