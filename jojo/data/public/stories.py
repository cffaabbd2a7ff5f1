"""TinyStories V2: 2.7 million short stories by GPT-4, 2.23 GB of text. CDLA-Sharing-1.0.

Eldan and Li 2023, https://arxiv.org/abs/2305.07759. Any text files in which <|endoftext|> closes
each document can be read. They are streamed: memory does not grow with their size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jojo.data.contract import SPLITS
from jojo.data.public import origins

if TYPE_CHECKING:
    from jojo.data.contract import PrepareOptions, Tally

FACTS = origins.PUBLIC_DATASETS["tinystories"]
END = b"<|endoftext|>"
BLOCK_BYTES = 4 << 20  # read at once
MAX_STORY_BYTES = 64 << 20  # more than this without an end is no collection of stories


def documents(options: PrepareOptions, tally: Tally) -> Iterator[tuple[str | None, list[str]]]:
    """Stories, many at once, and their split. The validation comes first, see Recipe."""
    for split, path in _files(options, tally):
        for stories in read(path, tally):
            yield split, stories


def read(path: Path, tally: Tally) -> Iterator[list[str]]:
    """The stories of a file, a block at a time. Notes the file's hash if it is read to the end."""
    from tqdm import tqdm

    digest, rest, at = hashlib.sha256(), b"", 0
    size = path.stat().st_size
    bar = tqdm(total=size, unit="B", unit_scale=True, desc=path.name, leave=False)
    with bar, open(path, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            bar.update(len(block))
            whole, end, rest = (rest + block).rpartition(END)
            if end:
                yield _stories(whole, path, at, tally)
                if tally.is_full:
                    return
                at += len(whole) + len(end)
            if len(rest) > MAX_STORY_BYTES:
                raise ValueError(
                    f"{path}: no {END.decode()} in {len(rest):,} bytes; it closes each story"
                )
    if rest.strip() and tally.batch([rest]):
        tally.drop("cut off at the end of the file")
    tally.sources.append(f"{path.name} sha256:{digest.hexdigest()}")


def _stories(data: bytes, path: Path, at: int, tally: Tally) -> list[str]:
    """The stories in `data`, which begins at byte `at` of the file."""
    stories = tally.batch(data.split(END))
    try:
        stories = [story.strip().decode() for story in stories]
    except UnicodeDecodeError:
        raise _no_utf8(data, path, at) from None
    if b"\r" in data:
        stories = [story.replace("\r\n", "\n") for story in stories]
    kept = [story for story in stories if story]
    tally.drop("empty", len(stories) - len(kept))
    return kept


def _no_utf8(data: bytes, path: Path, at: int) -> ValueError:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        where = f"{path}, byte {at + error.start:,}"
        return ValueError(f"{where}: not valid UTF-8 ({error.reason})")
    raise AssertionError("its parts are not valid UTF-8, but the whole is")


def _files(options: PrepareOptions, tally: Tally) -> list[tuple[str | None, Path]]:
    """(split, file), validation first; a single file is split by --val_fraction."""
    path = origins.raw("tinystories", options, tally)
    if path.is_file():
        return [(None, path)]
    texts = sorted(p for p in path.glob("*.txt") if p.is_file())
    found = {s: [p for p in texts if s in p.stem.lower()] for s in reversed(SPLITS)}
    if len(texts) == 1:
        return [(None, texts[0])]
    if len(found["val"]) != 1 or len(found["train"]) != 1:
        raise ValueError(
            f"{path} must hold one .txt, or one with train and one with valid in its name; "
            f"it has {', '.join(p.name for p in texts) or 'none'}"
        )
    return [(split, files[0]) for split, files in found.items()]
