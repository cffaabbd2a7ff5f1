"""Spacing and typography of conversations that were cut into words for a parser, restored.

    detokenize("I don ’ t think so , Mr . Li .Let ' s go at 8: 30 p . m .")
    -> "I don't think so, Mr. Li. Let's go at 8:30 p.m."

Words and their order never change. Decimals, thousands, times, ellipses, abbreviations,
e-mail addresses, URLs and file names stay whole. Doing it twice is the same as doing it once.
"""

from __future__ import annotations

import re

from jojo.data.clean.rules import reword, rule

PLAIN = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′´`＇", "'"),
        **dict.fromkeys("“”„‟″＂", '"'),
        **dict.fromkeys("\u00a0\u2002\u2003\u2009\u202f\u3000\t\n\r", " "),
        **dict.fromkeys("\u200b\u200c\u2060\ufeff\u00ad\x7f\ue000", None),
        "…": "...",
        "。": ". ",
        "．": ".",
        "、": ", ",
        "，": ", ",
        "？": "? ",
        "！": "! ",
        "；": "; ",
        "：": ": ",
        "（": " (",
        "）": ") ",
        "％": "%",
        "＄": "$",
    }
)

# What a glued full stop must not split. Kept aside while the rules run.
_ENDINGS = "com|org|net|edu|gov|info|biz|cn|uk|tw|jp|de|fr|io"
_FILES = (
    "txt|pdf|docx?|xlsx?|pptx?|csv|json|xml|html?|css|js|py|exe|zip|rar|jpe?g|png|gif|mp[34]|avi"
)
_KEEP = re.compile(
    r"(?:https?://|www\.)[^\s\"']*[\w/]"
    r"|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
    rf"|\b[\w-]+(?:\.[\w-]+)*\.(?:{_ENDINGS})(?:\.(?:{_ENDINGS}))?\b(?:/[\w./-]*[\w/])?"
    rf"|\b[\w-]+\.(?:{_FILES})\b",
    re.IGNORECASE,
)
_KEPT = "\ue000"  # replaces one of them; a private character that no text has


def _joined(match: re.Match[str]) -> str:
    return match[0].replace(" ", "")


def _dots(match: re.Match[str]) -> str:
    return ".." if match[0].count(".") == 2 else "..."


_AFTER_I = (
    "am|was|have|had|will|would|can|could|should|do|did|don't|didn't|can't|think|thought|want|need|"
    "like|love|know|hope|guess|mean|see|saw|get|got|just"
)

WORDS = (  # apostrophes inside words, and spaced abbreviations
    # what begins an utterance: loose marks, and labels that name the speaker ("A :: You must be
    # Wily", "Mr . : Here")
    rule(
        "",
        r"^(?:(?:(?:[,;:][.,;:]*|\.) )+(?!\.)|(?:[A-Z] ::|(?:Mr|Mrs|Ms) ?\. :) *)+",
        "",
    ),
    # escaped quotes: "won \ ' t"
    rule("\\", r"\\ ?(?=')", ""),
    # o ' clock, also written 0 ' clock
    rule("clock", r"\b[oO0] ?' ?clock\b", "o'clock"),
    # don ' t
    rule("'", r"(?<=[nN]) ?' ?([tT])\b", r"'\1"),
    # I'II, scanned for I'll
    rule("'", r"\b(I|[Yy]ou|[Hh]e|[Ss]he|[Ii]t|[Ww]e|[Tt]hey) ?' ?(?:II|Il|lI)\b", r"\1'll"),
    # It ' s, I ' m, we ' ll, I ' Ve, but not a quoted letter (' s ')
    rule("'", r"(?<=\w) ?' ?(s|m|d|ll|re|[vV]e)\b(?! ?')", lambda m: "'" + m[1].lower()),
    rule(" '", r"\b(IT|I|THAT|YOU|WE|THEY) ?' ?(S|M|D|LL|RE|VE)\b", r"\1'\2"),
    # letters gone astray: "there ' sa beach", "I ' l l pick", "I ' v been", "You ' er right"
    rule("' sa", r"(?<=\w) ' sa\b", "'s a"),
    rule("' l", r"(?<=\w) ' l l\b", "'ll"),
    rule("' v", r"\b(I|[Yy]ou|[Ww]e|[Tt]hey) ?' v\b", r"\1've"),
    rule("' ", r"\b([Yy]ou|[Ww]e|[Tt]hey) ?' (?:er|r)\b", r"\1're"),
    # ma ' am, c ' mon, y ' all, d ' you, Xi ' an, O ' Neal
    rule("' ", r"\b([Mm]a|[Cc]|[Yy]|[Dd]|Xi) ?' (am|mon|all|you|ya|an)\b", r"\1'\2"),
    rule("' ", r"\b([OD]) ?' (?=[A-Z][a-z]+)", r"\1'"),
    # words that begin with an apostrophe: ' cause, ' em, ' 93
    rule(
        "' ",
        r"(?<![^\s(])(?<!\d )' (cause|em|til|tis|twas|round|bout|n'?|\d0s|\d\d)\b(?! ')",
        r"'\1",
    ),
    # "I Ve got" without its apostrophe
    rule(" Ve ", r"\b(I|[Yy]ou|[Ww]e|[Tt]hey) Ve\b", r"\1've"),
    # a scanned l for I: "l am afraid", "where l can", "lt is"
    rule("l ", rf"\bl (?=(?:{_AFTER_I})\b)", "I "),
    rule("l'", r"\bl'(?=(?:m|ll|d|ve)\b)", "I'"),
    rule("lt", r"\blt(?= |'s\b)", "It"),
    # 8 p . m . and 9 P . m .
    rule(". m", r"(?<![A-Za-z'])[aApP] ?\. m\b(?: ?\.(?!\.))?", lambda m: _joined(m).lower()),
    rule(".m .", r"\b[ap]\.m \.(?!\.)", _joined),
    # U . S . A . and G . P . A, but not the next sentence: "vitamin C . I like it"
    rule(
        " .",
        r"(?<![A-Za-z'])(?:[A-Z] \. ?|[A-Z]\. )+"
        r"(?:[A-Z] ?\.(?!\.)|[B-HJ-Z](?![A-Za-z'])|[AI](?= ?[,?!;]))",
        _joined,
    ),
    # t . v, p . s .
    rule(" .", r"(?<![\w'.])[b-hj-z] \. [b-hj-z]\b(?!')(?: \.(?!\.))?", _joined),
    # Ph . D . and i . e . and e . g .
    rule(" .", r"\b(?:Ph \. ?D|i \. ?e|e \. ?g)\b(?: \.(?!\.))?", _joined),
    # C + +
    rule("+", r"\bC \+ \+", "C++"),
)

NUMBERS = (
    # $ 5, US $ 5, 12 $
    rule("$", r"\$ (?=\d)", "$"),
    rule("$", r"(?<=\d) \$(?! ?\d)", "$"),
    rule("£", r"£ (?=\d)", "£"),
    rule("¥", r"¥ (?=\d)", "¥"),
    # 50 %
    rule("%", r"(?<=\d) %", "%"),
    # 38 ° C, - 10 ° C
    rule("°", r"(?<=\d) ?° ?(?=[CF]\b)", "°"),
    rule("°", r"(?<![\w.] )(?<!\S)- (?=\d+°)", "-"),
    # at 8: 00, 7 : 30
    rule(":", r"(?<![\d:.])(\d{1,2})(?: : ?|: )(?=[0-5]\d\b(?!:))", r"\1:"),
    # 3 : 2
    rule(" : ", r"(?<=\d) : (?=\d)", ":"),
    # 3 , 000 yuan
    rule(", 000", r"(?<=\d) , (?=000\b)", ","),
    rule("$", r"(?<=\$)(\d{1,3}) , (?=\d{3}\b)", r"\1,"),
    # $ 4 . 25 and 823 . 71 yuan; elsewhere " . " between numbers may end a sentence
    rule("$", r"(?<=\$)([\d,]+) \. (?=\d\d\b)", r"\1."),
    rule(" . ", r"(?<=\d) \. (?=\d+ (?:RIB|RMB|USD|yuan|dollars|meters|miles|percent|%))", "."),
    # 24 - hour clock, 2 - piece suit
    rule(
        " - ",
        r"\b(\d+|one|two|three|four) - (?=(?:second|minute|hour|day|week|month|year|inch|foot|mile|"
        r"piece|door|bedroom|dollar|cent|star|page|course|person|storey)s?\b)",
        r"\1-",
    ),
    # 1,500 - 2,000 keeps its spaces; a telephone number does not: 367 - 1314
    rule(" - ", r"\b(\d{3,4}) ?- ?(?=\d{4}\b(?! ?-))", r"\1-"),
)

PUNCTUATION = (
    # J - I - A - N - G, spelled out
    rule(" - ", r"(?<![A-Za-z'])[A-Z](?: - [A-Z])+\b(?!')", _joined),
    # Good - bye
    rule(" - ", r"\b([Gg]ood|[Bb]ye) - (?=bye\b)", r"\1-"),
    # a dash cut in two
    rule("- -", r"(?<=\s)-(?: -)+(?=\s)", "--"),
    # L / C, and / or, $85 / day
    rule(" / ", r"(?<=\w) / (?=\w)", "/"),
    # two marks where one is meant: ", ," and ", ."
    rule(",", r" *,(?: *,)+", ","),
    rule(",", r" *, *\.(?= |$)", "."),
    # dots of an ellipsis: ". . ." and ".. ."; four or more are three
    rule("..", r"\.\.\.\.+", "..."),
    rule(". .", r"\.(?: ?\.)+", _dots),
    # no space inside brackets
    rule("( ", r"\( +", "("),
    rule(" )", r" +\)", ")"),
    # no space before a mark, except before a smiley
    rule(" ,", r" +,", ","),
    rule(" ?", r" +\?", "?"),
    rule(" !", r" +!", "!"),
    rule(" ;", r" +;(?!-?[)(DP])", ";"),
    rule(" :", r" +:(?!-?[)(DPp/])", ":"),
    rule(" .", r" +\.(?![.\w])", "."),
    # an ellipsis leans on the word before it
    rule(" ..", r"(?<=[\w\"')]) +(?=\.\.)", ""),
    # right .But
    rule(" .", r" +\.(?=[A-Z][a-z])", ". "),
    # two dots are a long pause before more, else a slip
    rule("..", r"(?<![.\w])\.\.(?!\.)", "..."),
    rule("..", r"(?<=\w)\.\.(?= ?(?:[a-z]|I\b))", "..."),
    rule("..", r"(?<=\w)\.\.(?![.\w])", "."),
    # 6 p.m.. ; "?." at the end
    rule("m..", r"(?<=[ap]\.m\.)\.(?!\.)", ""),
    rule("?.", r"\?\.$", "?"),
)

GLUED = (  # a space after a sentence that ran into the next
    # right.But
    rule(".", rf"(?<=[a-z0-9\"')%{_KEPT}])\.(?=[A-Z])(?<!\bPh\.)", ". "),
    # L.A.Hank, J.Smith
    rule(".", r"(?<=[A-Z])\.(?=[A-Z][a-z])", ". "),
    # see.how, can't.because
    rule(".", r"(?<=[A-Za-z'][a-z])\.(?=[a-z]{2})", ". "),
    # 10 p.m.every
    rule(".m.", r"(?<=\b[ap]\.m\.)(?=[a-z])", " "),
    # hello,world and What?No
    rule(",", r"(?<=[A-Za-z]),(?=[A-Za-z])", ", "),
    rule("?", r"(?<=[a-z])\?(?=[A-Za-z])", "? "),
    rule("!", r"(?<=[a-z])!(?=[A-Za-z])", "! "),
    rule(";", r"(?<=[a-z]);(?=[A-Za-z])", "; "),
)
_RUN_ON = re.compile(r"[.,?!;][A-Za-z]")


def detokenize(text: str) -> str:
    """`text` with its spacing and typography restored; one utterance, on one line."""
    if not (text.isascii() and text.isprintable()):
        text = text.translate(PLAIN)
    text = " ".join(text.split())
    text, _ = reword(text, WORDS)
    if "' " in text or text.endswith("'"):
        text = _attach_single_quotes(text)
    if '"' in text:
        text = _attach_double_quotes(text)
    text, _ = reword(text, NUMBERS)
    text, kept = _put_aside(text)
    text, _ = reword(text, PUNCTUATION)
    if _RUN_ON.search(text):
        text, _ = reword(text, GLUED)
    for original in kept:
        text = text.replace(_KEPT, original, 1)
    return " ".join(text.split())


_ADDRESS_SPACED = re.compile(rf"\bwww \. |(?<=[\w-]) \. (?=(?:{_ENDINGS})\b)", re.IGNORECASE)
_GLUED_DOT = re.compile(r"\w[.@]\w|://")


def _put_aside(text: str) -> tuple[str, list[str]]:
    """Replace what must stay whole by _KEPT; also returns what was replaced, in order."""
    if "www" in text:
        text = _ADDRESS_SPACED.sub(_joined, text)
    if not _GLUED_DOT.search(text):
        return text, []
    kept = _KEEP.findall(text)
    return (_KEEP.sub(_KEPT, text), kept) if kept else (text, kept)


_LOOSE = re.compile(r"(?<!\S)'(?=[\s.,?!;:]|$)")
_PLURAL = re.compile(r"\w[sS] $")


def _attach_single_quotes(text: str) -> str:
    """Attach each ' that stands alone: pairs to what they quote, else to a plural (boys ' room)."""
    loose = [m.start() for m in _LOOSE.finditer(text)]
    plural = [p for p in loose if _PLURAL.search(text[:p]) and text[p + 2 : p + 3].isalpha()]
    if len(loose) % 2 or len(plural) == len(loose):
        loose = [p for p in loose if p not in plural]
    else:
        plural = []
    drop = {p - 1 for p in plural}  # indexes of spaces to take out
    if len(loose) % 2 == 0:
        drop |= {p + 1 for p in loose[::2]} | {p - 1 for p in loose[1::2]}
    elif len(loose) == 1 and not text[loose[0] + 1 : loose[0] + 3].strip(" .,?!;:"):
        drop.add(loose[0] - 1)  # one that only closes
    return _drop_spaces(text, drop)


def _attach_double_quotes(text: str) -> str:
    """Take out the spaces inside double quotes; where they don't pair, only the sure ones."""
    quotes = [i for i, c in enumerate(text) if c == '"']
    if len(quotes) % 2 == 0:
        drop = {p + 1 for p in quotes[::2]} | {p - 1 for p in quotes[1::2]}
    else:
        drop = {p - 1 for p in quotes[1:] if not text[p + 1 : p + 3].strip(" .,?!;:")}
        drop |= {p + 1 for p in quotes if p == 0}
    return _drop_spaces(text, drop)


def _drop_spaces(text: str, indexes: set[int]) -> str:
    if not indexes:
        return text
    return "".join(c for i, c in enumerate(text) if not (i in indexes and c == " "))
