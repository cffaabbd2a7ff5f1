"""Chit-chat: what is held out stays out, and what is told is remembered."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
from bots import SMALL, write_table

from jojo.data import recipes
from jojo.data.chitchat.table import SLOT, normal, row_name
from jojo.data.chitchat.talk import generate_chats, held_out_prompts
from jojo.data.prepare import main

MEETING = re.compile(r"(?:meet you|Welcome|Hello), (\w+)[!.]|^(\w+) is a lovely name! Mine")


@pytest.fixture(scope="module")
def conversations():
    return list(generate_chats(4000, seed=5, val_fraction=0.1))


def run(*flags):
    """The exit code of the recipe as a command."""
    try:
        main(recipes.load("chitchat"), list(map(str, flags)))
    except SystemExit as stop:
        return stop.code or 0
    return 0


def test_the_same_seed_gives_the_same_conversations_whatever_their_number():
    few, many = list(generate_chats(50, seed=3)), list(generate_chats(80, seed=3))
    assert few == many[:50]
    assert list(generate_chats(50, seed=4)) != few


def test_conversations_alternate_and_end_with_a_reply(conversations):
    assert len({str(c.messages) for c in conversations}) > 3800
    for conversation in conversations:
        roles = [m["role"] for m in conversation.messages if m["role"] != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert 1 <= len(roles) // 2 <= 12
        assert all(m["content"].strip() and "{" not in m["content"] for m in conversation.messages)
    systems = sum(c.messages[0]["role"] == "system" for c in conversations)
    assert 0.05 < systems / len(conversations) < 0.15


def test_training_never_shows_a_held_out_phrasing(table, conversations):
    held_out = [text for i in table.intents.values() for line in i.held_out for text in line]
    fixed = {table.bare(text) for text in held_out if not SLOT.search(text)}
    patterns = [pattern(text, table) for text in held_out if SLOT.search(text)]
    slotted = re.compile("|".join(patterns))
    seen = {
        table.bare(m["content"])
        for c in conversations
        for m in (c.messages if c.split == "train" else c.messages[:-2])
        if m["role"] == "user"
    }
    assert len(seen) > 3000
    assert not seen & fixed
    assert not [text for text in seen if slotted.fullmatch(text)]


def pattern(text, table):
    """A held-out phrasing with every value that its slots can take."""
    parts = re.split(r"(\{\w+\})", table.bare(text))
    for i, part in enumerate(parts):
        if part.startswith("{"):
            name = row_name(part[1:-1])
            parts[i] = f"(?:{'|'.join(re.escape(normal(row[name])) for row in table.rows[name])})"
    return "".join(parts)


def test_validation_ends_in_a_held_out_phrasing(table, conversations):
    val = [c for c in conversations if c.split == "val"]
    assert 0.08 < len(val) / len(conversations) < 0.12
    assert len({c.intent for c in val}) > 85
    exact = 0
    for conversation in val:
        intent = table.intents[conversation.intent]
        asked = table.bare(conversation.messages[-2]["content"])
        texts = [pattern(text, table) for line in intent.held_out for text in line]
        exact += any(re.fullmatch(text, asked) for text in texts)
    assert exact > 0.93 * len(val)  # the rest has a slip of the keyboard or a validation name


def test_names_are_remembered(conversations):
    answers = Counter()
    for c in conversations:
        if c.intent != "recall_name":
            continue
        said = [m["content"] for m in c.messages[:-1] if m["role"] == "assistant"]
        told = [MEETING.search(text) for text in said]
        names = [match[1] or match[2] for match in told if match]
        reply = c.messages[-1]["content"]
        answers[bool(names)] += 1
        assert names[-1] in reply if names else "name yet" in reply
    assert answers[True] > 40
    assert answers[False] > 10


def test_prompts_cover_all_intents_evenly_and_reproducibly(table):
    prompts = held_out_prompts(seed=1, n=3 * len(table.intents))
    assert set(Counter(p.intent for p in prompts).values()) == {3}
    assert prompts == held_out_prompts(seed=1, n=len(prompts))
    assert all(p.messages[-1]["role"] == "user" for p in prompts)
    alone = sum(len(p.messages) == 1 for p in prompts)
    assert 0.2 < alone / len(prompts) < 0.7


def test_the_recipe_writes_a_dataset_and_accounts_for_it(tmp_path, capsys):
    assert run("--out_dir", tmp_path, "--conversations", 400) == 0
    manifest = json.loads((tmp_path / "chitchat.json").read_text())
    assert manifest["records_in"] == 400
    kept = sum(manifest["conversations"].values())
    assert kept + sum(manifest["dropped"].values()) == 400
    assert min(manifest["conversations"].values()) > 0
    assert "400 records in" in capsys.readouterr().err
    assert "<|im_start|>assistant\n" in (tmp_path / "chitchat-train.txt").read_text()


def test_a_table_of_ones_own(tmp_path):
    text = SMALL.replace('"hello"', '"""\n' + "\n".join(f"hello {n}" for n in range(200)) + '"""')
    bot = write_table(tmp_path, text)
    assert run("--out_dir", tmp_path, "--input", bot, "--conversations", 300) == 0
    assert "Hi!" in (tmp_path / "chitchat-val.txt").read_text()


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--input", "nope.toml"], "nope.toml"),
        (["--input", "nope.json"], "reads a phrasing table (.toml), not nope.json"),
        (["--source", "byu", "--input", "nope.json"], "nope.json"),
        (["--source", "byu", "--input", "bot.toml"], "reads the dataset.json"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_1(tmp_path, monkeypatch, capsys, flags, complaint):
    monkeypatch.chdir(tmp_path)
    assert run("--out_dir", tmp_path, *flags) == 1
    assert complaint in (message := capsys.readouterr().err)
    assert message.count("\n") == 1
    assert not list(tmp_path.glob("*.bin"))


def test_a_number_out_of_range_is_wrong_usage(tmp_path, capsys):
    assert run("--out_dir", tmp_path, "--conversations", 0) == 2
    assert "--conversations 0 must be 1 or more" in capsys.readouterr().err
