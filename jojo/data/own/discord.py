"""Discord, as DiscordChatExporter writes a channel or direct messages: one JSON object each.

https://github.com/Tyrrrz/DiscordChatExporter. The text of a message is its final one: edits leave
no trace but a date.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from jojo.data.own.transcript import ChatLine

if TYPE_CHECKING:
    from jojo.data.contract import Tally

TALK = {"Default", "Reply", "0", "19"}  # other types are notices; old exports number them
STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(.*)")
RAW = re.compile(r"<(?:a?(:\w+:)\d+|@[!&]?(\d+)|#(\d+)|t:(\d{1,11})(?::\w)?)>")


def matches(data: object) -> bool:
    known = isinstance(data, dict) and {"guild", "channel", "messages"} <= data.keys()
    return known and isinstance(data["messages"], list)


def read(data: dict, where: str, tally: Tally) -> Iterator[ChatLine]:
    """The messages that people wrote."""
    channel = data["channel"] if isinstance(data["channel"], dict) else {}
    other = _other(channel, data["messages"])
    for number, message in enumerate(data["messages"], start=1):
        at = f"{where}, message {number}"
        try:
            reason = _left_out(message)
            name, also = _names(message["author"])
            text = readable(message["content"], message)
        except (KeyError, TypeError, AttributeError):
            reason = "malformed message"
        if reason:
            tally.skip(reason, where=at)
            continue
        room = f"{where}/{channel.get('id')}"
        me = None if other is None else other not in (name, *also)
        yield ChatLine(_time(message.get("timestamp")), name, text, at, room, me, also)


def _other(channel: dict, messages: list) -> str | None:
    """Direct messages are named after the other person; everybody else is the owner."""
    if channel.get("type") not in ("DirectTextChat", "1"):
        return None
    authors = [m.get("author") for m in messages if isinstance(m, dict)]
    names = [a.get(key) for a in authors if isinstance(a, dict) for key in ("name", "nickname")]
    return channel.get("name") if channel.get("name") in names else None


def _left_out(message: dict) -> str | None:
    if str(message["type"]) not in TALK:
        return "a system notice"
    if message["author"].get("isBot"):
        return "a bot"
    if message["content"].strip():
        return None
    if message.get("forwardedMessage"):
        return "forwarded"
    if any(message.get(kind) for kind in ("attachments", "embeds", "stickers")):
        return "no text (an attachment)"
    return "no text"


def _names(author: dict) -> tuple[str, tuple[str, ...]]:
    """The account's name, the same on every server, and its nickname on this one."""
    name = author["name"]
    if not isinstance(name, str):
        raise TypeError
    if name == "Deleted User":  # shared by all of them
        return f"{name} {author['id'][-4:]}", ()
    return name, tuple({author.get("nickname") or name} - {name})


def _time(stamp: object) -> float | None:
    """Seconds since 1970, of ISO 8601 with any number of decimals."""
    parts = STAMP.fullmatch(stamp) if isinstance(stamp, str) else None
    try:
        whole = datetime.fromisoformat(parts[1] + (parts[3] or "+00:00").replace("Z", "+00:00"))
    except (TypeError, ValueError):
        return None
    return whole.timestamp() + float(parts[2] or 0)


def readable(text: str, message: dict) -> str:
    """Machine-readable marks in <>, should an export have any, as people see them."""
    mentions = message.get("mentions") or []
    called = {str(m.get("id")): m.get("nickname") or m.get("name") for m in mentions}

    def shown(match: re.Match) -> str:
        emoji, user, channel, stamp = match.groups()
        if emoji:
            return emoji
        if user:
            return f"@{called.get(user) or 'someone'}"
        if channel:
            return "#channel"
        return datetime.fromtimestamp(int(stamp), timezone.utc).strftime("%Y-%m-%d %H:%M")

    return RAW.sub(shown, text)
