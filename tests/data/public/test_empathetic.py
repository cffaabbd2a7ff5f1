from __future__ import annotations

import runpy
from pathlib import Path

from jojo.data.contract import Tally
from jojo.data.prepare import prepare
from jojo.data.public.empathetic import EmpatheticOptions, conversations
from jojo.files import ROOT

HEADER = "conv_id,utterance_idx,context,prompt,speaker_idx,utterance,selfeval,tags\n"
ROWS = (
    'c:1,2,sad,"I lost it_comma_ all,7,Oh no_comma_ really?,5|5|5_2|2|5,\n'
    "c:2,1,proud,I won,1,I won!,5|5|5_2|2|5,,a|b,c|d\n"
    'c:1,1,sad,"I lost it_comma_ all,3,"I lost it.And all of it,5|5|5_2|2|5,\n'
    "c:1,10,sad,x,7,Hug.,5|5|5_2|2|5,\n"
    "c:1,9,sad,x,3,Yes .,5|5|5_2|2|5,\n"
    "c:2,2,proud,I won,0,Well done!,5|5|5_2|2|5,,a|b,c|d\n"
    "c:1,3,sa\n"
)
TOLD = ['u: "I lost it. And all of it', "a: Oh no, really?", "u: Yes.", "a: Hug."]


def read(path: Path, **options) -> tuple[list, Tally]:
    tally = Tally()
    return list(conversations(EmpatheticOptions(input=path, **options), tally)), tally


def turns(conversation) -> list[str]:
    return [f"{m['role'][0]}: {m['content']}" for m in conversation.messages]


def test_rows_become_conversations(tmp_path: Path):
    (tmp_path / "train.csv").write_text(HEADER + ROWS)
    (tmp_path / "valid.csv").write_text(HEADER + "v:1,1,sad,x,1,Hi.,1,\nv:1,2,sad,x,2,Ho.,1,\n")
    (tmp_path / "test.csv").write_text(HEADER + "t:1,1,sad,x,1,Alone.,1,\n")
    found, tally = read(tmp_path)
    assert [(c.split, c.where) for c in found] == [
        ("val", "valid.csv, line 2"),
        ("train", "train.csv, line 2"),
        ("train", "train.csv, line 3"),
    ]
    assert [turns(c) for c in found] == [
        ["u: Hi.", "a: Ho."],
        TOLD,
        ["u: I won!", "a: Well done!"],
    ]
    assert tally.records_in == 4
    assert tally.dropped == {"no assistant turn": 1}
    assert tally.skipped == {"malformed row": 1}
    assert tally.first["malformed row"] == "train.csv, line 8"


def test_the_situation_as_system_message(tmp_path: Path):
    (tmp_path / "train.csv").write_text(HEADER + ROWS)
    found, _ = read(tmp_path / "train.csv", situation=True)
    assert turns(found[1])[0] == "s: The user feels proud. What happened: I won"
    assert found[0].split is None


def test_parquet_of_the_hub(tmp_path: Path):
    import pyarrow
    import pyarrow.parquet

    said = [("user", "I lost it ."), ("assistant", "Oh no, really?")]
    row = {
        "conv_id": "c:1",
        "situation": "I lost it, all",
        "emotion": "sad",
        "conversations": [{"role": role, "content": content} for role, content in said],
    }
    rows = [row, row | {"conversations": None}]
    for split in ("train", "valid"):
        pyarrow.parquet.write_table(
            pyarrow.Table.from_pylist(rows), tmp_path / f"{split}-0.parquet"
        )
    found, tally = read(tmp_path, situation=True)
    assert [c.split for c in found] == ["val", "train"]
    assert turns(found[0]) == [
        "s: The user feels sad. What happened: I lost it, all",
        "u: I lost it.",
        "a: Oh no, really?",
    ]
    assert tally.dropped == {"no conversation of EmpatheticDialogues": 2}


def test_wrong_files(tmp_path: Path, complaint):
    (tmp_path / "train.csv").write_text("a,b\n1,2\n")
    assert "does not begin with conv_id,utterance_idx" in complaint(read, tmp_path)
    (tmp_path / "train.csv").write_text("")
    assert "does not begin with conv_id" in complaint(read, tmp_path)
    (tmp_path / "train.csv").write_bytes((HEADER + "c:1,1,sad,x,1,Caf\xe9.,1,\n").encode("latin-1"))
    assert "train.csv, line 2: not valid UTF-8" in complaint(read, tmp_path)
    (tmp_path / "train.csv").unlink()
    assert "the input has no" in complaint(read, tmp_path)


def test_the_real_rows(realdata: Path, tmp_path: Path):
    recipe = runpy.run_path(str(ROOT / "data" / "prepare-empathetic.py"))["RECIPE"]
    options = EmpatheticOptions(input=realdata / "empathetic_dialogues", out_dir=tmp_path)
    manifest = prepare(recipe, options)
    assert manifest.records_in == 3
    assert manifest.conversations == {"train": 1, "val": 1}
    assert manifest.dropped == {"no assistant turn": 1}
    assert manifest.notes["first"]["no assistant turn"] == "test.csv, line 2"
    text = (tmp_path / "empathetic-train.txt").read_text()
    assert "Although there was a lot of people, we felt like" in text
    assert "a friend you were in love with, or just a best friend?" in text
