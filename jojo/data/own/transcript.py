"""Lines of a chat export -> conversations: one person becomes the assistant, the rest the user.

    lines = whatsapp.read(text, "chat.txt", tally)
    for conversation in to_conversations(lines, options, tally): ...

Each room is sorted by time and cut where nobody writes for longer than --gap, and every 40 turns;
messages of one side in a row become one turn. In a group the others are one user, without their
names: whoever chats with the model later writes without a name too. A conversation that the
assistant opens keeps that opening, because the answer to it means nothing without it; a last turn
of the user, which nobody answered, is left out.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from jojo.command import say, seconds
from jojo.data.contract import CommonOptions

if TYPE_CHECKING:
    from jojo.data.contract import Tally
    from jojo.text.template import Conversation

NAMES_SHOWN = 20
LATEST_SECONDS = 1e11  # the year 5138; above, a time is in milliseconds
MOST_TURNS = 40  # fills a context; a chat without a pause must not be all of a split


@dataclass(slots=True)
class ChatLine:
    """One message of an export."""

    time: float | None  # seconds since 1970; None: it keeps its place
    author: str
    text: str
    where: str  # "export, message 12": the part before the last comma names the export
    room: str = ""  # a channel, a thread, a chat
    me: bool | None = None  # whether the export's owner wrote it, if the export says so
    also: tuple[str, ...] = ()  # other names of the author


@dataclass
class ExportOptions(CommonOptions):
    """Options of a recipe that reads chat exports."""

    me: str | None = None
    """Who becomes the assistant; by default the export's owner, else who writes most."""
    gap: str = "6h"
    """A silence longer than this begins a new conversation: 30m, 6h, 2d."""
    anonymize: bool = False
    """Replace names, phone numbers, e-mail addresses and links."""
    system: str | None = None
    """System message for conversations that have none, e.g. a persona."""

    me_setting: ClassVar[str] = "`me`"  # how messages name `me`; "" where it has no such flag

    def __post_init__(self) -> None:
        super().__post_init__()
        seconds(self.gap, "gap")


def to_conversations(
    lines: Iterable[ChatLine], options: ExportOptions, tally: Tally
) -> Iterator[Conversation]:
    """Reads all exports together, so that --me may be in any of them. A record is a conversation.

    ValueError where --me names nobody, or several people.
    """
    from jojo.data.formats.records import Unusable
    from jojo.data.formats.shapes import INVISIBLE, tidy
    from jojo.text.template import Conversation

    gap = seconds(options.gap, "gap")
    known = list(_readable(lines, tally, INVISIBLE))
    mine = _assistant(known, options)
    hide = _anonymizer(known, options)
    rooms: dict[str, list[ChatLine]] = defaultdict(list)
    for line in known:
        rooms[line.room].append(line)
    pieces = (piece for room in rooms.values() for piece in _cut(_in_order(room), gap, mine))
    for piece in tally.records(pieces):
        turns = [
            {"role": "assistant" if mine(line) else "user", "content": line.text} for line in piece
        ]
        try:
            messages = tidy(turns)
        except Unusable as error:
            tally.drop(str(error), where=piece[0].where)
            continue
        used = max(i for i, turn in enumerate(turns, start=1) if turn["role"] == "assistant")
        if used < len(piece):
            tally.skip("a last message without a reply", len(piece) - used, piece[used].where)
        if hide:
            messages, replaced = hide(messages)
            for what, n in replaced.items():
                tally.change(what, n)
        if options.system and options.system.strip():
            messages.insert(0, {"role": "system", "content": options.system.strip()})
        yield Conversation(messages, where=piece[0].where)


def _readable(lines: Iterable[ChatLine], tally: Tally, invisible: str) -> Iterator[ChatLine]:
    """Lines with text, without what no file can hold (half an emoji)."""
    for line in lines:
        text = line.text if line.text.isascii() else whole_characters(line.text)
        if text != line.text:
            tally.change("messages without their broken characters")
        line.text = text.strip().strip(invisible).strip()
        if line.text:
            yield line
        else:
            tally.skip("no text", where=line.where)


def moment(value: object) -> float | None:
    """Seconds since 1970 of a number, or of one as text; milliseconds are told by their size."""
    try:
        time = float(value) if type(value) in (int, float, str) else math.nan
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(time):
        return None
    return time / 1000 if abs(time) > LATEST_SECONDS else time


def whole_characters(text: str) -> str:
    """Surrogate pairs, as JSON may hold them, joined; lone ones removed."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")


def _in_order(lines: Sequence[ChatLine]) -> list[ChatLine]:
    """By time, stable; a line without a time stays behind the one before it."""
    keys, last = [], float("-inf")
    for line in lines:
        last = last if line.time is None else line.time
        keys.append(last)
    return [lines[i] for i in sorted(range(len(lines)), key=keys.__getitem__)]


def _cut(
    lines: Iterable[ChatLine], gap: float, mine: Callable[[ChatLine], bool]
) -> Iterator[list[ChatLine]]:
    """Cut at silences, and in a long conversation where a turn of the user begins."""
    piece: list[ChatLine] = []
    last, turns = None, 0
    for line in lines:
        silent = line.time is not None and last is not None and line.time - last > gap
        new_turn = not piece or mine(line) != mine(piece[-1])
        if piece and (silent or (turns >= MOST_TURNS and new_turn and not mine(line))):
            yield piece
            piece, turns, new_turn = [], 0, True
        piece.append(line)
        turns += new_turn
        last = last if line.time is None else line.time
    if piece:
        yield piece


def _assistant(lines: Sequence[ChatLine], options: ExportOptions) -> Callable[[ChatLine], bool]:
    """A test of whether a line is by the person who becomes the assistant."""
    if not lines:
        return bool
    if options.me is not None:
        name = named(options.me, lines, options.me_setting)
        return lambda line: line.author == name
    chosen = _owners(lines)
    mine = sum(line.author in chosen[_export(line)] for line in lines)
    names = sorted({name for names in chosen.values() for name in names})
    hint = f"; {options.me_setting} NAME chooses somebody else" if options.me_setting else ""
    say(
        f"the model speaks as {', '.join(names[:NAMES_SHOWN])} ({mine:,} of {len(lines):,} "
        f"messages){hint}"
    )
    return lambda line: line.author in chosen[_export(line)]


def _export(line: ChatLine) -> str:
    return line.where.rpartition(", ")[0]


def _owners(lines: Sequence[ChatLine]) -> dict[str, set[str]]:
    """The name (or names) of the owner of each export.

    The one it states; else the owner of another export who also writes here; else, repeatedly
    until all have an owner, whoever writes in the most exports, and among those the most messages.
    """
    owners: dict[str, set[str]] = defaultdict(set)
    authors: dict[str, Counter[str]] = defaultdict(Counter)
    for line in lines:
        authors[_export(line)][line.author] += 1
        if line.me:
            owners[_export(line)].add(line.author)
    while left := [export for export in authors if export not in owners]:
        known = {name for names in owners.values() for name in names}
        for export in left:
            if here := known & authors[export].keys():
                owners[export] = here
        left = [export for export in left if export not in owners]
        if left:
            total = sum((authors[e] for e in left), Counter())
            first = max(
                total, key=lambda name: (sum(name in authors[e] for e in left), total[name])
            )
            owners[next(e for e in left if first in authors[e])] = {first}
    return owners


def named(wanted: str, lines: Sequence[ChatLine], flag: str) -> str:
    """The author called `wanted`: exactly, else the only one that begins so, else the only one that
    contains it, in either case. ValueError lists the people there are."""
    count = Counter(line.author for line in lines)
    names: dict[str, set[str]] = defaultdict(set)
    for line in lines:
        names[line.author].update(n.casefold() for n in (line.author, *line.also))
    key = wanted.casefold().strip().removeprefix("@")
    tests = (key.__eq__, lambda n: n.startswith(key), lambda n: key in n)
    for fits in tests if key else ():
        found = [a for a in count if any(fits(n) for n in names[a])]
        if found:
            break
    else:
        found = []
    if len(found) == 1:
        return found[0]
    people = sorted(found or count, key=lambda a: -count[a])
    listed = ", ".join(f"{a} ({count[a]:,})" for a in people[:NAMES_SHOWN])
    more = f" and {len(people) - NAMES_SHOWN:,} more" if len(people) > NAMES_SHOWN else ""
    problem = "could be any of" if found else "matches nobody; the names found are"
    raise ValueError(f"{flag} {wanted!r} {problem} {listed}{more} (messages)")


def _anonymizer(lines: Sequence[ChatLine], options: ExportOptions):
    """What hides the names in messages, or None."""
    if not options.anonymize:
        return None
    from jojo.data.clean.anonymize import Anonymizer

    people: dict[str, set[str]] = defaultdict(set)
    for line in lines:
        if not line.author.startswith("Deleted "):
            people[line.author].update((line.author, *line.also))
    return Anonymizer([[author, *sorted(people[author] - {author})] for author in people])
