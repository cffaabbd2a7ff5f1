from __future__ import annotations

import functools
import json
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jojo.data import recipes
from jojo.data.contract import PrepareOptions, Tally
from jojo.data.dedup import SHARED, WORD
from jojo.data.prepare import prepare
from jojo.data.public import origins
from jojo.data.public.dailydialog import conversations
from jojo.data.public.origins import Origin, PublicDataset

TRAIN = (
    "Hello , Sam . __eou__ Hi ! How ’ s life ? __eou__ Fine.And yours ? __eou__\n"
    "Is it late ? __eou__ It is 5:30 。 __eou__\n"
)
VALIDATION = "Is it late ? __eou__ It is 5:30 。 __eou__\nAlone . __eou__\n"
TEST = "Any news ? __eou__ __eou__ None . __eou__\n\nBye . __eou__ Good - bye . __eou__\n"
SPLITS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}


def zips(folder: Path, **texts: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, text in texts.items():
        with zipfile.ZipFile(folder / f"{split}.zip", "w") as archive:
            archive.writestr(f"{split}/dialogues_{split}.txt", text)
            archive.writestr(f"{split}/dialogues_act_{split}.txt", "1 2\n")
    return folder


def parquets(folder: Path, **texts: str) -> Path:
    import pyarrow
    import pyarrow.parquet

    folder.mkdir(parents=True, exist_ok=True)
    for split, text in texts.items():
        rows = [line.split("__eou__")[:-1] for line in text.splitlines() if line]
        table = pyarrow.table({"dialog": rows, "act": [[0]] * len(rows)})
        pyarrow.parquet.write_table(table, folder / f"{split}-00000-of-00001.parquet")
    return folder


def spoken(path: Path) -> tuple[list[list[str]], Tally]:
    tally = Tally()
    found = conversations(PrepareOptions(input=path), tally)
    return [[m["content"] for m in c.messages] for c in found], tally


WANTED = [
    ["Hello, Sam.", "Hi! How's life?", "Fine. And yours?"],
    ["Is it late?", "It is 5:30."],
    ["Bye.", "Good-bye."],
]
DROPPED = {
    "in two official splits": 1,
    "fewer than two utterances": 1,
    "an empty utterance": 1,
}


def test_the_original_zips(tmp_path: Path) -> None:
    turns, tally = spoken(zips(tmp_path, **SPLITS))
    assert turns == WANTED
    assert tally.dropped == DROPPED
    assert tally.records_in == 6
    assert [s.split()[0] for s in tally.sources] == [f"dialogues_{s}.txt" for s in SPLITS]
    assert tally.first["fewer than two utterances"] == "dialogues_validation.txt, line 2"


def test_the_first_speaker_is_the_user(tmp_path: Path) -> None:
    zips(tmp_path, train=TRAIN)
    first = next(conversations(PrepareOptions(input=tmp_path / "train.zip"), Tally()))
    assert [m["role"] for m in first.messages] == ["user", "assistant", "user"]
    assert first.split is None


def test_parquet_gives_the_same(tmp_path: Path) -> None:
    turns, tally = spoken(parquets(tmp_path, **SPLITS))
    assert turns == WANTED
    assert tally.dropped == DROPPED


def test_zips_beside_parquet_count_once(tmp_path: Path) -> None:
    zips(tmp_path, **SPLITS)
    parquets(tmp_path / "parquet", **SPLITS)
    assert spoken(tmp_path)[1].records_in == 6


def test_the_authors_archive_and_plain_text(tmp_path: Path) -> None:
    zips(tmp_path / "in", **SPLITS)
    with zipfile.ZipFile(tmp_path / "ijcnlp_dailydialog.zip", "w") as archive:
        for split in SPLITS:
            archive.write(tmp_path / "in" / f"{split}.zip", f"ijcnlp/{split}.zip")
        archive.writestr("ijcnlp/dialogues_text.txt", "".join(SPLITS.values()))
    assert spoken(tmp_path / "ijcnlp_dailydialog.zip")[0] == WANTED
    (tmp_path / "dialogues_text.txt").write_text("".join(SPLITS.values()), encoding="utf-8")
    turns, tally = spoken(tmp_path / "dialogues_text.txt")
    assert turns == [*WANTED[:2], WANTED[1], WANTED[2]]  # one file has no splits
    assert tally.records_in == 6


def test_parlai_json_lines(tmp_path: Path) -> None:
    lines = [
        {"fold": "train", "dialogue": [{"text": u} for u in line.split("__eou__")[:-1]]}
        for line in TRAIN.splitlines()
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "train.json").write_text(text)
    assert spoken(tmp_path)[0] == WANTED[:2]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("train.zip", b"PK\x03\x04 no zip", "damaged"),
        ("train.zip", b"", "damaged"),
        ("dialogues_train.txt", b"Hello there\n", "line 1: no __eou__"),
        (
            "dialogues_train.txt",
            b"ok __eou__ ok __eou__\n\xff\xfe __eou__\n",
            "line 2: not valid UTF",
        ),
        ("train.parquet", b"PAR1", "parquet"),
        ("train.json", b'{"a": 1}\n', "record 1 has a, but no 'dialog'"),
        ("train.json", b'{"dialogue": [{"a": 1}]}\n', "'dialogue' is not a list of utterances"),
        ("notes.docx", b"", "no known form of DailyDialog"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=complaint) as error:
        spoken(tmp_path / name)
    assert name in str(error.value)


def test_bad_paths(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        spoken(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"no files are no known form of DailyDialog"):
        spoken(tmp_path)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.md", "hello")
    with pytest.raises(ValueError, match=r"other\.zip/readme\.md is no known form"):
        spoken(tmp_path / "other.zip")
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../dialogues_train.txt", TRAIN)
    with pytest.raises(ValueError, match="outside its folder"):
        spoken(tmp_path / "evil.zip")


def test_a_dead_source_leads_to_the_next(tmp_path: Path, monkeypatch, capsys) -> None:
    zips(tmp_path / "mirror", **SPLITS)
    (tmp_path / "mirror" / "bad").mkdir()
    (tmp_path / "mirror" / "bad" / "all.zip").write_bytes(b"<html>Sorry</html>")
    handler = functools.partial(QuietHandler, directory=str(tmp_path / "mirror"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        here = f"http://127.0.0.1:{server.server_port}/"
        sources = (
            Origin("OpenRL/daily_dialog"),
            Origin("http://127.0.0.1:9/", ("train.zip",)),
            Origin(here, ("train.zip", "dev.zip")),
            Origin(here + "bad/", ("all.zip",)),
            Origin(here + "./", tuple(f"{s}.zip" for s in SPLITS)),
        )
        facts = PublicDataset("DailyDialog", "x", "y", sources)
        monkeypatch.setitem(origins.PUBLIC_DATASETS, "dailydialog", facts)
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        tally = Tally()
        found = list(conversations(PrepareOptions(out_dir=tmp_path / "out"), tally))
        facts = PublicDataset("DailyDialog", "x", "y", sources[:4])
        monkeypatch.setitem(origins.PUBLIC_DATASETS, "dailydialog", facts)
        with pytest.raises(ValueError, match="could not be downloaded") as error:
            list(conversations(PrepareOptions(out_dir=tmp_path / "out"), Tally()))
        server.shutdown()
    assert [[m["content"] for m in c.messages] for c in found] == WANTED
    assert tally.sources[0] == f"downloaded from {here}./"
    said = capsys.readouterr().err
    for part in ("cannot be reached", "connection refused", "HTTP 404", "damaged"):
        assert part in said
    for part in ("OpenRL/daily_dialog", "`input`", "prepare-chitchat.py"):
        assert part in str(error.value)


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.slow
def test_all_of_the_real_corpus_is_accounted_for(realdata: Path, tmp_path: Path) -> None:
    recipe = recipes.load("chat")
    options = recipe.options(input=realdata / "dailydialog", out_dir=tmp_path)
    manifest = prepare(recipe, options)
    assert manifest.records_in == 13_118
    assert sum(manifest.conversations.values()) + sum(manifest.dropped.values()) == 13_118

    def dialogues(split: str) -> list[set]:
        text = (tmp_path / f"chat-{split}.txt").read_text(encoding="utf-8")
        found = []
        for dialogue in text.split("<|endoftext|>")[:-1]:
            turns = dialogue.replace("<|im_start|>user\n", " ").replace("<|im_end|>", " ")
            words = WORD.findall(turns.replace("<|im_start|>assistant\n", " ").lower())
            found.append(set(zip(words, words[1:], words[2:], strict=False)))
        return found

    train = dialogues("train")
    holding: dict[tuple, list[int]] = {}
    for i, runs in enumerate(train):
        for run in runs:
            holding.setdefault(run, []).append(i)
    worst = 0.0
    for runs in dialogues("val"):  # compared with every dialogue that shares anything
        shared: dict[int, int] = {}
        for run in runs:
            for i in holding.get(run, ()):
                shared[i] = shared.get(i, 0) + 1
        worst = max([worst, *(n / min(len(runs), len(train[i])) for i, n in shared.items())])
    assert worst < SHARED


def test_person_text_and_refined_chat(tmp_path: Path) -> None:
    greeting = (
        "Hello number{0}x , word{0}y ? __eou__ Yeah , gonna be{0}z fine{0} now{0} . __eou__\n"
    )
    text = "".join(greeting.format(i) for i in range(200))
    raw = zips(tmp_path / "raw", train=text)
    for name in ("dailydialog", "chat"):
        recipe = recipes.load(name)
        prepare(recipe, recipe.options(input=raw, out_dir=tmp_path))
    person = (tmp_path / "dailydialog-train.txt").read_text()
    assert person.startswith("Person A: Hello number")
    assert "Person B: Yeah, gonna be" in person
    chat = (tmp_path / "chat-train.txt").read_text()
    assert "<|im_start|>assistant\nYes, going to be" in chat
    assert (
        json.loads((tmp_path / "chat.json").read_text())["notes"]["changed"]["yeah -> yes"] == 200
    )
    recipe = recipes.load("chat")
    prepare(recipe, recipe.options(input=raw, out_dir=tmp_path, refine=False))
    assert "assistant\nYeah, gonna be" in (tmp_path / "chat-train.txt").read_text()
