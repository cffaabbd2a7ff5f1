"""Archives: what is unpacked, what is refused, and the limits that all of them share."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from jojo.data.formats.archives import MAX_DEPTH, is_archive, unpack, visible_files
from jojo.data.formats.records import Unusable


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return path


def tarred(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def test_unpacks_zip_and_tar(tmp_path: Path) -> None:
    unpack(zipped(tmp_path / "a.zip", {"in/a.txt": b"A", "b.txt": b"B"}), tmp_path / "zip")
    assert (tmp_path / "zip/in/a.txt").read_bytes() == b"A"
    member = tarfile.TarInfo("in/c.txt")
    member.size = 3
    unpack(tarred(tmp_path / "c.tar.gz", member), tmp_path / "tar")
    assert (tmp_path / "tar/in/c.txt").read_bytes() == b"xxx"


@pytest.mark.parametrize("name", ["../evil.txt", "in/../../evil.txt", "/evil.txt", "C:\\evil.txt"])
def test_nothing_is_written_outside(tmp_path: Path, name: str) -> None:
    archive = zipped(tmp_path / "a.zip", {name: b"boo"})
    with pytest.raises(ValueError, match="outside its folder"):
        unpack(archive, tmp_path / "out" / "deep")
    archive = tarred(tmp_path / "a.tar.gz", tarfile.TarInfo(name))
    with pytest.raises(ValueError, match="outside its folder"):
        unpack(archive, tmp_path / "out" / "deep")
    assert not list(tmp_path.rglob("evil*"))


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ValueError, match="link or device"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        member = tarfile.TarInfo("link")
        member.type, member.linkname = kind, "/etc/passwd"
        with pytest.raises(ValueError, match="link or device"):
            unpack(tarred(tmp_path / "a.tar.gz", member), tmp_path / "out")


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"zeros": bytes(40 << 20)})
    with pytest.raises(ValueError, match="more than 16 MiB"):
        unpack(archive, tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 but no zip"])
def test_damaged_archives(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_a_flipped_byte_is_noticed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".zip":
        zipped(path, {"a.txt": bytes(range(256)) * 99})
    else:
        member = tarfile.TarInfo("a.txt")
        member.size = 50_000
        tarred(path, member)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        unpack(path, tmp_path / "out")


def test_archives_within_one_another_share_one_limit(tmp_path: Path) -> None:
    inner = zipped(tmp_path / "in.zip", {"blanks": b" " * (9 << 20)})
    outer = unpack(zipped(tmp_path / "a.zip", {"in.zip": inner.read_bytes()}), tmp_path / "out")
    unpack(tmp_path / "out/in.zip", tmp_path / "first", outer)
    with pytest.raises(ValueError, match="more than 16 MiB"):
        unpack(tmp_path / "out/in.zip", tmp_path / "second", outer)
    unpack(inner, tmp_path / "alone")


def test_archives_may_lie_three_deep(tmp_path: Path) -> None:
    archive, outer = zipped(tmp_path / "a.zip", {"b.txt": b"B"}), None
    for depth in range(MAX_DEPTH):
        outer = unpack(archive, tmp_path / str(depth), outer)
    with pytest.raises(ValueError, match="more than 3 archives deep"):
        unpack(archive, tmp_path / "deeper", outer)


def test_what_is_an_archive(tmp_path: Path) -> None:
    assert is_archive(zipped(tmp_path / "a", {"b.txt": b"B"}))
    assert is_archive(tarred(tmp_path / "b", tarfile.TarInfo("c")))
    (tmp_path / "c.zip").write_bytes(b"not an archive")
    assert not is_archive(tmp_path / "c.zip")
    with pytest.raises(Unusable, match="Office document"):
        is_archive(zipped(tmp_path / "d", {"[Content_Types].xml": b""}))


def test_hidden_files_are_not_visible(tmp_path: Path) -> None:
    for name in ("b/c", "a", ".d", "__MACOSX/e", ".f/g"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(visible_files(tmp_path)) == [tmp_path / "a", tmp_path / "b/c"]
