"""Capitals for lower-cased English: at the start of sentences, in I, and in names rules can tell.

    truecase("my name is bob. i m from new york, i don t work on sundays.")
    -> "My name is Bob. I'm from New York, I don't work on Sundays."

Apostrophes that were cut out with their word (don t) come back too, and a contraction that ends a
clause is written out (yes i'm, of course). Text with any capital in it was cased by whoever wrote
it and stays as it is. Punctuation comes first: see jojo/data/clean/detokenize.py.
"""

from __future__ import annotations

import re

from jojo.data.clean.rules import reword, rule

_DAYS = "monday tuesday wednesday thursday friday saturday sunday"
_MONTHS = "january february april june july august september october november december"
_FEASTS = "christmas halloween thanksgiving easter hanukkah"
# Left out on purpose: words that mean something else more often (may, march, turkey, china, will).
_PLACES = """
    africa alabama alaska america argentina arizona arkansas asia atlanta australia austria belgium
    boston brazil california canada chicago chile cleveland colorado columbus connecticut cuba
    dallas delaware denmark denver detroit disneyland dublin egypt england europe florida france
    georgia germany greece haiti hawaii hollywood houston idaho illinois india indiana iowa ireland
    israel italy jamaica japan kansas kentucky kenya korea london louisiana maine manhattan maryland
    massachusetts mexico miami michigan minneapolis minnesota mississippi missouri montana nashville
    nebraska nevada nigeria norway ohio oklahoma oregon orlando paris pennsylvania peru philadelphia
    philippines poland portland portugal romania russia scotland seattle somalia spain sweden
    switzerland tennessee texas thailand tokyo toronto utah vancouver vegas vermont vietnam virginia
    washington wisconsin wyoming yale
"""
_PEOPLES = """
    african american arabian asian australian british buddhist canadian catholic chinese christian
    cuban dutch english european french german greek hispanic indian irish italian japanese jewish
    korean mexican muslim norwegian olympics portuguese russian scottish spanish swedish
"""
_MAKES = """
    aerosmith barbie batman beatles beyonce chevy disney facebook fortnite google harley honda
    instagram lego macbook mcdonald mcdonalds metallica microsoft minecraft netflix nike nintendo
    nissan pinterest playstation pokemon radiohead skype snapchat spiderman spotify starbucks
    starcraft superman toyota tupac twitter uber walmart xbox youtube
"""
_PEOPLE = """
    alex amy andrew andy anna barbara ben betty billy brian britney carol charlie chris daniel dave
    david diane emily eminem emma eric george heather henry jack jacob james jason jeff jennifer
    jenny jeremy jessica jim jimmy joe joey john johnny jose joseph josh julie justin karen kate
    katie kelly kevin kim larry laura linda lisa luke maria mary matt matthew melissa michael
    michelle mike monica nancy nicole oprah patrick paul peter rachel rebecca richard robert ryan
    samantha sandra sara sarah scott sean stephanie stephen steve steven susan taylor thomas tim
    timothy todd tom tony tracy travis trump tyler
"""
_TWO_WORDS = """
    ariana grande|bob dylan|britney spears|cape cod|captain america|civil war|disney world|
    elvis presley|fenway park|game of thrones|garth brooks|grand canyon|great britain|
    harry potter|home depot|hong kong|hot topic|iron maiden|iron man|justin bieber|
    kansas city|katy perry|lady gaga|las vegas|los angeles|michael jackson|michael jordan|
    mickey mouse|new england|new hampshire|new jersey|new mexico|new orleans|
    new york(?: city)?|new zealand|north carolina|north dakota|north korea|pearl jam|
    puerto rico|red sox|rhode island|rolling stones|salt lake city|san antonio|san diego|
    san francisco|saudi arabia|shania twain|south africa|south america|south carolina|
    south dakota|south korea|star trek|star wars|stephen king|stevie wonder|taco bell|
    taylor swift|the walking dead|united kingdom|united states|walking dead|wall street|
    west virginia|whole foods|world of warcraft|yankee stadium
"""
_LETTERS = """
    aka atm bbq bmw cd cia diy dj dna dvd fbi gps hbo hgtv html mba mlb mma nasa nascar nba nfl nhl
    nyc pc ps4 rv suv tv ufc uk usa usda vip wwe
"""


def _any_of(words: str) -> str:
    return "|".join(sorted(words.split(), key=len, reverse=True))


_LOST = (  # apostrophes cut out with their word
    rule(
        " t",
        r"\b(don|doesn|didn|isn|aren|wasn|weren|won|wouldn|couldn|shouldn|haven|hasn|hadn|can|"
        r"ain) t\b",
        r"\1't",
    ),
    rule("i ", r"\b(i) (m|ve|ll|d)\b", r"\1'\2"),
    rule(" ", r"\b(you|we|they) (re|ve|ll)\b", r"\1'\2"),
    rule(" s", r"\b(he|she|it|that|what|there|who|here|let|where|how) s\b", r"\1's"),
    rule("im", r"\bim\b", "i'm"),
    rule("ive", r"\bive\b", "i've"),
    rule(" in it", r"\b(work(?:s|ed|ing)?) in it\b", r"\1 in IT"),  # the trade
)
# Persona-Chat contracts what cannot be: "guess how old i'm?", "i've two dogs"
_OWNED = (
    "an?|the|my|no|some|many|several|lots|plenty|to|zero|one|two|three|four|five|six|seven|eight|"
    "nine|ten|\\d+|short|long|light|blue|brown|blonde|red|time|amazing"
)
_CONTRACTED = re.compile(
    r"\b(i|you|we|they|he|she|it|that)'(m|ve|re|ll|s)(?=[.,?!]|$)"
    rf"|\b(i|you|we|they)'(ve)(?= (?:{_OWNED})\b)"
)
_FULL = {"m": "am", "ve": "have", "re": "are", "ll": "will", "s": "is"}
_I = re.compile(r"(?<![\w.'])i(?=$|[^\w.-]|\.(?!\w))(?! ?\.e\b)")
_NAMES = re.compile(
    rf"\b(?:{'|'.join(x.strip() for x in _TWO_WORDS.split('|'))}"
    rf"|{_any_of(f'{_DAYS} {_MONTHS} {_FEASTS} {_PLACES} {_PEOPLES} {_MAKES} {_PEOPLE}')}"
    r"|(?:mr|mrs|ms|dr)(?=\. ?\w))(?=s?\b)"
)
_SHOUTED = re.compile(rf"\b({_any_of(_LETTERS)})(s?)\b")
_OWN_CASE = {  # their own way
    "macbook": "MacBook",
    "mcdonald": "McDonald",
    "mcdonalds": "McDonalds",
    "playstation": "PlayStation",
    "youtube": "YouTube",
}
_SMALL = {"of", "the"}
# "my name is bob", "a dog named barnaby"
_NOT_NAMES = (
    "a|after|also|an|and|but|by|for|her|him|his|i|in|is|it|just|like|my|not|on|our|so|the|them|to|"
    "very|with|your"
)
_NAMED = re.compile(
    rf"\b(?:(?:my|his|her) name(?: is|'s)|names? is|named) (?!(?:{_NOT_NAMES})\b)[a-z]"
)
_ABBREVIATED = "".join(
    rf"(?<!\b{x})" for x in ("[Mm]r", "[Mm]s", "[Mm]rs", "[Dd]r", "vs", r"e\.g", r"i\.e")
)
_STARTS = re.compile(rf"(?:^|(?<!\.\.){_ABBREVIATED}[.!?][\"')]? )[\"'(]?[a-z]")


def truecase(text: str) -> str:
    """`text` with capitals, if it has none."""
    if text != text.lower():
        return text
    text, _ = reword(text, _LOST)
    text = _CONTRACTED.sub(lambda m: f"{m[1] or m[3]} {_FULL[m[2] or m[4]]}", text)
    text = _I.sub("I", text)
    text = _NAMES.sub(lambda m: _titled(m[0]), text)
    text = _SHOUTED.sub(lambda m: m[1].upper() + m[2], text)
    text = _NAMED.sub(_last_up, text)
    return _STARTS.sub(_last_up, text)


def _last_up(match: re.Match[str]) -> str:
    return match[0][:-1] + match[0][-1].upper()


def _titled(name: str) -> str:
    return " ".join(
        w if w in _SMALL else _OWN_CASE.get(w) or w[0].upper() + w[1:] for w in name.split(" ")
    )
