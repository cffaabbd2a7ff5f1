"""What readers of public dialogues share: lines, official splits, turns made into messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jojo.data.contract import SPLITS
from jojo.data.formats.records import Skip, Unusable
from jojo.data.formats.shapes import tidy

if TYPE_CHECKING:
    from jojo.data.contract import Tally
    from jojo.text.template import Conversation, Message


class Raw(NamedTuple):
    """A record as the source has it."""

    where: str
    split: str | None
    value: object


def conversations_of(
    records: Iterable[Raw], messages_of: Callable[[object, Skip], list[Message]], tally: Tally
) -> Iterator[Conversation]:
    """One conversation of each record, or the reason why there is none.

    `messages_of(value, skip)` makes messages of a record's value; skip(reason) counts a part of
    it that is left out.
    """
    from jojo.text.template import Conversation

    for where, split, value in tally.records(records):
        skip = partial(tally.skip, where=where)
        try:
            messages = tidy(messages_of(value, skip), skip)
        except Unusable as error:
            tally.drop(str(error), where=where)
        else:
            yield Conversation(messages, split=split, where=where)


def spoken(turns: Iterable[tuple[object, str]], system: str | None = None) -> list[Message]:
    """Messages of (speaker, text): who speaks first is the user, the other the assistant."""
    messages = [{"role": "system", "content": system}] if system else []
    first = None
    for speaker, text in turns:
        first = speaker if first is None else first
        role = "user" if speaker == first else "assistant"
        messages.append({"role": role, "content": text})
    return messages


def alternating(texts: Iterable[str]) -> list[tuple[int, str]]:
    """Turns of two speakers who alternate."""
    return [(i % 2, text) for i, text in enumerate(texts)]


def with_splits(files: Iterable[Path]) -> list[tuple[Path, str | None]]:
    """Each file with its official split, told by its name. Held-out files come first, so that of
    several copies the one in "val" stays. Files of a single split are split anew."""
    found = [(path, official_split(path.name)) for path in files]
    if {split for _, split in found} != set(SPLITS):
        return [(path, None) for path, _ in found]
    return sorted(found, key=lambda pair: (pair[1] != "val", pair[0]))


def official_split(name: str) -> str | None:
    """ "train", or "val" for what was held out in any way."""
    if "train" in name.lower():
        return "train"
    return "val" if any(word in name.lower() for word in ("val", "test", "dev")) else None


def lines(path: Path, *, old: bool = False) -> Iterator[tuple[str, str]]:
    """("file, line N", text) of lines that are not blank.

    They must be UTF-8; an `old` file that is not is read as CP1252, which holds ISO-8859-1.
    """
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if not old:
            number = data.count(b"\n", 0, error.start) + 1
            raise ValueError(f"{path}, line {number}: not valid UTF-8 ({error.reason})") from error
        text = data.decode("cp1252", errors="replace")
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{path.name}, line {number}", line.rstrip("\r")
