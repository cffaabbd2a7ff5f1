"""train.py's side of data: own chats, datasets/, and what is prepared when."""

from __future__ import annotations

import json
import random
import runpy
import sys
from pathlib import Path

import pytest
from verbs import call

from jojo.command import parse
from jojo.data import recipes
from jojo.data.own import speakers
from jojo.files import ROOT
from jojo.train.config import TrainConfig
from jojo.train.loop import Loop

TRAIN = ROOT / "train.py"
SMALL = (
    *("--preset=tiny", "--n_layer=1", "--n_head=2", "--n_embd=16", "--n_inner=16"),
    *("--block_size=16", "--batch_size=2", "--sample_interval=0", "--no_compile", "--max_iters=1"),
)


class Home:
    """Folders for data, models and datasets/, and train.py working in them."""

    def __init__(self, folder: Path, monkeypatch, capsys):
        self.folder, self.data, self.models = folder, folder / "data", folder / "models"
        self.datasets = folder / "datasets"
        self.datasets.mkdir()
        self.monkeypatch, self.capsys = monkeypatch, capsys
        monkeypatch.setattr(speakers, "DATASETS_FOLDER", self.datasets)

    def train(self, *flags: object) -> str:
        """What train.py says with these flags, in this process: torch is loaded already."""
        where = ("--data_dir", self.data, "--out_dir", self.models)
        self.monkeypatch.setattr(sys, "argv", list(map(str, ["train.py", *where, *SMALL, *flags])))
        self.capsys.readouterr()
        assert runpy.run_path(str(TRAIN))["main"]() == 0
        return self.capsys.readouterr().err

    def complaint(self, *flags: object) -> str:
        with pytest.raises(ValueError, match=r"\S") as caught:
            self.train(*flags)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def stop_at_once(self, *flags: object) -> None:
        """As if killed in the first step."""

        def killed(_loop) -> None:
            raise KeyboardInterrupt

        with self.monkeypatch.context() as patched:
            patched.setattr(Loop, "one_step", killed)
            with pytest.raises(KeyboardInterrupt):
                self.train(*flags)

    def manifest(self, name: str) -> dict:
        return json.loads((self.data / f"{name}.json").read_text(encoding="utf-8"))

    def text(self, name: str) -> str:
        return "".join(
            (self.data / f"{name}-{split}.txt").read_text(encoding="utf-8")
            for split in ("train", "val")
        )


@pytest.fixture
def home(tmp_path, monkeypatch, capsys) -> Home:
    return Home(tmp_path, monkeypatch, capsys)


def words(of: int) -> str:
    return " ".join(random.Random(of).choices(("tea", "sun", "rain", "blue", "walk", "dog"), k=9))


def interview(path: Path, outgoing: str | None = "Bob", who: tuple = ("Anna", "Bob")) -> Path:
    """A chat a day; every day is a conversation."""
    messages = [
        {
            "timestamp": 86400.0 * day + 60 * i,
            "conversationId": "1",
            "senderName": who[i % 2],
            "text": f"{'asks' if i % 2 == 0 else 'says'} {words(4 * day + i)}",
        }
        | ({} if outgoing is None else {"outgoing": who[i % 2] == outgoing})
        for day in range(20)
        for i in range(4)
    ]
    path.write_text(json.dumps(messages), encoding="utf-8")
    return path


def records(path: Path) -> Path:
    lines = [json.dumps({"user": words(2 * i), "bot": words(2 * i + 1)}) for i in range(20)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


# no data named


def test_without_any_data_all_ways_to_some_are_told(home):
    said = home.complaint("--run_name", "run2")
    assert "dataset 'chitchat' is not in" in said
    assert "run python data/prepare-chitchat.py, or put one JSON of chats into" in said
    assert "--data_path" in said
    assert "--data_path" not in home.complaint("--dataset", "chitchat")


# --data_path


def test_interviews_are_learned_as_speakers_under_the_runs_name(home):
    path = interview(home.folder / "i.json")
    said = home.train("--run_name", "run1", "--data_path", path)
    assert "the model speaks as Bob" in said
    assert home.manifest("run1")["template"] == "speaker"
    assert f"<speaker2> asks {words(28)}\n<speaker1> says {words(29)}\n" in home.text("run1")
    assert (home.models / "run11.pt").exists()


def test_somebody_else_may_be_learned(home):
    path = interview(home.folder / "i.json")
    flags = ("--data_path", path)
    home.train(*flags, "--me", "anna")
    assert f"<speaker1> asks {words(28)}\n<speaker2> says {words(29)}\n" in home.text("mine")
    said = home.complaint(*flags, "--me", "Zoe", "--run_name", "zoe")
    assert "`me` 'Zoe' matches nobody; the names found are Anna" in said


def test_other_chats_are_chatml_and_a_template_that_is_given_is_obeyed(home):
    chats, path = records(home.folder / "r.jsonl"), interview(home.folder / "i.json")
    for paths, flags, expected in (
        ((chats,), (), "chatml"),
        ((chats, path), (), "chatml"),
        ((chats,), ("--template", "speaker"), "speaker"),
        ((path,), ("--template", "chatml"), "chatml"),
    ):
        home.train("--data_path", *paths, *flags, "--overwrite")
        assert home.manifest("mine")["template"] == expected


def test_plain_text_stays_plain_text(home):
    path = home.folder / "tale.txt"
    path.write_text("\n\n".join(f"Once upon a time was {words(i)}." for i in range(99)))
    home.train("--data_path", path)
    assert home.manifest("mine")["template"] == "text"
    said = home.complaint("--data_path", path, "--template", "speaker", "--overwrite")
    assert "tale.txt is plain text: leave it out" in said


def test_without_outgoing_messages_the_one_who_writes_most_is_learned(home):
    for outgoing in (None, "nobody"):
        path = interview(home.folder / "i.json", outgoing=outgoing)
        said = home.train("--data_path", path, "--overwrite")
        assert "the model speaks as Anna (40 of 80 messages); --me NAME" in said


def test_a_monologue_holds_nothing_to_learn(home):
    path = interview(home.folder / "i.json", who=("Bob", "Bob"))
    said = home.complaint("--data_path", path)
    assert "nothing is left of 20 records" in said
    assert "i.json" in said
    assert not home.models.exists()


@pytest.mark.parametrize("name", ["chat", "chitchat", "speakers"])
def test_own_chats_take_no_recipes_place(name, home):
    assert name in recipes.names()
    path = interview(home.folder / "i.json")
    for flag in ("--run_name", "--dataset"):
        said = home.complaint(flag, name, "--data_path", path)
        assert f"the place of what data/prepare-{name}.py prepares" in said
        assert f"`dataset` {name}-own" in said
    assert not home.data.exists()
    flags = ("--run_name", name, "--dataset", f"{name}-own")
    home.train(*flags, "--data_path", path)
    assert (home.models / f"{name}1.pt").exists()


def test_own_chats_take_no_other_files_place(home, tiny_dataset):
    assert tiny_dataset("mix") == home.data
    path = interview(home.data / "i.json")
    before = {p: p.read_bytes() for p in home.data.iterdir()}
    for name in ("mix", "i"):
        said = home.complaint("--run_name", name, "--data_path", path)
        assert f"the place of {home.data / name}.json" in said
    assert {p: p.read_bytes() for p in home.data.iterdir()} == before


# datasets/


def test_the_only_json_in_datasets_needs_no_name(home):
    path = interview(home.datasets / "interviews.json")
    (home.datasets / ".hidden.json").write_text("{}")
    said = home.train("--run_name", "run1")
    line = next(s for s in said.splitlines() if str(path) in s)
    assert "--dataset chitchat" in line
    assert home.manifest("run1")["template"] == "speaker"
    assert "run 'run1' is done" in home.complaint("--run_name", "run1")


def test_what_is_named_is_not_looked_for_in_datasets(home, tiny_dataset):
    tiny_dataset("tiny")
    for name in ("a.json", "b.json"):
        interview(home.datasets / name)
    assert str(home.datasets) not in home.train("--dataset", "tiny")
    home.train("--data_path", home.datasets / "b.json")
    for flags in ((), ("--run_name", "run1")):
        said = home.complaint(*flags)
        assert "datasets holds 2 JSON files (a.json, b.json)" in said
        assert "--data_path" in said
        assert "--dataset chitchat" in said


def test_of_datasets_gpt2_is_taught_unless_a_new_model_is_asked_for(home, capsys):
    def resolved(**flags: object) -> TrainConfig:
        return runpy.run_path(str(TRAIN))["with_datasets"](TrainConfig(**flags))

    for flags in ({}, {"run_name": "run1"}):
        config = resolved(**flags)
        assert (config.data_name, config.base, config.data_path) == ("chitchat", None, ())
    assert capsys.readouterr() == ("", "")
    path = interview(home.datasets / "interviews.json")
    for flags, base in (
        ({}, "gpt2"),
        ({"block_size": 48}, "gpt2"),
        ({"init_from": "distilgpt2"}, "distilgpt2"),
        ({"init_from": "scratch"}, None),
        ({"preset": "tiny"}, None),
        ({"arch": "jojo"}, None),
        ({"n_layer": 2}, None),
        ({"tie_embeddings": True}, None),
    ):
        config = resolved(run_name="run1", **flags)
        assert (config.data_name, config.base, config.data_path) == ("run1", base, (path,))
        assert config.chosen_optimizer == ("adamw" if base else "muon")
        assert (base or "a new model") in capsys.readouterr().err
    assert resolved().run == "mine"


def test_a_file_of_settings_names_no_data(home, tmp_path):
    path = interview(home.datasets / "interviews.json")
    (tmp_path / "my.toml").write_text("learning_rate = 0.01\n")
    config = parse(TrainConfig, [str(tmp_path / "my.toml"), "--run_name", "run1"], None)
    config = runpy.run_path(str(TRAIN))["with_datasets"](config)
    assert (config.data_name, config.data_path) == ("run1", (path,))
    assert (config.base, config.chosen_optimizer, config.rate) == ("gpt2", "adamw", 0.01)


def test_what_is_for_own_chats_wants_them(home):
    for flags in (("--me", "Bob"), ("--template", "speaker")):
        said = home.complaint(*flags)
        assert f"{flags[0]} is for your own chats: give them with --data_path" in said
    path = interview(home.datasets / "interviews.json")
    home.train("--me", "Anna", "--template", "chatml")
    assert home.manifest("mine")["sources"][0].startswith(path.name)


# when it is prepared


def test_a_run_that_stands_in_the_way_is_found_before_anything_is_prepared(home):
    path = interview(home.folder / "i.json")
    flags = ("--run_name", "run1", "--data_path", path)
    home.train(*flags)
    before = home.manifest("run1")
    interview(path, who=("Carl", "Bob"))
    assert "run 'run1' is done" in home.complaint(*flags)
    assert "run 'run1' is done" in home.train(*flags, "--resume")
    assert home.manifest("run1") == before
    home.train(*flags, "--overwrite")
    assert home.manifest("run1")["created"] >= before["created"]
    assert home.manifest("run1")["sources"] != before["sources"]


def test_a_resumed_run_goes_on_with_what_was_prepared(home):
    path = interview(home.folder / "i.json")
    flags = ("--run_name", "run1", "--data_path", path, "--me", "Anna")
    home.stop_at_once(*flags)
    assert "run 'run1' is unfinished" in home.complaint(*flags)
    stamp = (home.data / "run1-train.bin").stat().st_mtime_ns
    said = home.train(*flags, "--resume")
    assert "resuming run1 after step" in said
    assert "records in" not in said
    assert (home.data / "run1-train.bin").stat().st_mtime_ns == stamp
    assert (home.models / "run11.pt").exists()


def test_a_resumed_run_sees_that_its_chats_are_others_now(home):
    path = interview(home.folder / "i.json")
    flags = ("--run_name", "run1", "--data_path", path)
    home.stop_at_once(*flags)
    assert "dataset run1 changed" in home.complaint(*flags, "--me", "Anna", "--resume")
    assert "dataset run1 changed" in home.complaint(*flags, "--template", "chatml", "--resume")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("asks", "wonders"), encoding="utf-8")
    assert "dataset run1 changed" in home.complaint(*flags, "--resume")
    path.write_text(text, encoding="utf-8")
    assert "resuming run1" in home.train(*flags, "--resume")


def test_stopped_while_preparing_it_says_what_to_do(home, monkeypatch):
    def stopped(*_) -> None:
        raise KeyboardInterrupt

    path = interview(home.folder / "i.json")
    monkeypatch.setattr("jojo.data.prepare.prepare", stopped)
    with pytest.raises(KeyboardInterrupt, match="nothing of mine was written; the same command"):
        home.train("--data_path", path)


def test_what_is_left_of_a_run_alone_is_not_gone_over(home):
    path = interview(home.folder / "i.json")
    home.models.mkdir()
    (home.models / "run1-resume-previous.pt").write_bytes(b"half")
    flags = ("--run_name", "run1", "--data_path", path)
    assert "run 'run1' is unfinished" in home.complaint(*flags)
    assert "truncated" in home.complaint(*flags, "--resume")
    home.train(*flags, "--overwrite")


def test_the_command_as_people_type_it(tmp_path):
    path = interview(tmp_path / "interviews.json")
    where = ("--data_dir", tmp_path / "data", "--out_dir", tmp_path / "models")

    done = call("train.py", "--run_name", "run1", "--data_path", path, *where, *SMALL)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    done = call("train.py", "--run_name", "chat", "--data_path", path, *where, *SMALL)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("error: your own chats would take the place of")
