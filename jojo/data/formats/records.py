"""Raw records of a data file, streamed: JSON, JSON lines, CSV, TSV, parquet, each also gzipped.

    for where, value in tally.records(read_records(path, tally)):
        ...  # where: "chats.jsonl, line 12" or "chats.json, record 3"

The content of a file tells what it is, not its name. Memory holds one record and a block of text,
however big the file or a line of it. A damaged record is dropped with its place and the rest is
read. Text is UTF-8 or UTF-16 with a byte order mark; bytes that are not UTF-8 are read as CP1252.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jojo.data.formats.tables import is_header, read_table
from jojo.data.formats.textfile import DAMAGE, Text, is_gzipped, open_text

if TYPE_CHECKING:
    from jojo.data.contract import Tally

RECORD_MIB = 64  # the longest record of many
DOCUMENT_MIB = 256  # the biggest file that is a single JSON object, such as a chat export
BLOCK = 1 << 20  # characters read at once
LISTS = ("data", "examples", "rows", "records")  # keys an object may hold its records under

MALFORMED = "malformed JSON"
DECODER = json.JSONDecoder(strict=False)  # line breaks inside strings are text
GAP = re.compile(r"[\s,]*")
FIRST_KEY = re.compile(r'\{\s*"[^"]{0,200}"\s*:')
JSON = re.compile(  # how it begins; "[12:30] hi" and "{name}: hi" are no JSON
    r'\s*(?:\{\s*(?:["}]|$)|\[\s*(?:[\[{"\]]|$|[^\s,\]"{[:/]+\s*(?:,|\]\s*$)))'
)
ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Unusable(ValueError):
    """A record that cannot be used; the message is the reason for dropping it."""


class EmptyFile(ValueError):
    """The file is empty."""


class _TooLong(ValueError):
    def __str__(self) -> str:
        return (
            f"holds a single JSON value of over {RECORD_MIB} MiB: make it a JSON array of records, "
            "or one record a line"
        )


def read_records(path: Path, tally: Tally) -> Iterator[tuple[str, object]]:
    """Every record with its place. What is yielded is not counted yet; what is dropped here is.

    ValueError for a file that holds no records or is damaged as a whole.
    """
    kind = kind_of(path)
    if kind is None:
        raise ValueError(
            f"{path} holds no records: give JSON, JSON lines, CSV, TSV or parquet, plain or .gz"
        )
    if kind == "parquet":
        yield from _parquet(path)
        return
    reader = {"json": _json_values, "jsonl": _json_lines, "csv": read_table}[kind]
    try:
        with open_text(path, tally.change, newline="" if kind == "csv" else "\n") as text:
            yield from reader(text, path, tally)
    except DAMAGE as error:
        raise ValueError(f"{path} is damaged ({error}): fetch it again") from None


def kind_of(path: Path) -> str | None:
    """ "json", "jsonl", "csv" or "parquet"; None if it holds no records; EmptyFile."""
    with open(path, "rb") as f:
        if f.read(4) == b"PAR1":
            return "parquet"
    try:
        with open_text(path) as text:
            return _kind_of_text(text, path)
    except DAMAGE as error:
        raise ValueError(f"{path} is damaged ({error}): fetch it again") from None


def _kind_of_text(text: Text, path: Path) -> str | None:
    line = text.readline(BLOCK)
    while line and not line.strip():
        line = text.readline(BLOCK)
    if not line:
        raise EmptyFile(f"{path} is empty")
    if "\0" in line:  # no text
        return None
    opens = line.lstrip()[0]
    if opens == "{" and len(line) == BLOCK and not line.endswith("\n"):
        return _kind_of_long_line(text, path)
    more = [x for x in (text.readline(BLOCK) for _ in range(8)) if x.strip()][:3]
    # The first line may be damaged. In JSON laid out over lines few are whole by themselves
    if more and ((opens == "{" and _is_whole(line)) or all(_is_whole(x) for x in more)):
        return "jsonl"
    if JSON.match(line):
        return "json"
    return "csv" if is_header(line, more) else None


def _kind_of_long_line(text: Text, path: Path) -> str:
    """Whether lines like it follow, without holding it in memory."""
    for _ in range(_limit(path) // BLOCK):
        part = text.readline(BLOCK)
        if not part or part.endswith("\n"):
            return "jsonl" if text.read(BLOCK).lstrip().startswith("{") else "json"
    raise ValueError(f"{path} {_TooLong()}")


def _limit(path: Path) -> int:
    """The characters one record may have."""
    small = path.stat().st_size <= DOCUMENT_MIB << 20 and not is_gzipped(path)
    return (DOCUMENT_MIB if small else RECORD_MIB) << 20


def _is_whole(line: str) -> bool:
    """Whether the line is a JSON object or array by itself."""
    if not line.lstrip().startswith(("{", "[")):
        return False
    try:
        return bool(DECODER.decode(line.strip()))
    except (ValueError, RecursionError):
        return False


def _json_lines(text: Text, path: Path, tally: Tally) -> Iterator[tuple[str, object]]:
    number = 0
    while (line := text.readline(RECORD_MIB << 20)) and not tally.is_full:
        number += 1
        where = f"{path.name}, line {number}"
        if len(line) == RECORD_MIB << 20 and not line.endswith("\n"):
            tally.reject(_reason(_TooLong()), where)
            while (line := text.readline(BLOCK)) and not line.endswith("\n"):
                pass
        elif line.strip():
            try:
                value = DECODER.decode(line.strip())
                _check_unicode(line, value)
            except (ValueError, RecursionError) as error:
                tally.reject(_reason(error), where)
            else:
                yield where, value


def _json_values(text: Text, path: Path, tally: Tally) -> Iterator[tuple[str, object]]:
    """The items of an array, or objects one after another, however they are laid out."""
    window = _Window(text, _limit(path))
    in_array, number = False, 0
    while not tally.is_full and (opens := window.skip_gap()):
        if opens == ("]" if in_array else "["):
            in_array = not in_array
            window.start += 1
            continue
        number += 1
        where = f"{path.name}, record {number}"
        try:
            value = window.take()
        except Unusable as error:
            tally.reject(str(error), where)
        except (ValueError, RecursionError) as error:
            if number == 1 and isinstance(error, _TooLong):
                raise ValueError(f"{path} {error}") from None
            tally.reject(_reason(error), where)
            window.skip_record()
        else:
            records = None if in_array else _inner_records(value)
            if records is None:
                yield where, value
            else:
                for i, record in enumerate(records, start=1):
                    yield f"{path.name}, record {i}", record
    if in_array and not tally.is_full:
        tally.skip("end of the array missing", where=path.name)


def _inner_records(value: object) -> list | None:
    """The records of an object such as {"data": [...]}."""
    if isinstance(value, dict):
        for key in LISTS:
            inner = value.get(key)
            if isinstance(inner, list) and inner and all(isinstance(x, dict) for x in inner):
                return inner
    return None


class _Window:
    """The part of a JSON text that is in memory: from the record being read on."""

    def __init__(self, text: Text, limit: int):
        self.text = text
        self.limit = limit  # characters of one record
        self.buffer = ""
        self.start = 0
        self.at_end = False
        self.opening: str | None = None  # how the first record begins, up to its first key

    def skip_gap(self) -> str:
        """The character that comes after space and commas; "" at the end."""
        while True:
            self.start = GAP.match(self.buffer, self.start).end()
            if self.start < len(self.buffer) or not self._more():
                return self.buffer[self.start : self.start + 1]

    def take(self) -> object:
        """The value that begins here. ValueError or RecursionError where there is none."""
        while True:
            try:
                value, end = DECODER.raw_decode(self.buffer, self.start)
                if end < len(self.buffer) or self.at_end:
                    break
            except json.JSONDecodeError as error:
                if not self._may_go_on(error):
                    raise
            if not self._more():
                continue  # now it is known that nothing follows
            if len(self.buffer) > self.limit + BLOCK:
                raise _TooLong
        start, self.start = self.start, end
        if self.opening is None and (m := FIRST_KEY.match(self.buffer, start)):
            self.opening = m[0]
        _check_unicode(self.buffer[start:end], value)
        return value

    def skip_record(self) -> None:
        """Go to where the next record begins as the first one did, or to the end."""
        self.start += 1
        while True:
            found = self.buffer.find(self.opening, self.start) if self.opening else -1
            if found >= 0:
                self.start = found
                return
            self.start = max(self.start, len(self.buffer) - len(self.opening or ""))
            if not self._more():
                self.start = len(self.buffer)
                return

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        """Whether the text is only cut: the error is at the end of what has been read."""
        return not self.at_end and (
            error.msg.startswith("Unterminated string")
            or len(self.buffer[error.pos :].strip()) < 16
        )

    def _more(self) -> bool:
        left = len(self.buffer) - self.start
        block = "" if self.at_end else self.text.read(max(BLOCK, left // 2))
        self.at_end = not block
        if block:
            self.buffer, self.start = self.buffer[self.start :] + block, 0
        return bool(block)


def _check_unicode(text: str, value: object) -> None:
    """Unusable if half a surrogate pair was escaped in the JSON text of the value."""
    if ESCAPED_SURROGATE.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise Unusable("no valid Unicode") from None


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, _TooLong):
        return f"a record over {RECORD_MIB} MiB"
    return str(error) if isinstance(error, Unusable) else MALFORMED


def _parquet(path: Path) -> Iterator[tuple[str, object]]:
    import pyarrow
    import pyarrow.parquet as parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path.name}, row {number}", row
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged after row {number}: {error}") from error


Skip = Callable[[str], object]


def ignore(reason: str) -> None: ...
