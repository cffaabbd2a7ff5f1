"""DailyDialog: 13,118 dialogues of daily life, 102,980 utterances. CC BY-NC-SA 4.0.

Li et al. 2017, https://aclanthology.org/I17-1099. Reads every form it is distributed in: the
original zips (each alone, together, or inside ijcnlp_dailydialog.zip), dialogues_*.txt, the
parquet of the hub, and ParlAI's archive of JSON lines.

The official splits are pooled and split anew: 949 dialogues are copies of another, 214 of them
of one in another official split, so the official validation measures memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jojo.data.clean.detokenize import detokenize
from jojo.data.formats.records import read_records
from jojo.data.public import origins
from jojo.data.public.dialogues import alternating, lines, spoken

if TYPE_CHECKING:
    from jojo.data.contract import PrepareOptions, Tally
    from jojo.text.template import Conversation

FACTS = origins.PUBLIC_DATASETS["dailydialog"]
END = "__eou__"  # closes each utterance in the text files
OFFICIAL_SPLITS = ("train", "validation", "test")
COLUMNS = ("dialog", "utterances", "dialogue")  # what releases call the utterances


class Dialogue(NamedTuple):
    where: str
    split: str  # the official one, or the name of the file
    utterances: list[str]


def conversations(options: PrepareOptions, tally: Tally) -> Iterator[Conversation]:
    """Detokenized: whoever speaks first is the user, whoever answers the assistant."""
    from jojo.text.template import Conversation

    first_split: dict[tuple[str, ...], str] = {}
    dialogues = read(origins.raw("dailydialog", options, tally), tally)
    for where, split, said in tally.records(dialogues):
        utterances = [detokenize(u) for u in said]
        if len(utterances) < 2:
            tally.drop("fewer than two utterances", where=where)
        elif not all(utterances):
            tally.drop("an empty utterance", where=where)
        elif first_split.setdefault(tuple(utterances), split) != split:
            tally.drop("in two official splits", where=where)
        else:
            yield Conversation(spoken(alternating(utterances)), where=where)


def read(path: Path, tally: Tally) -> Iterator[Dialogue]:
    """Every dialogue of a file, an archive, or a folder, whatever its form."""
    with origins.opened(path) as files:
        for file in _chosen(files):
            tally.used(file)
            split = next((s for s in OFFICIAL_SPLITS if s[:5] in file.name), file.stem)
            found = _from_text(file) if file.suffix == ".txt" else _from_records(file, tally)
            for where, utterances in found:
                yield Dialogue(where, split, utterances)


def _chosen(files: list[Path]) -> list[Path]:
    """The files that hold the corpus once: of several forms the most original one is taken."""
    forms = (
        [p for p in files if p.name in {f"dialogues_{s}.txt" for s in OFFICIAL_SPLITS}],
        [p for p in files if p.name == "dialogues_text.txt"],
        [p for p in files if p.suffix == ".parquet"],
        [p for p in files if p.name in {"train.json", "valid.json", "test.json"}],
        [p for p in files if len(files) == 1 and p.suffix in (".txt", ".json", ".jsonl")],
    )
    for found in forms:
        if found:
            # one copy of each, should the folder hold the same file at two levels
            return sorted({p.name: p for p in reversed(found)}.values(), key=_official_order)
    what = f"{files[0]} is" if len(files) == 1 else f"{len(files) or 'no'} files are"
    raise ValueError(
        f"{what} no known form of DailyDialog: give train.zip, dialogues_train.txt, "
        "dialogues_text.txt, *.parquet, an archive or a folder of these"
    )


def _official_order(path: Path) -> tuple[int, str]:
    return next(
        (i for i, s in enumerate(OFFICIAL_SPLITS) if s[:5] in path.name), len(OFFICIAL_SPLITS)
    ), path.name


def _from_text(path: Path) -> Iterator[tuple[str, list[str]]]:
    for where, line in lines(path):
        if END not in line:
            raise ValueError(f"{path.parent / where}: no {END}; is this dialogues_*.txt?")
        utterances = line.split(END)
        yield where, utterances if utterances[-1].strip() else utterances[:-1]


def _from_records(path: Path, tally: Tally) -> Iterator[tuple[str, list[str]]]:
    for where, record in read_records(path, tally):
        keys = list(record) if isinstance(record, dict) else []
        column = next((c for c in COLUMNS if c in keys), None)
        if column is None:
            raise ValueError(
                f"{path.parent / where} has {', '.join(keys) or 'no names'}, but no {COLUMNS[0]!r}"
            )
        turns = record[column] if isinstance(record[column], list) else []
        texts = [turn.get("text") if isinstance(turn, dict) else turn for turn in turns]
        if not texts or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{path.parent / where}: {column!r} is not a list of utterances")
        yield where, texts
