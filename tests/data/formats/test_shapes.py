"""Every shape of a record and the messages it becomes, or the reason why not."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jojo.data.formats.markup import plain_text
from jojo.data.formats.records import Unusable
from jojo.data.formats.shapes import messages_of, oasst_best_path, tidy
from jojo.text.template import ROLES, decode, encode


def turns(*pairs: str) -> list[dict]:
    """ "user: hi" -> {"role": "user", "content": "hi"}"""
    return [dict(zip(("role", "content"), p.split(": ", 1), strict=True)) for p in pairs]


def named(role: str, content: str, user: str, assistant: str) -> list[dict]:
    """ "hi" and "hello" under other names."""
    return [{role: user, content: "hi"}, {role: assistant, content: "hello"}]


def read(record: object) -> tuple[list[dict], dict]:
    skipped: Counter[str] = Counter()

    def skip(reason: str) -> None:
        skipped[reason] += 1

    return tidy(messages_of(record, skip), skip), dict(skipped)


HI = turns("user: hi", "assistant: hello")
OTHER_NAMES = [
    ("human", "gpt"),
    ("prompter", "assistant"),
    ("Human", "AI"),
    ("user", "model"),
    ("user", "bot"),
    ("human", "chatgpt"),
    ("human", "bing"),
    ("human", "bard"),
]
SHAPES = {
    "messages": {"messages": HI},
    "thread": {"conversation_id": "c1", "messages": HI, "emotion_tags": ["playful", "curious"]},
    "bare list": HI,
    "ShareGPT": {"id": "x_0", "conversations": named("from", "value", "human", "gpt")},
    "speaker and text": {"conversation": named("speaker", "text", "user", "bot")},
    "instruction, input, output": {"instruction": "hi", "input": "", "output": "hello"},
    "instruction, response": {"instruction": "hi", "response": "hello"},
    "Dolly": {"instruction": "hi", "context": "", "response": "hello", "category": "open_qa"},
    "input, output": {"input": "hi", "output": "hello"},
    "user, assistant": {"user": "hi", "assistant": "hello"},
    "user, bot": {"user": "hi", "bot": "hello"},
    "list of user, bot": [{"user": "hi", "bot": "hello"}],
    "prompt, completion": {"prompt": "hi", "completion": " hello"},
    "prompt, response": {"prompt": "hi", "response": "hello"},
    "prompt and completion of turns": {"prompt": HI[:1], "completion": HI[1:]},
    "question, answer": {"question": "hi", "answer": "hello"},
    "columns of a table": {" Question ": "hi", "ANSWER": "hello", "Unnamed": ""},
    "turns in a cell": {"messages": json.dumps(HI)},
    "utterances": {"dialog": ["hi ", " hello"], "act": [1, 2]},
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}, HI[1]]},
    **{f"{u}, {a}": named("role", "content", u, a) for u, a in OTHER_NAMES},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_says_the_same(shape):
    assert read(SHAPES[shape]) == (HI, {})


def test_what_an_instruction_is_about_follows_it():
    expected = turns("user: Sum it up.\n\nA text.", "assistant: Short.")
    assert (
        read({"instruction": "Sum it up.", "input": "A text.\n", "output": "Short."})[0] == expected
    )
    assert (
        read({"instruction": "Sum it up.", "context": "A text.", "response": "Short."})[0]
        == expected
    )
    assert read({"question": "Sum it up.", "context": "A text.", "answer": "Short."})[0] == expected


@pytest.mark.parametrize(
    "nothing", ["<noinput>", "Noinput", "No input.", "<No input>", " N/A", "None"]
)
def test_words_for_no_input_are_none(nothing):
    expected = turns("user: Say hi.", "assistant: hi")
    assert read({"instruction": "Say hi.", "input": nothing, "output": "hi"})[0] == expected


def test_an_input_that_only_mentions_it_stays():
    record = {"instruction": "Explain.", "input": "There is no input here", "output": "hi"}
    assert read(record)[0][0]["content"] == "Explain.\n\nThere is no input here"


def test_the_situation_of_a_help_desk_chat_is_a_system_message():
    record = {"context": "User is frustrated", "user": "It crashes!", "assistant": "Oh no."}
    assert read(record)[0] == turns(
        "system: User is frustrated", "user: It crashes!", "assistant: Oh no."
    )
    assert read({"system": "Be kind.", "messages": HI})[0] == turns("system: Be kind.") + HI


def test_a_user_bot_list_is_one_conversation():
    record = [{"user": "a", "bot": "b"}, {"user": "c", "bot": "d"}]
    assert read(record)[0] == turns("user: a", "assistant: b", "user: c", "assistant: d")


def test_fine_tuning_files_with_tools_images_and_weights():
    record = {
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Rain?"}, {"type": "image_url"}]},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
            {"role": "tool", "tool_call_id": "1", "content": "17 mm"},
            {"role": "assistant", "content": "Yes."},
            {"role": "user", "content": "Sure?"},
            {"role": "assistant", "content": "Go away.", "weight": 0},
            {"role": "user", "content": "Thanks"},
            {"role": "assistant", "content": "Gladly.", "weight": 1},
            {"role": "assistant", "content": ""},
        ],
        "tools": [{"type": "function"}],
    }
    messages, skipped = read(record)
    assert messages == turns(
        "system: Be brief.",
        *("user: Rain?", "assistant: Yes.", "user: Thanks", "assistant: Gladly."),
    )
    assert skipped == {
        "part that is not text": 1,
        "call of a tool": 1,
        "turn of a tool": 1,
        "turn of weight 0": 1,
        "empty turn": 1,
    }


def test_tidy_strips_merges_and_ends_in_a_reply():
    messages = turns(
        "user: a ", "user:  b", "assistant: \u200b", "assistant: c", "assistant: d", "user: e"
    )
    skipped = []
    assert tidy(messages, skipped.append) == turns("user: a\nb", "assistant: c\nd")
    assert skipped == ["empty turn", "last turn without a reply"]
    assert messages[0] == {"role": "user", "content": "a "}, "what comes in is left alone"


def test_a_first_reply_without_its_question_stays_as_context():
    said = [("gpt", "Long story."), ("human", "shorter"), ("gpt", "Story.")]
    record = {"conversations": [{"from": name, "value": text} for name, text in said]}
    assert read(record)[0] == turns("assistant: Long story.", "user: shorter", "assistant: Story.")


BAD = {
    "not an object but a number": 42,
    "not an object but a text": "hello",
    "not an object but null": None,
    "no known shape": {"text": "hello"},
    "no turns": {"conversations": []},
    "a text where turns should be": {"messages": "hello"},
    "a turn is not an object but a number": {"messages": [HI[0], 3]},
    "a turn's text is a number": {"messages": [HI[0], {"role": "assistant", "content": 4}]},
    "unknown role": {"messages": [HI[0], {"role": "narrator", "content": "so it was"}]},
    "malformed JSON in a cell": {"messages": "[{'role'"},
    "no turn with text": {"messages": turns("user:  ", "assistant: \n")},
    "no assistant turn": {"messages": turns("user: a", "user: b")},
    "no user turn": {"messages": turns("system: s", "assistant: a")},
    "no user turn with a reply": {"messages": turns("assistant: a", "user: b")},
    "empty question": {"instruction": " ", "output": "x"},
    "empty reply": {"instruction": "x", "input": "y", "output": ""},
    "a number where text should be": {"question": "2 + 2", "answer": 4},
    "a list where text should be": {"question": "who?", "answer": ["me"]},
    "first message empty, deleted or turned down": {
        "message_tree_id": "1",
        "prompt": {"replies": 3},
    },
}


@pytest.mark.parametrize("reason", BAD)
def test_what_cannot_be_used_has_a_reason(reason):
    with pytest.raises(Unusable) as caught:
        read(BAD[reason])
    assert str(caught.value) == reason


def node(text: str, role: str = "assistant", *replies: dict, **facts) -> dict:
    return {"text": text, "role": role, "lang": "en", "replies": list(replies), **facts}


def test_the_best_path_of_a_tree():
    tree = {"message_tree_id": "1", "prompt": node(
        "hi", "prompter",
        node("worse", rank=1),
        node("deleted", rank=0, deleted=True),
        node("turned down", rank=0, review_result=False),
        node("other language", rank=0, lang="de"),
        node("not ranked"),
        node(
            "best", "assistant",
            node("and?", "prompter", node("so", "assistant", rank=None)),
            rank=0, deleted=False, review_result=True,
        ),
    )}  # fmt: skip
    path = turns("user: hi", "assistant: best", "user: and?", "assistant: so")
    assert oasst_best_path(tree) == path
    assert oasst_best_path(tree, lang=None)[1]["content"] == "other language"
    assert read(tree)[0][1]["content"] == "other language"
    with pytest.raises(Unusable, match="not in the language de"):
        oasst_best_path(tree, lang="de")
    tree["prompt"]["deleted"] = True
    with pytest.raises(Unusable, match="first message empty, deleted or turned down"):
        oasst_best_path(tree)


def test_a_reply_saved_as_html_becomes_text():
    page = (
        '<div class="markdown prose w-full break-words"><p>Use <code>x&lt;1</code>,\n see:</p>'
        "<ol><li><p>First</p></li><li>Second</li></ol><ul><li>dot</li></ul>"
        "<pre><div>python<button>Copy code</button></div>"
        "<code>if a:\n    b()</code></pre><p>Done.</p></div>"
    )
    expected = (
        "Use `x<1`, see:\n\n1. First\n2. Second\n\n- dot\n\n```python\nif a:\n    b()\n```\n\nDone."
    )
    assert plain_text(page) == expected
    said = [("human", "<p>Why?"), ("gpt", page)]
    record = {"conversations": [{"from": name, "value": text} for name, text in said]}
    assert [m["content"] for m in read(record)[0]] == ["<p>Why?", expected]


@pytest.mark.parametrize(
    "text",
    [
        "Use <div> here:\n```\n<div class='x'>\n```",
        "List<String> a;",
        "a < b && c > d",
        "<b>no</b>",
        "<p",
    ],
)
def test_html_that_is_the_subject_stays(text):
    assert plain_text(text) == text


TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
MESSAGES = st.lists(st.fixed_dictionaries({"role": st.sampled_from(ROLES), "content": TEXT}))


@given(MESSAGES)
def test_whatever_tidy_returns_is_a_conversation(messages):
    try:
        tidied = tidy(messages)
    except Unusable:
        return
    roles = [m["role"] for m in tidied]
    assert all(m["content"] and m["content"] == m["content"].strip() for m in tidied)
    assert all(a != b for a, b in pairwise(roles))
    assert roles[-1] == "assistant"
    assert ("user", "assistant") in pairwise(roles)
    assert tidy(tidied) == tidied
    assert decode(encode(tidied), "chatml") == tidied


KEYS = (
    "messages",
    "conversations",
    "prompt",
    "replies",
    "role",
    "from",
    "content",
    "value",
    "text",
)
VALUE = st.recursive(
    st.none() | st.integers() | st.sampled_from(("user", "gpt", "[", "")),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.sampled_from(KEYS), x),
    max_leaves=10,
)


@given(VALUE)
def test_any_record_is_usable_or_not(record):
    try:
        messages = tidy(messages_of(record))
    except Unusable:
        return
    assert all(type(m["content"]) is str for m in messages)
