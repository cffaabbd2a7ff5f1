"""The readers of chat exports: real slices where they are at hand, and faithful awkward cases."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from jojo.data.contract import Tally
from jojo.data.own import discord, interviews, recipe, slack, telegram, whatsapp
from jojo.data.own.recipe import FileOptions
from jojo.data.own.transcript import ChatLine

LRM = "\u200e"
NOON = 1609502400.0  # 2021-01-01, 12:00 UTC


def said(lines: Iterable[ChatLine]) -> list[tuple[str, str]]:
    return [(line.author, line.text) for line in lines]


def exported(path: Path, **options) -> tuple[list[list[str]], Tally]:
    """Conversations as "u: text" and "a: text" of whatever export the path holds."""
    tally = Tally()
    found = list(recipe.conversations(FileOptions(paths=(path,), **options), tally))
    return [[f"{m['role'][0]}: {m['content']}" for m in c.messages] for c in found], tally


# Discord


def discord_message(content: str, author: str = "anna", **more) -> dict:
    return {
        "id": "1",
        "type": "Default",
        "timestamp": "2021-01-01T12:00:00.25+00:00",
        "timestampEdited": None,
        "content": content,
        "author": {"id": "10000004321", "name": author, "nickname": author.title(), "isBot": False},
        "attachments": [],
        "embeds": [],
        "stickers": [],
        "mentions": [],
    } | more


def discord_export(*messages: object, kind: str = "GuildTextChat", name: str = "general") -> dict:
    channel = {"id": "77", "type": kind, "name": name}
    return {"guild": {"id": "0", "name": "Server"}, "channel": channel, "messages": list(messages)}


def test_discord_a_date_that_is_none_stays_as_it_stands() -> None:
    assert discord.readable("<t:99999999999999> <t:0>", {}) == "<t:99999999999999> 1970-01-01 00:00"


def test_discord_keeps_what_people_wrote() -> None:
    mentions = [{"id": "5", "name": "bob", "nickname": "Bobby"}]
    bot = {"id": "9", "name": "clock", "nickname": "clock", "isBot": True}
    gone = {"id": "456250826466230273", "name": "Deleted User", "nickname": "Deleted User"}
    data = discord_export(
        discord_message("hi **all** :wave: @bob"),
        discord_message(
            "<@!5> <:party:123> <a:dance:4> <#6> <@7> <t:1609502400:R>", mentions=mentions
        ),
        discord_message("an answer", "bob", type="Reply", timestampEdited="2021-01-02T12:00:00Z"),
        discord_message("Joined the server.", type="GuildMemberJoin"),
        discord_message("Started a call that lasted 251 minutes.", type="Call"),
        discord_message("beep", author="clock") | {"author": bot},
        discord_message("", attachments=[{"fileName": "cat.png"}]),
        discord_message("", stickers=[{"name": "wave"}]),
        discord_message("look", embeds=[{"title": "A page"}]),
        discord_message("", forwardedMessage={"content": "somebody else's words"}),
        discord_message(" "),
        discord_message("bye") | {"author": gone},
        "no message",
        {"type": "Default"},
        discord_message(None),
    )
    tally = Tally()
    assert discord.matches(data)
    lines = list(discord.read(data, "d.json", tally))
    assert said(lines) == [
        ("anna", "hi **all** :wave: @bob"),
        ("anna", "@Bobby :party: :dance: #channel @someone 2021-01-01 12:00"),
        ("bob", "an answer"),
        ("anna", "look"),
        ("Deleted User 0273", "bye"),
    ]
    assert tally.skipped == {
        "a system notice": 2,
        "a bot": 1,
        "no text (an attachment)": 2,
        "no text": 1,
        "forwarded": 1,
        "malformed message": 3,
    }
    assert tally.first["a bot"] == "d.json, message 6"
    assert lines[0].time == NOON + 0.25
    assert lines[0].also == ("Anna",)
    assert {line.me for line in lines} == {None}


def test_in_direct_messages_of_discord_the_owner_is_known() -> None:
    data = discord_export(
        discord_message("hi", "me"),
        discord_message("hey", "anna"),
        kind="DirectTextChat",
        name="Anna",
    )
    assert [line.me for line in discord.read(data, "d.json", Tally())] == [True, False]
    data["channel"]["name"] = "a name she had before"
    assert [line.me for line in discord.read(data, "d.json", Tally())] == [None, None]


def test_the_real_discord_exports(realdata: Path) -> None:
    found, tally = exported(realdata / "discord" / "DM_2A_2M.json")
    assert (found, tally.records_in) == ([], 1)
    assert tally.skipped == {"a bot": 1, "a system notice": 1}
    data = json.loads((realdata / "discord" / "example_guild_general.json").read_text("utf-8"))
    (line,) = discord.read(data, "x.json", Tally())
    assert (line.author, line.time) == ("Adam", 1673013783.853)
    assert line.text.startswith("Thank you for choosing **DiscordChatExporter-frontend** - Enjoy")


# Telegram


def telegram_message(text: object, sender: str | None = "Anna", **more) -> dict:
    ids = {"Anna": "user1", "Me": "user2", None: "user987654"}
    message = {"id": 1, "type": "message", "date_unixtime": "1609502400", "from": sender}
    return message | {"from_id": ids.get(sender, "user9"), "text": text} | more


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


# WhatsApp


IOS = f"""{LRM}[31.01.21, 09:00:00] Rome: Trip: {LRM}Messages and calls are end-to-end encrypted.
[31.01.21, 09:00:01] Anna: Hi
second line: with a colon

fourth
[31.01.21, 09:00:02] Bob: {LRM}image omitted
{LRM}[31.01.21, 09:00:03] Bob: {LRM}<attached: 00000012-PHOTO-2021-01-31.jpg>
[31.01.21, 09:00:04] ~\u202fKim: look {LRM}<attached: 00000013-PHOTO-2021-01-31.jpg>
[01.02.21, 09:00:05] Bob: fixed it {LRM}<This message was edited>
[01.02.21, 09:00:06] Bob: {LRM}This message was deleted.
[01.02.21, 09:00:07] Bob: {LRM}Missed voice call
[01.02.21, 09:00:08] Bob: report.pdf • {LRM}3 pages {LRM}document omitted
[01.02.21, 09:00:09] Anna: @\u2068Bob Smith\u2069 you <3 it?
[01.02.21, 09:00:10] Anna: {LRM}Anna changed the group name to “Rome: the trip”
"""
ANDROID = """12/31/20, 9:05\u202fPM - Messages and calls are end-to-end encrypted. Learn more.
12/31/20, 9:05\u202fPM - Bob changed the subject from "a: b" to "c"
12/31/20, 9:05\u202fPM - Bob: Work: Hi
12/31/20, 9:06\u202fPM - Bob: Work: what's up: you?
12/31/20, 9:06\u202fPM - Bob: Work: <Media omitted>
12/31/20, 12:07\u202fAM - Anna: IMG-20201231-WA0001.jpg (file attached)
nice view
12/31/20, 9:07\u202fPM - Anna: IMG-20201231-WA0002.jpg (Datei angehängt)
12/31/20, 9:08\u202fPM - Anna: I ran setup.py (again)
12/31/20, 9:08\u202fPM - Anna: null
12/31/20, 9:08\u202fPM - Anna: You deleted this message
12/31/20, 9:08\u202fPM - Anna: Diese Nachricht wurde gelöscht.
12/31/20, 9:09\u202fPM - Anna: done <This message was edited>
12/31/20, 9:09\u202fPM - Anna: location: https://maps.google.com/?q=1.0,2.0
12/31/20, 9:09\u202fPM - Anna: <Medien ausgeschlossen>
12/31/20, 9:09\u202fPM - Anna: <grin>
12/31/20, 9:09\u202fPM - Anna: Missed video call
12/31/20, 9:10\u202fPM - Anna left
12/31/20, 9:11\u202fPM - Bob: Work: bye
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_whatsapp_of_ios(newline: str) -> None:
    text, tally = IOS.replace("\n", newline), Tally()
    assert whatsapp.matches(text)
    lines = list(whatsapp.read(text, "chat.txt", tally))
    assert said(lines) == [
        ("Anna", "Hi\nsecond line: with a colon\n\nfourth"),
        ("Kim", "look"),
        ("Bob", "fixed it"),
        ("Anna", "@Bob Smith you <3 it?"),
    ]
    assert tally.skipped == {
        "a system notice": 3,
        "no text (an attachment)": 3,
        "a deleted message": 1,
    }
    assert [line.time - 1612083600 for line in lines] == [1, 4, 86405, 86409]
    assert lines[1].where == "chat.txt, line 8"


def test_whatsapp_of_android() -> None:
    tally = Tally()
    assert whatsapp.matches(ANDROID)
    lines = list(whatsapp.read(ANDROID, "chat.txt", tally))
    assert said(lines) == [
        ("Bob: Work", "Hi"),
        ("Bob: Work", "what's up: you?"),
        ("Anna", "nice view"),
        ("Anna", "I ran setup.py (again)"),
        ("Anna", "done"),
        ("Anna", "<grin>"),
        ("Bob: Work", "bye"),
    ]
    assert tally.skipped == {
        "a system notice": 4,
        "no text (an attachment)": 5,
        "a deleted message": 2,
    }
    assert lines[0].time - lines[2].time == 21 * 3600 - 2 * 60  # 9:05 PM and 12:07 AM


@pytest.mark.parametrize(
    ("head", "time"),
    [
        ("1/13/21, 12:00 - ", 12),
        ("13/1/21, 12:00 - ", 12),
        ("2021-01-13, 12:00 - ", 12),
        ("13.1.2021 klo 12.00 - ", 12),
        ("[13.1.2021 klo 12.00.00] ", 12),
        ("[2021/1/13 下午3:00:00] ", 15),
        ("13/01/2021 à 12:00 - ", 12),
        ("13/01/2021, 3:00 p. m. - ", 15),
        ("13-1-21 12:00 - ", 12),
        ("13/01/17, 12:00:00: ", 12),
        ("[13/01/2021, 3:00:00\u202fPM] ", 15),
        ("[1/13/21, 12:00:00 AM] ", 0),
        ("\ufeff13/01/2021, 12:00 - ", 12),
        (f"{LRM}[13/01/2021, 12:00:00] ", 12),
    ],
)
def test_the_dates_of_whatsapp(head: str, time: int) -> None:
    text = f"{head}Anna: hi\n"
    day = 1484265600 if "/17," in head else 1610496000
    assert whatsapp.matches(text)
    assert [line.time for line in whatsapp.read(text, "c", Tally())] == [day + time * 3600]


@pytest.mark.parametrize(
    ("dates", "day_first"),
    [
        (("1/2/21", "13/2/21"), True),
        (("1/2/21", "1/13/21"), False),
        (("10/1/21", "1/2/21"), True),  # else time would run back
        (("1/10/21", "2/1/21"), False),
        (("1.2.21", "1.2.21"), True),
        (("1/2/21", "1/2/21"), False),
    ],
)
def test_day_and_month_are_told_from_the_whole_file(dates, day_first: bool, capsys) -> None:
    text = "".join(f"{date}, 12:00 - A: x\n" for date in dates)
    first = next(iter(whatsapp.read(text, "chat.txt", Tally()))).time
    a, b, _ = (int(n) for n in dates[0].replace(".", "/").split("/"))
    day, month = (a, b) if day_first else (b, a)
    days_before = {1: 0, 2: 31, 10: 273}[month]
    assert first == NOON + (days_before + day - 1) * 86400
    noted = (
        "chat.txt: 1/2/21 may be day/month or month/day; read as month/day"
        in capsys.readouterr().err
    )
    assert noted == (dates == ("1/2/21", "1/2/21"))


def test_other_text_is_no_whatsapp_chat() -> None:
    for text in (
        "",
        "Hello: you",
        "2021-01-04 12:00:01 - INFO: started",
        "12. the list: x",
        "[1] a: b",
        "A note\n1/1/21, 12:00 - A: Hi",
        "1/1/21, 12:00 - nobody speaks",
        '{"a: b": 1}',
    ):
        assert not whatsapp.matches(text), text


def test_an_impossible_date_has_no_time() -> None:
    text = "13/13/21, 12:00 - A: x\n13/12/21, 25:00 - A: y\n"
    assert [line.time for line in whatsapp.read(text, "c", Tally())] == [None, None]


def test_the_real_whatsapp_chat(realdata: Path) -> None:
    found, tally = exported(realdata / "whatsapp")
    assert found == [["a: Hi", "u: Whats up?", "a: All good\nThis message should be reordered"]]
    assert tally.skipped == {"no text (an attachment)": 1}
    assert tally.records_in == 1


# Slack


def slack_message(
    text: str, user: str | None = "U1", ts: str = "1609502400.000100", **more
) -> dict:
    return {"type": "message", "user": user, "text": text, "ts": ts} | more


def slack_export(folder: Path, days: dict[str, object]) -> Path:
    users = [
        {"id": "U1", "name": "anna", "profile": {"display_name": "Anna", "real_name": "Anna Lee"}},
        {
            "id": "U2",
            "name": "bob",
            "deleted": True,
            "profile": {"real_name": "Bob", "display_name": ""},
        },
        {"id": "U3", "name": "clock", "is_bot": True, "profile": {}},
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "users.json").write_text(json.dumps(users))
    (folder / "channels.json").write_text(json.dumps([{"id": "C1", "name": "general"}]))
    for name, messages in days.items():
        (folder / name).parent.mkdir(exist_ok=True)
        text = messages if isinstance(messages, str) else json.dumps(messages)
        (folder / name).write_text(text)
    return folder


def test_slack_keeps_what_people_wrote(tmp_path: Path) -> None:
    old_file = {"user": "U2", "comment": "what a file"}
    messages = [
        slack_message(
            "<@U2> <@U1|a> <@U9> <#C1> <#C2|dev> <!here> <!subteam^S1|@devs> a &lt; b &amp;amp;"
        ),
        slack_message(
            "<https://a.org|a page> <https://b.org> <mailto:x@y.org|x@y.org> <!date^1^{d}|today>"
        ),
        slack_message("Bob's words", "U2", subtype="me_message", edited={"user": "U2"}),
        slack_message(
            "of another team", "U7", user_profile={"display_name": "", "real_name": "Eve"}
        ),
        slack_message("long gone", "U8"),
        slack_message("a picture", subtype="file_share", files=[{}]),
        slack_message("", files=[{}]),
        slack_message(
            "<@U1> uploaded a file: <https://x/y|y> and commented: mine", subtype="file_share"
        ),
        slack_message("<@U1> uploaded a file: <https://x/y|y>", subtype="file_share"),
        slack_message("<@U2> commented on ...", None, subtype="file_comment", comment=old_file),
        slack_message("<@U1> has joined the channel", subtype="channel_join"),
        slack_message("beep", None, subtype="bot_message", bot_id="B1"),
        slack_message("beep", "U3"),
        slack_message("reminder", "USLACKBOT"),
        slack_message("", "U1", subtype="tombstone"),
        slack_message("", None, subtype="message_changed", hidden=True),
        "no message",
        slack_message("no time", ts="soon"),
    ]
    folder = slack_export(tmp_path / "x", {"general/2021-01-01.json": messages})
    tally = Tally()
    lines = list(slack.read(folder, "x.zip", tally))
    assert said(lines) == [
        ("Anna", "@Bob @Anna @someone #general #dev @here @devs a < b &amp;"),
        ("Anna", "a page https://b.org x@y.org today"),
        ("Bob", "Bob's words"),
        ("Eve", "of another team"),
        ("Deleted user U8", "long gone"),
        ("Anna", "a picture"),
        ("Anna", "mine"),
        ("Bob", "what a file"),
    ]
    assert tally.skipped == {
        "no text (an attachment)": 2,
        "a system notice": 1,
        "a bot": 3,
        "a deleted message": 1,
        "an edit": 1,
        "malformed message": 2,
    }
    assert lines[0].time == NOON + 0.0001
    assert lines[0].also == ("Anna Lee", "anna", "U1")
    assert lines[0].where == "x.zip, general/2021-01-01.json message 1"


def test_a_thread_of_slack_is_a_conversation_of_its_own_however_long(tmp_path: Path) -> None:
    root = "1609502400.000100"
    first = [
        slack_message("a question", ts=root, thread_ts=root),
        slack_message("lunch?", ts="1609502401.0"),
        slack_message("yes", "U2", ts="1609502402.0"),
    ]
    later = [
        slack_message(
            "an answer", "U2", "1609761600.0", thread_ts=root, subtype="thread_broadcast"
        ),
        slack_message("coffee?", ts="1609761601.0"),
        slack_message("no", "U2", ts="1609761602.0"),
    ]
    days = {
        "general/2021-01-01.json": first,
        "general/2021-01-04.json": later,
        "general/x.txt": "1",
    }
    folder = slack_export(tmp_path, days)
    assert exported(folder, me="bob")[0] == [
        ["u: a question", "a: an answer"],
        ["u: lunch?", "a: yes"],
        ["u: coffee?", "a: no"],
    ]


def test_a_slack_export_is_told_by_its_files() -> None:
    assert slack.matches(["channels.json", "users.json", "general/2021-01-01.json"])
    assert slack.matches(["Team export/users.json", "Team export/D0123/2021-01-01.json"])
    assert not slack.matches(["channels.json", "users.json"])
    assert not slack.matches(["general/2021-01-01.json", "a/users.json"])


def test_a_damaged_day_is_skipped(tmp_path: Path) -> None:
    good = [slack_message("hi"), slack_message("ho", "U2")]
    days = {"general/2021-01-01.json": "{not json", "general/2021-01-02.json": good}
    found, tally = exported(slack_export(tmp_path, days), me="Bob")
    assert found == [["u: hi", "a: ho"]]
    assert tally.skipped == {"malformed day": 1}


def test_the_real_slack_workspace(realdata: Path) -> None:
    found, tally = exported(realdata / "slack" / "testarchive.zip")
    assert len(found) == 2
    assert found[0][:3] == [
        "a: @abilinski: Created an issue for a setup.py so that it can be installed to a standard "
        "place\nNeed that done before it can be used in victoria",
        "u: what should setup.py do? install dependencies for docker and install docker plus "
        "contain the executor?",
        'a: Nope. Just "install" the executor.',
    ]
    assert tally.records_in == 11
    assert tally.dropped == {
        "no user turn": 4,
        "no assistant turn": 3,
        "no user turn with a reply": 2,
    }
    assert tally.skipped == {"a bot": 94, "a system notice": 11, "no text (an attachment)": 3}
    for name in ("Harry Potter", "abilinski", "U0BMYT2FL"):  # any of one person's names
        assert exported(realdata / "slack" / "testarchive.zip", me=name)[0][0][0].startswith(
            "u: @abi"
        )


# Interviews, and telling them all apart


def test_interviews() -> None:
    base = {"conversationId": "1", "senderName": "Bob", "timestamp": NOON, "outgoing": True}
    data = [base | {"text": "hi"}, base | {"text": " "}, base | {"text": 1}, "x"]
    data += [base | {"text": "ho", "outgoing": "yes", "timestamp": "now"}]
    tally = Tally()
    assert interviews.matches(data)
    lines = list(interviews.read(data, "i.json", tally))
    assert [(line.text, line.time, line.me) for line in lines] == [
        ("hi", NOON, True),
        ("ho", None, None),
    ]
    assert tally.skipped == {"no text": 1, "malformed message": 2}


def test_each_form_is_recognised_as_itself_alone() -> None:
    forms = {
        discord: discord_export(discord_message("hi")),
        telegram: {"type": "private_group", "id": 1, "messages": [telegram_message("hi")]},
        interviews: [{"conversationId": "1", "senderName": "Bob", "text": "hi"}],
    }
    for data in forms.values():
        assert [kind for kind in forms if kind.matches(data)] == [
            kind for kind in forms if forms[kind] is data
        ]
    for other in (
        [],
        {},
        None,
        1,
        "x",
        [1],
        [{}],
        {"messages": []},
        {"chats": []},
        {"chats": {"list": 1}},
    ):
        assert not any(kind.matches(other) for kind in forms), other


def test_a_folder_of_exports_with_other_files_and_zips(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1/13/21, 12:00 - Anna: hi\n1/13/21, 12:01 - Bob: ho\n")
    (tmp_path / "b.json").write_text('{"some": "settings"}')
    (tmp_path / "c.json").write_text('{"cut off')
    (tmp_path / "picture.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with zipfile.ZipFile(tmp_path / "WhatsApp Chat - Bob.zip", "w") as archive:
        archive.writestr(
            "_chat.txt", "[13.01.21, 12:00:00] Anna: ja?\n[13.01.21, 12:00:01] Bob: nein\n"
        )
    found, tally = exported(tmp_path, me="Bob")
    assert found == [["u: ja?", "a: nein"], ["u: hi", "a: ho"]]
    assert tally.dropped == {"no known shape": 1, "malformed JSON": 1, "a file that is an image": 1}


def test_exports_in_other_encodings(tmp_path: Path) -> None:
    text = "1/13/21, 12:00 - Anna: hé\n1/13/21, 12:01 - Bob: ho\n"
    for encoding in ("utf-8-sig", "utf-16", "cp1252"):
        (tmp_path / "a.txt").write_text(text, encoding=encoding)
        assert exported(tmp_path / "a.txt", me="Bob")[0] == [["u: hé", "a: ho"]]
