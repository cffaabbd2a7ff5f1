"""Makes what an assistant says in everyday dialogues more like an assistant: clear and polite.

    refine("Yeah, I dunno.") -> ("Yes, I'm not sure.", ["yeah -> yes", "I dunno -> I'm not sure"])

A table of small rewordings, each only where the meaning is certain. Nothing is appended: a reply
says what it said before, in better manners. `reword` applies such a table; jojo/data/clean/style.py
brings tables of the user's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple


def with_case_of(match: re.Match[str], replacement: str) -> str:
    """A capital stays a capital."""
    if match[0][:1].isupper():
        return replacement[:1].upper() + replacement[1:]
    return replacement


class Rule(NamedTuple):
    needle: str  # lower case; the pattern is tried only where this stands, to save time
    pattern: re.Pattern[str]  # matches either case
    replacement: str
    name: str
    finish: Callable[[re.Match[str], str], str] = with_case_of  # what becomes of the replacement


def rule(needle: str, pattern: str, replacement: str, name: str | None = None) -> Rule:
    name = name or f"{needle} -> {replacement}"
    return Rule(needle, re.compile(pattern, re.IGNORECASE), replacement, name)


RULES = (
    # Slang and slurred words, written out.
    rule("yeah", r"\byeah\b", "yes"),
    rule("yep", r"\byep\b", "yes"),
    rule("yup", r"\byup\b", "yes"),
    rule("nope", r"\bnope\b", "no"),
    rule("nah", r"\bnah\b(?!-)", "no"),
    rule("gonna", r"\bgonna\b", "going to"),
    rule("wanna", r"\bwanna(?: to)?\b", "want to"),
    rule("gotta", r"(?<='ve )gotta\b(?! to)", "got to", "'ve gotta -> 've got to"),
    rule("gotta", r"\b(I|you|we|they) gotta\b(?! to| ma)", r"\1 have to", "gotta -> have to"),
    rule("kinda", r"\bkinda\b", "kind of"),
    rule("lemme", r"\blemme\b", "let me"),
    rule("gimme", r"\bgimme\b", "give me"),
    rule("dunno", r"\bI dunno\b", "I'm not sure", "I dunno -> I'm not sure"),
    rule(" ya", r"(?<= )ya\b(?!-)", "you", "ya -> you"),
    rule("'cause", r"(?<!\w)'cause\b", "because"),
    rule("'em", r"(?<!\w)'em\b", "them"),
    rule("ok", r"\b(?:ok|o\.k\.)(?![\w-])", "OK", "ok, Ok, O.K. -> OK"),
    rule("i", r"(?<![\w'.&/-])i(?=$|[ ,]|'[a-z])", "I", "i -> I"),
    # Hesitation that only speech needs.
    rule("", r"^(?:uh|um+|er|erm)(?:,|\.\.\.) ?(?=\w)", "", "leading um, uh, er left out"),
    rule("", r"(?<=,) (?:uh|um+|er|erm),", "", "um, uh, er left out"),
    rule("", r"(?<=\.\.\.) ?(?:uh|um+|er|erm)(?:,|\.\.\.)(?= \w)", "", "um, uh, er left out"),
    rule("huh?", r"^huh\?", "Pardon?", "Huh? -> Pardon?"),
    rule("huh?", r",? huh\?", ", right?", "huh? -> right?"),
    # Thanks, welcome and goodbye in full.
    rule("thanks a", r"^thanks a (?:lot|million)(?=[.,!])", "thank you very much"),
    rule("thanks", r"^thanks(?=[.,!]| for| so much| again)", "thank you"),
    rule("you are welcome", r"\byou are welcome(?=[.!])", "you're welcome"),
    rule("mention it", r"^don't mention it(?=[.!])", "you're welcome"),
    rule("bye", r"^bye(?:-bye)?(?=[.!]?$)", "goodbye"),
    rule("sure thing", r"^sure thing(?=[.!,])", "of course"),
    rule("you bet", r"^you bet(?=[.!,])", "of course"),
    # One brusque word, where it can mean one thing only.
    rule("why?", r"^why\?$", "why is that?"),
    rule("what for?", r"^what for\?$", "what is it for?"),
    rule("yes?", r"^yes\?$", "yes, what is it?"),
    rule("pardon?", r"^(?:I beg your )?pardon\?$", "Sorry, could you say that again?"),
    rule("so what?", r"^so what\?", "why does that matter?"),
    rule("who cares?", r"\bwho cares\?", "does it matter?"),
    # Rudeness and oaths, softened.
    rule("shut up", r"^(?:oh, )?shut up(?=[.!,]|$)", "please be quiet"),
    rule("get lost", r"^get lost(?=[.!])", "please leave"),
    rule("leave me alone", r"^leave me alone", "please leave me alone"),
    rule("none of your", r"\b(?:it|that)'s none of your business", "I'd rather not say"),
    rule("mind your own", r"^mind your own business", "I'd rather not say"),
    rule("stupid", r"\bstupid\b", "silly"),
    rule("an idiot", r"\ban idiot\b", "a fool"),
    rule("idiot", r"\bidiot\b", "fool"),
    rule("the hell", r"(?<=at )the hell\b", "on earth", "what the hell -> what on earth"),
    rule(
        "the hell",
        r"\b(who|where|why|how) the hell\b",
        r"\1 on earth",
        "who the hell -> who on earth",
    ),
    rule("the hell out", r"\bget the hell out", "get out"),
    rule("hell no", r"^hell,? no", "no"),
    rule("damn it", r"\bdamn it\b", "oh no"),
    rule("crap", r"\bcrap\b", "nonsense"),
    rule("sucks", r"\bthat sucks\b", "that's too bad"),
    rule("my god", r"\bmy god\b", "my goodness"),
    rule("thank god", r"\bthank god\b", "thank goodness"),
    rule("god's sake", r"\bfor god's sake\b", "for goodness' sake"),
    # Names that only friends and lovers call each other.
    rule(
        ", ",
        r"(?<=\w), (?:dude|man|buddy|bro|honey|darling|sweetheart|sweetie|babe|baby|dear)(?=[.!?])",
        "",
        "honey, dude, ... left out",
    ),
    rule(
        ", ",
        r"^(?:dude|man|buddy|honey|darling|sweetheart|sweetie|babe|baby), ",
        "",
        "honey, dude, ... left out",
    ),
    # Shouting.
    rule("!!", r"!!+", "!", "!!! -> !"),
    rule("??", r"\?\?+", "?", "??? -> ?"),
)
CAPITAL = "capital letter at the start"


# What is not speech: code and addresses.
NO_SPEECH = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]+`|(?:https?://|www\.)\S+|[\w.+-]+@[\w-]+\.\S+", re.DOTALL
)


def refine(text: str) -> tuple[str, list[str]]:
    """The refined turn and the names of the rules that changed it."""
    text, changed_by = reword(text, RULES)
    if text[:1].islower():
        text = text[0].upper() + text[1:]
        changed_by.append(CAPITAL)
    return text, changed_by


def reword(text: str, rules: Iterable[Rule]) -> tuple[str, list[str]]:
    """The text after all rules, in their order, and the names of those that changed it."""
    changed_by = []
    for needle, pattern, replacement, name, finish in rules:
        if needle and needle not in text and needle not in text.lower():
            continue
        before = text
        spared = [m.span() for m in NO_SPEECH.finditer(text)]

        def put(m: re.Match[str], r: str = replacement, f=finish, spared=spared) -> str:
            if any(start < m.end() and m.start() < end for start, end in spared):
                return m[0]
            return f(m, m.expand(r))

        text = pattern.sub(put, text)
        if text != before:
            changed_by.append(name)
    return text, changed_by
