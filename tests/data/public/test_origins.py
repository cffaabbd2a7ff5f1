from __future__ import annotations

import errno
import functools
import hashlib
import io
import tarfile
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest

from jojo.data.contract import PrepareOptions, Tally
from jojo.data.public import origins
from jojo.data.public.origins import PUBLIC_DATASETS, WHOLE, Origin, PublicDataset, opened, raw


@pytest.fixture
def served(tmp_path):
    """(address, folder): a web server, and the folder whose files it hands out."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield f"http://127.0.0.1:{server.server_port}/", folder
        server.shutdown()


@pytest.fixture
def from_origins(tmp_path, monkeypatch):
    """Asks for a data set that has these origins; returns (folder, the sources that were noted)."""

    def ask(*found: Origin) -> tuple[Path, list[str]]:
        monkeypatch.setitem(PUBLIC_DATASETS, "toy", PublicDataset("Toy", "MIT", "none", found))
        tally = Tally()
        return raw("toy", PrepareOptions(out_dir=tmp_path / "out"), tally), tally.sources

    return ask


@pytest.fixture
def hub(monkeypatch):
    """A hub that answers and hands out what is put into its `files`; `asked` is what of it."""

    class Hub:
        files: dict[str, bytes] = {}  # noqa: RUF012
        asked: list[tuple] = []  # noqa: RUF012
        broken: Exception | None = None

    def snapshot_download(repo_id, *, repo_type, revision, allow_patterns, local_dir):
        Hub.asked.append((repo_id, repo_type, revision, allow_patterns))
        for name, content in Hub.files.items():
            path = Path(local_dir) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            if Hub.broken:
                raise Hub.broken
        (Path(local_dir) / ".cache").mkdir(exist_ok=True)
        (Path(local_dir) / ".cache" / "notes.parquet").write_bytes(b"PAR1")

    Hub.asked, Hub.broken = [], None
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(origins, "hub_answers", lambda: True)
    return Hub


def test_the_table_is_in_order():
    assert len(PUBLIC_DATASETS) == 13
    for name, facts in PUBLIC_DATASETS.items():
        assert facts.title, name
        assert facts.licence, name
        assert facts.paper.startswith("https://"), name
        for origin in facts.origins:
            assert origin.is_hub or origin.where.endswith("/"), origin
            assert set(origin.sha256) <= set(origin.files), origin
            assert all(len(bytes.fromhex(digest)) == 32 for digest in origin.sha256.values())
        folders = [origins._folder_name(o) for o in facts.origins]
        assert len(set(folders)) == len(folders), name
    assert PUBLIC_DATASETS["cornell"].where[0] == (
        "https://www.cs.cornell.edu/~cristian/data/cornell_movie_dialogs_corpus.zip"
    )
    assert "https://huggingface.co/datasets/rajpurkar/squad" in PUBLIC_DATASETS["squad"].where


def test_a_file_is_fetched_once_and_checked(served, from_origins):
    here, folder = served
    (folder / "a.txt").write_bytes(b"words")
    right = {"a.txt": hashlib.sha256(b"words").hexdigest()}
    path, sources = from_origins(Origin(here, ("a.txt",), right))
    assert (path / "a.txt").read_bytes() == b"words"
    assert path.name == "toy"  # the only origin needs no folder of its own
    assert sources == [f"downloaded from {here}"]
    (folder / "a.txt").unlink()
    assert from_origins(Origin(here, ("a.txt",), right))[0] == path
    with pytest.raises(ValueError, match=r"Toy could not be downloaded; .*`input`"):
        from_origins(Origin(here, ("a.txt",), {"a.txt": "0" * 64}))


def test_origins_are_tried_in_order_and_never_mixed(served, from_origins, capsys, monkeypatch):
    here, folder = served
    (folder / "one.csv").write_text("a,b\n")
    (folder / "sorry.zip").write_text("<html>Sorry</html>")
    (folder / "page.json").write_text(" <!DOCTYPE html><html>Sorry</html>")
    (folder / "empty.txt").write_bytes(b"")
    (folder / "two.csv").write_text("c,d\n")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    bad = (
        Origin("someone/toy"),
        Origin("http://127.0.0.1:9/", ("one.csv",)),
        Origin(here, ("one.csv", "missing.csv")),
        Origin(f"{here}a/../", ("sorry.zip",)),
        Origin(f"{here}b/../", ("page.json",)),
        Origin(f"{here}c/../", ("empty.txt",)),
    )
    path, sources = from_origins(*bad, Origin(f"{here}./", ("two.csv",)))
    assert sorted(p.name for p in path.iterdir()) == [WHOLE, "two.csv"]
    assert sources == [f"downloaded from {here}./"]
    said = capsys.readouterr().err
    for part in ("hub", "refused", "404", "sorry.zip is damaged", "page.json", "empty.txt"):
        assert part in said.replace("huggingface", "hub")
    with pytest.raises(ValueError, match="Toy could not be") as error:
        from_origins(*bad)
    assert all(origin.where in str(error.value) for origin in bad)
    assert "\n" not in str(error.value)
    from_origins(*bad, Origin(f"{here}./", ("two.csv",)))
    assert "sorry" not in capsys.readouterr().err.rpartition("empty.txt")[2]  # it was here whole


def test_input_wins(tmp_path, from_origins):
    tally = Tally()
    assert raw("cornell", PrepareOptions(input=tmp_path), tally) == tmp_path
    assert tally.sources == []
    with pytest.raises(ValueError, match=r"`input` .*gone does not exist"):
        raw("cornell", PrepareOptions(input=tmp_path / "gone"), tally)


def test_the_hub_gives_files(hub, from_origins, capsys):
    hub.files = {"data/train-0.parquet": b"PAR1..."}
    origin = Origin("someone/toy", revision="refs/convert/parquet")
    path, sources = from_origins(origin)
    assert hub.asked == [("someone/toy", "dataset", "refs/convert/parquet", ["*.parquet"])]
    assert sources == ["downloaded from someone/toy"]
    with opened(path) as files:
        assert files == [path / "data" / "train-0.parquet"]
    from_origins(origin)
    assert len(hub.asked) == 1  # all of it is here
    (path / "data" / "train-0.parquet").unlink()
    from_origins(origin)
    assert len(hub.asked) == 2
    assert capsys.readouterr().err == ""


def test_a_hub_that_fails_leads_to_the_next(hub, served, from_origins, capsys):
    here, folder = served
    (folder / "a.jsonl").write_text("{}\n")
    web = Origin(here, ("a.jsonl",))
    hub.files = {"x.parquet": b"PAR1"}
    hub.broken = RuntimeError("Dataset scripts\nare no longer supported")
    assert from_origins(Origin("someone/toy"), web)[1] == [f"downloaded from {here}"]
    assert "someone/toy: RuntimeError: Dataset scripts are no longer" in capsys.readouterr().err
    hub.broken, hub.files = None, {}
    assert from_origins(Origin("other/toy", ("*.json",)), web)[1] == [f"downloaded from {here}"]
    hub.files = {"x.parquet": b"<html>"}
    with pytest.raises(ValueError, match=r"third/toy: x\.parquet is damaged"):
        from_origins(Origin("third/toy"))


def test_a_full_disk_is_no_fault_of_the_origin(hub, from_origins):
    hub.files = {"x.parquet": b"PAR1"}
    hub.broken = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="No space left"):
        from_origins(Origin("someone/toy"), Origin("other/toy"))
    assert len(hub.asked) == 1


def packed(**members: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), content)
    return data.getvalue()


def test_archives_within_folders_and_archives_are_opened(tmp_path):
    (tmp_path / "b.txt").write_text("b")
    (tmp_path / ".hidden").write_text("h")
    (tmp_path / "sub").mkdir()
    inner = packed(deep__d_txt=b"d")
    (tmp_path / "sub" / "in.zip").write_bytes(packed(c_txt=b"c", more_zip=inner))
    with tarfile.open(tmp_path / "t.tgz", "w:gz") as archive:
        info = tarfile.TarInfo("e.txt")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"e"))
    with opened(tmp_path) as files:
        assert sorted(f.read_text() for f in files) == ["b", "c", "d", "e"]
        unpacked = [f for f in files if tmp_path not in f.parents]
        assert len(unpacked) == 3
    assert not any(f.exists() for f in unpacked)
    (tmp_path / "noname").write_bytes(inner)
    with opened(tmp_path / "noname") as files:
        assert [f.name for f in files] == ["d.txt"]
    with opened(tmp_path / "b.txt") as files:
        assert files == [tmp_path / "b.txt"]


def test_errors_name_the_archive_and_not_where_it_was_unpacked(tmp_path):
    (tmp_path / "in.zip").write_bytes(packed(a_zip=packed(c_txt=b"c")))
    with pytest.raises(ValueError, match="is bad") as error, opened(tmp_path / "in.zip") as files:
        raise ValueError(f"{files[0]}, line 3 is bad")
    assert str(error.value) == f"{tmp_path}/in.zip/a.zip!/c.txt, line 3 is bad"
    nested = packed(c_txt=b"c")
    for _ in range(4):
        nested = packed(n_zip=nested)
    (tmp_path / "deep.zip").write_bytes(nested)
    with pytest.raises(ValueError, match="archives deep"), opened(tmp_path / "deep.zip"):
        pass
    (tmp_path / "evil.zip").write_bytes(packed(____evil_txt=b"c").replace(b"//evil", b"../evi"))
    with pytest.raises(ValueError, match="outside its folder"), opened(tmp_path / "evil.zip"):
        pass
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match=r"broken\.zip is .*damaged"), opened(tmp_path):
        pass
