"""The phrasing table of generated chit-chat (`data/chitchat.toml`, whose header explains it), read.

    table = load_table()          # or load_table(Path("my-bot.toml"))
    table.intents["greet"].user, .held_out, .reply

A phrasing is one line of the table. A share of them is held out for validation: such a line, with
all its alternatives, is never in training, but its words are: each occurs in several training
lines of its own intent, or in many other intents.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from jojo.command import parse_toml
from jojo.files import ROOT

TABLE = ROOT / "data" / "chitchat.toml"
HELD_OUT_SHARE = 0.15  # of the lines of every intent
KEPT_LINES = 3  # the first lines of an intent are its plainest: never held out
COVER = 2  # training lines of the intent in which each word of a held-out line must occur, or else
COMMON = 12  # intents in which it must occur
KINDS = ("question", "statement")
ENDS = ("close", "alone")  # groups that @any leaves out
INNERMOST = re.compile(r"\[([^\[\]]*)\]")
SLOT = re.compile(r"\{(\w+)\}")
Slots = dict[str, str]
Line = tuple[str, ...]  # every reading of one line


@dataclass(frozen=True)
class Intent:
    """One thing a user can mean; the table's header explains the fields."""

    name: str
    group: str
    user: tuple[Line, ...]  # training phrasings
    held_out: tuple[Line, ...]
    reply: tuple[Line, ...]
    otherwise: tuple[Line, ...]
    then: tuple[str, ...]
    draws: tuple[str, ...]
    context: bool
    plain: bool
    recalls: str | None
    same_as: str | None

    def replies(self, known: Slots) -> tuple[Line, ...]:
        """The lines that can be said by one who knows these slots."""
        can = known.keys() | set(self.draws)
        said = tuple(line for line in self.reply if set(SLOT.findall(line[0])) <= can)
        return said or self.otherwise

    @cached_property
    def asked_slots(self) -> set[str]:
        """The slots that its user lines fill."""
        return _slots(self.user + self.held_out)

    @cached_property
    def told_slots(self) -> set[str]:
        """The slots that its replies name."""
        return _slots(self.reply + self.otherwise)


def _slots(lines: tuple[Line, ...]) -> set[str]:
    return {slot for line in lines for text in line for slot in SLOT.findall(text)}


def row_name(slot: str) -> str:
    return slot.rstrip("0123456789")  # {word2} is a second draw from the rows of {word}


def expansions(text: str) -> Line:
    """Every way to read the `[a|b]` alternatives of a line (they may be nested and empty)."""
    match = INNERMOST.search(text)
    if not match:
        return (re.sub(r" ([,.!?])", r"\1", " ".join(text.split())),)
    before, after = text[: match.start()], text[match.end() :]
    ways = (expansions(before + option + after) for option in match[1].split("|"))
    return tuple(dict.fromkeys(way for group in ways for way in group))


def normal(text: str) -> str:
    """Lower case without punctuation."""
    return " ".join(re.sub(r"[^\w\s{}]", "", text.lower().replace("-", " ")).split())


@lru_cache(maxsize=4)
def load_table(path: Path = TABLE) -> Table:
    return Table(path)


class Table:
    """A phrasing table, read and checked. Raises ValueError with what to fix."""

    def __init__(self, path: Path):
        self.path = path
        raw = _read(path)
        self.system = _lines(raw.get("system", ""))
        self.system_share = raw.get("system_share", 0.1) if self.system else 0.0
        self.follow_share = raw.get("follow_share", 0.5)
        surface = raw.get("surface", {})
        self.openers = {kind: _lines(surface.get(f"{kind}_openers", "")) for kind in KINDS}
        self.tails = {kind: _lines(surface.get(f"{kind}_tails", "")) for kind in KINDS}
        self.rows = {name: _rows(name, rows) for name, rows in raw.get("rows", {}).items()}
        new = raw.get("validation_rows", {})
        self.new_rows = {name: _rows(name, rows) for name, rows in new.items()}
        self.plans = [[p.split() for p in expansions(line)] for line in _lines(raw["plans"])]
        self.intents = self._intents(raw["intents"])
        self._check()

    def _intents(self, raw: dict[str, dict]) -> dict[str, Intent]:
        user = {name: _expanded(entry.get("user", "")) for name, entry in raw.items()}
        held_out = self._hold_out(user)
        intents = {}
        for name, entry in raw.items():
            voice = raw.get(entry.get("same_as"), entry)
            intents[name] = Intent(
                name=name,
                group=entry.get("group", "talk"),
                user=tuple(line for line in user[name] if line not in held_out[name]),
                held_out=tuple(held_out[name]),
                reply=_expanded(voice.get("reply", "")),
                otherwise=_expanded(voice.get("otherwise", "")),
                then=tuple(entry.get("then", ())),
                draws=tuple(voice.get("draws", ())),
                context=entry.get("context", False),
                plain=entry.get("plain", False),
                recalls=entry.get("recalls"),
                same_as=entry.get("same_as"),
            )
        return intents

    def _hold_out(self, user: dict[str, tuple[Line, ...]]) -> dict[str, list[Line]]:
        """Per intent, lines in hashed order whose words the rest covers and nobody else says."""
        spread = Counter(w for lines in user.values() for w in set().union(*map(_words, lines)))
        said = Counter(
            text
            for lines in user.values()
            for line in lines
            for text in {self.bare(text) for text in line}
        )
        chosen: dict[str, list[Line]] = {}
        for name, lines in user.items():
            left = Counter(word for line in lines for word in _words(line))
            chosen[name] = []
            for line in sorted(lines[KEPT_LINES:], key=_digest):
                if len(chosen[name]) >= HELD_OUT_SHARE * len(lines):
                    break
                covered = all(left[w] > COVER or spread[w] >= COMMON for w in _words(line))
                if covered and all(said[self.bare(text)] == 1 for text in line):
                    chosen[name].append(line)
                    left.subtract(_words(line))
        return chosen

    def _check(self) -> None:
        turns = {turn for line in self.plans for plan in line for turn in plan}
        if wrong := turns - set(self.intents) - set(self.groups):
            names = ", ".join(sorted(wrong))
            raise ValueError(f"{self.path}: plans name {names}, which no intent or group is called")
        for intent in self.intents.values():
            where = f"{self.path}: intent {intent.name!r}"
            for other in (*intent.then, intent.recalls, intent.same_as):
                if other is not None and other not in self.intents:
                    raise ValueError(f"{where} names the intent {other!r}, which is not there")
            if not intent.user or not (intent.reply or intent.otherwise):
                raise ValueError(f"{where} needs lines in both `user` and `reply`")
            if intent.context and not self.before[intent.name]:
                raise ValueError(f"{where} needs a context: name it in the `then` of another")
            drawn = intent.asked_slots | set(intent.draws)
            for slot in drawn:
                if not self.rows.get(row_name(slot)):
                    raise ValueError(f"{where} uses {{{slot}}}: add its values under [rows]")
            known = {key: "" for slot in drawn for key in self.rows[row_name(slot)][0]}
            if not intent.replies(known) and not intent.context:
                raise ValueError(f"{where} has only replies with unknown slots: add `otherwise`")

    @cached_property
    def groups(self) -> dict[str, list[Intent]]:
        """Intents by `@group`; those that need a context are reached only through `then`."""
        free = [intent for intent in self.intents.values() if not intent.context]
        groups = {f"@{i.group}": [j for j in free if j.group == i.group] for i in free}
        return {**groups, "@any": [intent for intent in free if intent.group not in ENDS]}

    @cached_property
    def before(self) -> dict[str, list[Intent]]:
        """For every intent, those whose questions it may answer."""
        return {name: [i for i in self.intents.values() if name in i.then] for name in self.intents}

    @cached_property
    def _extras(self) -> tuple[set[tuple[str, ...]], set[tuple[str, ...]]]:
        return tuple(
            {tuple(normal(extra).split()) for lines in ends.values() for extra in lines}
            for ends in (self.openers, self.tails)
        )

    def bare(self, text: str) -> str:
        """The text without case, punctuation, openers and tails: what makes it another phrasing."""
        words = normal(text).split()
        openers, tails = self._extras
        for size in (3, 2, 1):
            while len(words) > size and tuple(words[:size]) in openers:
                words = words[size:]
            while len(words) > size and tuple(words[-size:]) in tails:
                words = words[:-size]
        return " ".join(words)


def _read(path: Path) -> dict:
    try:
        raw = parse_toml(path, "a phrasing table in TOML")
    except FileNotFoundError:
        raise ValueError(f"{path}: no such phrasing table; {TABLE} shows the form") from None
    missing = [key for key in ("plans", "intents") if not raw.get(key)]
    if missing:
        raise ValueError(f"{path} has no {' and no '.join(missing)}; {TABLE} shows the form")
    return raw


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _expanded(text: str) -> tuple[Line, ...]:
    return tuple(expansions(line) for line in dict.fromkeys(_lines(text)))


def _rows(name: str, rows: list) -> list[Slots]:
    """A row is a value, or a table of columns that are drawn together."""
    return [row if isinstance(row, dict) else {name: row} for row in rows]


def _words(line: Line) -> set[str]:
    return {row_name(word) for text in line for word in normal(text).split()}


def _digest(line: Line) -> bytes:
    return hashlib.sha256("\n".join(line).encode()).digest()
