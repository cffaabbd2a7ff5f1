"""What every recipe shares: flags, duplicates, the split, tokenizing, writing, the report.

    from jojo.prepare import PrepareOptions, Recipe, Tally, main

A recipe names its licence and sources and turns raw records into conversations; `main` does the
rest and writes <out_dir>/<name>-train.bin, -val.bin (the same as .txt) and <name>.json.
Every record that came in is either kept or dropped for a named reason; the sums add up.
"""

from __future__ import annotations

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
    from jojo.bins import Manifest
    from jojo.chatml import Conversation

Record = TypeVar("Record")
NOTHING_HELD_OUT = "a copy of train: nothing is held out"


@dataclass
class CommonOptions:
    """What every recipe can be told."""

    name: str | None = None
    """Name of the dataset; by default the recipe's."""
    val_fraction: float = 0.05
    """Share of the conversations that is held out for validation; 0: none, val repeats train."""
    seed: int = 1337
    """Decides which conversations are held out."""
    limit: int | None = None
    """Read only the first N records."""
    out_dir: Path = ROOT / "data"
    """Where the files are written."""
    style: Path | None = None
    """Speech patterns for what the assistant says, e.g. examples/tsuki-style.toml."""

    few = 0  # of fewer conversations nothing is held out, whatever val_fraction says

    def __post_init__(self) -> None:
        if not 0 <= self.val_fraction < 1:
            raise ValueError(f"--val_fraction {self.val_fraction} must lie between 0 and 1")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"--limit {self.limit} must be 1 or more")
        if self.name is not None and not is_plain_name(self.name):
            raise ValueError(f"--name {self.name!r} must be a plain file name")


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
    notes: dict[str, object] = field(default_factory=dict)  # more for the manifest
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
    near_duplicates: bool | Callable[..., bool] = True
    write_text: bool = True
    options: type[CommonOptions] = PrepareOptions


def main(recipe: Recipe, argv: list[str] | None = None) -> None:
    """Run a recipe as a command, with the flags of its options, and leave with its exit code."""

    def command() -> int:
        options = parse(recipe.options, argv, sys.modules["__main__"].__doc__)
        try:
            prepare(recipe, options)
        except KeyboardInterrupt as stop:
            name = options.name or recipe.name
            nothing = f"stopped: nothing of {name} was written; run it again to prepare it"
            raise KeyboardInterrupt(str(stop) or nothing) from None
        return 0

    run(command)


def prepare(recipe: Recipe, options: CommonOptions) -> Manifest:
    """Run a recipe and return the manifest of what it wrote."""
    from jojo.bins import DatasetWriter
    from jojo.pipeline import (
        SAMPLE_SIZES,
        Encoder,
        Sample,
        take_conversations,
        take_documents,
    )
    from jojo.quality import examine

    began = time.perf_counter()
    tally = Tally(limit=options.limit)
    sample = Sample(SAMPLE_SIZES["documents" if recipe.documents else "conversations"])
    template = recipe.template if isinstance(recipe.template, str) else recipe.template(options)
    name = options.name or recipe.name
    with DatasetWriter(
        options.out_dir, name, template=template, write_text=recipe.write_text
    ) as writer:
        with Encoder(writer) as encoder:
            take = take_documents if recipe.documents else take_conversations
            take(recipe, options, tally, encoder, sample)
        if not tally.records_in:
            where = getattr(options, "input", None) or "the source"
            raise ValueError(f"no record found in {where}: is it empty?")
        kept = sum(writer.conversations.values())
        assert tally.records_in == kept + sum(tally.dropped.values()), (tally, kept)
        if not kept:
            reasons = ", ".join(" ".join(r.split()) for r in _left_out(tally.dropped, tally.first))
            raise ValueError(f"nothing is left of {tally.records_in:,} records: {reasons}")
        prompt = _write_example(recipe)
        sources, first = tally.sources, tally.first
        if getattr(options, "anonymize", False):  # chats' files are named after people
            sources, first = [_without_name(source) for source in sources], {}
        quality = examine(sample.conversations(), template, total=kept)
        if not options.val_fraction:
            writer.repeat_train()
        manifest = writer.commit(
            licence=recipe.licence,
            sources=[*recipe.sources, *sources],
            seed=options.seed,
            records_in=tally.records_in,
            dropped=dict(tally.dropped.most_common()),
            notes={
                "val_fraction": options.val_fraction,
                "changed": dict(tally.changed),
                "skipped": dict(tally.skipped),
                "first": first,
                **tally.notes,
                "quality": quality.brief(),
                **({} if options.val_fraction else {"val": NOTHING_HELD_OUT}),
            },
        )
    for action in tally.when_written:
        action()
    _report(manifest, tally, options.out_dir, prompt, time.perf_counter() - began)
    say("\n".join(f"  {line}" for line in quality.summary()))
    return manifest


def _without_name(source: str) -> str:
    """What Tally.used notes, without the file's name."""
    _, mark, digest = source.partition(" sha256:")
    return f"a file{mark}{digest}" if mark else "a folder"


def _write_example(recipe: Recipe) -> Path | None:
    if recipe.example_prompt is None:
        return None
    path = ROOT / "examples" / f"{recipe.name}_prompt.txt"
    if not path.exists() or path.read_text(encoding="utf-8") != recipe.example_prompt:
        write_text(path, recipe.example_prompt)
    return path


def _left_out(
    counter: Counter[str], first: dict[str, str], how: str = "", width: int = 0
) -> list[str]:
    at = {reason: f" (first: {where})" for reason, where in first.items()}
    return [f"{n:>{width},}  {how}{r}{at.get(r, '')}" for r, n in counter.most_common()]


def _report(
    manifest: Manifest, tally: Tally, out_dir: Path, prompt: Path | None, seconds: float
) -> None:
    from jojo.bins import SPLITS

    lines = [f"{manifest.name}: {tally.records_in:,} records in"]
    for counter, how in ((tally.dropped, "dropped: "), (tally.skipped, "skipped: ")):
        lines += [f"  {line}" for line in _left_out(counter, tally.first, how, width=11)]
    lines += [f"  {n:>11,}  changed: {what}" for what, n in tally.changed.most_common()]
    for split, n in manifest.conversations.items():
        kind = "documents" if manifest.template == "text" else "conversations"
        copied = f" ({NOTHING_HELD_OUT})" if split == "val" and not manifest.holds_out else ""
        lines.append(f"  {n:>11,}  {kind} in {split}, {manifest.tokens[split]:,} tokens{copied}")
    files = [
        out_dir / f"{manifest.name}-{split}.{kind}" for kind in ("bin", "txt") for split in SPLITS
    ]
    files += [out_dir / f"{manifest.name}.json", *([prompt] if prompt else [])]
    lines += [f"  {f.stat().st_size:>11,}  bytes in {f}" for f in files if f.exists()]
    lines.append(f"  {seconds:>11.1f}  seconds")
    say("\n".join(lines))
