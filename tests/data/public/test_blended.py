from __future__ import annotations

import json
import runpy
from pathlib import Path

from jojo.data.contract import PrepareOptions, Tally
from jojo.data.prepare import prepare
from jojo.data.public.blended import conversations
from jojo.files import ROOT

RECORD = {
    "personas": [["i am new."], ["i m a baker.", "i live in paris ."]],
    "context_dataset": "wizard_of_wikipedia",
    "free_turker_utterance": "hi , do you bake ?",
    "guided_turker_utterance": "I do.  Bread,mostly.",
    "additional_context": "Bread",
    "dialog": [[0, "Nice!"], [1, "It is."], [0, "Bye"]],
}
FLAT = {
    "personas": RECORD["personas"][1],
    "context": "wizard_of_wikipedia",
    "previous_utterance": [RECORD["free_turker_utterance"], RECORD["guided_turker_utterance"]],
    "additional_context": "Bread",
    "free_messages": ["Nice!"],
    "guided_messages": ["It is."],
}
WANTED = [
    "s: You are talking as this person: I'm a baker. I live in Paris. The topic is Bread.",
    "u: Hi, do you bake?",
    "a: I do. Bread, mostly.",
    "u: Nice!",
    "a: It is.",
]


def read(path: Path) -> tuple[list, Tally]:
    tally = Tally()
    return list(conversations(PrepareOptions(input=path), tally)), tally


def turns(conversation) -> list[str]:
    return [f"{m['role'][0]}: {m['content']}" for m in conversation.messages]


def test_json_of_the_archive(tmp_path: Path):
    feeling = RECORD | {"context_dataset": "empathetic_dialogues", "personas": [[], []]}
    (tmp_path / "train.json").write_text(json.dumps([RECORD, feeling]))
    (tmp_path / "valid.json").write_text(json.dumps([RECORD | {"dialog": []}]))
    (tmp_path / "test.json").write_text(json.dumps([{"dialog": []}, RECORD | {"dialog": 3}, None]))
    (tmp_path / "human_annotations.json").write_text("[1, 2]")
    found, tally = read(tmp_path)
    assert [c.split for c in found] == ["val", "train", "train"]
    assert turns(found[0]) == WANTED[:3]
    assert turns(found[1]) == WANTED
    assert turns(found[2]) == WANTED[1:]  # no persona, and a situation that nobody was told
    assert tally.records_in == 6
    assert tally.dropped == {"no conversation of BlendedSkillTalk": 3}
    assert tally.skipped == {"last turn without a reply": 2}


def test_parquet_of_the_hub(tmp_path: Path):
    import pyarrow
    import pyarrow.parquet

    for split in ("train", "validation"):
        table = pyarrow.Table.from_pylist([FLAT])
        pyarrow.parquet.write_table(table, tmp_path / f"{split}-00000-of-00001.parquet")
    found, tally = read(tmp_path)
    assert [c.split for c in found] == ["val", "train"]
    assert [turns(c) for c in found] == [WANTED, WANTED]
    assert tally.records_in == 2


def test_wrong_files(tmp_path: Path, complaint):
    (tmp_path / "train.json").write_bytes(b"")
    assert "empty" in complaint(read, tmp_path)
    (tmp_path / "train.json").write_bytes(b"just words\n")
    assert "train.json" in complaint(read, tmp_path)
    cut = json.dumps([RECORD, RECORD])[:-40]
    (tmp_path / "train.json").write_text(cut)
    found, tally = read(tmp_path)
    assert len(found) == 1
    assert tally.dropped == {"malformed JSON": 1}
    (tmp_path / "train.json").unlink()
    assert "the input has no" in complaint(read, tmp_path)


def test_the_real_record(realdata: Path, tmp_path: Path):
    (found,), _ = read(realdata / "blended_skill_talk")
    assert [m["role"] for m in found.messages] == ["system", *["user", "assistant"] * 7]
    assert turns(found)[0] == (
        "s: You are talking as this person: I work as an electrician. I always sleep 8 hours a "
        "day. The topic is Electrician."
    )
    assert turns(found)[2].startswith("a: Wekk it is okay is you are well trained. There are three")
    assert turns(found)[-1] == "a: I feel you. Stretch along the halls"
    recipe = runpy.run_path(str(ROOT / "data" / "prepare-blended.py"))["RECIPE"]
    options = PrepareOptions(input=realdata / "blended_skill_talk", out_dir=tmp_path)
    assert prepare(recipe, options).conversations == {"train": 1, "val": 1}  # cut in two
