"""Whatever chat export a path holds, told by its content: a file, a folder of them, or a zip.

Discord, Telegram, WhatsApp, Slack, and lists of messages with `outgoing` (interviews).
"""

from __future__ import annotations

import json
import re
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jojo.download import unpack
from jojo.sources import discord, interviews, slack, telegram, whatsapp

if TYPE_CHECKING:
    from jojo.prepare import Tally
    from jojo.transcript import ChatLine

KINDS = "Discord (DiscordChatExporter JSON), Telegram (Desktop JSON), WhatsApp (text), Slack (zip)"
ZIPS_IN_ZIPS = 2  # how deep to look: WhatsApp makes a zip per chat, and people zip those
BAD_ESCAPE = re.compile(r"(?<!\\)((?:\\\\)*)\\x([0-9A-F]{2})")  # Telegram writes \x0F, JSON \u000F


def read(path: Path, tally: Tally) -> Iterator[ChatLine]:
    """The messages of all exports in it. ValueError where there is none."""
    if path.is_dir():
        tally.sources.append(path.name)
        yield from _read_folder(path, path.name, tally)
    elif zipfile.is_zipfile(path):
        tally.used(path)
        yield from _read_zip(path, path.name, tally)
    else:
        tally.used(path)
        yield from read_file(path, path.name, tally)


def read_file(path: Path, where: str, tally: Tally) -> Iterator[ChatLine]:
    text = _text(path)
    if text.lstrip()[:1] in ("{", "["):
        try:
            data = loads(text)
        except ValueError as error:
            if not whatsapp.matches(text):  # iOS begins its lines with [
                raise ValueError(f"{path} is no valid JSON: {error}") from None
        else:
            for kind in (discord, telegram, interviews):
                if kind.matches(data):
                    return kind.read(data, where, tally)
    if whatsapp.matches(text):
        return whatsapp.read(text, where, tally)
    raise ValueError(
        f"{path} is no chat export: there are {KINDS}, and JSON lists of messages with senderName, "
        "conversationId and text"
    )


def loads(text: str) -> object:
    """JSON, of Telegram too."""
    try:
        return json.loads(text)
    except ValueError:
        repaired = BAD_ESCAPE.sub(r"\1\\u00\2", text)
        if repaired == text:
            raise
        return json.loads(repaired)


def _text(path: Path) -> str:
    data = path.read_bytes()
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        kind = "UTF-16" if wide else "UTF-8"
        raise ValueError(
            f"{path}, byte {error.start:,}: no valid {kind} ({error.reason})"
        ) from None


def _read_zip(path: Path, where: str, tally: Tally, depth: int = 1) -> Iterator[ChatLine]:
    with tempfile.TemporaryDirectory() as folder:
        unpack(path, Path(folder))
        yield from _read_folder(Path(folder), where, tally, depth)


def _read_folder(folder: Path, where: str, tally: Tally, depth: int = 0) -> Iterator[ChatLine]:
    """A file that is no export (a picture, a page) is skipped; there must be one that is."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    if slack.matches([p.relative_to(folder).as_posix() for p in files]):
        yield from slack.read(folder, where, tally)
        return
    found = False
    for file in files:
        name = f"{where}/{file.relative_to(folder).as_posix()}"
        try:
            if depth < ZIPS_IN_ZIPS and zipfile.is_zipfile(file):
                lines = _read_zip(file, name, tally, depth + 1)
            else:
                lines = read_file(file, name, tally)
            for line in lines:
                found = True
                yield line
        except ValueError:  # damaged, too
            tally.skip("files that are no chat export", where=name)
    if not found:
        raise ValueError(f"{where} holds no chat export: there are {KINDS}")
