"""What the tests of chat exports share: messages as each program writes them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from jojo.data.contract import Tally
from jojo.data.own import recipe
from jojo.data.own.recipe import FileOptions
from jojo.data.own.transcript import ChatLine

NOON = 1609502400.0  # 2021-01-01, 12:00 UTC


def said(lines: Iterable[ChatLine]) -> list[tuple[str, str]]:
    return [(line.author, line.text) for line in lines]


def exported(path: Path, **options) -> tuple[list[list[str]], Tally]:
    """Conversations as "u: text" and "a: text" of whatever export the path holds."""
    tally = Tally()
    found = list(recipe.conversations(FileOptions(paths=(path,), **options), tally))
    return [[f"{m['role'][0]}: {m['content']}" for m in c.messages] for c in found], tally


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


def telegram_message(text: object, sender: str | None = "Anna", **more) -> dict:
    ids = {"Anna": "user1", "Me": "user2", None: "user987654"}
    message = {"id": 1, "type": "message", "date_unixtime": "1609502400", "from": sender}
    return message | {"from_id": ids.get(sender, "user9"), "text": text} | more
