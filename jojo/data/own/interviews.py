"""Interviews and chat logs as a flat JSON list of messages, as chatistics and workshops use it.

    {"timestamp": 1577840400.0, "conversationId": "…", "conversationWithName": "bbc.com",
     "senderName": "Barack Obama", "outgoing": true, "text": "Uh-huh."}

`outgoing` marks the person whose log it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from jojo.data.own.transcript import ChatLine, moment

if TYPE_CHECKING:
    from jojo.data.contract import Tally

NEEDED = {"text", "senderName", "conversationId"}


def matches(data: object) -> bool:
    first = data[0] if isinstance(data, list) and data else None
    return isinstance(first, dict) and first.keys() >= NEEDED


def read(data: list, where: str, tally: Tally) -> Iterator[ChatLine]:
    for number, message in enumerate(data, start=1):
        at = f"{where}, message {number}"
        if not isinstance(message, dict) or not all(
            isinstance(message.get(key), str) for key in ("text", "senderName")
        ):
            tally.skip("malformed message", where=at)
        elif not message["text"].strip():
            tally.skip("no text", where=at)
        else:
            outgoing = message.get("outgoing")
            yield ChatLine(
                time=moment(message.get("timestamp")),
                author=message["senderName"],
                text=message["text"],
                where=at,
                room=f"{where}/{message.get('conversationId')}",
                me=outgoing if isinstance(outgoing, bool) else None,
            )
