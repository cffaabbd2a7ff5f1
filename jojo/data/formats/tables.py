"""CSV and TSV, of whatever dialect, row by row."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jojo.data.formats.textfile import Text

if TYPE_CHECKING:
    from jojo.data.contract import Tally

DELIMITERS = "\t,;|"
CELL = 1 << 20  # the longest cell of a table; an unclosed quote swallows no more than that
LINE = 64 << 20  # the longest line
NO_HEADER = re.compile(r"\s*|sep=.\s*")  # Excel's own note of the delimiter
COLUMN = re.compile(r"|[^\W\d](?:.{0,62}[^\s.!?:])?")  # its name; pandas leaves the first one empty


def is_header(line: str, more: list[str]) -> bool:
    """Whether a table begins: short names, each once, and cells below them."""
    delimiter = _delimiter(line)
    names = _cells(line, delimiter)
    return (
        len(names) > 1
        and len(set(names)) == len(names)
        and all(COLUMN.fullmatch(n) for n in names)
        and any(delimiter in x for x in more)
    )


def read_table(text: Text, path: Path, tally: Tally) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows of CSV or TSV as {column: cell}; cells may be quoted and hold line breaks."""
    csv.field_size_limit(CELL)
    lines = _Lines(text)
    header = next((line for line in lines if not NO_HEADER.fullmatch(line)), "")
    delimiter = _delimiter(header)
    names = _cells(header, delimiter)
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    while not tally.is_full:
        lines.taken.clear()
        where = f"{path.name}, line {lines.number + 1}"
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error:  # a stray quote: without quotes the line may be a row all the same
            line = lines.put_back_all_but_one()
            cells = line.rstrip("\r\n").split(delimiter)
            if len(cells) != len(names):
                tally.reject("malformed row", where)
                continue
        if any(c.strip() for c in cells[len(names) :]):
            tally.reject("more cells than the header", where)
        elif any(c.strip() for c in cells):
            yield where, dict(zip(names, cells, strict=False))


class _Lines:
    """Lines of a file for csv.reader, which can be put back and read again from within a row."""

    def __init__(self, text: Text):
        self.text = text
        self.number = 0
        self.taken: list[str] = []  # since it was last cleared
        self.held: deque[str] = deque()

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self.held.popleft() if self.held else self.text.readline(LINE)
        if not line:
            raise StopIteration
        self.number += 1
        self.taken.append(line)
        return line

    def put_back_all_but_one(self) -> str:
        first, *rest = self.taken
        self.held.extendleft(reversed(rest))
        self.number -= len(rest)
        return first


def _delimiter(header: str) -> str:
    """What separates most of the header's cells. (csv.Sniffer guesses from the text below.)"""
    bare = re.sub(r'"[^"]*"', "", header)
    return max(DELIMITERS, key=bare.count)


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return [c.strip() for c in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []
