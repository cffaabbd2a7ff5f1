"""What every recipe shares: flags, duplicates, the split, tokenizing, writing, the report.

    from jojo.prepare import PrepareOptions, Recipe, Tally, main

A recipe names its licence and sources and turns raw records into conversations; `main` does the
rest and writes <out_dir>/<name>-train.bin, -val.bin (the same as .txt) and <name>.json.
Every record that came in is either kept or dropped for a named reason; the sums add up.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from jojo.command import parse, run, say
from jojo.files import ROOT, is_plain_name, sha256, write_text

if TYPE_CHECKING:  # numpy and the tokenizer load only when there is work: --help stays quick
    from jojo.bins import DatasetWriter, Manifest
    from jojo.chatml import Conversation

BATCH_CHARACTERS = 4_000_000  # text tokenized at once; bounds the memory of streamed recipes
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
    """One dataset. `conversations` yields what is worth keeping and tells the tally the rest."""

    name: str
    template: str | Callable[..., str]  # or how to tell it from the options
    licence: str
    sources: tuple[str, ...]
    conversations: Callable[..., Iterable[Conversation]]  # (options, tally)
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
    tally = Tally(limit=options.limit)
    template = recipe.template if isinstance(recipe.template, str) else recipe.template(options)
    name = options.name or recipe.name
    with DatasetWriter(
        options.out_dir, name, template=template, write_text=recipe.write_text
    ) as writer:
        conversations = recipe.conversations(options, tally)
        batches = _without_near_copies if recipe.near_duplicates else _without_verbatim_copies
        for batch in batches(conversations, options, tally):
            _write(batch, writer)
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
    return "val" if _mixed(fingerprint, seed) < val_fraction * 2**64 else "train"


def _mixed(fingerprint: int, seed: int) -> int:
    mixed = hashlib.blake2b(f"{seed}:{fingerprint}".encode(), digest_size=8).digest()
    return int.from_bytes(mixed, "big")


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
        extreme = min if missing == "val" else max
        extreme(kept, key=lambda c: _mixed(_fingerprint(c), options.seed)).split = missing
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


def _write(batch: list[Conversation], writer: DatasetWriter) -> None:
    import numpy as np

    from jojo.bins import SPLITS
    from jojo.chatml import encode_batch

    ids = encode_batch([c.messages for c in batch], writer.template)
    for split in SPLITS:
        mine = [row for row, c in zip(ids, batch, strict=True) if c.split == split]
        if mine:
            writer.add(split, np.concatenate(mine), len(mine))


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
