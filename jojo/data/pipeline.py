"""From conversations to token files: copies dropped, the split, tokenizing beside reading.

with Encoder(writer) as encoder:
    take_conversations(recipe, options, tally, encoder, sample)
"""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from jojo.data.clean.rules import reword_replies
from jojo.data.clean.style import load_style
from jojo.data.contract import SPLITS
from jojo.data.dedup import Seen, copies, fingerprint, fingerprints
from jojo.data.splits import draws, other_split, split_of
from jojo.text.template import Conversation, encode_documents, encode_flat

if TYPE_CHECKING:
    from jojo.data.bins import DatasetWriter
    from jojo.data.contract import CommonOptions, Recipe, Tally

BATCH_CHARACTERS = 4_000_000  # text tokenized at once; bounds the memory of streamed recipes
SAMPLE_SIZES = {"conversations": 2_000, "documents": 500}  # looked at for the quality summary
SAMPLE_SEED = 0x51A7


class Sample:
    """Some of the conversations kept, to examine their quality: the same ones in any order."""

    def __init__(self, size: int):
        self.size, self._below = size, 1.0
        self._drawn: list[tuple[float, int, Conversation]] = []

    def offer(self, keys: np.ndarray, nth: Callable[[int], Conversation]) -> None:
        """Conversations with these fingerprints may be taken; `nth` gives the one at an index."""
        drawn = draws(keys, SAMPLE_SEED)
        for i in np.flatnonzero(drawn < self._below).tolist():
            self._drawn.append((float(drawn[i]), int(keys[i]), nth(i)))
        if len(self._drawn) >= 2 * self.size:
            self._cut()

    def _cut(self) -> None:
        self._drawn.sort(key=lambda drawn: drawn[:2])
        del self._drawn[self.size :]
        if len(self._drawn) == self.size:
            self._below = self._drawn[-1][0]

    def conversations(self) -> list[Conversation]:
        self._cut()
        return [conversation for *_, conversation in self._drawn]


def take_documents(
    recipe: Recipe, options: CommonOptions, tally: Tally, encoder: Encoder, sample: Sample
) -> None:
    """Drops verbatim copies, all but the first; splits the rest and hands it on."""
    if options.style:
        raise ValueError(
            f"`style` {options.style} rewords what an assistant says, but this is plain text"
        )
    seen = Seen()
    for split, texts in recipe.documents(options, tally):
        keys = fingerprints(texts)
        new = seen.add(keys)
        if not new.all():
            tally.drop("exact duplicate", int((~new).sum()))
            texts, keys = [t for t, n in zip(texts, new, strict=True) if n], keys[new]
        if not options.val_fraction:
            in_val = np.zeros(len(texts), dtype=bool)
        elif split is not None:
            in_val = np.full(len(texts), split == "val")
        else:
            in_val = draws(keys, options.seed) < options.val_fraction
        for name, chosen in (("val", in_val), ("train", ~in_val)):
            mine = [texts[i] for i in np.flatnonzero(chosen)]
            encoder.documents(name, mine)
            sample.offer(keys[chosen], partial(_document, name, mine))


def _document(split: str, texts: list[str], i: int) -> Conversation:
    return Conversation([{"role": "assistant", "content": texts[i]}], split)


def take_conversations(
    recipe: Recipe, options: CommonOptions, tally: Tally, encoder: Encoder, sample: Sample
) -> None:
    conversations = recipe.conversations(options, tally)
    if options.style:
        how = load_style(options.style).apply
        conversations = reword_replies(conversations, how, tally)
    near = recipe.near_duplicates
    near = near if isinstance(near, bool) else near(options)
    batches = _without_near_copies if near else _without_verbatim_copies
    for batch in batches(conversations, options, tally):
        encoder.conversations(batch)
        keys = np.array([_fingerprint(c) for c in batch], dtype=np.uint64)
        sample.offer(keys, batch.__getitem__)


def _without_verbatim_copies(
    conversations: Iterable[Conversation], options: CommonOptions, tally: Tally
) -> Iterator[list[Conversation]]:
    """Batches, each conversation with its split; of several alike the first stays. The last is
    held back: it goes to the other split if that would have nothing."""
    seen, splits = Seen(), Counter[str]()
    held: list[Conversation] = []
    for batch in _batches(conversations):
        keys = [_set_split(c, options) for c in batch]
        new = seen.add(np.array(keys, dtype=np.uint64))
        copies = [c for c, is_new in zip(batch, new, strict=True) if not is_new]
        if copies:
            tally.drop("exact duplicate", len(copies), copies[0].where)
        *kept, last = held + [c for c, is_new in zip(batch, new, strict=True) if is_new]
        held = [last]
        splits.update(c.split for c in kept)
        yield kept
    if options.val_fraction and held and len(splits) == 1 and held[0].split in splits:
        held[0].split = other_split(held[0].split)
    yield held


def _without_near_copies(
    conversations: Iterable[Conversation], options: CommonOptions, tally: Tally
) -> Iterator[list[Conversation]]:
    """Batches, each conversation with its split; of several alike one that the source calls
    "val" stays, else the longest."""
    chosen = list(conversations)
    given = [c.split == "val" and options.val_fraction > 0 for c in chosen]
    for conversation in chosen:
        _set_split(conversation, options)
    copy_of = copies([[m["content"] for m in c.messages] for c in chosen], keep_first=given)
    for index, (original, how) in copy_of.items():
        both = chosen[index].split != chosen[original].split
        where = chosen[index].where
        tally.drop(f"{how}, across train and val" if both else how, where=where)
    kept = [c for i, c in enumerate(chosen) if i not in copy_of]
    if len(kept) < options.few:
        options.val_fraction = 0.0  # as the manifest then says
        for conversation in kept:
            conversation.split = "train"
    yield from _batches(_with_validation(kept, options, tally))


def _with_validation(
    kept: list[Conversation], options: CommonOptions, tally: Tally
) -> list[Conversation]:
    """Of little data, make sure that each split gets some; a single conversation is cut in two."""
    if not options.val_fraction:
        return kept
    if len(kept) == 1 and len(kept[0].messages) >= 4:
        only = kept[0]
        system = [m for m in only.messages if m["role"] == "system"]
        users = [i for i, m in enumerate(only.messages) if m["role"] == "user" and i]
        cut = users[-1] if users else 0
        if cut > len(system):
            tally.read()
            tally.change("only conversation cut in two: its last exchange is held out")
            rest = Conversation([*system, *only.messages[cut:]], "val", where=only.where)
            return [Conversation(only.messages[:cut], "train", where=only.where), rest]
    splits = {c.split for c in kept}
    if len(kept) > 1 and len(splits) == 1:
        missing = other_split(*splits)
        keys = draws(np.array([_fingerprint(c) for c in kept], dtype=np.uint64), options.seed)
        kept[int(keys.argmin() if missing == "val" else keys.argmax())].split = missing
    return kept


def _set_split(conversation: Conversation, options: CommonOptions) -> int:
    """Give it a split where the source did not; returns its fingerprint."""
    key = _fingerprint(conversation)
    if not options.val_fraction:
        conversation.split = "train"
    elif conversation.split is None:
        conversation.split = split_of(key, options.seed, options.val_fraction)
    return key


def _fingerprint(conversation: Conversation) -> int:
    return fingerprint([m["content"] for m in conversation.messages])


def _batches(conversations: Iterable[Conversation]) -> Iterator[list[Conversation]]:
    batch, characters = [], 0
    for conversation in conversations:
        batch.append(conversation)
        characters += sum([len(m["content"]) for m in conversation.messages])
        if characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


class Encoder:
    """Tokenizes in a thread of its own while the next batches are read and cleaned.

    The tokenizer leaves Python's lock, so this uses the second core; with the interpreter's
    usual 5 ms before a thread gets the lock back a tenth of the speed is lost. Batches are
    written in their order; an error shows at the next call.
    """

    AHEAD = 2  # batches that wait; more would only fill the memory
    SWITCH_SECONDS = 0.0005

    def __init__(self, writer: DatasetWriter):
        self.writer = writer
        self._thread = ThreadPoolExecutor(1)
        self._waiting: deque[tuple[str, Future]] = deque()

    def conversations(self, batch: list[Conversation]) -> None:
        for split in SPLITS:
            if mine := [c.messages for c in batch if c.split == split]:
                self._submit(split, encode_flat, mine, self.writer.template)

    def documents(self, split: str, texts: list[str]) -> None:
        if texts:
            self._submit(split, encode_documents, texts)

    def _submit(self, split: str, encode: Callable, *arguments: object) -> None:
        while len(self._waiting) > self.AHEAD:
            self._write_next()
        self._waiting.append((split, self._thread.submit(encode, *arguments)))

    def _write_next(self) -> None:
        split, future = self._waiting.popleft()
        ids, lengths = future.result()
        self.writer.add(split, ids, len(lengths))

    def __enter__(self) -> Encoder:
        self._usual = sys.getswitchinterval()
        sys.setswitchinterval(self.SWITCH_SECONDS)
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        try:
            while self._waiting and kind is None:
                self._write_next()
        finally:
            self._thread.shutdown(wait=True, cancel_futures=True)
            sys.setswitchinterval(self._usual)
