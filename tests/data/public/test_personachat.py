from __future__ import annotations

import json
import runpy
import tarfile
from pathlib import Path

import pytest

from jojo.data.bins import open_dataset
from jojo.data.contract import PrepareOptions, Tally
from jojo.data.prepare import prepare
from jojo.data.public.personachat import conversations
from jojo.files import ROOT
from jojo.text.template import decode

TRAIN = (
    "1 your persona: i like to ski.\n"
    "2 your persona: my dog s name is rex .\n"
    "3 hi , how are you ?\ti'm great ! i was in canada .\n"
    "4 nice .\ti don't work on sundays .\n"
    "1 your persona: i am old.\n"
    "2 partner's persona: i like to ski.\n"
    "3 __SILENCE__\thi , how are you ?\n"
    "4 i'm great ! i was in canada .\tnice .\n"
)
VALID = "1 your persona: i bake.\n2 hello there .\tgood evening ! you bake ?\n"
SKI = "You are talking as this person: I like to ski. My dog s name is Rex."


def read(path: Path) -> tuple[list, Tally]:
    tally = Tally()
    return list(conversations(PrepareOptions(input=path), tally)), tally


def turns(conversation) -> list[str]:
    return [f"{m['role'][0]}: {m['content']}" for m in conversation.messages]


WANTED = [
    [
        f"s: {SKI}",
        "u: Hi, how are you?",
        "a: I'm great! I was in Canada.",
        "u: Nice.",
        "a: I don't work on Sundays.",
    ],
    [
        "s: You are talking as this person: I am old.",
        "a: Hi, how are you?",
        "u: I'm great! I was in Canada.",
        "a: Nice.",
    ],
]


def test_the_text_files_of_the_archive(tmp_path: Path):
    candidates = VALID.replace("?\n", "?\t\tno .|good evening ! you bake ?\n")
    files = {
        "train_self_original_no_cands.txt": TRAIN,
        "valid_self_original_no_cands.txt": VALID,
        "valid_self_original.txt": candidates,
        "train_both_revised.txt": TRAIN,
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found, tally = read(tmp_path)
    assert [c.split for c in found] == ["val", "train", "train"]
    assert [turns(c) for c in found[1:]] == WANTED
    assert found[1].where == "train_self_original_no_cands.txt, line 1"
    assert found[2].where == "train_self_original_no_cands.txt, line 5"
    assert tally.records_in == 3
    assert tally.skipped == {"empty turn": 1}
    assert [s.split()[0] for s in tally.sources] == list(files)[1::-1]
    with tarfile.open(tmp_path / "c.tgz", "w:gz") as archive:
        for name in files:
            archive.add(tmp_path / name, f"convai2/{name}")
    again, _ = read(tmp_path / "c.tgz")
    assert [turns(c) for c in again] == [turns(c) for c in found]
    (only,), _ = read(tmp_path / "valid_self_original.txt")
    assert turns(only) == turns(found[0])
    assert turns(only)[-1] == "a: Good evening! You bake?"
    assert only.split is None  # the official split is only there by half


def record(*texts: str, persona: list[str]) -> dict:
    pairs = [
        {"history": list(texts[: i + 1]), "candidates": ["no .", texts[i + 1]]}
        for i in range(0, len(texts), 2)
    ]
    return {"personality": persona, "utterances": pairs}


RECORD = record(
    "hi , how are you ?",
    "i'm great ! i was in canada .",
    "nice .",
    "i don't work on sundays .",
    persona=["i like to ski.", "my dog s name is rex ."],
)


def test_json_and_parquet_of_the_hub(tmp_path: Path):
    import pyarrow
    import pyarrow.parquet

    short = record("__ SILENCE __", "hello .", "hi .", "bye .", persona=[])
    (tmp_path / "p.json").write_text(json.dumps({"train": [RECORD], "valid": [short]}))
    found, tally = read(tmp_path / "p.json")
    assert [turns(c) for c in found] == [["a: Hello.", "u: Hi.", "a: Bye."], WANTED[0]]
    assert [(c.split, c.where) for c in found] == [
        ("val", "p.json, valid 1"),
        ("train", "p.json, train 1"),
    ]
    assert tally.records_in == 2
    folder = tmp_path / "hub" / "data"
    folder.mkdir(parents=True)
    for name in ("train", "validation"):
        table = pyarrow.Table.from_pylist([RECORD])
        pyarrow.parquet.write_table(table, folder / f"{name}-00000-of-00001.parquet")
    found, _ = read(tmp_path / "hub")
    assert [c.split for c in found] == ["val", "train"]
    assert turns(found[0]) == WANTED[0]
    (tmp_path / "r.json").write_text(
        json.dumps([RECORD, {"personality": []}, {"train": 1}, 3, record("hi", None, persona=[])])
    )
    found, tally = read(tmp_path / "r.json")
    assert len(found) == 1
    assert tally.dropped == {"no dialogue of Persona-Chat": 4}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"Dear diary,\n", r"x\.txt, line 1: no '1 your persona"),
        (b"1 your persona: caf\xe9.\n", r"x\.txt, line 1: not valid UTF-8"),
        (b"1 your persona: a.\n2 hi\tho\nwhat is this\n", "line 3"),
    ],
)
def test_a_wrong_file(tmp_path: Path, complaint: str, content: bytes):
    (tmp_path / "x.txt").write_bytes(content)
    with pytest.raises(ValueError, match=complaint) as error:
        read(tmp_path / "x.txt")
    assert "\n" not in str(error.value)


def test_what_is_cut_off(tmp_path: Path):
    path = tmp_path / "valid.txt"
    path.write_text(VALID + "3 how nice .\tit is .\n4 and you\n" + TRAIN)
    found, tally = read(path)
    assert len(found) == 2
    assert tally.dropped == {"a line without a reply": 1}
    assert tally.first["a line without a reply"] == "valid.txt, line 1"
    path.write_text("")
    assert read(path)[1].records_in == 0
    (tmp_path / "other.txt").write_text("")
    with pytest.raises(ValueError, match=r"holds no \*_self_original_no_cands\.txt"):
        read(tmp_path)


def test_the_real_slice(realdata: Path, tmp_path: Path):
    recipe = runpy.run_path(str(ROOT / "data" / "prepare-convai2.py"))["RECIPE"]
    options = PrepareOptions(input=realdata / "personachat" / "valid_self_original_no_cands.txt")
    options.out_dir = tmp_path
    manifest = prepare(recipe, options)
    assert (manifest.records_in, manifest.dropped) == (1000, {})
    assert sum(manifest.conversations.values()) == 1000
    found, _ = read(options.input)
    first = turns(found[0])
    assert first[0] == (
        "s: You are talking as this person: I read twenty books a year. I'm a stunt double as my "
        "second job. I only eat kosher. I was raised in a single parent household."
    )
    assert first[1:3] == [
        "u: Hello what are doing today?",
        "a: I am good, I just got off work and tired, I have two jobs.",
    ]
    said = [m["content"] for c in found for m in c.messages]
    assert not any(f" {mark}" in text for text in said for mark in (",", "?", "i ", "i'm"))
    written = open_dataset("convai2", tmp_path).conversations("train")
    assert decode(next(iter(written)))[0]["content"].startswith("You are talking as this person: ")
    (found,), _ = read(realdata / "personachat" / "hf_personachat_record_0.json")
    assert len(found.messages) == 15
    assert turns(found)[-1].startswith("a: If I have time outside of hunting and remodeling")
