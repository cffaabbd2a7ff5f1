"""Downloads against a server of our own on 127.0.0.1, and archives that mean harm."""

from __future__ import annotations

import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jojo.web.download import DownloadError, download, unpack

DATA = bytes(range(256)) * 4096  # 1 MiB
DIGEST = sha256(DATA).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves DATA; `drops` times it hangs up after the first 300,000 bytes it sends."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.drops = 0
        self.after_drop: int | None = None  # the status of what follows a drop
        self.etag = '"one"'
        self.ranges: list[str | None] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.path != "/file" or (self.server.ranges and self.server.after_drop):
            self.send_error(404)
            return
        wanted = self.headers.get("Range")
        self.server.ranges.append(wanted)
        start = 0
        if wanted and self.headers.get("If-Range") == self.server.etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(DATA):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(DATA)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")
        self.send_header("Content-Length", str(len(DATA) - start))
        self.send_header("ETag", self.server.etag)
        self.end_headers()
        if self.server.drops:
            self.server.drops -= 1
            self.wfile.write(DATA[start : start + 300_000])
        else:
            self.wfile.write(DATA[start:])

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as one:
        yield one


def test_goes_on_after_the_connection_drops(server: Server, tmp_path: Path) -> None:
    server.drops = 2
    path = download((server.url("/file"),), tmp_path / "f", sha256=DIGEST, size_bytes=len(DATA))
    assert path.read_bytes() == DATA
    first, *later = server.ranges
    assert first is None
    assert len(later) == 2, "went on twice, where it stopped"
    assert 0 < int(later[0][6:-1]) <= 300_000 < int(later[1][6:-1])
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_goes_on_in_a_later_call(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "f.part"
    part.write_bytes(DATA[:1000])
    (tmp_path / "f.part.source").write_text(f'{server.url("/file")}\n"one"\n{len(DATA)}\n')
    assert download((server.url("/file"),), tmp_path / "f").read_bytes() == DATA
    assert server.ranges == ["bytes=1000-"]


def test_what_came_before_the_server_died_is_kept(server: Server, tmp_path: Path) -> None:
    server.drops = 1
    server.after_drop = 404
    with pytest.raises(DownloadError, match="404"):
        download((server.url("/file"),), tmp_path / "f")
    assert 0 < (tmp_path / "f.part").stat().st_size <= 300_000
    server.after_drop = None
    assert download((server.url("/file"),), tmp_path / "f", sha256=DIGEST).read_bytes() == DATA
    assert server.ranges[-1] != "bytes=0-"


def test_starts_over_when_the_file_changed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(b"old" * 1000)
    (tmp_path / "f.part.source").write_text(f'{server.url("/file")}\n"older"\n9000\n')
    assert download((server.url("/file"),), tmp_path / "f").read_bytes() == DATA


def test_a_part_that_is_whole_needs_no_more_bytes(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(DATA)
    (tmp_path / "f.part.source").write_text(f'{server.url("/file")}\n"one"\n{len(DATA)}\n')
    assert download((server.url("/file"),), tmp_path / "f", sha256=DIGEST).read_bytes() == DATA


def test_the_next_mirror_follows(server: Server, tmp_path: Path, capsys) -> None:
    urls = ("http://127.0.0.1:9/file", server.url("/missing"), server.url("/file"))
    assert download(urls, tmp_path / "f").read_bytes() == DATA
    said = capsys.readouterr().err
    assert "127.0.0.1:9/file: connection refused; trying the next mirror" in said
    assert "/missing: HTTP 404" in said


def test_all_mirrors_fail_in_one_line(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError) as error:
        download((server.url("/a"), server.url("/b")), tmp_path / "f")
    assert "/a: HTTP 404" in str(error.value)
    assert "/b: HTTP 404" in str(error.value)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("known", [{"sha256": "0" * 64}, {"size_bytes": 17}])
def test_a_wrong_file_never_appears(server: Server, tmp_path: Path, known: dict) -> None:
    with pytest.raises(DownloadError, match=r"SHA-256|instead of 17"):
        download((server.url("/file"),), tmp_path / "f", **known)
    assert not (tmp_path / "f").exists()


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(DATA)
    assert download(("http://127.0.0.1:9/f",), tmp_path / "f", sha256=DIGEST) == tmp_path / "f"


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
    with pytest.raises(ValueError, match="beyond all measure"):
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
