"""The reader of Discord exports: a real slice where it is at hand, and awkward messages."""

from __future__ import annotations

import json
from pathlib import Path

from exports import NOON, discord_export, discord_message, exported, said

from jojo.data.contract import Tally
from jojo.data.own import discord


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
