"""Slack's workspace export: a folder (zipped) of channels, each a folder with a file per day.

    users.json channels.json groups.json dms.json mpims.json general/2021-01-31.json

https://slack.com/help/articles/220556107. A thread is a room of its own, with the message that
opens it, and is never cut at silences: an answer belongs to its thread however late it comes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from jojo.data.own.transcript import ChatLine

if TYPE_CHECKING:
    from jojo.data.contract import Tally

LISTS = ("channels.json", "groups.json", "dms.json", "mpims.json", "users.json")
DAY = re.compile(r"\d{4}-\d\d-\d\d\.json")
TALK = {None, "me_message", "thread_broadcast", "file_share", "file_comment"}
REASONS = {
    "bot_message": "a bot",
    "tombstone": "a deleted message",
    "message_changed": "an edit",
    "message_deleted": "an edit",
}
LINK = re.compile(r"<([^<>\s|]+)(?:\|([^<>]*))?>|<(!date\^[^<>|]*)\|([^<>]*)>")
UPLOADED = re.compile(
    r"<@\w+(?:\|[^<>]*)?> (?:uploaded|shared) a file: <[^<>]*>\s*(?:and commented: )?"
)


def matches(names: Sequence[str]) -> bool:
    paths = [PurePosixPath(name.replace("\\", "/")) for name in names]
    roots = {p.parent for p in paths if p.name in LISTS}
    return any(DAY.fullmatch(p.name) and p.parent.parent in roots for p in paths)


def read(folder: Path, where: str, tally: Tally) -> Iterator[ChatLine]:
    """The messages that people wrote: channel by channel, day by day."""
    root = min(
        (p.parent for p in folder.rglob("*.json") if p.name in LISTS), key=lambda p: len(p.parts)
    )
    people = _People(root)
    for channel in sorted(path for path in root.iterdir() if path.is_dir()):
        for day in sorted(p for p in channel.iterdir() if DAY.fullmatch(p.name)):
            name = f"{where}, {channel.name}/{day.name}"
            messages = _load(day)
            if not isinstance(messages, list):
                tally.skip("malformed day", where=name)
                continue
            for number, message in enumerate(messages, start=1):
                at = f"{name} message {number}"
                try:
                    line = _line(message, people, at, f"{where}/{channel.name}")
                except (KeyError, TypeError, AttributeError, ValueError):
                    line = "malformed message"
                if isinstance(line, str):
                    tally.skip(line, where=at)
                else:
                    yield line


def _load(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


class _People:
    """Names behind the ids of users and channels."""

    def __init__(self, root: Path):
        self.names: dict[str, tuple[str, ...]] = {}  # the one shown, then the others
        self.bots: set[str] = {"USLACKBOT"}
        self.channels: dict[str, str] = {}
        for user in self._listed(root / "users.json"):
            profile = user.get("profile") or {}
            names = [profile.get("display_name"), profile.get("real_name"), user.get("real_name")]
            names = [n for n in (*names, user.get("name")) if isinstance(n, str) and n.strip()]
            self.names[user["id"]] = tuple(dict.fromkeys(names)) or (user["id"],)
            if user.get("is_bot"):
                self.bots.add(user["id"])
        for file in LISTS[:-1]:
            for channel in self._listed(root / file):
                self.channels[channel["id"]] = channel.get("name") or channel["id"]

    @staticmethod
    def _listed(path: Path) -> list[dict]:
        found = _load(path)
        found = found if isinstance(found, list) else []
        return [x for x in found if isinstance(x, dict) and isinstance(x.get("id"), str)]

    def of(self, user: str, profile: object = None) -> tuple[str, ...]:
        """Names of a user; of one no longer listed, those in the message itself, or the id."""
        if user in self.names:
            return self.names[user]
        profile = profile if isinstance(profile, dict) else {}
        names = [profile.get(key) for key in ("display_name", "real_name", "name")]
        return tuple(dict.fromkeys(n for n in names if n)) or (f"Deleted user {user}",)


def _line(message: dict, people: _People, at: str, room: str) -> ChatLine | str:
    """The message, or why it is left out."""
    subtype, user, text = message.get("subtype"), message.get("user"), message.get("text") or ""
    if subtype not in TALK or message.get("hidden"):
        return REASONS.get(subtype, "a system notice")
    if subtype == "file_comment":  # old exports: the text is in `comment`
        user, text = message["comment"]["user"], message["comment"]["comment"]
    if user in people.bots or (message.get("bot_id") and subtype != "file_share") or not user:
        return "a bot"
    text = readable(UPLOADED.sub("", text, count=1), people)
    if not text.strip():
        return "no text (an attachment)"
    name, *also = people.of(user, message.get("user_profile"))
    if thread := message.get("thread_ts"):
        return ChatLine(None, name, text, at, f"{room}/{thread}", also=(*also, user))
    return ChatLine(float(message["ts"]), name, text, at, room, also=(*also, user))


def readable(text: str, people: _People) -> str:
    """Slack's <...> and &amp; as people see them."""

    def shown(match: re.Match) -> str:
        target, label = match[1] or match[3], match[2] if match[1] else match[4]
        if target[0] == "@":
            return (
                f"@{people.of(target[1:])[0] if target[1:] in people.names else label or 'someone'}"
            )
        if target[0] == "#":
            return f"#{label or people.channels.get(target[1:], 'channel')}"
        if target[0] == "!":
            return label or f"@{target[1:].partition('^')[0]}"
        return label or target

    text = LINK.sub(shown, text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
