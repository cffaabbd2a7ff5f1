"""Chit-chat: what is held out stays out, what is told is remembered, replies are judged fairly."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections import Counter

import pytest

from jojo.data import recipes
from jojo.data.chitchat.judge import judge
from jojo.data.chitchat.table import SLOT, Table, expansions, load_table, normal, row_name
from jojo.data.chitchat.talk import Talk, generate_chats, held_out_prompts, sentence_case
from jojo.data.contract import Tally
from jojo.data.prepare import main
from jojo.data.public import byu

KNOWN = {
    "name": "Anna",
    "city": "Oslo",
    "colour": "blue",
}
MEETING = re.compile(r"(?:meet you|Welcome|Hello), (\w+)[!.]|^(\w+) is a lovely name! Mine")
SMALL = """
plans = "@any"
[intents.hello]
user = "hello"
reply = "Hi!"
"""


@pytest.fixture(scope="module")
def table():
    return load_table()


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


def write_table(tmp_path, text):
    path = tmp_path / "bot.toml"
    path.write_text(text)
    return path


# ---------------------------------------------------------------- the grammar


def test_alternatives_are_all_read_and_spaces_mended():
    assert expansions("[hi|hello] Jojo [now|], ok") == (
        "hi Jojo now, ok",
        "hi Jojo, ok",
        "hello Jojo now, ok",
        "hello Jojo, ok",
    )
    assert set(expansions("[a|b [c|d]|] e")) == {"a e", "b c e", "b d e", "e"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("plans = ", "not a phrasing table"),
        ("a = 1", "no plans and no intents"),
        (SMALL.replace("@any", "@nothing"), "@nothing"),
        (SMALL + "then = ['nobody']", "'nobody'"),
        (SMALL.replace('"Hi!"', '""'), "`user` and `reply`"),
        (SMALL.replace('"hello"', '"I am {name}"'), "{name}: add its values under [rows]"),
        (SMALL.replace('"Hi!"', '"Hi, {name}!"'), "add `otherwise`"),
        (SMALL + "context = true", "`then` of another"),
    ],
)
def test_a_wrong_table_is_told_in_one_line(tmp_path, text, complaint):
    with pytest.raises(ValueError, match=re.escape(complaint)) as error:
        Table(write_table(tmp_path, text))
    assert "\n" not in str(error.value) or complaint == "not a phrasing table"


# ---------------------------------------------------------------- the table


def test_every_intent_has_many_phrasings_and_some_held_out(table):
    assert len(table.intents) >= 60
    for intent in table.intents.values():
        lines = len(intent.user) + len(intent.held_out)
        assert lines >= 24, intent.name
        assert 2 <= len(intent.held_out) <= 0.2 * lines + 1, intent.name
        if not intent.same_as:
            assert intent.reply, intent.name
    held_out = sum(len(i.held_out) for i in table.intents.values())
    assert 0.13 < held_out / sum(len(i.user + i.held_out) for i in table.intents.values()) < 0.17


def test_words_of_held_out_phrasings_are_covered_in_training(table):
    spread = Counter()
    for intent in table.intents.values():
        spread.update({w for line in intent.user for text in line for w in normal(text).split()})
    for intent in table.intents.values():
        lines = Counter(w for line in intent.user for w in {w for t in line for w in words(t)})
        for word in {w for line in intent.held_out for text in line for w in words(text)}:
            assert lines[word] >= 2 or spread[word] >= 8, (intent.name, word)


def words(text):
    return [row_name(word) for word in normal(text).split()]


def test_replies_are_short_and_unlike_those_of_other_intents(table):
    owner = {}
    for intent in table.intents.values():
        for text in itertools.chain(*intent.reply, *intent.otherwise):
            assert len(text.split()) <= 30
            source = intent.same_as or intent.name
            assert owner.setdefault(normal(text), source) == source, text
    for rows in table.rows.values():
        assert all(len(value.split()) <= 30 for row in rows for value in row.values())


# ---------------------------------------------------------------- conversations


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


# ---------------------------------------------------------------- prompts and the judge


def test_prompts_cover_all_intents_evenly_and_reproducibly(table):
    prompts = held_out_prompts(seed=1, n=3 * len(table.intents))
    assert set(Counter(p.intent for p in prompts).values()) == {3}
    assert prompts == held_out_prompts(seed=1, n=len(prompts))
    assert all(p.messages[-1]["role"] == "user" for p in prompts)
    alone = sum(len(p.messages) == 1 for p in prompts)
    assert 0.2 < alone / len(prompts) < 0.7


def test_right_replies_are_judged_right_and_others_wrong(table):
    """Every intent's own reply to held-out prompts, and that reply taken for another's."""
    rng = random.Random(0)
    names = list(table.intents)
    for number, prompt in enumerate(held_out_prompts(seed=2, n=2 * len(names))):
        talk = Talk(table, random.Random(number))
        talk.known = dict(prompt.slots)
        intent = table.intents[prompt.intent]
        reply = talk.answer(intent)
        assert judge(reply, prompt.intent, prompt.slots), (prompt.intent, reply)
        for other in rng.sample(names, 3):
            kin = {intent.name, intent.same_as, table.intents[other].same_as} & {other, intent.name}
            if other != intent.name and len(kin) < 2:
                assert not judge(reply, other, prompt.slots), (other, reply)


def test_every_reply_template_is_nearest_to_its_own_intent(table):
    for intent in table.intents.values():
        talk = Talk(table, random.Random(1))
        talk.known = dict(KNOWN)
        talk.ask(intent, intent.user)
        talk.known |= table.rows["riddle"][0]
        for slot in intent.draws:
            talk.known |= talk.draw(slot)
        for text in itertools.chain(*intent.replies(talk.known)):
            reply = sentence_case(talk.fill(text))
            assert judge(reply, intent.name, talk.known), (intent.name, reply)


def test_a_remembered_name_must_be_the_right_one():
    assert judge("Your name is Anna.", "recall_name", {"name": "Anna"})
    assert not judge("Your name is Ben.", "recall_name", {"name": "Anna"})
    assert not judge("You haven't told me your name yet.", "recall_name", {"name": "Anna"})
    assert judge("You haven't told me your name yet.", "recall_name", {})
    assert not judge("Your name is Anna.", "recall_name", {})
    assert not judge("The capital of France is Rome.", "capital", load_table().rows["country"][0])


def test_a_loose_but_right_reply_is_right_and_rubbish_is_wrong():
    assert judge("You're welcome! Happy to help.", "thanks")
    assert judge("Goodbye! Come back soon.", "bye")
    assert judge("I can't do that, sorry. I only chat.", "errands")
    for rubbish in ("", "...", "the the the", "You're you name is is", "I'm"):
        assert not judge(rubbish, "thanks")
        assert not judge(rubbish, "who_are_you")


# ---------------------------------------------------------------- the recipe


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
        (["--conversations", "0"], "at least 1"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_1(tmp_path, monkeypatch, capsys, flags, complaint):
    monkeypatch.chdir(tmp_path)
    assert run("--out_dir", tmp_path, *flags) == 1
    assert complaint in (message := capsys.readouterr().err)
    assert message.count("\n") == 1
    assert not list(tmp_path.glob("*.bin"))


# ---------------------------------------------------------------- the real conversations


def said(sender, text):
    return {"sender": sender, "text": text, "timestamp": "2018-05-02T19:38:15Z"}


def test_byu_turns_are_merged_by_speaker(tmp_path):
    path = tmp_path / "dataset.json"
    talk = [[said("a", "Hello"), said("a", " how are\nyou? ")], [said("b", " ")], [said("b", "Ok")]]
    path.write_text(json.dumps({"1": {"messages": talk}, "2": {"messages": [[said("a", "Hm")]]}}))
    tally = Tally()
    (conversation,) = byu.read(path, tally)
    assert conversation.messages == [
        {"role": "user", "content": "Hello how are you?"},
        {"role": "assistant", "content": "Ok"},
    ]
    assert (tally.records_in, dict(tally.dropped)) == (2, {"nobody answered": 1})


@pytest.mark.parametrize("text", ['{"1": {"mess', "[1, 2]", '{"1": {"text": "a"}}'])
def test_byu_refuses_another_file(tmp_path, text):
    path = tmp_path / "dataset.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"is not chitchat-dataset's dataset\.json"):
        list(byu.read(path, Tally()))


def test_byu_missing_names_the_install_line(monkeypatch):
    def missing(name):
        raise byu.PackageNotFoundError(name)

    monkeypatch.setattr(byu, "distribution", missing)
    with pytest.raises(ValueError, match=r"pip install chitchat-dataset==0\.9\.0"):
        byu.installed()


def test_byu_reads_the_whole_package():
    try:
        path = byu.installed()
    except ValueError:
        pytest.skip("chitchat-dataset is not installed")
    tally = Tally()
    kept = sum(1 for _ in byu.read(path, tally))
    assert tally.records_in == 7168
    assert kept == 7168 - tally.dropped["nobody answered"] == 4017
