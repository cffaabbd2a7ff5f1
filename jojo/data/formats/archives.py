"""Folders and archives (zip, tar), walked with care: one set of limits, wherever they come from.

unpacked = unpack(path, Path("raw/x"))
unpack(Path("raw/x/inner.zip"), Path("raw/y"), outer=unpacked)  # counts towards the same limit
"""

from __future__ import annotations

import lzma
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from jojo.data.formats.records import Unusable
from jojo.data.formats.textfile import DAMAGE

MAX_UNPACKED_BYTES = 8 << 30
MAX_RATIO = 200  # unpacked size to packed size; text reaches 10
RATIO_FREE_BYTES = 16 << 20  # small archives may hold long runs of blanks
MAX_DEPTH = 3  # archives within archives
DAMAGED = (  # what a damaged archive raises
    *DAMAGE,
    *(zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, RuntimeError, IndexError),
)
OFFICE = ("[Content_Types].xml", "mimetype")  # members of .docx and the like, of .odt and .epub
IGNORED = {"__MACOSX", "Thumbs.db", "desktop.ini"}
Member = tuple[str, bool, IO[bytes]]  # name, whether it is a plain file, its content


class Unpacked:
    """An archive that has been unpacked: how deep it lies, and how much more may be unpacked."""

    def __init__(self, archive: Path, outer: Unpacked | None):
        self.depth = outer.depth + 1 if outer else 1
        self.outermost = outer.outermost if outer else self
        limit = max(RATIO_FREE_BYTES, archive.stat().st_size * MAX_RATIO)
        self.limit_bytes = min(MAX_UNPACKED_BYTES, limit)
        self.left_bytes = self.limit_bytes  # of the outermost: for all the archives within it


def is_archive(path: Path) -> bool:
    """Whether it is a zip or tar, compressed or not. Unusable for a document that is a zip."""
    with _damage_reported(path):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as zipped:
                if any(name in OFFICE for name in zipped.namelist()[:3]):
                    raise Unusable("is an Office document or an e-book")
            return True
        return tarfile.is_tarfile(path)


def unpack(archive: Path, folder: Path, outer: Unpacked | None = None) -> Unpacked:
    """Unpack a zip or tar into `folder`; `outer` is the archive that it was found in, if any.

    ValueError where it is damaged, too big or too deep, or has a member that is a link or would
    land outside `folder`.
    """
    unpacked = Unpacked(archive, outer)
    if unpacked.depth > MAX_DEPTH:
        raise ValueError(f"{archive} lies more than {MAX_DEPTH} archives deep: unpack it first")
    with _damage_reported(archive):
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                _write_all(_zip_members(zipped), archive, folder, unpacked)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as tarred:
                _write_all(_tar_members(tarred), archive, folder, unpacked)
        else:
            raise ValueError(f"{archive} is neither a zip nor a tar archive, or it is damaged")
    return unpacked


@contextmanager
def _damage_reported(archive: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGED as error:
        raise ValueError(f"{archive} is damaged ({error}): get it again") from error


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        if not info.is_dir():
            plain = not stat.S_ISLNK(info.external_attr >> 16)
            with archive.open(info) as content:
                yield info.filename, plain, content


def _tar_members(archive: tarfile.TarFile) -> Iterator[Member]:
    for info in archive:
        if info.isfile():
            yield info.name, True, archive.extractfile(info)
        elif not info.isdir():
            yield info.name, False, None


def _write_all(members: Iterator[Member], archive: Path, folder: Path, unpacked: Unpacked) -> None:
    budgets = {unpacked, unpacked.outermost}
    for name, plain, content in members:
        inside = PurePosixPath(name.replace("\\", "/"))
        if inside.is_absolute() or ".." in inside.parts or ":" in name or not inside.parts:
            raise ValueError(f"{archive} would write outside its folder ({name!r}): not unpacked")
        if not plain:
            raise ValueError(f"{archive} holds a link or device ({name!r}): not unpacked")
        path = folder / inside
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as out:
            while block := content.read(1 << 20):
                for budget in budgets:
                    budget.left_bytes -= len(block)
                    if budget.left_bytes < 0:
                        most = f"{budget.limit_bytes >> 20:,} MiB"
                        raise ValueError(
                            f"{archive} unpacks to more than {most}: unpack it yourself first"
                        )
                out.write(block)


def visible_files(
    folder: Path, failed: Callable[[OSError], object] | None = None
) -> Iterator[Path]:
    """All files in a folder, sorted, except hidden ones; `failed` hears of unreadable folders.

    Links to folders are not followed: they may lead in circles.
    """
    for root, folders, files in os.walk(folder, onerror=failed):
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        yield from (Path(root) / name for name in sorted(files) if not _is_hidden(name))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in IGNORED
