"""push.py against a local server that answers as the hub does, asked by the hub's real client."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import pytest
from huggingface_hub import constants

from jojo.export import push

TOKEN = "hf_averysecrettoken"


class Hub(ThreadingHTTPServer):
    """What it was told is in `repos`, `commits` and `uploaded`; `fail` answers instead, by path."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repos: dict[str, dict] = {}
        self.created: list[dict] = []
        self.commits: list[list[dict]] = []
        self.uploaded: dict[str, bytes] = {}  # by sha256, as git-lfs does
        self.fail: dict[str, tuple[int, object]] = {}
        self.tokens: set[str | None] = set()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def has(self, repo_id: str, private: bool, *files: str) -> None:
        siblings = [{"rfilename": name} for name in files]
        self.repos[repo_id] = {"id": repo_id, "private": private, "siblings": siblings}

    def files(self, number: int = -1) -> dict[str, bytes]:
        """Name -> content of one commit."""
        files = {}
        for line in self.commits[number]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.uploaded[value["oid"]]
        return files

    def deleted(self, number: int = -1) -> list[str]:
        lines = self.commits[number]
        return [line["value"]["path"] for line in lines if line["key"] == "deletedFile"]


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Hub

    def do_HEAD(self):
        self.answer(200, {})

    def do_GET(self):
        self.handle_one(None)

    def do_POST(self):
        self.handle_one(self.body())

    def do_PUT(self):
        self.server.uploaded[self.path.rpartition("/")[2]] = self.body()
        self.answer(200, {})

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def handle_one(self, body):
        hub, path = self.server, self.path.partition("?")[0]
        if "ada" in path:
            hub.tokens.add(self.headers.get("Authorization"))
        for part, answer in hub.fail.items():
            if part in path:
                self.answer(*answer)
                return
        if path == "/api/repos/create":
            asked = json.loads(body)
            repo_id = f"{asked['organization']}/{asked['name']}"
            hub.created.append(asked)
            known = repo_id in hub.repos
            if not known:
                hub.has(repo_id, asked.get("visibility") == "private" or asked.get("private"))
            self.answer(409 if known else 200, {"url": f"{hub.url}/{repo_id}"})
        elif path == "/api/validate-yaml":
            self.answer(200, {"errors": [], "warnings": []})
        elif "/preupload/" in path:
            files = json.loads(body)["files"]
            how = {True: "lfs", False: "regular"}
            modes = [
                {"path": f["path"], "uploadMode": how[f["size"] > 1000], "shouldIgnore": False}
                for f in files
            ]
            self.answer(200, {"files": modes})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = [
                o | {"actions": {"upload": {"href": f"{hub.url}/put/{o['oid']}"}}}
                for o in json.loads(body)["objects"]
            ]
            self.answer(200, {"transfer": "basic", "objects": objects})
        elif "/commit/" in path:
            hub.commits.append([json.loads(line) for line in body.splitlines()])
            repo_id = path.removeprefix("/api/models/").partition("/commit/")[0]
            url = f"{hub.url}/{repo_id}/commit/abc"
            self.answer(200, {"success": True, "commitOid": "abc", "commitUrl": url})
        else:
            repo_id = path.removeprefix("/api/models/")
            self.answer(*((200, hub.repos[repo_id]) if repo_id in hub.repos else (404, {})))

    def answer(self, status, content):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch):
    server = Hub()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def gguf(tmp_path):
    """A GGUF that is too large to go inline, and its Modelfile."""
    paths = tmp_path / "chat.gguf", tmp_path / "Modelfile"
    paths[0].write_bytes(b"GGUF" + bytes(5000))
    paths[1].write_text("FROM ./chat.gguf\n")
    return paths


def private(asked: dict) -> bool:
    """What create_repo asked for; the hub's client says it one way or the other, by version."""
    return asked.get("visibility") == "private" or asked.get("private") is True


def test_files_and_a_card_go_up_in_one_private_commit(hub, gguf, capfd):
    push.check("ada/tsuki")
    url = push.push(gguf, "ada/tsuki", private=True, card="---\nlicense: mit\n---\n# Tsuki\n")
    assert url == f"{hub.url}/ada/tsuki"
    assert [private(asked) for asked in hub.created] == [True]
    assert len(hub.commits) == 1
    assert hub.commits[0][0]["value"]["summary"] == "Upload by Jojo"
    assert hub.files() == {
        "chat.gguf": gguf[0].read_bytes(),
        "Modelfile": gguf[1].read_bytes(),
        "README.md": b"---\nlicense: mit\n---\n# Tsuki\n",
    }
    assert list(hub.uploaded) == [hashlib.sha256(gguf[0].read_bytes()).hexdigest()]
    assert hub.tokens == {f"Bearer {TOKEN}"}
    out, err = capfd.readouterr()
    assert TOKEN not in out + err
    assert "uploading chat.gguf, Modelfile, README.md" in err


def test_a_folder_goes_up_as_it_is_with_its_own_card(hub, tmp_path):
    folder = tmp_path / "tsuki"
    (folder / "deeper").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "README.md").write_text("# Mine\n")
    (folder / "deeper" / "more.json").write_text("[]")
    hub.has("ada/tsuki", True, "README.md")
    push.push(folder, "ada/tsuki", private=True, card="# Another\n")
    assert hub.files() == {
        "README.md": b"# Mine\n",
        "config.json": b"{}",
        "deeper/more.json": b"[]",
    }


def test_a_card_that_is_there_already_stays(hub, gguf, capfd):
    hub.has("ada/tsuki", True, ".gitattributes", "README.md")
    push.push(gguf, "ada/tsuki", private=True, card="# Tsuki\n")
    assert set(hub.files()) == {"chat.gguf", "Modelfile"}
    assert "ada/tsuki keeps the README.md that it has" in capfd.readouterr().err


def test_weights_of_another_layout_do_not_stay(hub, tmp_path, capfd):
    folder = tmp_path / "tsuki"
    folder.mkdir()
    for name in ("config.json", "model-00001-of-00002.safetensors", "model.safetensors.index.json"):
        (folder / name).write_text("{}")
    others = ("README.md", "chat.gguf", "old/model.safetensors", "model/x.safetensors", "notes.txt")
    gone = ("adapter_config.json", "adapter_model.safetensors", "model.safetensors")
    hub.has("ada/tsuki", True, *others, *gone, "config.json", "model-00001-of-00002.safetensors")
    push.push(folder, "ada/tsuki", private=True, card=None)
    assert len(hub.commits) == 1
    assert hub.deleted() == list(gone)
    assert set(hub.files()) == {path.name for path in folder.iterdir()}
    assert f"in place of {', '.join(gone)}" in capfd.readouterr().err


def test_files_go_beside_weights(hub, gguf):
    hub.has("ada/tsuki", True, "model.safetensors", "config.json")
    push.push(gguf, "ada/tsuki", private=True, card=None)
    assert hub.deleted() == []


def test_public_is_public_only_when_asked(hub, gguf):
    push.push(gguf[1], "ada/tsuki", private=False, card=None)
    assert [private(asked) for asked in hub.created] == [False]
    assert hub.files() == {"Modelfile": gguf[1].read_bytes()}


def test_nothing_private_goes_into_a_public_repository(hub, gguf, complaint):
    hub.has("ada/tsuki", False)
    said = complaint(push.push, gguf, "ada/tsuki", True, None)
    assert "public" in said
    assert "`public`" in said
    assert not hub.commits


def test_a_private_repository_is_not_made_public(hub, gguf, capfd):
    hub.has("ada/tsuki", True)
    push.push(gguf, "ada/tsuki", private=False, card=None)
    assert len(hub.commits) == 1
    assert "was private before and stays so" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("path", "status", "answer", "said"),
    [
        ("repos/create", 401, {"error": "Invalid username or password."}, "run hf auth login"),
        ("repos/create", 403, {"error": "You have no rights in ada"}, "no rights in ada): run hf"),
        ("/models/ada", 404, {"error": "Repository not found"}, "404"),
        ("/models/ada", 200, b"<html>", "the export itself is whole"),
        ("/commit/", 403, {"error": "Private storage limit reached"}, "storage limit reached"),
        ("/preupload/", 413, {"error": "too\nlarge"}, "add `overwrite`"),
        ("objects/batch", 429, {"error": f"slow down, {TOKEN}"}, "429"),
    ],
)
def test_what_the_hub_answers_becomes_one_line(
    path, status, answer, said, hub, gguf, complaint, monkeypatch, capfd
):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client tries some twice
    hub.fail[path] = (status, answer)
    message = complaint(push.push, gguf, "ada/tsuki", True, "# Tsuki\n")
    assert said in message
    assert "ada/tsuki could not be uploaded" in message
    assert TOKEN not in message + "".join(capfd.readouterr())
    assert not hub.commits


def test_a_hub_that_is_gone(hub, gguf, complaint, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "http://127.0.0.1:9 cannot be reached" in complaint(push.check, "ada/tsuki")
    assert "ada/tsuki could not be uploaded" in complaint(push.push, gguf, "ada/tsuki", True, None)


def test_a_file_that_cannot_be_read_is_not_blamed_on_the_hub(hub, gguf, monkeypatch):
    def create_commit(*_, **__):
        raise PermissionError(13, "Permission denied", "chat.gguf")

    monkeypatch.setattr(huggingface_hub.HfApi, "create_commit", create_commit)
    with pytest.raises(PermissionError):
        push.push(gguf, "ada/tsuki", True, None)


@pytest.mark.parametrize("name", ["tsuki", "ada/", "/tsuki", "a/b/c", "ada/ts uki", "ada/-x", ""])
def test_names_that_are_none(name, hub, complaint):
    assert "must be OWNER/NAME" in complaint(push.check, name)


@pytest.mark.parametrize("token", [None, "hf_\x01", "hf_é"])
def test_without_a_login(token, hub, complaint, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: token)
    message = complaint(push.check, "ada/tsuki")
    assert "run hf auth login" in message
    assert not token or token not in message


def test_offline_is_said_before_the_work(hub, complaint, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in complaint(push.check, "ada/tsuki")
