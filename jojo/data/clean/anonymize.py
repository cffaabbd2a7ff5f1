"""Names, phone numbers, e-mail addresses and links of chats, replaced.

    hide = Anonymizer([["Bob Smith", "bob92"], ["Anna"]])
    messages, replaced = hide(messages)

Each person gets another first name, always the same one, so that "thanks, bob!" stays something
people say. Everything else becomes a word in brackets, which nobody mistakes for the real thing:
[phone number], [e-mail], [link]. Names of people who wrote nothing in the export are not known, and
so not replaced; nor is a two-letter name, except in a mention.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jojo.text.template import Message

STAND_INS = (
    *("Alex", "Robin", "Sam", "Charlie", "Jamie", "Kim", "Taylor", "Jordan", "Casey", "Morgan"),
    *("Riley", "Avery", "Quinn", "Rowan", "Emery", "Skyler", "Dakota", "Reese", "Finley", "Sasha"),
    *("Harper", "Parker", "Hayden", "Logan", "Micah", "Noel", "Remy", "Toni", "Andrea", "Nicola"),
)
# Names that are ordinary words in small letters; alone they identify nobody in a longer name.
ORDINARY_WORDS = """
amber angel april art august autumn bill brook chase chat christian dad daisy dawn dean dick doc
drew dr earl eve faith frank game gene grace grant group guy harmony heather home hope house
hunter ivy jack jade jean jesse joy june king lance lee lily love mark mason max may melody miles
miss mom mr mrs ms mum new old olive page pat pearl penny pierce ray reed rich rob robin rocky
rose ruby rusty sage sandy school sky star stone sue summer sunny the tony trip violet wade will
willow work young
"""
ORDINARY = frozenset(ORDINARY_WORDS.split())
DENSE = "\u2e80"  # from here on scripts say much in two letters, with no space between words
EVERYBODY = {"everyone", "here", "channel", "all"}
# An address, a link (without the punctuation behind it), what may be a phone number.
OTHERS = (
    r"(?P<email>(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+)|"
    r"(?P<link>(?:https?://|ftp://|www\.)[^\s<>]*[^\s<>.,;:!?)\]}'\"*_]|(?<![\w.@-])(?:[a-z0-9-]+\.)+"
    r"(?:(?:com|org|net|edu|gov|io|gg|dev|app|info|de|ch|co\.uk)(?:\.[a-z]{2})?\b|me(?=/))"
    r"(?:/[^\s<>]*[^\s<>.,;:!?)\]}'\"*_])?)|"
    r"(?P<phone>(?<![\w.,+-])(?:\+(?:\d(?:[ .\-/]|\)[ ]?|[ ]?\()?){6,14}\d|{national})"
    r"(?!\w|-\d{3}))"
)
DATE = re.compile(
    r"(?<!\d)(\d{1,2}[./-]\d{1,2}[./-](\d{4}|\d\d)|\d{4}[./-]\d{1,2}[./-]\d{1,2})(?!\d)"
)
# How numbers without a country are written, and where.
NATIONAL = (
    (r"(?:1[-. ])?(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]\d{4}|[2-9]\d{9}", ("US", "IN")),
    (r"0\d(?:[. ]?\d\d){4}", ("FR", "BE", "GB", "DE")),
    (
        r"(?:\(0\d{1,5}\)|0\d{1,5})[ /-]{0,3}\d(?:[ /-]?\d){4,9}",
        ("DE", "GB", "AT", "CH", "NL", "IT", "AU", "SE", "IE"),
    ),
    (r"[6-9]\d\d[ ]\d{3}[ ]\d{3}|[6-9]\d{4}[ ]\d{5}", ("ES", "PT", "PL", "IN")),
    (r"\(\d\d\) 9?\d{4}-\d{4}", ("BR",)),
)


class Anonymizer:
    """Replaces what is known of `people`: of each person a list of names."""

    def __init__(self, people: Sequence[Sequence[str]]):
        real = {word.casefold() for names in people for n in names for word in n.split()}
        free = [name for name in STAND_INS if name.casefold() not in real] or list(STAND_INS)
        self.stand_in: dict[str, str] = {}  # by the name's key
        self.capitals: set[str] = set()  # names that in small letters are an ordinary word
        ways: set[str] = set()
        for i, names in enumerate(people):
            again = i // len(free)
            stand_in = free[i % len(free)] + (f" {again + 1}" if again else "")
            for name in _ways_to_call(names):
                ways.add(name)
                self.stand_in.setdefault(_key(name), stand_in)
                if _key(name) in ORDINARY and not name.islower():
                    self.capitals.add(_key(name))
        known = sorted(ways, key=lambda name: (-len(name), name))
        names = "|".join(_whole(name) for name in known if len(name) > 2 or name[0] >= DENSE)
        mentioned = "|".join(_whole(name) for name in known)
        national = "|".join(shape for shape, _ in NATIONAL)
        pattern = (
            OTHERS.replace("{national}", national)
            + rf"|(?<![\w@])@(?P<mention>{mentioned + '|' if known else ''}[\w.-]*\w)"
        )
        self.pattern = re.compile(pattern + (f"|(?P<name>{names})" if names else ""), re.I)

    def __call__(self, messages: Sequence[Message]) -> tuple[list[Message], Counter[str]]:
        """The messages without them, and how many were replaced, by what they are."""
        replaced: Counter[str] = Counter()
        hidden = []
        for message in messages:
            text = self.pattern.sub(lambda match: self._other(match, replaced), message["content"])
            hidden.append({**message, "content": text})
        return hidden, replaced

    def _other(self, match: re.Match, replaced: Counter[str]) -> str:
        kind, found = match.lastgroup, match[match.lastgroup]
        if kind == "email":
            other, what = "[e-mail]", "e-mail addresses replaced"
        elif kind == "link":
            other, what = "[link]", "links replaced"
        elif kind == "phone":
            if not is_phone_number(found):
                return match[0]
            other, what = "[phone number]", "phone numbers replaced"
        elif kind == "mention":
            if found.casefold() in EVERYBODY:
                return match[0]
            other, what = f"@{self.stand_in.get(_key(found), 'someone')}", "mentions replaced"
        else:
            if found.islower() and found in self.capitals:
                return match[0]
            other, what = self.stand_in[_key(found)], "names replaced"
        replaced[what] += 1
        return other


def anonymize(
    messages: Sequence[Message], names: Sequence[str] = ()
) -> tuple[list[Message], Counter[str]]:
    """Each of `names` is a person. For more than one conversation keep an Anonymizer."""
    return Anonymizer([[name] for name in names])(messages)


def is_phone_number(text: str) -> bool:
    """Whether Google's numbering plans have such a number, and it is no date or decimal."""
    import phonenumbers

    if text.startswith("+"):
        return _valid(phonenumbers, text, None)
    if DATE.search(text) and not re.fullmatch(r"0\d(?:\.\d\d){4}", text):
        return False
    return any(
        _valid(phonenumbers, text, region)
        for shape, regions in NATIONAL
        if re.fullmatch(shape, text)
        for region in regions
    )


def _valid(phonenumbers, text: str, region: str | None) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(text, region))
    except phonenumbers.NumberParseException:
        return False


def _key(name: str) -> str:
    """Upper and lower case alike, the Turkish İ as well."""
    return name.casefold().replace("\u0307", "")


def _ways_to_call(names: Sequence[str]) -> list[str]:
    """Full names and accounts, and the words of full names: "Bob", "Smith" of "Bob Smith"."""
    ways = []
    for name in names:
        name = name.strip().removeprefix("@")
        words = [w.strip(".,()[]~!*") for w in name.split()]
        words = [w for w in words if len(w) > 2 and re.fullmatch(r"[^\W\d_]+(['’-][^\W\d_]+)*", w)]
        if not re.fullmatch(r"[\d\s+().-]*", name):  # a phone number is found as such
            ways.append(name)
        if len(name.split()) > 1:
            ways += [w for w in words if w.casefold() not in ORDINARY]
    return ways


def _whole(name: str) -> str:
    """A pattern for it as a whole word, where the script has spaces between words."""
    before = r"(?<!\w)" if name[0].isalnum() and name[0] < DENSE else ""
    after = r"(?!\w)" if name[-1].isalnum() and name[-1] < DENSE else ""
    return before + re.escape(name) + after
