"""What every recipe shares: flags, duplicates, the split, tokenizing, writing, the report.

    from jojo.prepare import PrepareOptions, Recipe, Tally, main

A recipe names its licence and sources and turns raw records into conversations; `main` does the
rest and writes <out_dir>/<name>-train.bin, -val.bin (the same as .txt) and <name>.json.
Every record that came in is either kept or dropped for a named reason; the sums add up.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from jojo.command import parse, run, say
from jojo.files import ROOT, is_plain_name, sha256, write_text

if TYPE_CHECKING:  # numpy and the tokenizer load only when there is work: --help stays quick
    import numpy as np

    from jojo.bins import DatasetWriter, Manifest
    from jojo.chatml import Conversation

BATCH_CHARACTERS = 4_000_000  # text tokenized at once; bounds the memory of streamed recipes
SAMPLE_SIZE, SAMPLE_SEED = 2_000, 0x51A7  # conversations looked at for the quality summary
Record = TypeVar("Record")


@dataclass
class CommonOptions:
    """What every recipe can be told."""

    name: str | None = None
    """Name of the dataset; by default the recipe's."""
    val_fraction: float = 0.05
    """Share of the conversations that is held out for validation."""
    seed: int = 1337
    """Decides which conversations are held out."""
    limit: int | None = None
    """Read only the first N records."""
    out_dir: Path = ROOT / "data"
    """Where the files are written."""


@dataclass
class PrepareOptions(CommonOptions):
    """Of a recipe with a public source."""

    input: Path | None = None
    """A local copy of the raw data: file, folder or archive. Without it, it is downloaded."""


@dataclass
class Tally:
    """What happened to every record, for the report and the manifest.

    A record becomes a conversation or is dropped. What is left out of one (a system notice of a
    chat, an empty turn) is skipped; what is rewritten in one is a change.
    """

    limit: int | None = None
    records_in: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)  # e.g. turns a rule rewrote
    first: dict[str, str] = field(default_factory=dict)  # reason -> where it first held
    sources: list[str] = field(default_factory=list)  # what was really read
    when_written: list[Callable[[], None]] = field(default_factory=list)  # called at success

    def records(self, records: Iterable[Record]) -> Iterator[Record]:
        """Pass records on and count them, up to --limit over all calls."""
        left = None if self.limit is None else self.limit - self.records_in
        for record in islice(records, left):
            self.read()
            yield record

    def batch(self, records: list[Record]) -> list[Record]:
        """The same for many at once: those that --limit leaves."""
        if self.limit is not None:
            records = records[: max(0, self.limit - self.records_in)]
        self.read(len(records))
        return records

    @property
    def is_full(self) -> bool:
        return self.limit is not None and self.records_in >= self.limit

    def read(self, n: int = 1) -> None:
        self.records_in += n

    def drop(self, reason: str, n: int = 1, where: str | None = None) -> None:
        """Count records that are left out; `where`: file and line of the (first) record."""
        self._leave_out(self.dropped, reason, n, where)

    def skip(self, reason: str, n: int = 1, where: str | None = None) -> None:
        """Count parts that are left out of records."""
        self._leave_out(self.skipped, reason, n, where)

    def _leave_out(self, counter: Counter[str], reason: str, n: int, where: str | None) -> None:
        if n:
            counter[reason] += n
            if where:
                self.first.setdefault(reason, where)

    def change(self, what: str, n: int = 1) -> None:
        self.changed[what] += n

    def used(self, path: Path) -> None:
        """Note a raw file for the manifest, with its hash."""
        self.sources.append(f"{path.name} sha256:{sha256(path)}")


@dataclass(frozen=True)
class Recipe:
    """One dataset. `conversations` yields what is worth keeping and tells the tally the rest.

    A set of plain texts may yield `documents` instead, many at once with their split: that is
    faster, and memory does not grow with their number.
    """

    name: str
    template: str | Callable[..., str]  # or how to tell it from the options
    licence: str
    sources: tuple[str, ...]
    conversations: Callable[..., Iterable[Conversation]] | None = None  # (options, tally)
    documents: Callable[..., Iterable[tuple[str | None, list[str]]]] | None = None
    example_prompt: str | None = None  # becomes examples/<name>_prompt.txt
    # Near copies need all conversations in memory. Without them the recipe is streamed: only
    # verbatim copies are dropped and the first one wins, so yield a "val" split before "train".
    near_duplicates: bool = True
    write_text: bool = True
    options: type[CommonOptions] = PrepareOptions


def main(recipe: Recipe, argv: list[str] | None = None) -> None:
    """Run a recipe as a command, with the flags of its options, and leave with its exit code."""

    def command() -> int:
        options = parse(recipe.options, argv, sys.modules["__main__"].__doc__)
        if wrong := _wrong_usage(options):
            say(f"error: {wrong}")
            return 2
        try:
            prepare(recipe, options)
        except KeyboardInterrupt:
            name = options.name or recipe.name
            say(f"\nnothing of {name} was written; run it again to prepare it")
            raise
        return 0

    run(command)


def prepare(recipe: Recipe, options: CommonOptions) -> Manifest:
    """Run a recipe and return the manifest of what it wrote."""
    from jojo.bins import DatasetWriter

    began = time.perf_counter()
    tally, sample = Tally(limit=options.limit), Sample()
    template = recipe.template if isinstance(recipe.template, str) else recipe.template(options)
    name = options.name or recipe.name
    with DatasetWriter(
        options.out_dir, name, template=template, write_text=recipe.write_text
    ) as writer:
        with Encoder(writer) as encoder:
            if recipe.documents:
                documents = recipe.documents(options, tally)
                _take_documents(documents, options, tally, encoder, sample)
            else:
                _take_conversations(recipe, options, tally, encoder, sample)
        if not tally.records_in:
            where = getattr(options, "input", None) or "the source"
            raise ValueError(f"no record found in {where}: is it empty?")
        kept = sum(writer.conversations.values())
        assert tally.records_in == kept + sum(tally.dropped.values()), (tally, kept)
        prompt = _write_example(recipe)
        manifest = writer.commit(
            licence=recipe.licence,
            sources=[*recipe.sources, *tally.sources],
            seed=options.seed,
            records_in=tally.records_in,
            dropped=dict(tally.dropped.most_common()),
            notes={
                "val_fraction": options.val_fraction,
                "changed": dict(tally.changed),
                "skipped": dict(tally.skipped),
                "first": tally.first,
            },
        )
    for action in tally.when_written:
        action()
    _report(manifest, tally, options.out_dir, prompt, time.perf_counter() - began)
    return manifest


def split_of(fingerprint: int, seed: int, val_fraction: float) -> str:
    """ "train" or "val": a pure function of text and seed, so more data never moves a text."""
    import numpy as np

    draw = draws(np.array([fingerprint], dtype=np.uint64), seed)[0]
    return "val" if draw < val_fraction else "train"


def draws(fingerprints: np.ndarray, seed: int) -> np.ndarray:
    """A number in [0, 1) for each fingerprint (uint64): by SplitMix64 (Steele et al. 2014,
    https://doi.org/10.1145/2714064.2660195), started from the fingerprint and the seed."""
    import numpy as np

    x = fingerprints + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % 2**64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


class Sample:
    """Some of the conversations that are kept, for a look at their quality: the same ones
    whatever their order."""

    def __init__(self, size: int = SAMPLE_SIZE):
        self.size, self._below = size, 1.0
        self._drawn: list[tuple[float, int, Conversation]] = []

    def offer(self, keys: np.ndarray, nth: Callable[[int], Conversation]) -> None:
        """Conversations with these fingerprints may be taken; `nth` gives the one at an index."""
        import numpy as np

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


def _take_documents(
    batches: Iterable[tuple[str | None, list[str]]],
    options: CommonOptions,
    tally: Tally,
    encoder: Encoder,
    sample: Sample,
) -> None:
    """Verbatim copies go, the rest is split and handed on; the first of several copies stays."""
    import numpy as np

    from jojo.dedup import Seen, fingerprints

    seen = Seen()
    for split, texts in batches:
        keys = fingerprints(texts)
        new = seen.add(keys)
        if not new.all():
            tally.drop("exact duplicate", int((~new).sum()))
            texts, keys = [t for t, n in zip(texts, new, strict=True) if n], keys[new]
        if split is not None:
            in_val = np.full(len(texts), split == "val")
        else:
            in_val = draws(keys, options.seed) < options.val_fraction
        for name, chosen in (("val", in_val), ("train", ~in_val)):
            mine = [texts[i] for i in np.flatnonzero(chosen)]
            encoder.documents(name, mine)
            sample.offer(keys[chosen], partial(_document, name, mine))


def _document(split: str, texts: list[str], i: int) -> Conversation:
    from jojo.chatml import Conversation

    return Conversation([{"role": "assistant", "content": texts[i]}], split)


def _take_conversations(
    recipe: Recipe, options: CommonOptions, tally: Tally, encoder: Encoder, sample: Sample
) -> None:
    import numpy as np

    conversations = recipe.conversations(options, tally)
    batches = _without_near_copies if recipe.near_duplicates else _without_verbatim_copies
    for batch in batches(conversations, options, tally):
        encoder.conversations(batch)
        keys = np.array([_fingerprint(c) for c in batch], dtype=np.uint64)
        sample.offer(keys, batch.__getitem__)


def _without_verbatim_copies(
    conversations: Iterable[Conversation], options: CommonOptions, tally: Tally
) -> Iterator[list[Conversation]]:
    """Batches, each conversation with its split; of several alike the first stays."""
    import numpy as np

    from jojo.dedup import Seen

    seen = Seen()
    for batch in _batches(conversations):
        keys = [_set_split(c, options) for c in batch]
        new = seen.add(np.array(keys, dtype=np.uint64))
        copies = [c for c, is_new in zip(batch, new, strict=True) if not is_new]
        if copies:
            tally.drop("exact duplicate", len(copies), copies[0].where)
        yield [c for c, is_new in zip(batch, new, strict=True) if is_new]


def _without_near_copies(
    conversations: Iterable[Conversation], options: CommonOptions, tally: Tally
) -> Iterator[list[Conversation]]:
    """Batches, each conversation with its split; of several alike one that the source calls
    "val" stays, else the longest."""
    from jojo.dedup import copies

    chosen = list(conversations)
    given = [c.split == "val" for c in chosen]
    for conversation in chosen:
        _set_split(conversation, options)
    copy_of = copies([[m["content"] for m in c.messages] for c in chosen], keep_first=given)
    for index, (original, how) in copy_of.items():
        both = chosen[index].split != chosen[original].split
        where = chosen[index].where
        tally.drop(f"{how}, across train and val" if both else how, where=where)
    kept = [c for i, c in enumerate(chosen) if i not in copy_of]
    yield from _batches(_with_validation(kept, options, tally))


def _with_validation(
    kept: list[Conversation], options: CommonOptions, tally: Tally
) -> list[Conversation]:
    """Little data: see to it that either split has something; one conversation is cut in two."""
    import numpy as np

    from jojo.chatml import Conversation

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
        missing = "val" if splits == {"train"} else "train"
        keys = draws(np.array([_fingerprint(c) for c in kept], dtype=np.uint64), options.seed)
        kept[int(keys.argmin() if missing == "val" else keys.argmax())].split = missing
    return kept


def _set_split(conversation: Conversation, options: CommonOptions) -> int:
    """Give it a split where the source did not; returns its fingerprint."""
    key = _fingerprint(conversation)
    if conversation.split is None:
        conversation.split = split_of(key, options.seed, options.val_fraction)
    return key


def _fingerprint(conversation: Conversation) -> int:
    from jojo.dedup import fingerprint

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
        from jojo.chatml import encode_flat

        for split in ("train", "val"):
            if mine := [c.messages for c in batch if c.split == split]:
                self._submit(split, encode_flat, mine, self.writer.template)

    def documents(self, split: str, texts: list[str]) -> None:
        from jojo.chatml import encode_documents

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


def _write_example(recipe: Recipe) -> Path | None:
    if recipe.example_prompt is None:
        return None
    path = ROOT / "examples" / f"{recipe.name}_prompt.txt"
    if not path.exists() or path.read_text(encoding="utf-8") != recipe.example_prompt:
        write_text(path, recipe.example_prompt)
    return path


def _report(
    manifest: Manifest, tally: Tally, out_dir: Path, prompt: Path | None, seconds: float
) -> None:
    from jojo.bins import SPLITS

    def left_out(counter: Counter[str], how: str) -> list[str]:
        at = {reason: f" (first: {where})" for reason, where in tally.first.items()}
        return [f"  {n:>11,}  {how}: {r}{at.get(r, '')}" for r, n in counter.most_common()]

    lines = [f"{manifest.name}: {tally.records_in:,} records in"]
    lines += left_out(tally.dropped, "dropped") + left_out(tally.skipped, "skipped")
    lines += [f"  {n:>11,}  changed: {what}" for what, n in tally.changed.most_common()]
    for split, n in manifest.conversations.items():
        kind = "documents" if manifest.template == "text" else "conversations"
        lines.append(f"  {n:>11,}  {kind} in {split}, {manifest.tokens[split]:,} tokens")
    files = [
        out_dir / f"{manifest.name}-{split}.{kind}" for kind in ("bin", "txt") for split in SPLITS
    ]
    files += [out_dir / f"{manifest.name}.json", *([prompt] if prompt else [])]
    lines += [f"  {f.stat().st_size:>11,}  bytes in {f}" for f in files if f.exists()]
    lines.append(f"  {seconds:>11.1f}  seconds")
    say("\n".join(lines))


def _wrong_usage(options: CommonOptions) -> str | None:
    if not 0 < options.val_fraction < 1:
        return f"--val_fraction {options.val_fraction} must lie between 0 and 1, e.g. 0.05"
    if options.limit is not None and options.limit < 1:
        return f"--limit {options.limit} must be 1 or more"
    if options.name is not None and not is_plain_name(options.name):
        return f"--name {options.name!r} must be a plain file name"
    return None
