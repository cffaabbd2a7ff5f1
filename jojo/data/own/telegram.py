"""Telegram, as Telegram Desktop exports it in JSON: one chat, or everything an account has.

https://core.telegram.org/import-export. Besides notices and media without text, this leaves out
what was forwarded or sent through a bot (not the sender's own words), and chats with bots.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from jojo.data.own.transcript import ChatLine, moment

if TYPE_CHECKING:
    from jojo.data.contract import Tally

LISTS = ("chats", "left_chats")  # of a whole account


def matches(data: object) -> bool:
    if not isinstance(data, dict):
        return False
    if any(_chats(data, name) for name in LISTS):
        return True
    return {"type", "id"} <= data.keys() and isinstance(data.get("messages"), list)


def read(data: dict, where: str, tally: Tally) -> Iterator[ChatLine]:
    """The messages that people wrote, chat by chat."""
    owner = data.get("personal_information")
    owner = f"user{owner.get('user_id')}" if isinstance(owner, dict) else None
    if "messages" in data:
        yield from _read_chat(data, owner, where, "", tally)
        return
    number = 0
    for name in LISTS:
        for chat in _chats(data, name):
            number += 1
            if isinstance(chat, dict) and isinstance(chat.get("messages"), list):
                yield from _read_chat(chat, owner, where, f"chat {number} ", tally)
            else:
                tally.skip("malformed chat", where=f"{where}, chat {number}")


def _chats(data: dict, name: str) -> list:
    found = data.get(name)
    found = found.get("list") if isinstance(found, dict) else None
    return found if isinstance(found, list) else []


def _read_chat(
    chat: dict, owner: str | None, where: str, prefix: str, tally: Tally
) -> Iterator[ChatLine]:
    personal = chat.get("type") == "personal_chat" and "id" in chat
    other = f"user{chat['id']}" if personal else None
    with_bot = chat.get("type") == "bot_chat"
    for number, message in enumerate(chat["messages"], start=1):
        at = f"{where}, {prefix}message {number}"
        try:
            reason = "a chat with a bot" if with_bot else _left_out(message)
            text = _text(message.get("text", ""))
        except (TypeError, AttributeError, KeyError):
            reason = "malformed message"
        if not reason and not text.strip():
            reason = "no text (an attachment)"
        if reason:
            tally.skip(reason, where=at)
            continue
        sender = str(message.get("from_id") or "")
        name = message.get("from") or message.get("author")
        author = name if isinstance(name, str) else f"Deleted Account {sender[-4:]}".strip()
        me = None
        if sender and (owner or other):
            me = sender == owner if owner else sender != other
        room = f"{where}/{chat.get('id')}"
        yield ChatLine(_time(message), author, text, at, room, me)


def _left_out(message: dict) -> str | None:
    if message.get("type") == "unsupported":
        return "no text (an attachment)"
    if message.get("type") != "message":
        return "a system notice"
    if "forwarded_from" in message or "forwarded_from_id" in message:
        return "forwarded"
    return "sent through a bot" if "via_bot" in message else None


def _text(text: str | list) -> str:
    """A string, or a list of strings and of {"type", "text"}."""
    if isinstance(text, str):
        return text
    return "".join(part if isinstance(part, str) else part["text"] for part in text)


def _time(message: dict) -> float | None:
    """Seconds since 1970; old exports have only the local time."""
    if (time := moment(message.get("date_unixtime"))) is not None:
        return time
    try:
        local = datetime.fromisoformat(message["date"])
    except (KeyError, ValueError, TypeError):
        return None
    return local.replace(tzinfo=local.tzinfo or timezone.utc).timestamp()
