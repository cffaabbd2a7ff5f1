from __future__ import annotations

from pathlib import Path

import pytest

from jojo.data import recipes
from jojo.data.contract import PrepareOptions, Tally
from jojo.data.prepare import prepare
from jojo.data.public.cornell import conversations

SEPARATOR = " +++$+++ "


def corpus(folder: Path, spoken: dict[str, tuple[str, str]], ids: list[str], **how) -> Path:
    folder.mkdir(exist_ok=True)
    rows = [[name, who, "m0", who.upper(), text] for name, (who, text) in spoken.items()]
    lines = "\r\n".join(SEPARATOR.join(row) for row in rows) + "\r\n"
    (folder / "movie_lines.txt").write_bytes(lines.encode(how.get("encoding", "utf-8")))
    rows = [["u0", "u2", f"m{i % 7}", listed] for i, listed in enumerate(ids)]
    text = "".join(SEPARATOR.join(row) + "\n" for row in rows)
    (folder / "movie_conversations.txt").write_text(text)
    return folder


SPOKEN = {
    "L1": ("u0", "Say <u>it</u>!  Please."),
    "L2": ("u2", "Piña colada \x93café\x94?"),
    "L3": ("u2", "Or not."),
    "L4": ("u0", "<b></b>"),
    "L5": ("u0", "clich\ufffd"),
    "L6": ("u0", "Ok +++$+++ then."),
}


def read(path: Path) -> tuple[list, Tally]:
    tally = Tally()
    return list(conversations(PrepareOptions(input=path), tally)), tally


def turns(conversation) -> list[str]:
    return [f"{m['role'][0]}: {m['content']}" for m in conversation.messages]


def test_conversations_are_whole_or_dropped(tmp_path: Path):
    ids = ["['L1', 'L2']", "['L1', 'L9']", "['L1', 'L4']", "['L2', 'L5']", "['L2', 'L3']"]
    ids += ["['L1', 'L2', 'L3', 'L6']", "__import__('os').abort()", "['L1', 'L2'", "7", "[[]]"]
    found, tally = read(corpus(tmp_path, SPOKEN, ids))
    assert turns(found[0]) == ["u: Say it! Please.", "a: Piña colada \x93café\x94?"]
    assert turns(found[1])[1] == "a: Piña colada \x93café\x94?\nOr not."
    assert tally.dropped == {
        "a line is missing": 1,
        "an empty line": 1,
        "a character of it was lost": 1,
        "no assistant turn": 1,
        "a malformed list of lines": 4,
    }
    assert tally.first["a line is missing"] == "movie_conversations.txt, line 2"
    assert tally.skipped == {"last turn without a reply": 1}
    assert tally.records_in == 10 == len(found) + sum(tally.dropped.values())


def test_the_original_is_no_utf8(tmp_path: Path):
    spoken = {k: v for k, v in SPOKEN.items() if k in ("L1", "L2")}
    found, _ = read(corpus(tmp_path, spoken, ["['L1', 'L2']"], encoding="latin-1"))
    assert turns(found[0])[1] == 'a: Piña colada "café"?'  # its quotes are those of Windows


def test_a_film_is_in_one_split(tmp_path: Path):
    spoken = {f"L{i}": (f"u{i % 2}", f"This is line {i} of them.") for i in range(140)}
    ids = [f"['L{i}', 'L{i + 1}']" for i in range(0, 140, 2)]
    found, _ = read(corpus(tmp_path, spoken, ids))
    splits = [{c.split for c in found[film::7]} for film in range(7)]
    assert all(len(s) == 1 for s in splits)
    assert {next(iter(s)) for s in splits} == {"train", "val"}


def test_wrong_files(tmp_path: Path, complaint):
    assert "there is no movie_lines.txt" in complaint(read, tmp_path)
    corpus(tmp_path, SPOKEN, ["['L1', 'L2']"])
    with open(tmp_path / "movie_lines.txt", "a") as file:
        file.write("L7 +++$+++ u0 +++$")
    assert "movie_lines.txt, line 7: 2 fields between +++$+++ where 5" in complaint(read, tmp_path)
    (tmp_path / "movie_conversations.txt").unlink()
    (tmp_path / "movie_lines.txt").write_text("")
    assert "there is no movie_conversations.txt" in complaint(read, tmp_path)
    assert "does not exist" in complaint(read, tmp_path / "gone")


@pytest.mark.slow
def test_the_real_corpus_as_chatml_and_speakers(realdata: Path, tmp_path: Path):
    recipe = recipes.load("cornell")
    options = recipe.options(input=realdata / "cornell", out_dir=tmp_path)
    manifest = prepare(recipe, options)
    assert manifest.records_in == 83_097
    dropped = manifest.dropped
    assert dropped["a line is missing"] == 83_097 - 8_067
    assert (dropped["an empty line"], dropped["a character of it was lost"]) == (2, 40)
    assert sum(manifest.conversations.values()) + sum(dropped.values()) == 83_097
    assert 7_900 < sum(manifest.conversations.values()) < 8_025
    options = recipe.options(
        input=realdata / "cornell", out_dir=tmp_path, name="speak", limit=500, template="speaker"
    )
    assert prepare(recipe, options).template == "speaker"
    text = (tmp_path / "speak-train.txt").read_text(encoding="utf-8")
    text += (tmp_path / "speak-val.txt").read_text(encoding="utf-8")
    first = "<speaker2> They do to!\n<speaker1> They do not!\n"
    assert first in text
    assert "<u>" not in text
    assert "im_start" not in text
