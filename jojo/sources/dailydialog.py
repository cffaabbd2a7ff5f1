"""DailyDialog: 13,118 dialogues of daily life, 102,980 utterances. CC BY-NC-SA 4.0.

Li et al. 2017, https://aclanthology.org/I17-1099. Reads every form it is handed out in: the
original zips (each alone, together, or inside ijcnlp_dailydialog.zip), dialogues_*.txt, the
parquet of the hub, and ParlAI's archive of JSON lines.

The official splits are pooled and split anew: 949 dialogues are copies of another, 214 of them
of one in another official split, so the official validation measures memory.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jojo.command import say
from jojo.download import download, unpack
from jojo.mend import mend

if TYPE_CHECKING:
    from jojo.chatml import Conversation
    from jojo.prepare import PrepareOptions, Tally

LICENCE = "CC BY-NC-SA 4.0 (non-commercial, share alike)"
END = "__eou__"  # closes each utterance in the text files
SPLITS = ("train", "validation", "test")
ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar")
COLUMNS = ("dialog", "utterances", "dialogue")  # what parquet releases call the utterances


class Source(NamedTuple):
    """A place that has the corpus: a dataset of the hub, or files to download."""

    where: str
    files: dict[str, str | None] | None = None  # name -> SHA-256 where known; None: a hub dataset
    revision: str | None = None


SOURCES = (  # in order of trust
    Source("OpenRL/daily_dialog"),
    Source("akkasi/daily_dialog"),
    Source("li2017dailydialog/daily_dialog", revision="refs/convert/parquet"),
    Source(
        "https://huggingface.co/datasets/roskoN/dailydialog/resolve/main/",
        {"train.zip": None, "validation.zip": None, "test.zip": None},
    ),
    Source(
        "http://parl.ai/downloads/dailydialog/",
        {"dailydialog.tar.gz": "c3adb09bd715b9fa5cd1ac41613b7de61eb5afbe477826a6146abefef573e6bb"},
    ),
    Source("http://yanran.li/files/", {"ijcnlp_dailydialog.zip": None}),
)


class Dialogue(NamedTuple):
    split: str  # the official one, or the name of the file
    utterances: list[str]


def conversations(options: PrepareOptions, tally: Tally) -> Iterator[Conversation]:
    """Mended conversations: who speaks first is the user, who answers the assistant."""
    from jojo.chatml import Conversation

    dialogues = read(options.input, tally) if options.input else fetch(options.out_dir, tally)
    first_split: dict[tuple[str, ...], str] = {}
    for split, raw in tally.records(dialogues):
        utterances = [mend(u) for u in raw]
        if len(utterances) < 2:
            tally.drop("fewer than two utterances")
        elif not all(utterances):
            tally.drop("an empty utterance")
        elif first_split.setdefault(tuple(utterances), split) != split:
            tally.drop("stands in two official splits")
        else:
            roles = ("user", "assistant")
            yield Conversation(
                [{"role": roles[i % 2], "content": u} for i, u in enumerate(utterances)]
            )


def fetch(out_dir: Path, tally: Tally) -> list[Dialogue]:
    """Download from the first source that works; ValueError names all that failed."""
    hub_answers = _hub_answers()
    for source in SOURCES:
        try:
            if source.files:
                dialogues = list(_from_files(source, out_dir, tally))
            elif hub_answers:
                dialogues = _from_hub(source)
            else:
                raise ConnectionError("huggingface.co cannot be reached")
            if not dialogues:
                raise ValueError("there is no dialogue in it")
        except (OSError, ValueError) as error:
            say(f"{source.where}: {' '.join(str(error).split())}; trying the next")
        else:
            tally.sources.append(f"downloaded from {source.where}")
            return dialogues
    raise ValueError(
        f"DailyDialog could not be downloaded; tried {', '.join(s.where for s in SOURCES)}. Give a "
        "copy with --input PATH, or prepare generated chats, which need no download: "
        "python data/prepare-chitchat.py"
    )


def _hub_answers() -> bool:
    """One quick question first: `datasets` would try each repository for 23 seconds."""
    import requests

    try:
        return requests.head(os.environ.get("HF_ENDPOINT", "https://huggingface.co"), timeout=10).ok
    except requests.RequestException:
        return False


def _from_hub(source: Source) -> list[Dialogue]:
    from datasets import load_dataset

    try:
        splits = load_dataset(source.where, revision=source.revision)
    except Exception as error:  # many kinds, not all of them documented: the next source follows
        raise ConnectionError(f"{type(error).__name__}: {error}") from error
    return [
        Dialogue(split, utterances)
        for split, rows in splits.items()
        for utterances in rows[_column(rows.column_names, source.where)]
    ]


def _from_files(source: Source, out_dir: Path, tally: Tally) -> Iterator[Dialogue]:
    folder = out_dir / "raw" / "dailydialog"
    for name, digest in source.files.items():
        file = download((source.where + name,), folder / name, sha256=digest)
        try:
            yield from read(file, tally)
        except ValueError:  # not what was hoped for: don't find it again next time
            file.unlink()
            raise


def read(path: Path, tally: Tally) -> Iterator[Dialogue]:
    """Every dialogue of a file, an archive, or a folder, whatever its form."""
    if not path.exists():
        raise ValueError(f"--input {path} does not exist")
    if path.is_dir():
        for file in _files_of(path):
            yield from read(file, tally)
        return
    tally.used(path)
    yield from _read_file(path)


def _files_of(folder: Path) -> list[Path]:
    """The files that hold the corpus once: of several forms the most original one is taken."""
    found = sorted(p for p in folder.rglob("*") if p.is_file())
    forms = (
        [p for p in found if p.name in {f"{s}.zip" for s in SPLITS}],
        [p for p in found if p.name in {f"dialogues_{s}.txt" for s in SPLITS}],
        [p for p in found if p.name == "dialogues_text.txt"],
        [p for p in found if p.suffix == ".parquet"],
        [p for p in found if p.name in {"train.json", "valid.json", "test.json"}],
        [p for p in found if p.name.endswith(ARCHIVES)],
    )
    for files in forms:
        if files:
            # one copy of each, should the folder hold the same file at two levels
            return sorted({p.name: p for p in reversed(files)}.values(), key=_official_order)
    raise ValueError(
        f"{folder} holds no train.zip, dialogues_train.txt, dialogues_text.txt or *.parquet"
    )


def _official_order(path: Path) -> tuple[int, str]:
    return next((i for i, s in enumerate(SPLITS) if s[:5] in path.name), len(SPLITS)), path.name


def _read_file(path: Path) -> Iterator[Dialogue]:
    if path.name.endswith(ARCHIVES):
        with tempfile.TemporaryDirectory() as folder:
            unpack(path, Path(folder))
            try:
                files = _files_of(Path(folder))
            except ValueError as error:
                raise ValueError(f"{path}: {error}".replace(f"{folder} ", "")) from None
            for file in files:
                yield from _read_file(file)
        return
    readers = {".txt": _read_text, ".parquet": _read_parquet, ".json": _read_json_lines}
    if path.suffix not in readers:
        raise ValueError(
            f"{path} is no form of DailyDialog: give .zip, .tar.gz, .txt, .parquet or a folder"
        )
    split = next((s for s in SPLITS if s[:5] in path.name), path.stem)
    for utterances in readers[path.suffix](path):
        yield Dialogue(split, utterances)


def _read_text(path: Path) -> Iterator[list[str]]:
    for number, line in enumerate(_lines(path), start=1):
        if END not in line:
            raise ValueError(f"{path}, line {number}: no {END}; is this dialogues_*.txt?")
        utterances = line.split(END)
        yield utterances if utterances[-1].strip() else utterances[:-1]


def _read_json_lines(path: Path) -> Iterator[list[str]]:
    for number, line in enumerate(_lines(path), start=1):
        try:
            yield [turn["text"] for turn in json.loads(line)["dialogue"]]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: not a dialogue of ParlAI") from error


def _lines(path: Path) -> Iterator[str]:
    """Lines that are not blank."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}, line {line}: no valid UTF-8 ({error.reason})") from error
    yield from (line for line in text.split("\n") if line.strip())


def _read_parquet(path: Path) -> Iterable[list[str]]:
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        names = parquet.read_schema(path).names
        column = _column(names, path)
        return parquet.read_table(path, columns=[column])[column].to_pylist()
    except pyarrow.ArrowException as error:
        raise ValueError(f"{path} is no parquet file, or it is damaged: {error}") from error


def _column(names: list[str], where: Path | str) -> str:
    column = next((c for c in COLUMNS if c in names), None)
    if column is None:
        raise ValueError(f"{where} has the columns {', '.join(names)}, but no {COLUMNS[0]!r}")
    return column
