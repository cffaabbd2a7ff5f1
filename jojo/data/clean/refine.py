"""Replies of everyday dialogues reworded to sound like an assistant: clear and polite.

    refine("Yeah, I dunno.") -> ("Yes, I'm not sure.", ["yeah -> yes", "I dunno -> I'm not sure"])

A table of small rewordings, each applied only where the meaning is certain. Nothing is appended: a
reply says what it said before, with better manners. For tables of your own see
jojo/data/clean/style.py.
"""

from __future__ import annotations

import re

from jojo.data.clean.rules import NO_SPEECH, Rule, reword


def with_case_of(match: re.Match[str], replacement: str) -> str:
    """A capital stays a capital."""
    if match[0][:1].isupper():
        return replacement[:1].upper() + replacement[1:]
    return replacement


def polite(needle: str, pattern: str, replacement: str, name: str | None = None) -> Rule:
    """Matches in either case, and keeps it."""
    name = name or f"{needle} -> {replacement}"
    found = re.compile(pattern, re.IGNORECASE)
    return Rule(needle, found, lambda m: with_case_of(m, m.expand(replacement)), name)


RULES = (
    # Slang and slurred words, written out.
    polite("yeah", r"\byeah\b", "yes"),
    polite("yep", r"\byep\b", "yes"),
    polite("yup", r"\byup\b", "yes"),
    polite("nope", r"\bnope\b", "no"),
    polite("nah", r"\bnah\b(?!-)", "no"),
    polite("gonna", r"\bgonna\b", "going to"),
    polite("wanna", r"\bwanna(?: to)?\b", "want to"),
    polite("gotta", r"(?<='ve )gotta\b(?! to)", "got to", "'ve gotta -> 've got to"),
    polite("gotta", r"\b(I|you|we|they) gotta\b(?! to| ma)", r"\1 have to", "gotta -> have to"),
    polite("kinda", r"\bkinda\b", "kind of"),
    polite("lemme", r"\blemme\b", "let me"),
    polite("gimme", r"\bgimme\b", "give me"),
    polite("dunno", r"\bI dunno\b", "I'm not sure", "I dunno -> I'm not sure"),
    polite(" ya", r"(?<= )ya\b(?!-)", "you", "ya -> you"),
    polite("'cause", r"(?<!\w)'cause\b", "because"),
    polite("'em", r"(?<!\w)'em\b", "them"),
    polite("ok", r"\b(?:ok|o\.k\.)(?![\w-])", "OK", "ok, Ok, O.K. -> OK"),
    polite("i", r"(?<![\w'.&/-])i(?=$|[ ,]|'[a-z])", "I", "i -> I"),
    # Hesitation that only speech needs.
    polite("", r"^(?:uh|um+|er|erm)(?:,|\.\.\.) ?(?=\w)", "", "leading um, uh, er left out"),
    polite("", r"(?<=,) (?:uh|um+|er|erm),", "", "um, uh, er left out"),
    polite("", r"(?<=\.\.\.) ?(?:uh|um+|er|erm)(?:,|\.\.\.)(?= \w)", "", "um, uh, er left out"),
    polite("huh?", r"^huh\?", "Pardon?", "Huh? -> Pardon?"),
    polite("huh?", r",? huh\?", ", right?", "huh? -> right?"),
    # Thanks, welcome and goodbye in full.
    polite("thanks a", r"^thanks a (?:lot|million)(?=[.,!])", "thank you very much"),
    polite("thanks", r"^thanks(?=[.,!]| for| so much| again)", "thank you"),
    polite("you are welcome", r"\byou are welcome(?=[.!])", "you're welcome"),
    polite("mention it", r"^don't mention it(?=[.!])", "you're welcome"),
    polite("bye", r"^bye(?:-bye)?(?=[.!]?$)", "goodbye"),
    polite("sure thing", r"^sure thing(?=[.!,])", "of course"),
    polite("you bet", r"^you bet(?=[.!,])", "of course"),
    # One brusque word, where it can mean one thing only.
    polite("why?", r"^why\?$", "why is that?"),
    polite("what for?", r"^what for\?$", "what is it for?"),
    polite("yes?", r"^yes\?$", "yes, what is it?"),
    polite("pardon?", r"^(?:I beg your )?pardon\?$", "Sorry, could you say that again?"),
    polite("so what?", r"^so what\?", "why does that matter?"),
    polite("who cares?", r"\bwho cares\?", "does it matter?"),
    # Rudeness and oaths, softened.
    polite("shut up", r"^(?:oh, )?shut up(?=[.!,]|$)", "please be quiet"),
    polite("get lost", r"^get lost(?=[.!])", "please leave"),
    polite("leave me alone", r"^leave me alone", "please leave me alone"),
    polite("none of your", r"\b(?:it|that)'s none of your business", "I'd rather not say"),
    polite("mind your own", r"^mind your own business", "I'd rather not say"),
    polite("stupid", r"\bstupid\b", "silly"),
    polite("an idiot", r"\ban idiot\b", "a fool"),
    polite("idiot", r"\bidiot\b", "fool"),
    polite("the hell", r"(?<=at )the hell\b", "on earth", "what the hell -> what on earth"),
    polite(
        "the hell",
        r"\b(who|where|why|how) the hell\b",
        r"\1 on earth",
        "who the hell -> who on earth",
    ),
    polite("the hell out", r"\bget the hell out", "get out"),
    polite("hell no", r"^hell,? no", "no"),
    polite("damn it", r"\bdamn it\b", "oh no"),
    polite("crap", r"\bcrap\b", "nonsense"),
    polite("sucks", r"\bthat sucks\b", "that's too bad"),
    polite("my god", r"\bmy god\b", "my goodness"),
    polite("thank god", r"\bthank god\b", "thank goodness"),
    polite("god's sake", r"\bfor god's sake\b", "for goodness' sake"),
    # Names that only friends and lovers call each other.
    polite(
        ", ",
        r"(?<=\w), (?:dude|man|buddy|bro|honey|darling|sweetheart|sweetie|babe|baby|dear)(?=[.!?])",
        "",
        "honey, dude, ... left out",
    ),
    polite(
        ", ",
        r"^(?:dude|man|buddy|honey|darling|sweetheart|sweetie|babe|baby), ",
        "",
        "honey, dude, ... left out",
    ),
    # Shouting.
    polite("!!", r"!!+", "!", "!!! -> !"),
    polite("??", r"\?\?+", "?", "??? -> ?"),
)
CAPITAL = "capital letter at the start"


def refine(text: str) -> tuple[str, list[str]]:
    """The refined turn and the names of the rules that changed it."""
    text, changed_by = reword(text, RULES, spare=NO_SPEECH)
    if text[:1].islower():
        text = text[0].upper() + text[1:]
        changed_by.append(CAPITAL)
    return text, changed_by
