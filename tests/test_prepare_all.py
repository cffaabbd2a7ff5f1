"""data/prepare.py: the list of datasets, and mixing from the command line."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys

import pytest
from verbs import call

from jojo.data import recipes
from jojo.data.bins import open_dataset
from jojo.files import ROOT

GOOD = '''"""Good things: a first line that is far too long to fit beside all of the other columns.

    python data/prepare-good.py
"""
from __future__ import annotations
from dataclasses import dataclass
from typing import ClassVar
from jojo.data.public.origins import PUBLIC_DATASETS
from jojo.data.contract import PrepareOptions, Recipe

@dataclass
class Options(PrepareOptions):
    kind: ClassVar[str] = "good"

RECIPE = Recipe(name="good", template="chatml", licence="MIT (free)",
                sources=PUBLIC_DATASETS["tinystories"].where, options=Options)
'''


def command(*arguments) -> subprocess.CompletedProcess:
    return call("data/prepare.py", *arguments)


@pytest.fixture
def folder(tmp_path):
    """Recipes, of which one is good."""
    (tmp_path / "prepare-good.py").write_text(GOOD)
    (tmp_path / "prepare-none.py").write_text("x = 1\n")
    (tmp_path / "prepare-raises.py").write_text("raise RuntimeError('two\\nlines')\n")
    (tmp_path / "prepare-syntax.py").write_text("def\n")
    (tmp_path / "prepare-leaves.py").write_text("raise SystemExit(3)\n")
    (tmp_path / "prepare-other.py").write_text("RECIPE = 'chat'\n")
    return tmp_path


def test_every_recipe_of_ours_is_listed_and_sound(tmp_path):
    rows = recipes.listing(tmp_path)
    assert [row.name for row in rows] == recipes.names()
    assert {"chat", "chitchat", "dailydialog", "story", "oasst"} <= set(recipes.names())
    for row in rows:
        assert (row.error, row.prepared, row.tokens) == (None, False, None)
        assert row.what
        assert row.licence != "-"
        assert row.template in ("chatml", "person", "speaker", "text", recipes.BY_DATA)
    by_name = {row.name: row for row in rows}
    assert by_name["chat"].size_bytes == 4_280_000
    assert by_name["story"].size_bytes == 2_250_255_763
    assert by_name["knowledge"].size_bytes == 35_142_551
    assert by_name["chitchat"].size_bytes is None
    assert by_name["file"].template == recipes.BY_DATA
    assert "tokens" in recipes.as_table(rows)


def test_a_broken_recipe_spoils_only_its_own_line(folder):
    rows = {row.name: row for row in recipes.listing(folder / "data", folder)}
    assert rows["good"].error is None
    assert rows["good"].what.startswith("Good things")
    wrong = {
        "none": "AttributeError",
        "raises": "RuntimeError: two lines",
        "syntax": "SyntaxError",
        "leaves": "SystemExit: 3",
        "other": "RECIPE is a str",
    }
    for name, why in wrong.items():
        assert f"prepare-{name}.py is no recipe" in rows[name].error
        assert why in rows[name].error
        with pytest.raises(ValueError, match=f"prepare-{name}.py is no recipe"):
            recipes.load(name, folder)
    lines = recipes.as_table(list(rows.values())).splitlines()
    assert len(lines) == 1 + len(rows)
    assert max(map(len, lines)) <= 100
    good = next(line for line in lines if line.startswith("good"))
    assert good.split()[:2] == ["good", "chatml"]
    assert "2.3 GB" in good
    assert "MIT " in good
    assert good.endswith("…")


def test_the_list_knows_what_is_prepared_damaged_or_something_else(folder, tiny_dataset):
    data = tiny_dataset("mine")
    tiny_dataset("good")
    tiny_dataset("torn")
    with open(data / "torn-train.bin", "ab") as file:
        file.write(b"xx")
    (data / "quality.json").write_text('{"name": "mine", "verdict": "good"}')
    (data / "list.json").write_text("[1]")
    (data / "none.json").write_text("{half")
    rows = {row.name: row for row in recipes.listing(data, folder)}
    assert (rows["good"].prepared, rows["good"].recipe is None) == (True, False)
    assert rows["good"].what.startswith("Good things")
    assert (rows["mine"].prepared, rows["mine"].recipe) == (True, None)
    assert rows["mine"].what == "from made up"
    assert rows["mine"].tokens == open_dataset("mine", data).manifest.tokens
    assert "torn-train.bin is missing or incomplete" in rows["torn"].error
    assert "none.json is not a manifest" in rows["none"].error
    assert not {"quality", "list"} & set(rows)
    table = recipes.as_table(list(rows.values()))
    assert f"{sum(rows['mine'].tokens.values()):,}" in table


def test_columns_are_aligned_and_fit():
    table = recipes.as_table(recipes.listing(ROOT / "no-such-folder"))
    head, *lines = table.splitlines()
    for column in ("template", "licence", "what it is"):
        at = head.index(column)
        assert all(line[at - 1] == " " and line[at] != " " for line in lines), column
    assert max(map(len, [head, *lines])) <= 100
    assert "\x1b" not in table


def test_without_flags_and_with_json_it_lists(tiny_dataset):
    data = tiny_dataset("mine")
    done, same = command("--out_dir", data), command("--list", "--out_dir", data)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == same.stdout
    assert done.stdout.splitlines()[-1].startswith("mine ")
    rows = json.loads(command("--json", "--out_dir", data).stdout)
    assert rows[-1]["conversations"] == {"train": 108, "val": 12}
    assert rows[-1]["prepared"] is True


def test_a_mixture_from_the_command_line(tiny_dataset):
    from jojo.data import mixture

    data = tiny_dataset("mine", conversations=300)
    flags = ("--weights", " 3, 1", "--name", "blend", "--out_dir", data)
    done = command("--dataset", "mine, chitchat", *flags)
    assert done.returncode == 0, done.stderr
    assert "chitchat is not prepared yet: python data/prepare-chitchat.py" in done.stderr
    assert "chitchat: 25,000 records in" in done.stderr
    assert "cut to its share" in done.stderr
    manifest = open_dataset("blend", data).manifest
    facts = manifest.notes["mixture"]
    assert facts["mine"]["times_used"] == pytest.approx(4, abs=0.01)
    assert facts["mine"]["share_got"] == pytest.approx(0.75, abs=0.01)
    again = mixture.mix(["mine", "chitchat"], [3, 1], "again", data)
    assert again.hash == manifest.hash
    row = next(row for row in recipes.listing(data) if row.name == "blend")
    assert (row.what, row.is_mixture) == ("mixture of mine, chitchat", True)


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        ("--dataset mine", 2, "a mixture takes two or more sets"),
        ("--dataset ,", 2, "a mixture takes two or more sets"),
        ("--weights 3,1", 2, "--weights of what?"),
        ("--dataset mine,mine", 2, "names mine twice"),
        ("--dataset mine,chitchat --weights 1", 2, "gives 1 numbers for 2 sets"),
        ("--dataset mine,chitchat --weights 1,0", 2, "'0' is not a number above 0"),
        ("--dataset mine,chitchat --weights=-1,1", 2, "'-1' is not a number above 0"),
        ("--dataset mine,chitchat --weights nan,1", 2, "'nan' is not a number above 0"),
        ("--dataset mine,chitchat --weights 1,inf", 2, "'inf' is not a number above 0"),
        ("--dataset mine,chitchat --weights 1,", 2, "'' is not a number above 0"),
        ("--dataset mine,chitchat --name mine", 2, "would overwrite that dataset"),
        ("--dataset mine,chitchat --name chat", 2, "would overwrite that dataset"),
        ("--dataset mine,chitchat --name a/b", 2, "must be a plain file name"),
        ("--dataset mine,chitchat --max_repeats 0", 2, "must be 1 or more"),
        ("--dataset mine,chitchat --name lines", 1, "lines is a dataset, not a mixture"),
        ("--dataset mine,chitcaht", 1, "unknown dataset 'chitcaht': did you mean chitchat?"),
        ("--dataset lines,story", 1, "lines is person, story is text"),
        ("--dataset mine,lines", 1, "mine is chatml, lines is person"),
        ("--dataset mine,file", 1, "file reads files of yours"),
    ],
)
def test_bad_input_gets_one_line(tiny_dataset, monkeypatch, capsys, flags, code, said):
    data = tiny_dataset("mine")
    tiny_dataset("lines", "person")
    before = sorted(data.iterdir())
    monkeypatch.setattr(sys, "argv", ["prepare.py", *flags.split(), "--out_dir", str(data)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "data" / "prepare.py"), run_name="__main__")
    error = capsys.readouterr().err
    assert stop.value.code == code
    assert said in error
    assert (error.count("\n"), error.startswith("error: ")) == (1, True)
    assert sorted(data.iterdir()) == before
