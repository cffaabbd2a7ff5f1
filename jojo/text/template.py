"""Conversations <-> token ids, and the loss mask.

There are four templates; each ends a conversation with <|endoftext|>:

chatml    <|im_start|>user\\nHi!\\n<|im_end|>\\n<|im_start|>assistant\\nHello.\\n<|im_end|>\\n
person    Person A: Hi!\\nPerson B: Hello.\\n                     (A is the user, B the assistant)
speaker   <speaker2> Hi!\\n<speaker1> Hello.\\n                   (1 is the assistant)
text      plain documents, one assistant message each

Content is encoded as ordinary text, so what a person or a dataset writes can never open or close
a turn of chatml; in the line templates its line breaks become spaces for the same reason.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import tokenizer
from tokenizer import ENDOFTEXT, IM_END, IM_START

Message = dict[str, str]  # {"role": "system" | "user" | "assistant", "content": str}
ROLES = ("system", "user", "assistant")
NEWLINE = 198  # the token "\n"


@dataclass(slots=True)
class Conversation:
    messages: list[Message]
    split: str | None = None  # "train" or "val" where the source decides
    intent: str | None = None  # what the last user turn is about, where the source knows
    where: str | None = None  # "file, line 12": where it came from, for messages


@dataclass(frozen=True)
class Template:
    """How a template marks turns: `prefix` per role; a reply ends at a stop id or stop text."""

    name: str
    prefix: dict[str, str]
    stop_ids: frozenset[int]
    stop_text: str | None = None

    @property
    def is_chat(self) -> bool:
        return self.name != "text"

    @property
    def end_ids(self) -> list[int]:
        """Ids that end a reply, the usual one first: in the line templates the line break."""
        if self.stop_text:
            return [NEWLINE, ENDOFTEXT]
        return [IM_END, ENDOFTEXT] if self.name == "chatml" else [ENDOFTEXT]

    @property
    def special_end(self) -> int:
        """The special token that ends a reply or a text."""
        return next(i for i in self.end_ids if i >= ENDOFTEXT)


TEMPLATES = {
    t.name: t
    for t in (
        Template("chatml", {r: f"{r}\n" for r in ROLES}, frozenset({IM_END, ENDOFTEXT})),
        Template(
            "person",
            {"user": "Person A:", "assistant": "Person B:"},
            frozenset({ENDOFTEXT, IM_END}),
            stop_text="\n",
        ),
        Template(
            "speaker",
            {"user": "<speaker2>", "assistant": "<speaker1>"},
            frozenset({ENDOFTEXT, IM_END}),
            stop_text="\n",
        ),
        Template("text", {}, frozenset({ENDOFTEXT})),
    )
}


def template_named(name: str) -> Template:
    if name not in TEMPLATES:
        raise ValueError(f"unknown template {name!r}: there are {', '.join(TEMPLATES)}")
    return TEMPLATES[name]


def encode(messages: Sequence[Message], template: str = "chatml") -> list[int]:
    """Ids of one whole conversation, <|endoftext|> included."""
    return encode_batch([messages], template)[0].tolist()


def encode_batch(
    conversations: Sequence[Sequence[Message]], template: str = "chatml"
) -> list[np.ndarray]:
    """Ids (uint16) of each whole conversation; many at once use the fast tokenizer."""
    ids, lengths = encode_flat(conversations, template)
    return np.split(ids, np.cumsum(lengths)[:-1]) if len(lengths) else []


def encode_flat(
    conversations: Sequence[Sequence[Message]], template: str = "chatml"
) -> tuple[np.ndarray, np.ndarray]:
    """The same as (ids uint16, all concatenated; lengths int64, one per conversation)."""
    how = template_named(template)
    texts: list[str] = []  # every piece of ordinary text, in order
    turns: list[int] = []  # how many of them each conversation has
    for messages in conversations:
        pieces = [_turn_text(m, how) for m in messages]
        if how.name != "chatml":
            pieces = ["".join(pieces)]
        texts += pieces
        turns.append(len(pieces))
    before, after = ([IM_START], [IM_END, NEWLINE]) if how.name == "chatml" else ([], [])
    return _wrap(*tokenizer.encode_batch(texts), np.array(turns, np.int64), before, after)


def encode_documents(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Plain documents of template `text` as (ids, lengths), faster than as conversations."""
    ids, lengths = tokenizer.encode_batch(texts)
    return _wrap(ids, lengths, np.ones(len(texts), np.int64), [], [])


def _wrap(
    ids: np.ndarray, lengths: np.ndarray, turns: np.ndarray, before: list[int], after: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Put `before` and `after` around each text and <|endoftext|> after each conversation.

    Returns all ids, and the length of each conversation.
    """
    last = np.zeros(len(lengths), dtype=np.int64)  # 1 where a text ends its conversation
    ends_at = np.cumsum(turns)
    last[ends_at[turns > 0] - 1] = 1
    sizes = lengths + len(before) + len(after) + last
    stops = np.cumsum(sizes)
    starts = stops - sizes
    total = int(stops[-1]) if len(stops) else 0
    out = np.full(total, ENDOFTEXT, dtype=np.uint16)
    ordinary = np.ones(total, dtype=bool)
    ordinary[stops[last > 0] - 1] = False
    placed = [(starts + k, token) for k, token in enumerate(before)]
    placed += [(starts + len(before) + lengths + k, token) for k, token in enumerate(after)]
    for where, token in placed:
        ordinary[where] = False
        out[where] = token
    out[ordinary] = ids
    cuts = np.concatenate([[0], stops])[ends_at]
    return out, np.diff(cuts, prepend=0)


def _turn_text(message: Message, how: Template) -> str:
    role, content = message["role"], message["content"]
    if not content.isascii():
        try:
            content.encode()
        except UnicodeEncodeError as error:
            where = content[max(0, error.start - 20) : error.start]
            raise ValueError(f"a {role} message is not valid UTF-8 after {where!r}") from None
    if how.name == "text":
        return content
    if role not in how.prefix:
        raise ValueError(
            f"role {role!r} has no place in template {how.name!r}: use {', '.join(how.prefix)}"
        )
    if how.name == "chatml":
        return f"{how.prefix[role]}{content}\n"
    return f"{how.prefix[role]} {' '.join(content.split())}\n"


def encode_prompt(messages: Sequence[Message], template: str = "chatml") -> list[int]:
    """Ids of a conversation up to where the assistant's next turn begins.

    In `text` the messages are simply joined: a prompt to be continued.
    """
    how = template_named(template)
    ids = encode(messages, template)[:-1]
    if how.name == "chatml":
        return [*ids, IM_START, *tokenizer.encode(how.prefix["assistant"])]
    if how.name == "text":
        return ids
    return ids + tokenizer.encode(how.prefix["assistant"])


def render(messages: Sequence[Message], template: str = "chatml") -> str:
    """The text a conversation's ids decode to."""
    return tokenizer.decode(encode(messages, template))


def decode(ids: Sequence[int] | np.ndarray, template: str = "chatml") -> list[Message]:
    """Messages of one conversation's ids; an unfinished last turn is kept as it is."""
    how = template_named(template)
    ids = np.asarray(ids)
    if len(end := np.flatnonzero(ids == ENDOFTEXT)):
        ids = ids[: end[0]]
    if how.name == "chatml":
        return _decode_chatml(ids)
    text = tokenizer.decode(ids)
    if how.name == "text":
        return [{"role": "assistant", "content": text}]
    return _parse_lines(text, how)


def _parse_lines(text: str, how: Template) -> list[Message]:
    """Messages of lines that begin with a prefix; other lines continue the one before."""
    messages: list[Message] = []
    for line in text.splitlines():
        role = next((r for r, prefix in how.prefix.items() if line.startswith(prefix)), None)
        if role:
            messages.append({"role": role, "content": line[len(how.prefix[role]) :].strip()})
        elif messages:
            messages[-1]["content"] += " " + line
    return messages


def _decode_chatml(ids: np.ndarray) -> list[Message]:
    messages = []
    for start in np.flatnonzero(ids == IM_START):
        ends = np.flatnonzero(ids[start:] == IM_END)
        turn = ids[start + 1 : start + ends[0]] if len(ends) else ids[start + 1 :]
        role, _, content = tokenizer.decode(turn).partition("\n")
        if role not in ROLES:
            raise ValueError(
                f"unknown role {role!r} in a chatml turn: roles are {', '.join(ROLES)}"
            )
        messages.append({"role": role, "content": content.removesuffix("\n")})
    return messages


def loss_mask(ids: np.ndarray, template: str = "chatml") -> np.ndarray:
    """Which of `ids` (..., T) are the assistant's own words: bool, same shape.

    True on assistant content and on what ends it (<|im_end|>, or the line break of the line
    templates); the header of the turn is given, not learned. A pure function of the ids.
    """
    how = template_named(template)
    ids = np.asarray(ids)
    if how.name == "text":
        return np.ones(ids.shape, dtype=bool)
    position = np.arange(ids.shape[-1])
    if how.name == "chatml":
        header, skip = [IM_START, *tokenizer.encode("assistant")], 2  # 2: past the line break
        stop = np.isin(ids, (IM_END, IM_START, ENDOFTEXT))
    else:
        header, skip = tokenizer.encode(how.prefix["assistant"]), 1
        stop = np.isin(ids, (NEWLINE, ENDOFTEXT))
    header_end = _ends_of(ids, header)
    if how.name != "chatml":  # a prefix counts only at the beginning of a line
        opens = np.roll(np.isin(ids, (NEWLINE, ENDOFTEXT)), len(header), axis=-1)
        opens[..., : len(header)] = position[: len(header)] == len(header) - 1
        header_end = np.where(opens, header_end, -1)
    last_start = np.where(header_end >= 0, header_end + skip, -1)
    started = np.maximum.accumulate(last_start, axis=-1)  # where the newest reply began
    stopped = np.maximum.accumulate(np.where(stop, position, -1), axis=-1)
    stopped_before = np.concatenate([np.full_like(stopped[..., :1], -1), stopped[..., :-1]], -1)
    mask = (started >= 0) & (position >= started) & (stopped_before < started)
    return mask & ~np.isin(ids, (IM_START, ENDOFTEXT))


def _ends_of(ids: np.ndarray, header: list[int]) -> np.ndarray:
    """Index of each position where `header` has just ended, -1 elsewhere; same shape as ids."""
    match = np.zeros(ids.shape, dtype=bool)
    n = len(header)
    if ids.shape[-1] >= n:
        windows = np.lib.stride_tricks.sliding_window_view(ids, n, axis=-1)
        match[..., n - 1 :] = (windows == np.array(header)).all(-1)
    return np.where(match, np.arange(ids.shape[-1]), -1)


_TURN = re.compile(r"<\|im_start\|>(system|user|assistant)\n(.*?)\n?<\|im_end\|>\n?", re.DOTALL)


def parse_text(text: str, template: str = "chatml") -> list[Message]:
    """Messages of a prompt file: turns written as the template has them, or one user message.

    An assistant turn left open at the end is the reply to be written; it is not returned.
    """
    how = template_named(template)
    plain = [{"role": "user", "content": text.strip()}]
    if how.stop_text:
        messages = _parse_lines(text.strip(), how) or plain
        opened = messages[-1] == {"role": "assistant", "content": ""}
        return messages[:-1] if opened else messages
    if "<|im_start|>" not in text:
        return plain
    body = re.sub(r"<\|im_start\|>assistant\s*$", "", text.strip())
    messages = [{"role": m[1], "content": m[2]} for m in _TURN.finditer(body)]
    rest = _TURN.sub("", body).strip()
    if not messages or rest:
        raise ValueError(
            f"the prompt has <|im_start|> but is not ChatML, at {rest[:40]!r}: write "
            "<|im_start|>user, the message and <|im_end|> on lines of their own"
        )
    return messages
