"""What a recipe is: its options, the tally of its records, where its data comes from.

    from jojo.data.contract import PrepareOptions, Recipe, Tally

A recipe names its licence and sources and turns raw records into conversations;
`jojo/data/prepare.py` does the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from jojo.command import Count, Options
from jojo.files import ROOT, is_plain_name, sha256

if TYPE_CHECKING:
    from jojo.text.template import Conversation

Record = TypeVar("Record")


SPLITS = ("train", "val")
NOTHING_HELD_OUT = "nothing is held out"
COPY_OF_TRAIN = f"a copy of train: {NOTHING_HELD_OUT}"  # what val is then
OWN_LICENCE = "as the files that were read"  # of recipes that read people's own files


def private_of(facts: Mapping) -> bool | None:
    """Whether data is somebody's own, by its manifest or a checkpoint; None: nobody knows.

    Those written before there was a field `private` tell it by their licence.
    """
    if isinstance(told := facts.get("private"), bool):
        return told
    licence = facts.get("licence")
    return OWN_LICENCE in licence if licence and isinstance(licence, str) else None


@dataclass(kw_only=True)
class DataFolder(Options):
    data_dir: Path = ROOT / "data"
    """Where datasets are."""


@dataclass
class CommonOptions(Options):
    """Options that every recipe has."""

    name: str | None = None
    """Name of the dataset; by default the recipe's."""
    val_fraction: float = 0.05
    """Share of the conversations held out for validation; with 0, val is a copy of train."""
    seed: int = 1337
    """Decides which conversations are held out."""
    limit: Count | None = None
    """Read only the first N records."""
    out_dir: Path = DataFolder.data_dir
    """Where the files are written."""
    style: Path | None = None
    """Speech patterns for what the assistant says, e.g. examples/tsuki-style.toml."""

    few = 0  # with fewer conversations nothing is held out, whatever val_fraction says

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.val_fraction < 1:
            raise ValueError(f"`val_fraction` {self.val_fraction} must lie between 0 and 1")
        if self.name is not None and not is_plain_name(self.name):
            raise ValueError(f"`name` {self.name!r} must be a plain file name")


@dataclass
class PrepareOptions(CommonOptions):
    """Options of a recipe with a public source."""

    input: Path | None = None
    """A local copy of the raw data: file, folder or archive. Without it, it is downloaded."""


@dataclass
class Tally:
    """What happened to every record, for the report and the manifest.

    A record becomes a conversation or is dropped. What is left out of one (a system notice of a
    chat, an empty turn) is skipped; what is rewritten in one is a change.
    """

    limit: Count | None = None
    records_in: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)  # e.g. turns a rule rewrote
    first: dict[str, str] = field(default_factory=dict)  # reason -> where it first applied
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
        """The same for many at once; returns those within --limit."""
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

    def reject(self, reason: str, where: str) -> None:
        """Count one more record, which cannot be read."""
        self.read()
        self.drop(reason, where=where)

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
    private: bool = False  # reads people's own files: nothing published may tell their names
