"""Conversations as the model sees them, token by token, and whether every reply learns to stop.

    found = audit(dataset, "assistant")  # of the whole dataset, in bounded memory
    passages = conversation_passages(dataset, "train", 3, 0, None, "assistant")

Trained tokens are those a loss is taken on (--loss_on); the others are read but not learned.
jojo/data/inspect/tokenview.py draws them.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

import numpy as np

import tokenizer
from jojo.data.batches import Batches
from jojo.data.bins import Dataset, conversation_starts
from jojo.data.contract import SPLITS
from jojo.text.template import NEWLINE, TEMPLATES, Template, loss_mask
from tokenizer import ENDOFTEXT, IM_END, IM_START, N_TOKENS, SPECIAL_TOKENS

BLOCK_TOKENS = 1 << 20  # looked at together; whole conversations
NAMES = {number: name for name, number in SPECIAL_TOKENS.items()}
STOP = {"chatml": "<|im_end|>", "text": "<|endoftext|>"}  # of the line templates: a line break


@dataclass
class Token:
    id: int
    data: bytes
    text: str  # what is shown: white space and pieces of characters made visible
    trained: bool
    breaks: int = 0  # line breaks in it

    @property
    def is_special(self) -> bool:
        return self.id in NAMES


@dataclass
class Passage:
    """Some tokens to look at: a conversation, or a window of training."""

    title: str
    tokens: list[Token]

    @property
    def trained(self) -> int:
        return sum(token.trained for token in self.tokens)


# ---------------------------------------------------------------- what to show


def passage(title: str, ids: np.ndarray, trained: np.ndarray) -> Passage:
    data = [tokenizer.decode_bytes([i]) for i in ids.tolist()]
    shown = visible(data)
    tokens = []
    for number, raw, text, learned in zip(ids.tolist(), data, shown, trained.tolist(), strict=True):
        if number in NAMES:
            tokens.append(Token(number, raw, NAMES[number], learned))
        else:
            tokens.append(Token(number, raw, text, learned, raw.count(b"\n")))
    return Passage(title, tokens)


def visible(data: list[bytes]) -> list[str]:
    """What each token shows. A character of several tokens: its bytes in each, itself in the last,
    as ⟨f0 9f⟩ ⟨98 80=😀⟩."""
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    shown = []
    for raw in data:
        before = decoder.getstate()[0]
        try:
            text = decoder.decode(raw)
        except UnicodeDecodeError:
            decoder.reset()
            shown.append(f"⟨{raw.hex(' ')}⟩")
            continue
        after = decoder.getstate()[0]
        if text and before:  # it closes a character
            closing = raw[: len(text[0].encode()) - len(before)]
            head, text = f"⟨{closing.hex(' ')}={_plain(text[0]).strip('⟨⟩')}⟩", text[1:]
        else:
            head = ""
        opening = after if text or head else raw  # the bytes that wait for the next token
        tail = f"⟨{opening.hex(' ')}⟩" if after else ""
        shown.append(head + "".join(map(_plain, text)) + tail)
    return shown


def _plain(character: str) -> str:
    """A character as it is, unless it cannot be seen or would steer the terminal."""
    if character == "\n":
        return "↵"
    if character == "\t":
        return "→"
    if character.isprintable():
        return character
    return f"⟨U+{ord(character):04X}⟩"


def mask_of(ids: np.ndarray, template: str, loss_on: str) -> np.ndarray:
    return np.ones(len(ids), dtype=bool) if loss_on == "all" else loss_mask(ids, template)


def conversation_passages(
    dataset: Dataset, split: str, n: int, start: int, seed: int | None, loss_on: str
) -> list[Passage]:
    """`n` conversations of a split from number `start` on, or drawn with `seed`."""
    ids, template = dataset.ids[split], dataset.manifest.template
    starts = conversation_starts(ids)
    chosen = _numbers(len(starts) - 1, n, start, seed, f"conversations in {split}")
    found = []
    for i in chosen:
        mine = np.asarray(ids[starts[i] : starts[i + 1]])
        title = f"{split} {i:,} of {len(starts) - 1:,}"
        found.append(passage(title, mine, mask_of(mine, template, loss_on)))
    return found


def window_passages(
    dataset: Dataset, split: str, n: int, start: int, seed: int, loss_on: str, block_size: int
) -> list[Passage]:
    """Windows as a training with this seed reads them, one after another, from number `start`."""
    template = dataset.manifest.template
    batches = Batches(dataset.ids[split], template, block_size, 1, seed)
    count = batches.windows_per_epoch()
    found = []
    for i in _numbers(count, n, start, None, f"windows of {block_size} in {split}"):
        ids = batches.ids_of(i)[0]
        trained = mask_of(ids, template, loss_on)
        trained[0] = False  # nothing before it could predict it
        found.append(passage(f"{split} window {i:,} of {count:,}", ids, trained))
    return found


def _numbers(count: int, n: int, start: int, seed: int | None, what: str) -> list[int]:
    if seed is not None:
        return np.random.default_rng(seed).permutation(count)[:n].tolist()
    if start >= count:
        raise ValueError(f"`start` {start}: there are {count:,} {what}, from 0 to {count - 1:,}")
    return list(range(start, min(count, start + n)))


# ---------------------------------------------------------------- does every reply learn to stop?


@dataclass
class Audit:
    """What holds for the whole dataset."""

    name: str
    template: str
    loss_on: str
    conversations: dict[str, int]
    tokens: dict[str, int]
    trained: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    replies: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    endless: int = 0  # replies without a trained stop token
    first: str = ""  # where the first of them is
    unclosed: str = ""  # a split that has fewer <|endoftext|> than conversations

    @property
    def stop(self) -> str:
        return STOP.get(self.template, "the line break")

    @property
    def problem(self) -> str | None:
        """One line if something will not be learned, else None."""
        again = "prepare it again"
        if self.unclosed:
            return f"{self.name}: {self.unclosed}, so where one ends is not learned; {again}"
        if self.endless:
            return (
                f"{self.name}: {self.endless:,} of {sum(self.replies.values()):,} replies of the "
                f"assistant do not end in a trained {self.stop}, so the model would not learn to "
                f"stop there; first: {self.first}; {again}"
            )
        if not self.replies["train"]:
            return (
                f"{self.name}: no stop token is ever trained, since train has no reply of "
                "the assistant; check what the recipe calls assistant, or train with `loss_on` all"
            )
        return None

    def lines(self) -> list[str]:
        lines = []
        is_text = self.template == "text"
        kind = "documents" if is_text else "conversations"
        for split in SPLITS:
            share = self.trained[split] / self.tokens[split]
            lines.append(
                f"{split}: {self.conversations[split]:,} {kind}, {self.tokens[split]:,} tokens, "
                f"{share:.1%} trained (loss_on {self.loss_on})"
            )
        if self.problem is None:
            what = kind if is_text else "replies of the assistant"
            lines.append(f"all {sum(self.replies.values()):,} {what} end in {self.stop}, trained")
        return lines


def audit(dataset: Dataset, loss_on: str) -> Audit:
    """Look at every token of both splits, a block at a time."""
    m = dataset.manifest
    result = Audit(m.name, m.template, loss_on, m.conversations, m.tokens)
    for split in SPLITS:
        ids = dataset.ids[split]
        starts = conversation_starts(ids)
        ends = len(starts) - 1 - (ids[-1] != ENDOFTEXT)
        if ends != m.conversations[split]:
            result.unclosed = result.unclosed or (
                f"{split} has {ends:,} <|endoftext|> for {m.conversations[split]:,} conversations"
            )
        for begin, block in _blocks(ids, starts):
            mask = mask_of(block, m.template, loss_on)
            result.trained[split] += int(mask.sum())
            if m.template == "text":
                result.replies[split] += int((block == ENDOFTEXT).sum())
                continue
            replies, good = _replies(block, mask, TEMPLATES[m.template])
            result.replies[split] += len(replies)
            result.endless += int((~good).sum())
            if not good.all() and not result.first:
                at = begin + int(replies[~good][0])
                number = int(np.searchsorted(starts, at, side="right")) - 1
                text = tokenizer.decode(ids[at : at + 16]).partition("<|endoftext|>")[0]
                text = text.replace("<|im_start|>", "")
                result.first = f"{split} conversation {number:,}, {' '.join(text.split())!r}"
    return result


def _blocks(ids: np.ndarray, starts: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(where it begins, ids) of about BLOCK_TOKENS: whole conversations."""
    i = 0
    while i < len(starts) - 1:
        j = int(np.searchsorted(starts, starts[i] + BLOCK_TOKENS, side="right")) - 1
        j = max(i + 1, j)
        yield int(starts[i]), np.asarray(ids[starts[i] : starts[j]])
        i = j


def _replies(ids: np.ndarray, mask: np.ndarray, how: Template) -> tuple[np.ndarray, np.ndarray]:
    """Where each turn of the assistant begins, and whether its stop token is there and trained.

    Found by what the text says, not by loss_mask, which is what is to be checked.
    """
    if how.name == "chatml":
        begins, body, stop = np.flatnonzero(ids == IM_START), 1, IM_END
        ends = np.flatnonzero((ids == IM_END) | (ids == IM_START) | (ids == ENDOFTEXT))
    else:
        line_end = _line_ends()[ids]
        opens = np.append(True, line_end[:-1]) & (ids != ENDOFTEXT)
        begins, body, stop = np.flatnonzero(opens), 0, NEWLINE
        ends = np.flatnonzero(line_end)
    headers = {role: tokenizer.encode(prefix) for role, prefix in how.prefix.items()}
    if how.name == "chatml":
        headers = {role: header[:-1] for role, header in headers.items()}  # its line break merges
    is_role = {r: _follows(ids, begins + body, header) for r, header in headers.items()}
    mine = is_role["assistant"]
    for k in np.flatnonzero(~np.any(list(is_role.values()), axis=0)):  # spelled in other tokens?
        at = int(begins[k]) + body
        mine[k] = tokenizer.decode(ids[at : at + 12]).startswith(how.prefix["assistant"].rstrip())
    begins = begins[mine]
    at = np.searchsorted(ends, begins, side="right" if body else "left")
    end = np.append(ends, len(ids) - 1)[at]
    return begins, (ids[end] == stop) & mask[end]


def _follows(ids: np.ndarray, at: np.ndarray, wanted: list[int]) -> np.ndarray:
    """Whether `wanted` is at each of the positions `at`."""
    found = at + len(wanted) <= len(ids)
    for k, token in enumerate(wanted):
        found &= ids[np.minimum(at + k, len(ids) - 1)] == token
    return found


@cache
def _line_ends() -> np.ndarray:
    """Of every id whether a line ends with it: bool."""
    table = np.zeros(N_TOKENS, dtype=bool)
    table[ENDOFTEXT] = True
    for number in range(ENDOFTEXT):
        table[number] = tokenizer.decode_bytes([number]).endswith(b"\n")
    return table
