"""Downloads against a server of our own on 127.0.0.1, and archives that mean harm."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jojo.web.download import DownloadError, download

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
