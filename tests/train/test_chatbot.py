"""train_chatbot.py: texts and conversations become one dataset, one run, one file."""

from __future__ import annotations

import io
import json
import os
import random
import runpy
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from verbs import Forks, forks

from jojo.command import parse
from jojo.data.batches import Batches
from jojo.data.bins import DatasetWriter, open_dataset
from jojo.files import ROOT
from jojo.models import checkpoint
from jojo.models.checkpoint import RunFiles
from jojo.text.template import encode_batch, encode_documents
from jojo.train import chatbot, finetune
from jojo.train.config import ChatbotConfig, TrainConfig
from tokenizer import IM_START

VERB = ROOT / "train_chatbot.py"
WORDS = ("river", "garden", "kitchen", "station", "harbour", "castle", "market", "forest", "lamp")
GUIDE = [  # the guide's own examples
    {
        "user": "What is your favorite color?",
        "bot": "My favorite color is blue. I find it calming and peaceful.",
    },
    {
        "user": "Tell me about quantum physics",
        "bot": "Quantum physics is the study of matter and energy at its most fundamental level...",
    },
]


def sentences(n: int, seed: int) -> str:
    rng = random.Random(seed)
    words = [[f"{rng.choice(WORDS)}{rng.randrange(90)}" for _ in range(9)] for _ in range(n)]
    return " ".join(f"The {' '.join(said)} is there." for said in words)


def pairs(n: int) -> list[dict[str, str]]:
    return [
        {"user": sentences(1, 2 * i) + f" And {i}?", "bot": sentences(1, 2 * i + 1)}
        for i in range(n)
    ]


@pytest.fixture
def base(tmp_path, tiny_model) -> Path:
    """A tiny model that knows nothing but text, as GPT-2 does."""
    path = tmp_path / "base.pt"
    checkpoint.save(
        path, checkpoint.model_content(tiny_model(arch="gpt2", block_size=128), template="text")
    )
    return path


@pytest.fixture
def config(tmp_path, base):
    """A ChatbotConfig that writes below tmp_path. `chats` and `text` are what the files hold."""

    def build(chats=None, text: str | None = None, **more) -> ChatbotConfig:
        given = {"model": str(base), "save_path": tmp_path / "models" / "bot.pt"}
        given |= {"data_dir": tmp_path / "data", "compile": False}
        if chats is not None:
            path = tmp_path / "chats.json"
            path.write_text(chats if isinstance(chats, str) else json.dumps(chats))
            given["conversation_file"] = (path,)
        if text is not None:
            path = tmp_path / "book.txt"
            path.write_text(text)
            given["text_file"] = (path,)
        return ChatbotConfig(**given | more)

    return build


@pytest.fixture
def untrained(monkeypatch) -> list[TrainConfig]:
    """Takes the place of the training, which is not what is tested; the settings it was given."""
    calls: list[TrainConfig] = []

    def train(settings: TrainConfig, script: str, asked: ChatbotConfig, closing: bool) -> int:
        calls.append(settings)
        files = RunFiles(settings.out_dir, settings.run)
        write_run(files, settings.data_dir, steps=(5, 9))
        return 0

    monkeypatch.setattr(chatbot, "train", train)
    return calls


def write_run(files: RunFiles, data_dir: Path, steps, dataset: str | None = None) -> None:
    """The files of weights of a run that is done; the best step is the first one."""
    name = dataset or f"chatbot-{files.run_name}"
    data_hash = open_dataset(name, data_dir).manifest.hash if dataset is None else "a-b"
    for step in (*steps, None):
        content = {
            "format": checkpoint.FORMAT,
            "model": {"w": torch.full((2,), float(step or steps[0]))},
            "metrics": {"val_loss": 2.5},
            "step": step or steps[0],
            "run": files.run_name,
            "dataset": name,
            "data_hash": data_hash,
        }
        checkpoint.save(files.milestone(step) if step else files.best, content)


def weight(path: Path) -> float:
    return checkpoint.load(path)["model"]["w"][0].item()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# ---------------------------------------------------------------- the data


def test_few_conversations_are_all_learned(config, untrained, capsys) -> None:
    c = config(chats=GUIDE, epochs=2.0)
    assert chatbot.make(c) == 0
    manifest = open_dataset("chatbot-bot", c.data_dir).manifest
    assert (manifest.template, manifest.conversations["train"]) == ("chatml", 2)
    assert not manifest.holds_out
    (settings,) = untrained
    assert (settings.patience, settings.batch_size, settings.dataset) == (None, 1, "chatbot-bot")
    ids = open_dataset("chatbot-bot", c.data_dir).ids["train"]
    windows = Batches(ids, "chatml", settings.block_size, 1, settings.seed).windows_per_epoch()
    assert windows * (settings.block_size + 1) >= len(ids) - 1  # nothing of so little is left over
    said = capsys.readouterr().err
    assert "nothing is held out" in said
    assert "expect next to no change" in said
    assert weight(c.save_path) == 9  # the last ones


def test_more_conversations_stop_early_by_a_held_out_part(config, untrained) -> None:
    c = config(chats=pairs(60))
    assert chatbot.make(c) == 0
    manifest = open_dataset("chatbot-bot", c.data_dir).manifest
    assert sum(manifest.conversations.values()) == 60
    assert 1 <= manifest.conversations["val"] <= 15
    (settings,) = untrained
    steps = finetune.steps_of(settings, open_dataset("chatbot-bot", c.data_dir))
    assert steps >= 30
    assert settings.warmup_iters <= steps / 10
    assert settings.patience == 4
    assert 9 <= steps / settings.eval_interval <= 16  # four times in each of three epochs
    assert weight(c.save_path) == 5  # the best ones


def test_a_share_that_is_asked_for_is_held_out(config, untrained) -> None:
    assert chatbot.make(config(chats=pairs(8), val_fraction=0.3, patience=7)) == 0
    assert untrained[0].patience == 7
    c = config(chats=pairs(40), val_fraction=0.0, overwrite=True)
    assert chatbot.make(c) == 0
    assert not open_dataset("chatbot-bot", c.data_dir).manifest.holds_out


def test_a_text_alone_is_a_dataset_of_text(config, untrained) -> None:
    c = config(text=sentences(800, 1))
    assert chatbot.make(c) == 0
    manifest = open_dataset("chatbot-bot", c.data_dir).manifest
    assert manifest.template == "text"
    assert manifest.conversations["train"] >= 20
    assert untrained[0].block_size == 128  # all that the model has


def test_text_and_conversations_together_are_one_dataset(config, untrained, capsys) -> None:
    text = sentences(800, 1)
    c = config(chats=pairs(40) + pairs(10), text=text)
    assert chatbot.make(c) == 0
    dataset = open_dataset("chatbot-bot", c.data_dir)
    m = dataset.manifest
    assert m.template == "chatml"
    found = {split: list(dataset.conversations(split)) for split in ("train", "val")}
    raw = [ids for split in found.values() for ids in split if IM_START not in ids]
    chats = [ids for split in found.values() for ids in split if IM_START in ids]
    assert len(chats) == 40
    assert sum(map(len, raw)) > 0.95 * len(text) / 6
    assert all(len(found[split]) == m.conversations[split] for split in found)
    parts = m.notes["mixture"]
    assert parts["chats-of-chatbot-bot"]["records_in"] == 50
    assert parts["chats-of-chatbot-bot"]["dropped"] == {"exact duplicate": 10}
    assert any(source.startswith("book.txt sha256:") for source in m.sources)
    assert any(source.startswith("chats.json sha256:") for source in m.sources)
    assert names(c.data_dir) == {f"chatbot-bot{end}" for end in (".json", *ENDS)}
    assert "10 of 50 chats repeat others" in capsys.readouterr().err


ENDS = ("-train.bin", "-val.bin", "-train.txt", "-val.txt")


def test_two_conversations_beside_a_text_are_not_held_out(config, untrained) -> None:
    c = config(chats=GUIDE, text=sentences(800, 1))
    assert chatbot.make(c) == 0
    dataset = open_dataset("chatbot-bot", c.data_dir)
    assert not (dataset.ids["val"] == IM_START).any()
    assert (dataset.ids["train"] == IM_START).sum() == 4
    assert dataset.manifest.notes["mixture"]["chats-of-chatbot-bot"]["holds_out"] is False


def test_little_of_both_holds_nothing_out(config, untrained) -> None:
    c = config(chats=GUIDE, text=sentences(20, 1))
    assert chatbot.make(c) == 0
    m = open_dataset("chatbot-bot", c.data_dir).manifest
    assert not m.holds_out
    assert m.conversations["train"] == 3
    assert "nothing is held out" in m.notes["val"]


def test_documents_among_conversations_are_read_whole() -> None:
    """A window that cuts a document leaves its rest to another one."""
    texts = [sentences(60, i) for i in range(12)]
    said = [[{"role": "user", "content": p["user"]}] for p in pairs(40)]
    pieces = [encode_documents([t])[0] for t in texts] + encode_batch(said)
    random.Random(0).shuffle(pieces)
    ids = np.concatenate(pieces)
    batches = Batches(ids, "chatml", 200, 1, 0)
    read = sum(batches.windows_per_epoch() * [201])
    assert read > 0.98 * len(ids)


# ---------------------------------------------------------------- the plan


def shaped(tmp_path, lengths, template="chatml", context=1024, **given) -> TrainConfig:
    with DatasetWriter(tmp_path, "sized", template=template) as writer:
        for i, length in enumerate(lengths):
            ids = np.full(length, 11, np.uint16)
            ids[-1] = 50256
            writer.add("val" if i == 0 else "train", ids)
        writer.commit()
    config = ChatbotConfig(text_file=(Path("x"),), **given)
    return chatbot.settings_for(config, open_dataset("sized", tmp_path), context)


def test_the_steps_fit_the_data(tmp_path) -> None:
    few = shaped(tmp_path, [60] * 61)
    assert 64 <= few.block_size <= 128
    assert few.batch_size == 1
    large = shaped(tmp_path, [4000] * 650, "text")  # 10 MB
    assert (large.block_size, large.batch_size, large.warmup_iters) == (512, 16, 10)
    assert 900 < finetune.steps_of(large, open_dataset("sized", tmp_path)) < 1000
    long_ones = shaped(tmp_path, [300] * 21)
    assert long_ones.block_size >= 300  # whole conversations
    assert shaped(tmp_path, [4000] * 650, "text", context=128).block_size == 128
    assert shaped(tmp_path, [33] * 2).block_size == 32
    own = shaped(tmp_path, [60] * 61, block_size=20, batch_size=8)
    assert (own.block_size, own.batch_size) == (20, 8)


def test_flags_are_those_of_training_but_for_what_is_decided_here() -> None:
    given = ChatbotConfig(text_file=(Path("x"),), lora_rank=4, seed=7, learning_rate=0.1)
    settings = given.training()
    assert (settings.lora_rank, settings.seed, settings.rate) == (4, 7, 0.1)
    assert settings.init_from == "gpt2-small (124M)"
    assert settings.batch_size == TrainConfig.batch_size
    told = subprocess.run(
        [sys.executable, str(VERB), "--help"], capture_output=True, text=True
    ).stdout
    for flag in ("--model", "--text_file", "--lora_rank", "--seed", "--dtype", "--resume"):
        assert f"{flag} " in told or f"{flag}," in told
    for flag in ("--dataset", "--preset", "--run_name", "--max_iters", "--init_from"):
        assert flag not in told


def test_warnings(config, untrained, capsys) -> None:
    c = config(chats=pairs(30), text=sentences(4000, 1), epochs=15.0)
    assert chatbot.make(c) == 0
    warnings = [x for x in capsys.readouterr().err.splitlines() if x.startswith("warning: ")]
    assert any("times the tokens of the conversations" in w for w in warnings)
    assert any("--epochs 15" in w and "by heart" in w for w in warnings)
    assert not any("are little" in w for w in warnings)
    c = config(chats=pairs(60), save_path=c.save_path.with_name("other.pt"))
    assert chatbot.make(c) == 0
    assert "tokens are little: expect" in capsys.readouterr().err


# ---------------------------------------------------------------- the files


def test_what_is_trained_asks_before_it_is_trained_anew(config, untrained, complaint, capsys):
    c = config(chats=GUIDE)
    assert chatbot.make(c) == 0
    assert names(c.save_path.parent) == {"bot.pt"}
    said = complaint(chatbot.make, c)
    assert "is trained already" in said
    assert "`overwrite`" in said
    assert chatbot.make(config(chats=GUIDE, resume=True)) == 0
    assert chatbot.make(config(interactive=True)) == 0
    assert len(untrained) == 1
    assert chatbot.make(config(chats=GUIDE, overwrite=True)) == 0
    assert len(untrained) == 2
    capsys.readouterr()


def test_what_is_unfinished_asks_how_to_go_on(config, untrained, complaint) -> None:
    c = config(chats=GUIDE)
    c.save_path.parent.mkdir()
    c.save_path.with_name("bot-resume.pt").write_bytes(b"")
    said = complaint(chatbot.make, c)
    assert "is unfinished" in said
    assert "`resume`" in said
    assert "`overwrite`" in said
    assert "not trained to the end" in complaint(chatbot.make, config(interactive=True))
    assert not untrained


def test_files_of_another_run_are_left_alone(config, untrained, complaint) -> None:
    c = config(chats=GUIDE, overwrite=True)
    write_run(RunFiles(c.save_path.parent, "bot"), c.data_dir, (5,), dataset="chitchat")
    before = names(c.save_path.parent)
    said = complaint(chatbot.make, c)
    assert "is of another run (dataset chitchat): choose another `save_path`" in said
    assert names(c.save_path.parent) == before


@pytest.mark.parametrize("held_out", [True, False])
def test_killed_while_tidying_up_the_next_call_ends_the_same(
    config, untrained, monkeypatch, held_out, capsys
) -> None:
    c = config(chats=pairs(30) if held_out else GUIDE)
    wanted = 5 if held_out else 9
    files = RunFiles(c.save_path.parent, "bot")
    for steps_done in range(4):
        c.save_path.unlink(missing_ok=True)
        chatbot.learn_from(c)
        write_run(files, c.data_dir, (5, 7, 9))
        with monkeypatch.context() as patch:
            done = []
            patch.setattr(Path, "unlink", dying(Path.unlink, steps_done, done))
            patch.setattr(os, "replace", dying(os.replace, steps_done, done))
            with pytest.raises(SystemExit):
                chatbot.settle(files, c.save_path)
        assert chatbot.make(config(interactive=True)) == 0
        assert names(c.save_path.parent) == {"bot.pt"}
        assert weight(c.save_path) == wanted
    capsys.readouterr()


def dying(call, after: int, done: list):
    """`call`, which kills the process instead when `after` of such calls are done."""

    def step(path, *args, **kwargs):
        if Path(path).suffix == ".pt":
            if len(done) == after:
                raise SystemExit("killed")
            done.append(path)
        return call(path, *args, **kwargs)

    return step


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"save_path": Path("bot.bin")}, "whose name ends in .pt"),
        ({"save_path": Path(".pt")}, "whose name ends in .pt"),
        ({"epochs": 0.0}, "`epochs` 0 must be more than 0"),
        ({"epochs": -1.0}, "must be more than 0"),
        ({"val_fraction": 1.0}, "`val_fraction` 1.0 must lie between"),
        ({"batch_size": 0}, "`batch_size` 0 must be 1 or more"),
        ({"lora_dropout": 2.0}, "`lora_dropout` 2.0"),
        ({"load_in_4bit": True}, "add `lora_rank` 16"),
    ],
)
def test_flags_that_make_no_sense(given, expected, complaint) -> None:
    assert expected in complaint(ChatbotConfig, **({"text_file": (Path("x"),)} | given))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"text_file": ()}, "there is nothing to learn: give `text_file` FILE"),
        ({"system": "You are Tsuki."}, "`system` needs conversations"),
        ({"me": "Anna"}, "`me` names somebody in `conversation_file`"),
        ({"loss_on": "assistant"}, "nothing of `text_file` would be learned"),
    ],
)
def test_flags_that_do_not_go_with_the_files(given, expected, complaint) -> None:
    config = ChatbotConfig(**({"text_file": (Path("x"),)} | given))
    assert expected in complaint(chatbot.make, config)


def test_the_home_folder_is_understood(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert ChatbotConfig(save_path=Path("~/x.pt")).save_path == tmp_path / "x.pt"


def test_settings_come_from_a_file_too(tmp_path) -> None:
    (tmp_path / "bot.toml").write_text('epochs = 2\nlora_rank = 4\nsave_path = "bot.pt"\n')
    flags = [str(tmp_path / "bot.toml"), "--text_file", "a.txt", "b.txt", "--epochs", "1.5"]
    config = parse(ChatbotConfig, flags, "")
    assert (config.epochs, config.lora_rank, config.save_path) == (1.5, 4, Path("bot.pt"))
    assert config.text_file == (Path("a.txt"), Path("b.txt"))


@pytest.mark.parametrize(
    ("chats", "text", "more", "expected"),
    [
        (GUIDE, None, {"model": "gpt3"}, "unknown model 'gpt3'"),
        (GUIDE, None, {"model": "gpt3"}, '"gpt2-medium (355M)"'),
        ([], None, {}, "holds no messages"),
        ("", None, {}, "an empty file"),
        ([{"user": "hi"}], None, {}, "no conversation that can be learned"),
        ([{"a": 1}], None, {}, 'write pairs like [{"user": "Hi!", "bot": "Hello."}]'),
        ("{broken", None, {}, "or JSON that is damaged"),
        ("Once upon a time there was a king.", None, {}, "learned with `text_file`"),
        (GUIDE[:1], None, {"val_fraction": 0.1}, "0: train on all"),
        (None, "", {}, "an empty file"),
        (None, "Once.", {}, "book.txt: 3 tokens are too few to learn from, at least 32"),
        (None, json.dumps(GUIDE), {}, "conversations are learned with `conversation_file`"),
        (GUIDE, None, {"block_size": 200}, "`block_size`"),
        (GUIDE, None, {"patience": 2}, "`patience` 2: nothing is held out"),
        (GUIDE, None, {"lora_rank": 2, "lora_targets": "z"}, "matches nothing in this model"),
        (GUIDE, None, {"me": "Bob"}, "`me` 'Bob' names nobody"),
    ],
)
def test_bad_input_is_one_line(config, complaint, capsys, chats, text, more, expected) -> None:
    c = config(chats=chats, text=text, **more)
    assert expected in complaint(chatbot.make, c)
    assert names(c.save_path.parent) == set()
    capsys.readouterr()


def test_a_place_that_cannot_be_written_is_told_first(config, untrained, complaint, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.pt").mkdir()
    for place, expected in (
        (tmp_path / "file" / "bot.pt", "cannot be written to"),
        (tmp_path / "folder.pt", "is a folder: name a file"),
        (tmp_path / "base.pt", "is the `model` to start from"),
    ):
        c = config(chats=GUIDE, save_path=place, overwrite=True)
        assert expected in complaint(chatbot.make, c)
    assert not (tmp_path / "data").exists()
    missing = config(chats=GUIDE)
    missing.conversation_file[0].unlink()
    assert "chats.json does not exist" in complaint(chatbot.make, missing)


def test_ctrl_c_while_preparing_leaves_nothing(config, untrained, monkeypatch) -> None:
    c = config(chats=GUIDE, text=sentences(50, 1))

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(chatbot, "mix", stop)
    with pytest.raises(KeyboardInterrupt, match="the same command begins again"):
        chatbot.make(c)
    assert names(c.data_dir) == set()


def test_a_dialogue_as_a_text_is_warned_of(config, untrained, capsys) -> None:
    turns = (f"User: {p['user']}\nBot: {p['bot']}\n" for p in pairs(9))
    c = config(text="".join(turns))
    assert chatbot.make(c) == 0
    assert open_dataset("chatbot-bot", c.data_dir).manifest.template == "text"
    assert "book.txt is a dialogue, learned here as a text" in capsys.readouterr().err


# ---------------------------------------------------------------- real runs


@pytest.mark.parametrize("kind", ["chats", "text", "both"])
def test_the_guides_commands(kind, base, tmp_path, monkeypatch, capsys) -> None:
    """Trained and talked to, as written but for --model."""
    (tmp_path / "examples.json").write_text(json.dumps(GUIDE))
    (tmp_path / "your_data.txt").write_text(sentences(30, 1))
    files = {"chats": ["--conversation_file", "examples.json"]}
    files["text"] = ["--text_file", "your_data.txt"]
    files["both"] = [*files["chats"], *files["text"]]
    flags = ["--epochs", "2", "--save_path", "models/trained_model.pt", "--interactive"]
    more = ["--model", str(base), "--data_dir", str(tmp_path / "data"), "--no_compile"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(VERB), *files[kind], *flags, *more])
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hello!\n"))
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(VERB), run_name="__main__")
    said = capsys.readouterr()
    assert stop.value.code == 0, said.err
    assert said.out.strip()
    ends = (".pt", ".jsonl", ".png")
    assert names(tmp_path / "models") == {f"trained_model{end}" for end in ends}
    content = checkpoint.load(Path("models/trained_model.pt"))
    assert content["template"] == ("text" if kind == "text" else "chatml")
    assert content["script"] == "train_chatbot.py"
    assert content["settings"]["save_path"] == "models/trained_model.pt"
    assert content["data"]["private"] is True


def test_it_learns_and_adapters_are_small(config, base, capsys) -> None:
    c = config(chats=GUIDE, epochs=60.0, learning_rate=0.02)
    assert chatbot.make(c) == 0
    losses = [json.loads(x) for x in c.save_path.with_suffix(".jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in losses if "loss" in row]
    assert losses[-1] < losses[0] / 3
    small = config(chats=GUIDE, lora_rank=2, save_path=c.save_path.with_name("small.pt"))
    assert chatbot.make(small) == 0
    assert small.save_path.stat().st_size < base.stat().st_size / 10
    assert checkpoint.load(small.save_path)["base"]["source"] == str(base.resolve())
    whole = config(
        chats=GUIDE, lora_rank=2, lora_merge=True, save_path=c.save_path.with_name("whole.pt")
    )
    assert chatbot.make(whole) == 0
    assert "model" in checkpoint.load(whole.save_path)
    assert "saved" in capsys.readouterr().err


@pytest.mark.slow
def test_patience_ends_a_run_that_gets_worse(config, capsys) -> None:
    c = config(chats=pairs(40), epochs=20.0, learning_rate=0.3)
    assert chatbot.make(c) == 0
    assert "stopped early" in capsys.readouterr().err
    metrics = checkpoint.load(c.save_path)["metrics"]
    assert metrics["val_loss"] == metrics["best_val_loss"]


def run(*flags) -> Forks:
    return forks().start(VERB, "--no_compile", *flags)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--lora_rank", "2")], ids=["all weights", "adapters"])
def test_killed_and_resumed_it_ends_in_the_same_weights(config, base, tmp_path, flags) -> None:
    chats = config(chats=pairs(40)).conversation_file[0]
    flags = ("--model", base, "--conversation_file", chats, "--resume_seconds", 0, *flags)
    whole, killed = (tmp_path / name / "bot.pt" for name in ("whole", "killed"))
    assert run(*flags, "--save_path", whole, "--data_dir", tmp_path / "data1").wait() == 0
    command = [*flags, "--save_path", killed, "--data_dir", tmp_path / "data2", "--resume"]
    metrics = killed.with_suffix(".jsonl")
    for steps in (3, 20):
        process = run(*command)
        until = time.monotonic() + 90
        while not (metrics.exists() and metrics.read_text().count("\n") >= steps):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.01)
        process.kill()
    assert run(*command).wait() == 0
    kind = "adapter" if "--lora_rank" in flags else "model"
    one, other = (checkpoint.load(path)[kind] for path in (whole, killed))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[n], other[n]) for n in one)
    assert names(killed.parent) == {"bot.pt", "bot.jsonl", "bot.png"}
