"""What a single file is, told by its content."""

from __future__ import annotations

import re
from pathlib import Path

from jojo.data.contract import Tally
from jojo.data.formats.records import Unusable, kind_of, read_records
from jojo.data.formats.rows import CONVERSATION
from jojo.data.formats.shapes import messages_of
from jojo.data.formats.textfile import open_text
from jojo.data.own import textchats, whatsapp

HEAD_CHARACTERS = 1 << 16
MAGIC = (  # the first bytes of files that are not text, and what people call them
    (rb"%PDF-", "a PDF"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|BM.{4}\0\0|II\*\0|MM\0\*|RIFF....WEBP", "an image"),
    (rb"\0\0\0.ftyp(?:hei|avif|mif1)", "an image"),
    (rb"\0\0\0.ftyp|RIFF....(?:WAVE|AVI )|OggS\0|ID3[\2-\4]\0|fLaC\0|caff\0", "audio or video"),
    (rb"\xff[\xfb\xf3\xf2\xf1\xf9]|\x1aE\xdf\xa3|#!AMR", "audio or video"),
    (rb"SQLite format 3\0", "a SQLite database"),
    (rb"\xd0\xcf\x11\xe0", "an Office document"),
    (rb"\{\\rtf", "an RTF document"),
    (rb"7z\xbc\xaf|Rar!\x1a", "a 7z or RAR archive"),
    (rb"BZh\d1AY|\xfd7zXZ|\x28\xb5\x2f\xfd", "compressed with bzip2, xz or zstd"),
    (rb"\x7fELF|MZ[^\n]{0,58}\0|\xca\xfe\xba\xbe", "a program"),
    (rb"\s*(?i:<!doctype html|<html)", "an HTML page"),
    (rb"\s*<\?xml", "an XML file"),
    (rb"BEGIN:VC", "a contact card or calendar"),
    (rb"(?:\xef\xbb\xbf)?(?:WEBVTT|\d+\r?\n\d\d:\d\d:\d\d,\d{3} -->)", "a subtitle file"),
)
CONTROL = re.compile("[\0-\b\x0e-\x1a\x1c-\x1f\x7f\ufffd]")


def what_else(head: bytes) -> str | None:
    """What people call a file that begins like this and is not text."""
    return next((what for mark, what in MAGIC if re.match(mark, head, re.DOTALL)), None)


def kind(path: Path) -> str:
    """What the file holds; ValueError if its format is unknown."""
    records = kind_of(path)
    if records == "parquet":
        return _kind_of_records(path)
    with open_text(path, newline=None) as text:
        head = text.read(HEAD_CHARACTERS)
    if whatsapp.matches(head):
        return "whatsapp"
    if textchats.is_chatml(head):
        return "chatml"
    if textchats.labels(head):
        return "dialogue"
    if records == "csv" and _is_table(head):
        return _kind_of_records(path)
    if records in ("json", "jsonl"):
        opens_object = head.lstrip("\ufeff \r\n\t").startswith("{")
        return "records" if records == "json" and opens_object else _kind_of_records(path)
    if textchats.has_names(head):
        return "names"
    if len(CONTROL.findall(head)) * 100 > len(head):
        raise Unusable("is in an unknown format")
    return "text"


def is_record(value: dict) -> bool:
    """Whether a record with such keys can be a conversation, or a turn of one."""
    try:
        messages_of(value)
    except Unusable as error:
        return str(error) != "no known shape" or any(k in value for k in CONVERSATION)
    return True


def _kind_of_records(path: Path) -> str:
    """Whether the first record is a plain text."""
    for _, value in read_records(path, Tally()):
        text = textchats.text_of(value)
        return "texts" if text and not textchats.is_chat(text) else "records"
    return "records"


def _is_table(head: str) -> bool:
    """Whether records follow the header, or most lines have as many cells as it: prose that
    begins with a comma or two is not a table."""
    first, *lines = [line for line in head.split("\n") if line.strip()]
    delimiter = max("\t,;|", key=first.count)
    names = [name.strip(' "\r\ufeff').lower() for name in first.split(delimiter)]
    if is_record(dict.fromkeys(names, "x")):
        return True
    even = sum(line.count(delimiter) == first.count(delimiter) for line in lines)
    return even * 2 > len(lines)
