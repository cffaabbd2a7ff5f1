"""The reader of Slack exports: a real workspace where it is at hand, and awkward messages."""

from __future__ import annotations

import json
from pathlib import Path

from exports import NOON, exported, said

from jojo.data.contract import Tally
from jojo.data.own import slack


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
