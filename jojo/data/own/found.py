"""What is in the files, folders and archives that were named, told by their content.

    with Found(paths) as found:
        for file in found.files: ...  # file.kind: "slack", "whatsapp", "records", "text", ...
        for fault in found.faults: ...  # what cannot be read, and why

Hidden files are ignored. Archives are unpacked into a temporary folder for as long as this is
open, those within them too, up to MAX_DEPTH deep. A file given twice is read once.
"""

from __future__ import annotations

import json
import os
import re
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from jojo.data.contract import Tally
from jojo.data.formats.archives import Unpacked, is_archive, unpack, visible_files
from jojo.data.formats.records import DOCUMENT_MIB, EmptyFile, Unusable, read_records
from jojo.data.formats.rows import grouped
from jojo.data.formats.textfile import DAMAGE, Text, open_text
from jojo.data.own import discord, interviews, slack, telegram
from jojo.data.own.kinds import HEAD_CHARACTERS, kind, what_else

READABLE = (
    "exports of WhatsApp (text), Telegram (JSON), Discord (DiscordChatExporter JSON) and Slack "
    "(zip), ChatGPT and Claude; JSON, JSON lines, CSV, TSV and parquet with messages, "
    "instructions or questions; ChatML; User:/Bot: and Name: lines; plain text"
)
# How an export that is a single object begins: Discord, a chat of Telegram, an account of Telegram.
DOCUMENT = re.compile(
    r"""\A\s*\{(?:\s*"guild"\s*:|(?s:.*?)"type"\s*:\s*"\w+",\s*"id"\s*:|\s*"about"\s*:|"""
    r"""(?s:.*)"personal_information"\s*:)"""
)
BAD_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\x([0-9A-F]{2})")  # Telegram writes \x0F, JSON \u000F


class Fault(NamedTuple):
    reason: str
    where: str


@dataclass(slots=True)
class File:
    path: Path
    name: str  # as people know it, with its folder or archive
    kind: str  # slack (a folder), whatsapp, chatml, dialogue, names, records, texts or text
    size_bytes: int

    @property
    def is_text(self) -> bool:
        return self.kind in ("text", "texts")

    def opened(self, tally: Tally) -> Text:
        return open_text(self.path, tally.change, newline=None)


class Found:
    """The files that can be read, in order, and the faults of those that cannot."""

    def __init__(self, paths: Sequence[Path]):
        self.files: list[File] = []
        self.faults: list[Fault] = []
        self._paths = paths
        self._names = Counter(path.name for path in paths)
        self._seen: set[tuple[int, int]] = set()
        self._temporary = tempfile.TemporaryDirectory(prefix="jojo-")
        try:
            for path in paths:
                self._look_for(path)
            if not self.files:
                raise ValueError(self._nothing())
        except BaseException:
            self._temporary.cleanup()
            raise

    def __str__(self) -> str:
        return shown([str(path) for path in self._paths])

    def _nothing(self) -> str:
        if not self.faults:
            return f"{self} holds no files (hidden ones are ignored)"
        found = [f"{where}: {reason}" for reason, where in self.faults]
        return f"nothing can be read of {self} ({shown(found)}); supported are {READABLE}"

    def __enter__(self) -> Found:
        return self

    def __exit__(self, *_: object) -> None:
        self._temporary.cleanup()

    @property
    def template(self) -> str:
        return "text" if all(file.is_text for file in self.files) else "chatml"

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    def _look_for(self, path: Path) -> None:
        if not path.exists():
            raise ValueError(f"{path} does not exist: give a file, a folder or a zip")
        name = path.name or path.resolve().name
        if (
            self._names[path.name] > 1
        ):  # chats are told apart by name, and iOS calls each of them _chat.txt
            name = path.as_posix()
        if path.is_dir():
            self._look_into(path, name)
        elif path.is_file():
            self._look_at(path, name)
        else:
            raise ValueError(f"{path} is neither a file nor a folder: save it to a file first")

    def note_sources(self, tally: Tally) -> None:
        for path in self._paths:
            if path.is_dir():
                tally.sources.append(f"folder {path.resolve().name}")
            else:
                tally.used(path)

    def _look_into(self, folder: Path, name: str, outer: Unpacked | None = None) -> None:
        def failed(error: OSError) -> None:
            path = Path(error.filename)
            self._fault_of(error, path, f"{name}/{path.relative_to(folder).as_posix()}")

        files = list(visible_files(folder, failed))
        inside = [path.relative_to(folder) for path in files]
        workspaces = _workspaces(inside)
        for root in workspaces:
            days = [folder / p for p in inside if p.is_relative_to(root)]
            size = sum(day.stat().st_size for day in days if day.is_file())
            where = name if root == Path() else f"{name}/{root.as_posix()}"
            self.files.append(File(folder / root, where, "slack", size))
        for path, relative in zip(files, inside, strict=True):
            if not any(relative.is_relative_to(root) for root in workspaces):
                self._look_at(path, f"{name}/{relative.as_posix()}", outer)

    def _look_at(self, path: Path, name: str, outer: Unpacked | None = None) -> None:
        name = os.fsencode(name).decode("utf-8", "replace")  # of a file it may be any bytes
        try:
            facts = path.stat()
            if not stat.S_ISREG(facts.st_mode):
                raise Unusable("is not a regular file")
            if (facts.st_dev, facts.st_ino) in self._seen:
                raise Unusable("was given twice")
            self._seen.add((facts.st_dev, facts.st_ino))
            with open(path, "rb") as f:
                head = f.read(512)
            if what := what_else(head):
                raise Unusable(f"is {what}")
            if is_archive(path):
                folder = Path(tempfile.mkdtemp(dir=self._temporary.name))
                self._look_into(folder, name, unpack(path, folder, outer))
            else:
                self.files.append(File(path, name, kind(path), facts.st_size))
        except (ValueError, OSError, *DAMAGE) as error:
            self._fault_of(error, path, name)

    def _fault_of(self, error: Exception, path: Path, name: str) -> None:
        self.faults.append(Fault(reason_of(error, path), name))


def shown(items: Sequence[str], most: int = 5) -> str:
    more = f" and {len(items) - most:,} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


def reason_of(error: Exception, path: Path) -> str:
    """Why a file is left out, without its name."""
    if isinstance(error, PermissionError):
        return "a file without permission to read it"
    if isinstance(error, EmptyFile):
        return "an empty file"
    if isinstance(error, DAMAGE):
        return f"a file that is damaged ({error})"
    if isinstance(error, OSError):
        return f"a file that cannot be read: {error.strerror or error}"
    what = str(error).removeprefix(str(path)).strip(" ,:")
    return f"a file that {' '.join(what.split())}"  # pyarrow's messages have several lines


def values(file: File, tally: Tally) -> Iterator[tuple[str, object]]:
    """Every record with its place; an export is one, whole."""
    if _is_document(file):
        with file.opened(tally) as text:
            try:
                value = _loads(text.read())
            except (ValueError, RecursionError):  # several objects, or damaged: see below
                value = None
        if export_of(value):
            yield file.name, value
            return
    records = read_records(file.path, tally)
    first = next(records, None)
    if first and interviews.matches([first[1]]):
        yield file.name, [first[1], *(value for _, value in records)]
    elif first:
        for where, value in grouped(chain([first], records)):
            yield file.name + where.removeprefix(file.path.name), value


def _loads(text: str) -> object:
    """JSON, of Telegram too."""
    if "\\x" in text:
        text = BAD_ESCAPE.sub(r"\1\\u00\2", text)
    return json.loads(text, strict=False)


def _is_document(file: File) -> bool:
    if file.size_bytes > DOCUMENT_MIB << 20:
        return False
    with open_text(file.path) as text:
        return bool(DOCUMENT.match(text.read(HEAD_CHARACTERS)))


def export_of(value: object) -> ModuleType | None:
    """The reader of the chat export that this is."""
    return next((m for m in (discord, telegram, interviews) if m.matches(value)), None)


def _workspaces(inside: Sequence[Path]) -> list[Path]:
    """Folders that are Slack exports, the outermost ones."""
    roots: list[Path] = []
    for folder in sorted({p.parent for p in inside if p.name in slack.LISTS}):
        below = [p.relative_to(folder) for p in inside if p.is_relative_to(folder)]
        if not any(folder.is_relative_to(root) for root in roots) and slack.matches(
            [p.as_posix() for p in below if len(p.parts) <= 2]
        ):
            roots.append(folder)
    return roots
