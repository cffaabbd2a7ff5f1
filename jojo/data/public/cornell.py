"""Cornell Movie-Dialogs: 83,097 conversations of 617 film scripts, 304,713 lines.

Danescu-Niculescu-Mizil and Lee 2011, https://aclanthology.org/W11-0609. Reads the folder or the
archive with movie_conversations.txt and movie_lines.txt. A conversation that lacks a line is
dropped whole, and all of a film goes to one split.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jojo.data.clean.detokenize import detokenize
from jojo.data.formats.records import Unusable
from jojo.data.public import origins
from jojo.data.public.dialogues import Raw, conversations_of, lines, spoken

if TYPE_CHECKING:
    from jojo.data.contract import PrepareOptions, Tally
    from jojo.text.template import Conversation, Message

FACTS = origins.PUBLIC_DATASETS["cornell"]
SEPARATOR = "+++$+++"
CONVERSATIONS, LINES = "movie_conversations.txt", "movie_lines.txt"
TAG = re.compile(r"</?[A-Za-z][^<>]*>")
LOST = "\ufffd"  # in place of what could not be decoded when the file was made


class ScriptLine(NamedTuple):
    speaker: str
    text: str


def conversations(options: PrepareOptions, tally: Tally) -> Iterator[Conversation]:
    with origins.opened(origins.raw("cornell", options, tally)) as files:
        spoken_lines = _spoken_lines(_file(files, LINES, tally))
        records = _records(_file(files, CONVERSATIONS, tally), options)
        yield from conversations_of(records, lambda ids, skip: _messages(ids, spoken_lines), tally)


def _file(files: list[Path], name: str, tally: Tally) -> Path:
    found = next((f for f in files if f.name == name), None)
    if found is None:
        raise ValueError(
            f"there is no {name}: `input` takes the folder or archive with {CONVERSATIONS} and "
            f"{LINES}"
        )
    tally.used(found)
    return found


def _fields(path: Path, wanted: int) -> Iterator[tuple[str, list[str]]]:
    for where, line in lines(path, old=True):
        fields = [field.strip() for field in line.split(SEPARATOR, wanted - 1)]
        if len(fields) != wanted:
            raise ValueError(
                f"{path.parent / where}: {len(fields)} fields between {SEPARATOR} "
                f"where {wanted} were expected; is it truncated?"
            )
        yield where, fields


def _spoken_lines(path: Path) -> dict[str, ScriptLine]:
    return {line: ScriptLine(who, text) for _, (line, who, _, _, text) in _fields(path, 5)}


def _records(path: Path, options: PrepareOptions) -> Iterator[Raw]:
    from jojo.data.splits import splits_of

    found = [(where, film, ids) for where, (_, _, film, ids) in _fields(path, 4)]
    splits = splits_of({f: None for _, f, _ in found}, options.seed, options.val_fraction)
    for where, film, ids in found:
        yield Raw(where, splits[film], ids)


def _messages(ids: str, spoken_lines: dict[str, ScriptLine]) -> list[Message]:
    try:
        names = ast.literal_eval(ids)
        found = [spoken_lines.get(name) for name in names]
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise Unusable("a malformed list of lines") from None
    if None in found:
        raise Unusable("a line is missing")
    turns = [(line.speaker, detokenize(TAG.sub("", line.text))) for line in found]
    if not all(text for _, text in turns):
        raise Unusable("an empty line")
    if any(LOST in text for _, text in turns):
        raise Unusable("a character of it was lost")
    return spoken(turns)
