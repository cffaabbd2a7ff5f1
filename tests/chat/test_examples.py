"""Examples of any file, the system message they go into, gen.py --examples."""

from __future__ import annotations

import pytest
from tsuki import AS_THE_GUIDE_HAS_IT, EXAMPLES, TSUKI

import tokenizer
from jojo.chat.examples import (
    checked,
    examples_of,
    fitting_turns,
    read_examples,
    turns_of,
    with_examples,
)
from jojo.files import ROOT
from jojo.text.template import encode


def length(text: str) -> int:
    return len(tokenizer.encode(text))


# the system message


def test_the_system_message_is_that_of_the_guide():
    assert with_examples(TSUKI, EXAMPLES, 1000) == AS_THE_GUIDE_HAS_IT


def test_without_a_system_text_it_begins_with_the_examples():
    text = with_examples(None, EXAMPLES[:1], 1000)
    assert text == 'EXAMPLE INTERACTIONS:\nUser: "Hi"\nYou: "Hey there! What\'s cookin\'?"'


def test_without_room_for_any_example_the_system_text_stays_alone():
    assert with_examples(TSUKI, EXAMPLES, 20) == TSUKI
    assert with_examples(TSUKI, EXAMPLES, -5) == TSUKI
    assert with_examples(None, EXAMPLES, 3) == ""
    assert with_examples(TSUKI, [], 1000) == TSUKI


@pytest.mark.parametrize("system", [None, TSUKI, "  \n"])
def test_as_many_examples_as_fit_and_whole_ones(system):
    alone = length((system or "").strip())
    for room in range(length(AS_THE_GUIDE_HAS_IT) + 3):
        text = with_examples(system, EXAMPLES, room)
        kept = [e for e in EXAMPLES if e["bot"] in text]
        assert text == with_examples(system, kept, 1000)
        assert length(text) <= max(room, alone)
        for example in EXAMPLES:
            if example not in kept:  # nor would it have fitted after those before it
                before = [e for e in kept if EXAMPLES.index(e) < EXAMPLES.index(example)]
                text = with_examples(system, [*before, example], 1000)
                assert length(text) >= room


def test_an_example_too_long_by_itself_does_not_keep_the_others_out():
    long = {"user": "Tell me everything", "bot": "word " * 300}
    text = with_examples(TSUKI, [EXAMPLES[0], long, EXAMPLES[2]], 120)
    assert 'User: "Hi"' in text
    assert 'User: "Thanks"' in text
    assert "everything" not in text


@pytest.mark.parametrize("template", ["chatml", "person", "speaker"])
def test_examples_as_turns_take_no_more_than_their_room(template):
    whole = len(encode(turns_of(EXAMPLES), template)) - 1
    for room in range(whole + 2):
        kept = fitting_turns(EXAMPLES, room, template)
        assert len(encode(turns_of(kept), template)) - 1 <= room or not kept
    assert fitting_turns(EXAMPLES, whole, template) == EXAMPLES
    assert len(fitting_turns(EXAMPLES, whole - 1, template)) == 2


def test_turns_and_examples_are_the_same_thing():
    assert examples_of(turns_of(EXAMPLES)) == EXAMPLES


# files


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", [{"user": "Hi", "bot": "Hey you!"}]),
        ("a.json", [[{"user": "Hi", "bot": "Hey you!"}]]),
        ("a.jsonl", '{"instruction": "Hi", "input": "", "output": "Hey you!"}\n'),
        ("a.json", {"conversation_id": "1", "emotion_tags": ["x"], "messages": [
            {"role": "system", "content": TSUKI},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hey you!"},
            {"role": "user", "content": "No reply to this"},
        ]}),
        ("a.csv", "question,answer\nHi,Hey you!\n"),
        ("a.txt", "User: Hi\nBot: Hey you!\n"),
        ("a.txt", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHey you!<|im_end|>\n"),
    ],
)  # fmt: skip
def test_examples_are_read_in_every_format(name, content, file):
    assert read_examples(file(content, name)) == [{"user": "Hi", "bot": "Hey you!"}]


def test_every_reply_of_a_conversation_is_an_example(file):
    turns = turns_of(EXAMPLES)
    assert read_examples(file({"messages": turns})) == EXAMPLES


def test_the_guides_examples_and_ours_are_read(file):
    guide = [
        {
            "user": "What is your favorite color?",
            "bot": "My favorite color is blue. I find it calming and peaceful.",
        },
        {"user": "Tell me about quantum physics", "bot": "Quantum physics is the study of ..."},
    ]
    assert read_examples(file(guide)) == guide
    assert len(read_examples(ROOT / "examples" / "tsuki.jsonl")) >= 60


def test_what_cannot_be_an_example_is_left_out_and_the_rest_is_read(file, capsys):
    content = [{"user": "Hi", "bot": ""}, {"a": 1}, 7, {"user": "Hi", "bot": "Hey 🙂"}]
    assert read_examples(file(content)) == [{"user": "Hi", "bot": "Hey 🙂"}]
    told = capsys.readouterr().err
    assert "1 empty reply (first: examples.json, record 1)" in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "empty"),
        ("[]", "examples.json"),
        ("{}", "examples.json"),
        ('[{"user": "Hi"}]', "no known shape"),
        ('[{"user": "Hi", "bot": " "}]', "empty reply"),
        ('[{"messages": [{"role": "user", "content": "Hi"}]}]', "no assistant turn"),
        ("Once upon a time there was a cat.", "no user turn with a reply"),
        ("\0\1\2\3" * 100, "examples.json"),
    ],
)
def test_a_file_without_examples_is_one_clear_line(content, why, file, complaint):
    message = complaint(read_examples, file(content))
    assert "examples.json" in message
    assert why in message


def test_only_the_first_reasons_are_shown(file, complaint):
    wrong = [{"user": "Hi", "bot": ""}, {"a": 1}, 7, {"messages": [{"role": "x"}]}, {"messages": 1}]
    message = complaint(read_examples, file([*wrong, {"a": 2}]))
    assert message.count("(first: ") == 3
    assert "more; an example is" in message


def test_no_flag_is_named_that_gen_does_not_have(file, capsys):
    said = [{"timestamp": 60.0 * i, "senderName": "AB"[i % 2], "text": "x y"} for i in range(6)]
    said = [m | {"conversationId": "1", "outgoing": m["senderName"] == "B"} for m in said]
    assert read_examples(file(said))
    told = capsys.readouterr().err
    assert "the model speaks as B" in told
    assert "--me" not in told


def test_a_file_that_is_not_there(tmp_path, complaint):
    assert "does not exist" in complaint(read_examples, tmp_path / "none.json")


# examples from Python


@pytest.mark.parametrize(
    ("examples", "expected"),
    [
        (None, "NoneType"),
        ("Hi", "str"),
        ({"user": "Hi", "bot": "Hey"}, "dict"),
        (["Hi"], "example 1 is of type str"),
        ([EXAMPLES[0], {"user": "Hi"}], "example 2 has no 'bot'"),
        ([EXAMPLES[0], EXAMPLES[1], {"bot": "Hi"}], "example 3 has no 'user'"),
        ([{}], "example 1 has no 'user', only nothing"),
        ([{"user": "Hi", "reply": "Hey"}], "only 'user', 'reply'"),
        ([{"user": "Hi", "bot": 3}], "example 1: 'bot' is not text but of type int"),
        ([{"user": None, "bot": "Hey"}], "'user' is not text"),
        ([{"user": " \n", "bot": "Hey"}], "example 1: 'user' is empty"),
        ([{"user": "\ud83d", "bot": "Hey"}], "example 1: 'user' is not valid Unicode"),
    ],
)
def test_a_wrong_example_is_named(examples, expected, complaint):
    assert expected in complaint(checked, examples)


def test_right_examples_are_stripped_and_copied():
    given = [{"user": " Hi\n", "bot": "Hey 🙂", "mood": 3}]
    assert checked(given) == [{"user": "Hi", "bot": "Hey 🙂"}]
    assert checked(tuple(given)) == checked(given)
    assert checked([]) == []
    assert checked([{"user": "Hi", "assistant": "Hey"}]) == [{"user": "Hi", "bot": "Hey"}]
    assert given[0]["user"] == " Hi\n"
