"""EmpatheticDialogues: 24,850 talks in which one tells what happened and the other empathizes.

Rashkin et al. 2019, https://arxiv.org/abs/1811.00207. Reads the CSV files, alone or in their
archive, and the parquet of the hub. The one who tells is the user, the listener the assistant.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jojo.data.clean.detokenize import detokenize
from jojo.data.contract import PrepareOptions
from jojo.data.formats.records import Unusable, read_records
from jojo.data.public import origins
from jojo.data.public.dialogues import Raw, conversations_of, lines, spoken, with_splits

if TYPE_CHECKING:
    from jojo.data.contract import Tally
    from jojo.text.template import Conversation, Message

FACTS = origins.PUBLIC_DATASETS["empathetic_dialogues"]
COLUMNS = ["conv_id", "utterance_idx", "context", "prompt", "speaker_idx", "utterance"]


@dataclass
class EmpatheticOptions(PrepareOptions):
    situation: bool = False
    """Begin with a system message that says what the user feels and what happened."""


def conversations(options: EmpatheticOptions, tally: Tally) -> Iterator[Conversation]:
    with origins.opened(origins.raw("empathetic_dialogues", options, tally)) as files:
        records = _records(files, tally)
        yield from conversations_of(records, lambda v, skip: _messages(v, options.situation), tally)


def _records(files: list[Path], tally: Tally) -> Iterator[Raw]:
    chosen = [f for f in files if f.suffix in (".csv", ".parquet")] or (
        files if len(files) == 1 else []
    )
    if not chosen:
        raise ValueError("the input has no *.csv or *.parquet of EmpatheticDialogues")
    for path, split in with_splits(chosen):
        tally.used(path)
        if path.suffix == ".parquet":
            found = read_records(path, tally)
        else:
            found = _from_csv(path, tally)
        for where, value in found:
            yield Raw(where, split, value)


def _from_csv(path: Path, tally: Tally) -> Iterator[tuple[str, list[list[str]]]]:
    """The rows of each conversation. Commas in text are `_comma_`, quotes are only text, and some
    rows have cells beyond the header's: so this is not the usual kind of CSV."""
    rows = lines(path)
    header = next(rows, ("", ""))[1].split(",")
    if header[: len(COLUMNS)] != COLUMNS:
        raise ValueError(
            f"{path} does not begin with {','.join(COLUMNS)}: it is not part of EmpatheticDialogues"
        )
    talks: dict[str, list[list[str]]] = {}
    first: dict[str, str] = {}
    for where, line in rows:
        cells = line.split(",")[: len(COLUMNS)]
        if len(cells) < len(COLUMNS) or not cells[1].isdigit():
            tally.skip("malformed row", where=where)
            continue
        first.setdefault(cells[0], where)
        talks.setdefault(cells[0], []).append(cells)
    for name, found in talks.items():
        yield first[name], sorted(found, key=lambda row: int(row[1]))


def _messages(value: object, situation: bool) -> list[Message]:
    try:
        if isinstance(value, dict):  # of the hub
            emotion, story = value["emotion"], value["situation"]
            turns = [(turn["role"], turn["content"]) for turn in value["conversations"]]
        else:
            emotion, story = value[0][2], value[0][3]
            turns = [(row[4], row[5]) for row in value]
        turns = [(who, _text(text)) for who, text in turns]
        told = f"The user feels {emotion}. What happened: {_text(story)}" if situation else None
    except (KeyError, TypeError, AttributeError):
        raise Unusable("no conversation of EmpatheticDialogues") from None
    return spoken(turns, told)


def _text(text: str) -> str:
    return detokenize(text.replace("_comma_", ","))
