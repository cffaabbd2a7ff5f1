"""Conversations written as plain text: ChatML, and lines that begin with who speaks.

    <|im_start|>user          User: Hi!            <speaker2> Hi!       Q: What is tea?
    Hi!<|im_end|>             Bot: Hello.          <speaker1> Hello.    A: A hot drink.

Several in one file are separated by <|endoftext|>. Without it a system turn begins a new
one, and so does a blank line before a user's turn, unless blank lines separate all turns; each
Q: is a conversation of its own. Lines that begin with people's names are a chat like an export's,
in which somebody has to be chosen as the assistant. All other text is a document, or several.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import IO, NamedTuple

from jojo.data.formats.records import Skip, Unusable
from jojo.data.formats.shapes import ROLE_OF

END = "<|endoftext|>"
START, STOP = "<|im_start|>", "<|im_end|>"
BLOCK = 4 << 20  # characters read at once
MAX_CHARACTERS = 64 << 20  # of one conversation
SIZE = 16_000  # characters of a piece of a long document
MIN_SIZE, PIECES = 1_000, 40  # little text is cut smaller, so that some can be held out

LABELS = {name: role for name, role in ROLE_OF.items() if role != "tool" and name != "person"}
LABELS |= {"person a": "user", "person b": "assistant", "speaker2": "user", "speaker1": "assistant"}
LABELS |= {"q": "user", "question": "user", "instruction": "user"}
LABELS |= {"a": "assistant", "answer": "assistant", "response": "assistant"}
EITHER = {"you": "user", "me": "assistant", "i": "assistant"}  # the opposite of the label beside it
OPPOSITE = {"user": "assistant", "assistant": "user"}
SAID_BY = {"author", "sender", "sendername", "user", "username", "name", "from", "speaker", "role"}
QUESTIONS = {"q", "question", "instruction"}
_WORDS = "|".join(sorted((*LABELS, *EITHER), key=len, reverse=True))
LABEL = re.compile(
    rf"^[ \t]*(?:<(speaker[12])>|(?:\#{{1,4}}[ ]*|\*\*)?({_WORDS})(?:\*\*:|:\*\*|:))[ \t]*",
    re.IGNORECASE | re.MULTILINE,
)
NAME = re.compile(r"([^\W\d_][\w.'’ -]{0,30}):[ \t]+(?=\S)")
MOST_NAMES, FEWEST_LINES = 12, 4
LOG_LEVELS = {"debug", "info", "warning", "warn", "error", "critical", "fatal", "note", "todo"}


class Turn(NamedTuple):
    role: str
    content: str
    line: int
    after_blank: bool  # a blank line precedes it

    def as_message(self) -> dict[str, str]:
        return {"role": self.role, "content": self.content}


def is_chat(text: str) -> bool:
    return is_chatml(text) or labels(text) is not None


def text_of(record: object) -> str | None:
    """The text of a record that is nothing else: a string, or {"text": ...} with whatever says
    where it is from."""
    if isinstance(record, dict):
        fields = {str(key).strip().lower(): value for key, value in record.items()}
        record = fields.get("text") if SAID_BY.isdisjoint(fields) else None
    return record if isinstance(record, str) else None


def is_chatml(text: str) -> bool:
    return text.removeprefix("\ufeff").removeprefix(END).lstrip().startswith(START)


def labels(text: str) -> dict[str, str] | None:
    """The two labels that the lines of a dialogue begin with, as {label: role}; None: no dialogue.

    The text begins with one, and the first of the opposite side is the other; what else looks like
    a label is something said.
    """
    found = list(LABEL.finditer(text))
    if not found or text[: found[0].start()].replace(END, "").strip(" \n\ufeff"):
        return None
    names = [name for m in found if LABELS.get(name := _name(m)) != "system"]
    for name in names[1:]:
        one, other = LABELS.get(names[0]), LABELS.get(name)
        if one is None and other is None:
            one, other = EITHER[names[0]], EITHER[name]
        one, other = one or OPPOSITE[other], other or OPPOSITE[one]
        if one != other:
            return {names[0]: one, name: other, "system": "system"}
    return None


def has_names(text: str) -> bool:
    """Whether the lines of a text begin with the names of a few people, each more than once."""
    lines = [line for line in text.split("\n") if line.strip()][:1000]
    count = Counter(m[1] for line in lines if (m := NAME.match(line)))
    return (
        count.total() >= max(FEWEST_LINES, 0.9 * len(lines))
        and 2 <= len(count) <= MOST_NAMES
        and count.total() >= 2 * len(count)
        and not any(name[0].islower() or name.lower() in LOG_LEVELS for name in count)
    )


def said(stream: IO[str]) -> Iterator[tuple[int, str, str]]:
    """Line, name and text of what people say; a line without a name continues the one before."""
    number, who, text = 0, "", ""
    for at, line in enumerate(stream, start=1):
        if match := NAME.match(line):
            if who:
                yield number, who, text
            number, who, text = at, match[1], line[match.end() :]
        else:
            text += line
    if who:
        yield number, who, text


def _chatml_turns(text: str, line: int, skip: Skip) -> Iterator[Turn]:
    outside, *parts = text.split(START)
    if outside.strip():
        skip("text outside the turns")
    line += outside.count("\n")
    after_blank = False
    for part in parts:
        turn, stop, rest = part.partition(STOP)
        role, _, content = turn.partition("\n")
        if not stop:
            skip("turn without <|im_end|>")
        else:
            yield Turn(role.strip(), content, line, after_blank)
            if rest.strip():
                skip("text outside the turns")
        line += part.count("\n")
        after_blank = rest.count("\n") > 1


def _labelled_turns(text: str, line: int, roles: dict[str, str], skip: Skip) -> Iterator[Turn]:
    starts = [m for m in LABEL.finditer(text) if _name(m) in roles]
    if text[: starts[0].start() if starts else None].strip():
        skip("text outside the turns")
    at = 0
    for match, following in zip(starts, [*starts[1:], None], strict=True):
        line += text.count("\n", at, match.start())
        at = match.start()
        content = text[match.end() : following.start() if following else None]
        after_blank = text[:at].rstrip(" \t").endswith("\n\n") if at else False
        yield Turn(roles[_name(match)], content, line, after_blank)


def split_conversations(
    text: str, line: int, roles: dict[str, str] | None, skip: Skip
) -> Iterator[list[Turn]]:
    """The turns of a text without <|endoftext|>, split where a new conversation begins.

    `roles`: its labels; None: it is ChatML.
    """
    each_question = bool(roles) and not QUESTIONS.isdisjoint(roles)
    if roles:
        turns = list(_labelled_turns(text, line, roles, skip))
    else:
        turns = list(_chatml_turns(text, line, skip))
    spaced = any(t.after_blank for t in turns if t.role == "assistant")
    conversation: list[Turn] = []
    for turn in turns:
        asks = turn.role == "user" and (each_question or (turn.after_blank and not spaced))
        only_system = all(t.role == "system" for t in conversation)
        if not only_system and (turn.role == "system" or asks):
            yield conversation
            conversation = []
        conversation.append(turn)
    if conversation:
        yield conversation


def parts(stream: IO[str]) -> Iterator[tuple[int, str]]:
    """The texts between <|endoftext|>, unless empty, and the lines they begin in."""
    rest, line = "", 1
    while block := stream.read(BLOCK):
        *whole, rest = (rest + block).split(END)
        for text in whole:
            if text.strip():
                yield line, text
            line += text.count("\n")
        _check_length(rest)
    if rest.strip():
        yield line, rest


def split_documents(stream: IO[str], size: int = SIZE) -> Iterator[tuple[int, str]]:
    """Plain documents: separated by <|endoftext|>, or else pieces of about `size` characters."""
    rest, line, marked = "", 1, None
    at_end = False
    while not at_end:
        block = stream.read(BLOCK)
        rest, at_end = rest + block, not block
        if marked is None:
            marked = END in rest
        pieces = rest.split(END) if marked else list(_cut(rest, size))
        rest = "" if at_end else pieces.pop()
        _check_length(rest)
        for text in pieces:
            yield line, text
            line += text.count("\n")


def _check_length(text: str) -> None:
    if len(text) > MAX_CHARACTERS:
        raise Unusable(f"holds more than {MAX_CHARACTERS >> 20} Mi characters without {END}")


def piece_size(total: int) -> int:
    """How long pieces should be, of so many characters."""
    return max(MIN_SIZE, min(SIZE, total // PIECES))


def _cut(text: str, size: int) -> Iterator[str]:
    """Pieces of `size` to twice that: up to the end of a paragraph, or of a line, a sentence."""
    start = 0
    while len(text) - start > 2 * size:
        for mark in ("\n\n", "\n", ". ", " "):
            found = text.find(mark, start + size, start + 2 * size)
            if found >= 0:
                break
        end = found + len(mark) if found >= 0 else start + 2 * size
        yield text[start:end]
        start = end
    yield text[start:]


def _name(match: re.Match) -> str:
    return (match[1] or match[2]).lower()
