"""Files that appear whole or not at all: written beside their target, synced, then renamed."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent  # the checkout: data/, models/, config/, examples/
MODELS = ROOT / "models"  # where checkpoints go by default


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync it and rename it to `path`.

    On any error the temporary file is removed, and what was at `path` before stays.
    """
    path = Path(path)
    with scratch_file(path) as temporary:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync_folder(path.parent)


@contextmanager
def scratch_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; the file is removed at the end."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def temporary_beside(path: Path) -> Path:
    """A name for `path` while it is being written; those of killed processes are removed."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        pid = left.name.split(".")[-2]
        if not (pid.isdigit() and psutil.pid_exists(int(pid))):
            left.unlink(missing_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def must_have_room(path: Path, size: int) -> None:
    """OSError if the disk has no room for `size` bytes at `path`."""
    place = next(p for p in path.absolute().parents if p.is_dir())
    free = shutil.disk_usage(place).free
    if size > free:
        wanted = f"{path} ({size / 1e6:,.0f} MB; {free / 1e6:,.0f} are free)"
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), wanted)


def is_plain_name(name: str) -> bool:
    """Whether `name` is a file name without a folder, and not a hidden one."""
    return bool(name) and not any(c in name for c in "/\\\0") and not name.startswith(".")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    with whole_file(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def sync(path: Path) -> None:
    with open(path, "rb") as f:
        os.fsync(f.fileno())


def sync_folder(path: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sha256(path: str | os.PathLike[str]) -> str:
    with open(path, "rb") as f:
        return (
            hashlib.file_digest(f, "sha256").hexdigest()
            if hasattr(hashlib, "file_digest")
            else _sha256_of(f)
        )


def _sha256_of(f) -> str:  # Python 3.10
    digest = hashlib.sha256()
    while block := f.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def read_json(path: Path) -> dict:
    """The JSON object in a file; ValueError if it holds none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is not valid JSON, or is truncated: copy it again") from None
    if not is_dict(content):
        raise ValueError(f"{path} is not a JSON object: copy it again")
    return content


def is_dict(value: object) -> bool:
    return isinstance(value, dict)
