"""jojo/files.py: a file appears whole or not at all."""

from __future__ import annotations

import hashlib
import os
import sys

import pytest

from jojo import files
from jojo.files import sha256, whole_file, write_text


def test_a_file_appears_with_its_content(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    write_text(path, "naïve 🙂\n")
    assert path.read_bytes() == "naïve 🙂\n".encode()
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_line_breaks_are_written_as_they_are(tmp_path):
    write_text(tmp_path / "a.txt", "a\r\nb\n")
    assert (tmp_path / "a.txt").read_bytes() == b"a\r\nb\n"


def test_nothing_is_visible_until_it_is_whole(tmp_path):
    with whole_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        assert not (tmp_path / "a.txt").exists()
        assert temporary.name.startswith(".")
    assert (tmp_path / "a.txt").read_text() == "half"


def write_half(path, error) -> None:
    with whole_file(path) as temporary:
        temporary.write_text("half of the new")
        raise error


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_an_error_leaves_what_stood_there(tmp_path, error):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(error):
        write_half(tmp_path / "a.txt", error)
    assert (tmp_path / "a.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_rename_that_fails_leaves_what_stood_there(tmp_path, monkeypatch):
    def full_disk(*paths):
        raise OSError(28, "No space left on device")

    write_text(tmp_path / "a.txt", "old")
    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_an_oserror(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        write_text(tmp_path / "a.txt", "new")


def test_sha256_of_a_file(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    expected = hashlib.sha256(b"abc" * 100_000).hexdigest()
    assert sha256(tmp_path / "a") == expected
    with open(tmp_path / "a", "rb") as f:
        assert files._sha256_of(f) == expected  # what Python 3.10 uses


def test_root_is_the_checkout():
    assert (files.ROOT / "model.py").exists()
