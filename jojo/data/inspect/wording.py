"""What kind of language a text is: casual, formal, code; and what should not be in it.

Lists of words and patterns count what is there; they understand nothing and cannot judge it.
English only; a text in another language shows as neither casual nor formal.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from jojo.data.clean.anonymize import Anonymizer, is_phone_number


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


WORDS = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
CONTRACTED = ("n't", "'m", "'re", "'ll", "'ve", "'d")
IS_CONTRACTED = _words("it's that's what's he's she's here's there's let's who's where's how's")
INTERJECTIONS = _words(
    "oh ah aw aww awww ooh hey hi hello yo hmm hm mm mhm uh um er huh wow whoa yay yeah yep yup "
    "nope nah ok okay oops ugh phew gosh geez haha hahaha hehe lol lmao omg yikes hooray cheers "
    "bye goodbye thanks hmph ha duh meh"
)
SLANG = _words(
    "gonna wanna gotta kinda sorta dunno lemme gimme ain't y'all dude bro btw idk imo tbh brb thx "
    "pls plz cuz cos ur u r im ive dont cant whats thats sup cya gn np ikr nvm rofl smh fyi cool "
    "awesome guys stuff"
)
EMOJI = re.compile(
    "[\U0001f300-\U0001faff\u2600-\u27bf]|(?<!\\w)[:;=]['-]?[)(DPp3](?!\\w)|<3|\\bx[dD]\\b|\\^_?\\^"
)
PERSONAL = _words(
    "i me my mine myself we us our ours you your yours yourself i'm i've i'll i'd we're we've "
    "we'll you're you've you'll you'd let's im"
)
CONNECTIVES = _words(
    "however therefore furthermore moreover additionally consequently thus hence nevertheless "
    "nonetheless accordingly overall whereas thereby"
)
NOMINAL = ("tion", "tions", "ment", "ments", "ness", "ity", "ities", "ance", "ence", "ism", "ology")
BE = _words("is are was were be been being")
PARTICIPLES = _words(
    "made known given found seen born written built held used shown taken set put led sold sent"
)
SENTENCE_END = re.compile(r"[.!?]+(?=\s|$)|\n+")
# What opens an encyclopedia's article ("Paris is the capital", "X (1879-1955) was a physicist").
DEFINES = re.compile(
    r"^(?:the |an? )?[\w' ,-]{2,60}(?: \([^)]{3,80}\))?,? (?:is|are|was|were|refers to) "
    r"(?:an? |the |one of |considered |known |defined |located )",
    re.IGNORECASE,
)
DATED = re.compile(
    r"\([^)]{0,60}\b(?:1\d|20)\d\d\b[^)]{0,40}\)|\b(?:in|since|between|from) (?:1\d|20)\d\d\b"
)
FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
CODE_LINE = re.compile(
    r"^[ \t]*(?:"
    r"(?:def|class|function|import|from|const|let|var|public|private|static|#include|SELECT|INSERT|"
    r"CREATE TABLE|UPDATE|elif|else:|try:|return|print\(|console\.)\b.*[;:{}()=].*"
    r"|from [\w.]+ import .+|import [\w.]+(?: as \w+)?"
    r"|[\w.\[\]]+ ?[+-]?= ?\S.*[;)\]}\d'\"]|.*[;{}]|</?\w+[^>\n]*>.*|\$ \w.*|[\w.]+\([^)\n]*\);?"
    r")[ \t]*$",
    re.MULTILINE,
)
PROBLEM = re.compile(
    r"\b(?:(?:doesn|isn|won|can)['’]?t (?:work|start|open|load|log|get|find|connect)(?:ing)?|"
    r"not working|crash(?:es|ed|ing)?|broken|error|bug|stuck|refund|complain(?:t)?|frustrat\w+|"
    r"out of order|wrong with|problem with|help me|having trouble|lost my)\b",
    re.IGNORECASE,
)
HELPING = re.compile(
    r"\b(?:let['’]?s (?:try|see|take|look|figure|get)|have you tried|sorry (?:to hear|about)|"
    r"try (?:to|turning|restarting|again)|oh no|(?:i can|can i|may i) help|could you tell|"
    r"(?:let me|i['’]?ll) (?:check|see|help|look)|what (?:kind of )?(?:error|problem|seems))\b",
    re.IGNORECASE,
)
PERSONA = {  # somebody is asked to play somebody, or describes their actions, as in *waves*
    "user": re.compile(r"\b(?:act as|pretend (?:to be|you)|you are now|role-?play)\b", re.I),
    "assistant": re.compile(r"(?<![*\w])\*[a-z][^*\n]{2,60}\*(?![*\w])"),
}
INSTRUCTION = _words(
    "give write describe explain name list find generate create classify identify rewrite "
    "summarize summarise tell convert compute calculate edit compare define suggest design "
    "construct provide translate make come determine analyze analyse predict categorize sort "
    "arrange propose develop discuss outline add replace brainstorm choose select state "
    "formulate compose estimate"
)
# Whole words, lower case, none that is also a name or an everyday word ("Dick", "cock"). A word
# list and no judge: it misses what is cruel in plain words.
TOXIC = _words(
    "fuck fucking fucked fucker motherfucker fuckin shit shitty bullshit bitch bitches bastard "
    "cunt dickhead asshole arsehole twat wanker slut whore fag faggot nigger nigga retard "
    "retarded kike spic chink tranny dyke rape raped rapist porn porno kys wetback "
    "jerkoff cum blowjob"
)
MAYBE_PERSONAL = re.compile(r"[@:/]|www\.|\d{3}|\d\.\d|\.[a-z]")  # else there is nothing to find
CARD = re.compile(r"(?<![\d.-])\d(?:[ -]?\d){12,18}(?![\d-])")
IP_ADDRESS = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\w)")
KINDS = {"email": "e-mail", "link": "link", "phone": "phone number"}  # by anonymize's groups


@dataclass(frozen=True)
class Wording:
    """Counts of one text."""

    words: int
    sentences: int
    casual: int  # contractions, interjections, slang, emoji
    personal: int  # I, you, we, ...
    formal: int  # however, passives, nominal words
    code: float  # share of its characters

    @property
    def is_formal(self) -> bool:
        """Long sentences or heavy words, nobody speaking, nobody spoken to."""
        if self.words < FORMAL_WORDS or self.code > 0.5:
            return False
        spoken = (self.casual + self.personal) / self.words
        heavy = self.formal / self.words >= HEAVY or self.words / self.sentences >= LONG_SENTENCE
        return spoken < SPOKEN and heavy


FORMAL_WORDS = 12  # what is shorter has no style of its own
SPOKEN = 0.02  # marks of talk per word: DailyDialog has 0.17, Alpaca's replies 0.01
HEAVY = 0.06  # nominal words, passives and connectives per word
LONG_SENTENCE = 14  # words; TinyStories has 10, encyclopedias 20 and more


def wording(text: str) -> Wording:
    found = WORDS.findall(text.lower().replace("’", "'"))
    casual = sum(
        w in INTERJECTIONS or w in SLANG or ("'" in w and _is_contraction(w)) for w in found
    )
    if not text.isascii() or any(mark in text for mark in (":", ";", "<3", "^", "=")):
        casual += len(EMOJI.findall(text))
    formal = sum(w in CONNECTIVES or (len(w) > 6 and w.endswith(NOMINAL)) for w in found)
    formal += sum(
        first in BE and (then.endswith("ed") or then in PARTICIPLES)
        for first, then in pairwise(w for w in found if not w.endswith("ly"))
    )
    return Wording(
        words=len(found),
        sentences=max(1, len(SENTENCE_END.findall(text.strip()))),
        casual=casual,
        personal=sum(w in PERSONAL for w in found),
        formal=formal,
        code=code_share(text),
    )


def _is_contraction(word: str) -> bool:
    return word.endswith(CONTRACTED) or word in IS_CONTRACTED


def is_encyclopedic(text: str) -> bool:
    """Whether it opens with a definition or mentions years; asked only of formal texts."""
    return bool(DEFINES.match(text) or DATED.search(text))


def code_share(text: str) -> float:
    """Share of its characters in fenced blocks or on lines that look like code."""
    if not any(mark in text for mark in ("```", ";", "{", "(", "=", "<", "import ")):
        return 0.0
    fenced = sum(len(m[0]) for m in FENCE.finditer(text))
    rest = FENCE.sub("", text)
    lines = [m[0] for m in CODE_LINE.finditer(rest)]
    if len(lines) == 1 and "\n" in rest.strip():  # one line alone may be an aside; (like this);
        lines = []
    return (fenced + sum(map(len, lines))) / max(1, len(text))


def personal_data(text: str) -> dict[str, list[str]]:
    """Kind -> what was found of it: what --anonymize would replace, card numbers, IP addresses."""
    if not MAYBE_PERSONAL.search(text):
        return {}
    found: dict[str, list[str]] = defaultdict(list)
    for match in _anonymizer().pattern.finditer(text):
        kind = match.lastgroup
        if kind in KINDS and (kind != "phone" or is_phone_number(match[0])):
            found[KINDS[kind]].append(match[0])
    rest = _anonymizer().pattern.sub(" ", text) if found.get("link") else text
    for kind, pattern, is_one in (
        ("card number", CARD, passes_luhn),
        ("IP address", IP_ADDRESS, lambda ip: all(int(part) < 256 for part in ip.split("."))),
    ):
        if hits := [m[0] for m in pattern.finditer(rest) if is_one(m[0])]:
            found[kind] = hits
    return dict(found)


@cache
def _anonymizer() -> Anonymizer:
    return Anonymizer([])


def toxic_words(text: str) -> list[str]:
    text = text.lower()
    if not any(word in text for word in TOXIC):  # ten times as fast as taking it into words
        return []
    return [word for word in WORDS.findall(text) if word in TOXIC]


def passes_luhn(number: str) -> bool:
    """The check digit of payment cards: https://en.wikipedia.org/wiki/Luhn_algorithm"""
    digits = [int(c) for c in number if c.isdigit()][::-1]
    if not 13 <= len(digits) <= 19 or len(set(digits)) < 2:
        return False
    doubled = [sum(divmod(2 * d, 10)) for d in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0
