"""Text files in whatever encoding, plain or gzipped, read piece by piece."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Callable
from pathlib import Path

GZIP = b"\x1f\x8b"
NO_UTF8 = re.compile("[\udc80-\udcff]")  # what errors="surrogateescape" makes of such bytes
DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile)  # what reading a torn .gz raises


class Text(io.TextIOWrapper):
    """A text file, gzipped or not; bytes that are not UTF-8 are read as CP1252."""

    note = None  # called once, if there are such

    def readline(self, size: int = -1) -> str:
        return self._mended(super().readline(size))

    def read(self, size: int | None = -1) -> str:
        return self._mended(super().read(size))

    def _mended(self, text: str) -> str:
        if text.isascii() or not NO_UTF8.search(text):
            return text
        if self.note:
            self.note("decoded as CP1252")
            self.note = None
        return NO_UTF8.sub(lambda m: bytes([ord(m[0]) - 0xDC00]).decode("cp1252", "replace"), text)


def open_text(path: Path, note: Callable[[str], object] | None = None, newline: str = "\n") -> Text:
    """UTF-8 or UTF-16, told by its byte order mark; bytes that are not UTF-8 are read as CP1252
    and `note` is told. Reading may raise one of DAMAGE."""
    opener = gzip.open if is_gzipped(path) else open
    with opener(path, "rb") as f:
        head = f.read(2)
    if head in (b"\xff\xfe", b"\xfe\xff"):
        text = Text(opener(path, "rb"), "utf-16", errors="replace", newline=newline)
    else:
        text = Text(opener(path, "rb"), "utf-8-sig", errors="surrogateescape", newline=newline)
    text.note = note
    return text


def is_gzipped(path: Path) -> bool:
    with open(path, "rb") as f:
        return f.read(2) == GZIP
