"""Generated chit-chat: conversations from a table of phrasings, and prompts to test replies with.

    for conversation in generate_chats(conversations=25_000, seed=1337): ...
    for prompt in held_out_prompts(seed=1, n=300): judge(reply, prompt.intent, prompt.slots)

What is said comes from the table alone (`data/chitchat.toml`, read by table.py). Here: how a plan
becomes a conversation, what is remembered of it, and how people type. Whether a reply to a phrasing
that training never showed is right, judge.py decides.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from jojo.data.chitchat.table import SLOT, Intent, Line, Slots, Table, load_table, row_name
from jojo.text.template import Conversation

LEAD_UPS = (0, 0, 1, 2)  # exchanges of small talk before a held-out phrasing


@dataclass(slots=True)
class Prompt(Conversation):
    """A conversation that ends in a user turn; `slots` is what a right reply may have to name."""

    slots: Slots = field(default_factory=dict)


class Talk:
    """One conversation in the making: its messages, and what has been said to remember."""

    def __init__(self, table: Table, rng: random.Random, new_values: bool = False):
        self.table, self.rng, self.new_values = table, rng, new_values
        self.messages: list[dict[str, str]] = []
        self.known: Slots = {}
        self.done: set[str] = set()
        self.intent: str | None = None
        if rng.random() < table.system_share:
            self.messages.append({"role": "system", "content": rng.choice(table.system)})

    def follow_plan(self) -> None:
        for turn in self.rng.choice(self.rng.choice(self.table.plans)):
            intent = self.pick(turn)
            reply = self.exchange(intent)
            while reply.endswith("?") and intent.then and self.chance(self.table.follow_share):
                intent = self.table.intents[self.rng.choice(intent.then)]
                reply = self.exchange(intent)

    def lead_up_to(self, intent: Intent) -> None:
        """Say what may come before `intent`: nothing, some small talk, what it refers to."""
        if intent.recalls and self.chance(0.75):
            self.exchange(self.table.intents[intent.recalls])
        self.done.add(intent.name)
        for _ in range(self.rng.choice(LEAD_UPS)):
            self.exchange(self.pick("@any"))
        if intent.context:
            self.exchange(self.rng.choice(self.table.before[intent.name]), asking=True)

    def pick(self, turn: str) -> Intent:
        """The intent of that name, or one of that `@group` not yet used here."""
        if not turn.startswith("@"):
            return self.table.intents[turn]
        group = self.table.groups[turn]
        return self.rng.choice([i for i in group if i.name not in self.done] or group)

    def exchange(self, intent: Intent, asking: bool = False) -> str:
        self.ask(intent, intent.user)
        return self.answer(intent, asking)

    def ask(self, intent: Intent, lines: tuple[Line, ...]) -> None:
        """Add a user turn; the slots it fills are known from here on."""
        text = self.vary(self.rng.choice(self.rng.choice(lines)), intent.plain)
        drawn: Slots = {}
        for slot in SLOT.findall(text):
            drawn.update(self.draw(slot, others=set(drawn.values())))
        self.known.update(drawn)
        if self.chance(0.04):
            text = self.mistype(text)
        text = self.fill(text)
        if self.chance(0.05):
            text = text.lower()
        self.messages.append({"role": "user", "content": text})
        self.intent = intent.name

    def answer(self, intent: Intent, asking: bool = False) -> str:
        for slot in intent.draws:
            self.known.update(self.draw(slot))
        lines = intent.replies(self.known)
        if asking:
            lines = [line for line in lines if line[0].endswith("?")] or lines
        reply = sentence_case(self.fill(self.rng.choice(self.rng.choice(lines))))
        self.messages.append({"role": "assistant", "content": reply})
        self.done.add(intent.name)
        return reply

    def draw(self, slot: str, others: set[str] = frozenset()) -> Slots:
        """Values for a slot and the columns that go with it, unlike the `others` of its turn."""
        name = row_name(slot)
        rows = self.table.rows[name]
        if self.new_values and name in self.table.new_rows and self.chance(0.1):
            rows = self.table.new_rows[name]
        row = self.rng.choice([row for row in rows if row[name] not in others] or rows)
        return {slot: row[name]} if slot != name else row  # {word2} is not remembered as {word}

    def fill(self, text: str) -> str:
        return SLOT.sub(lambda match: self.known[match[1]], text)

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def vary(self, text: str, plain: bool) -> str:
        """The same phrasing as different people type it; slots are filled afterwards."""
        kind = "question" if text.endswith("?") else "statement"
        openers, tails = self.table.openers[kind], self.table.tails[kind]
        bare = text.rstrip(".!?") or text
        mark = text[len(bare) :]
        if openers and not plain and self.chance(0.25):
            bare = f"{self.rng.choice(openers)} {bare}"
        if tails and not plain and self.chance(0.15):
            bare += f"{self.rng.choice(['', ','])} {self.rng.choice(tails)}"
        style = self.rng.random()
        if style < 0.5:
            return bare[0].upper() + bare[1:] + (mark or self.rng.choice((".", ".", "!", "")))
        if style < 0.6:
            return bare[0].upper() + bare[1:]
        if style < 0.7:
            return bare.lower() + mark
        return bare.lower() if style < 0.85 else re.sub(r"[',]", "", bare.lower())

    def mistype(self, text: str) -> str:
        """Two neighbouring letters of one longer word, none in a slot, change places."""
        words = list(re.finditer(r"(?<!\{)\b[a-z]{5,}\b(?!\})", text))
        if not words:
            return text
        at = self.rng.choice(words).start() + self.rng.choice((1, 2))
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def sentence_case(text: str) -> str:
    return re.sub(r"(^|[.!?] )([a-z])", lambda match: match[1] + match[2].upper(), text)


def generate_chats(
    conversations: int, seed: int, val_fraction: float = 0.05, table: Table | None = None
) -> Iterator[Conversation]:
    """Conversations 0, 1, ...: each a pure function of (seed, its number, the table).

    Those of the validation split end in a held-out phrasing and its reply. With a table too small
    to hold any out, the split is left open.
    """
    table = table or load_table()
    tested = [intent for intent in table.intents.values() if intent.held_out]
    for number in range(conversations):
        rng = random.Random(f"{seed}/{number}")
        if tested and rng.random() < val_fraction:
            talk = Talk(table, rng, new_values=True)
            intent = rng.choice(tested)
            talk.lead_up_to(intent)
            talk.ask(intent, intent.held_out)
            talk.answer(intent)
            yield Conversation(talk.messages, "val", intent.name)
        else:
            talk = Talk(table, rng)
            talk.follow_plan()
            yield Conversation(talk.messages, "train" if tested else None, talk.intent)


def held_out_prompts(seed: int, n: int, table: Table | None = None) -> list[Prompt]:
    """Contexts that end in a user turn of a held-out phrasing, all intents about equally often."""
    table = table or load_table()
    tested = [intent for intent in table.intents.values() if intent.held_out]
    prompts = []
    for number in range(n):
        rng = random.Random(f"prompt/{seed}/{number}")
        intent = tested[number % len(tested)]
        talk = Talk(table, rng)
        talk.lead_up_to(intent)
        talk.ask(intent, intent.held_out)
        prompts.append(Prompt(talk.messages, "val", intent.name, slots=talk.known))
    return prompts
