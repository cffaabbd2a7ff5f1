"""The reader of Telegram exports: a real slice where it is at hand, and awkward messages."""

from __future__ import annotations

import json
from pathlib import Path

from exports import NOON, exported, said, telegram_message

from jojo.data.contract import Tally
from jojo.data.own import telegram


def test_telegram_keeps_what_people_wrote() -> None:
    link = {"type": "text_link", "text": "here", "href": "https://example.org"}
    chat = {
        "name": "Anna",
        "type": "personal_chat",
        "id": 1,
        "messages": [
            telegram_message(["see ", link, {"type": "custom_emoji", "text": "🎉"}, "!"]),
            telegram_message("ok", "Me", edited="2021-01-01T13:00:00"),
            telegram_message("", photo="(File not included.)", width=1),
            telegram_message("a caption", photo="photos/1.jpg"),
            telegram_message("", media_type="sticker", sticker_emoji="😀"),
            telegram_message("big news", forwarded_from="Some Channel"),
            telegram_message("gif", via_bot="@gif"),
            telegram_message("", type="service", action="phone_call"),
            {"id": 7, "type": "unsupported"},
            telegram_message("who am I", None),
            telegram_message([1]),
            "no message",
        ],
    }
    tally = Tally()
    assert telegram.matches(chat)
    lines = list(telegram.read(chat, "result.json", tally))
    assert said(lines) == [
        ("Anna", "see here🎉!"),
        ("Me", "ok"),
        ("Anna", "a caption"),
        ("Deleted Account 7654", "who am I"),
    ]
    assert [line.me for line in lines[:3]] == [False, True, False]
    assert tally.skipped == {
        "no text (an attachment)": 3,
        "forwarded": 1,
        "sent through a bot": 1,
        "a system notice": 1,
        "malformed message": 2,
    }


def test_a_whole_telegram_account() -> None:
    group = {"name": "Trip", "type": "private_group", "id": 4}
    data = {
        "personal_information": {"user_id": 2, "first_name": "Me"},
        "chats": {
            "about": "",
            "list": [
                group | {"messages": [telegram_message("hi"), telegram_message("hello", "Me")]},
                {
                    "name": "Clock",
                    "type": "bot_chat",
                    "id": 9,
                    "messages": [telegram_message("12:00")],
                },
                {"type": "saved_messages"},
            ],
        },
        "left_chats": {"list": [group | {"id": 5, "messages": [telegram_message("bye")]}]},
    }
    tally = Tally()
    assert telegram.matches(data)
    lines = list(telegram.read(data, "result.json", tally))
    assert [(line.text, line.me, line.room) for line in lines] == [
        ("hi", False, "result.json/4"),
        ("hello", True, "result.json/4"),
        ("bye", False, "result.json/5"),
    ]
    assert lines[2].where == "result.json, chat 4 message 1"
    assert tally.skipped == {"a chat with a bot": 1, "malformed chat": 1}


def test_the_dates_of_telegram() -> None:
    old = telegram_message("old", date="2021-01-01T12:00:00")
    del old["date_unixtime"]
    chat = {
        "type": "private_group",
        "id": 1,
        "messages": [old, telegram_message("new"), {**old, "date": 7}],
    }
    assert [line.time for line in telegram.read(chat, "t", Tally())] == [NOON, NOON, None]


def test_telegrams_own_escapes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    messages = [telegram_message("a\\x0F \\x b\x0fc"), telegram_message("ho", "Me")]
    chat = {"type": "private_group", "id": 1, "messages": messages}
    path.write_text(json.dumps(chat).replace("\\u000f", "\\x0F"), encoding="utf-8")
    assert exported(path, me="Me")[0] == [["u: a\\x0F \\x b\x0fc", "a: ho"]]


def test_the_real_telegram_chat(realdata: Path) -> None:
    found, tally = exported(realdata / "telegram" / "DM_2A_7M.json")
    assert found == [["u: world?", "a: blah blah"]]  # Alice owns it: the chat is called Bob
    assert tally.dropped == {"no assistant turn": 1, "no user turn": 1}
    assert tally.skipped == {"a system notice": 2, "no text (an attachment)": 2}
    path = realdata / "telegram" / "DM_2A_7M.json"
    assert exported(path, me="bob", gap="2000d")[0] == [
        ["a: https://google.com 👀", "u: hello world", "a: world?"]
    ]
