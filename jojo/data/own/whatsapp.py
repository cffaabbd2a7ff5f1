"""WhatsApp's "export chat": a text file with a line for each message.

    1/31/21, 12:00 - Anna: Hi              Android; the clock may have AM and PM
    [31.01.21, 12:00:00] Anna: Hi          iOS; what WhatsApp itself says begins with U+200E

Every language writes dates and notices its own way. Whether the day or the month comes first is
decided by the whole file. https://faq.whatsapp.com/1180414079177245
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timezone
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from jojo.command import say
from jojo.data.own.transcript import ChatLine

if TYPE_CHECKING:
    from jojo.data.contract import Tally

MARKS = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\ufeff"  # directions of writing, and the BOM
ISOLATES = re.compile("[\u2066-\u2069]")  # around the name in a mention
MORNING, AFTERNOON = ("am", "上午", "午前", "오전", "ص"), ("pm", "下午", "午後", "오후", "م")
HALF = r"[ap]\.?\s?m\.?|上午|下午|午前|午後|오전|오후|ص|م"


def _form(before: str, seconds: str, after: str) -> re.Pattern:
    """How a message begins; the rest of the line is the group `rest`."""
    return re.compile(
        rf"{before}(?P<date>\d{{1,4}}[-/.]\s?\d{{1,2}}[-/.]\s?\d{{1,4}})\.?[,،]?\s{{0,3}}"
        rf"(?:(?:klo|kl\.|at|à|om|um|às)\s)?(?P<before>{HALF})?\s{{0,3}}(?P<hour>\d{{1,2}})[:.h]"
        rf"(?P<minute>\d\d){seconds}\s?(?P<after>{HALF})?{after}\s(?P<rest>.*)",
        re.IGNORECASE,
    )


SECONDS = r"[:.](?P<second>\d\d)"
FORMS = (  # iOS, iOS of old, Android
    _form(r"\[", f"(?:{SECONDS})?", r"\]"),
    _form("", SECONDS, ":"),
    _form("", "", r"\s[-–]"),
)
HEAD_CHARACTERS = 20_000  # enough to tell a chat from other text

# Stand-ins for what is not text. Android puts any media in <>, in every language.
OMITTED = re.compile(
    r"<[^<>\n]*[\s\W][^<>\n]*>|null|[^:\n]{3,40}: https://maps\.google\.com/\S+|poll:\n[^\0]*|"
    r"(image|video|video note|audio|sticker|gif|document|contact card|.+\.\w{2,4} • .+) omitted|"
    r"(bild|video|videonachricht|audio|sticker|gif|dokument|kontaktkarte) weggelassen|"
    r"(imagen|sticker|gif|audio|video|documento|tarjeta de contacto) omitid[oa]|"
    r"(image|vidéo|audio|sticker|gif|document) (absente?|omise?)|"
    r"(immagine|video|audio|sticker|gif|documento) omess[oa]|"
    r"(imagem|vídeo|áudio|figurinha|gif|documento) (ocultad[oa]|omitid[oa])|"
    r"(afbeelding|video|audio|sticker|gif|document) weggelaten",
    re.I,
)
# A file that came along: "IMG-20210131-WA0001.jpg (file attached)". A caption may follow.
FILE = re.compile(
    r"\A(\u200e[^\n]*\.\w{2,5}|[A-Z]{3}-\d{8}-WA\d+\.\w{2,5}|[^\n]*\.\w{2,5}(?= \((?:file attached|"
    r"datei angehängt|archivo adjunto|fichier joint|file allegato|(?:arquivo|ficheiro) anexado|"
    r"bestand bijgevoegd|файл добавлен)\))) \([^()\n]+\)(\n|$)",
    re.I,
)
DELETED = re.compile(
    r"(this message was deleted|you deleted this message|diese nachricht wurde gelöscht|"
    r"du hast diese nachricht gelöscht|se eliminó este mensaje|eliminaste este mensaje|"
    r"ce message a été supprimé|vous avez supprimé ce message|questo messaggio è stato eliminato|"
    r"hai eliminato questo messaggio|(esta )?mensagem (foi )?apagada|você apagou esta mensagem|"
    r"dit bericht is verwijderd|(u|je) hebt dit bericht verwijderd|данное сообщение удалено|"
    r"вы удалили данное сообщение)( by admin .*)?\.?",
    re.I,
)
NOT_SAID = re.compile(
    r"waiting for this message\b.*|"
    r"(missed|silenced) (voice|video|group)[\w ]* call.*|(voice|video) call[,.] .+|"
    r"(verpasster|stummgeschalteter) (sprach|video|gruppen)\w*anruf.*|"
    r"(video)?llamada( de voz| de video| grupal)? perdida.*|appel (vocal|vidéo).* manqué.*|"
    r"(chiamata|videochiamata).* persa.*|(chamada|ligação) de (voz|vídeo) perdida.*",
    re.I,
)
EDITED = re.compile(
    r" ?<[^<>\n]*(edited|bearbeitet|editó|editad[ao]|modifié|modificato|bewerkt|изменено)"
    r"[^<>\n]*>$",
    re.I,
)
NOTICE_BEHIND = re.compile(": \u200e(?!<)")  # iOS: the name before it may hold a colon
OWN_WORDS = re.compile(r" ?\u200e<[^<>\n]*>")  # iOS: a file, or that it was edited
# An author's name holds neither quotes nor these; a notice with a colon in it does.
NOTICE = re.compile(
    r'["“”«»„]|\b(changed|added|removed|created|joined|left|pinned|deleted|turned) '
    r"(the|this|to|group|your|you|using|a|on|off)\b|end-to-end|ende-zu-ende|extremo a extremo",
    re.I,
)


class Entry(NamedTuple):
    line: int
    when: re.Match
    text: str  # after the date, with the lines that follow


def matches(text: str) -> bool:
    """Whether it begins with a dated line, and some dated line has an author."""
    lines = [line.lstrip(MARKS) for line in text[:HEAD_CHARACTERS].split("\n")]
    lines = [line for line in lines if line.strip()]
    head = _head(lines[:1])
    return bool(head) and any((m := head.match(line)) and ": " in m["rest"] for line in lines)


def read(text: str, where: str, tally: Tally) -> Iterator[ChatLine]:
    """The messages that people wrote, in the file's order, which may not be that of time."""
    entries = list(_entries(text))
    day_first = _day_first(entries, where)
    names = _names(entries)
    for entry in entries:
        at = f"{where}, line {entry.line}"
        author, body = _author(entry.text, names)
        said, reason = _said(body) if author else ("", "a system notice")
        if reason:
            tally.skip(reason, where=at)
        else:
            yield ChatLine(_time(entry.when, day_first), author, said, at, room=where)


def _head(lines: list[str]) -> re.Pattern | None:
    """The form of the first line that has one."""
    found = (head for line in lines for head in FORMS if head.match(line.lstrip(MARKS)))
    return next(found, None)


def _entries(text: str) -> Iterator[Entry]:
    """A line that does not begin with a date continues the message before it."""
    lines = text.split("\n")  # not splitlines: U+2028 and the like occur inside messages
    head = _head(lines)
    when, first, parts = None, 0, []
    for number, line in enumerate(lines, start=1):
        line = line.rstrip("\r")
        if head and (match := head.match(line.lstrip(MARKS))):
            if when:
                yield Entry(first, when, "\n".join(parts))
            when, first, parts = match, number, [match["rest"]]
        else:
            parts.append(line)
    if when:
        yield Entry(first, when, "\n".join(parts))


def _names(entries: list[Entry]) -> set[str]:
    """Authors whose name has a colon: whatever always follows the first one belongs to it."""
    following: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in entries:
        name, _, rest = entry.text.partition("\n")[0].partition(": ")
        following[name][rest.partition(": ")[0] if ": " in rest else ""] += 1
    return {
        f"{name}: {next(iter(after))}"
        for name, after in following.items()
        if len(after) == 1 and "" not in after and after.total() > 2
    }


def _author(text: str, names: set[str]) -> tuple[str | None, str]:
    """Author and message; no author where WhatsApp itself speaks."""
    line, _, more = text.partition("\n")
    if notice := NOTICE_BEHIND.search(line):
        author, colon, rest = line[: notice.start()], ": ", line[notice.start() + 2 :]
    else:
        author, colon, rest = line.partition(": ")
        second = rest.partition(": ")[0]
        if f"{author}: {second}" in names:
            author, rest = f"{author}: {second}", rest[len(second) + 2 :]
    if not colon and author.endswith(":"):  # the message is on the next line
        author, colon = author[:-1], ":"
    if not colon or NOTICE.search(author):
        return None, text
    return _plain(author).strip("~ \u202f\u00a0"), f"{rest}\n{more}" if more else rest


def _said(body: str) -> tuple[str, str | None]:
    """What a person wrote in a message, or why it is left out."""
    by_whatsapp = body.startswith("\u200e")
    plain = _plain(OWN_WORDS.sub("", FILE.sub("", body, count=1)))
    first, _, caption = plain.partition("\n")
    if OMITTED.fullmatch(plain):
        plain = ""
    elif OMITTED.fullmatch(first):
        plain, by_whatsapp = caption.strip(), False
    elif DELETED.fullmatch(plain):
        return "", "a deleted message"
    plain = EDITED.sub("", plain).strip()
    if not plain:
        return "", "no text (an attachment)"
    if NOT_SAID.fullmatch(plain) or (by_whatsapp and not FILE.match(body)):
        return "", "a system notice"
    return plain, None


def _plain(text: str) -> str:
    """Without marks; a mention loses the isolates around its name."""
    return ISOLATES.sub("", text).translate(dict.fromkeys(map(ord, MARKS))).strip()


def _day_first(entries: list[Entry], where: str) -> bool:
    """Whether dates are day/month: by a part above 12, else by which way time runs forward."""
    dates = [numbers for e in entries if (numbers := _numbers(e.when))[0] < 1000]
    above = [sum(d[i] > 12 for d in dates) for i in (0, 1)]
    if above[0] != above[1] or all(a == b for a, b, _ in dates):
        return above[0] > above[1]
    orders = [[(y, b, a) for a, b, y in dates], [(y, a, b) for a, b, y in dates]]
    back, back_month_first = (sum(p > q for p, q in pairwise(order)) for order in orders)
    if back != back_month_first:
        return back < back_month_first
    if "." in entries[0].when["date"]:  # nobody writes month.day
        return True
    say(f"{where}: {entries[0].when['date']} may be day/month or month/day; read as month/day")
    return False


def _numbers(when: re.Match) -> tuple[int, int, int]:
    a, b, c = (int(part) for part in re.split(r"[-/.]\s?", when["date"]))
    return a, b, c


def _time(when: re.Match, day_first: bool) -> float | None:
    a, b, c = _numbers(when)
    year, month, day = (a, b, c) if a >= 1000 else (c, b, a) if day_first else (c, a, b)
    half = (when["before"] or when["after"] or "").lower()
    half = re.sub(r"[\s.]", "", half)
    hour = int(when["hour"])
    if half:
        hour = hour % 12 + (12 if half in AFTERNOON else 0)
    second = int(when.groupdict().get("second") or 0)
    try:
        date = datetime(
            year + (2000 if year < 100 else 0), month, day, hour, int(when["minute"]), second
        )
    except ValueError:  # no date at all, e.g. of another calendar
        return None
    return date.replace(tzinfo=timezone.utc).timestamp()
