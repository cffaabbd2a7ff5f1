"""The reader of flat lists of messages."""

from __future__ import annotations

from exports import NOON

from jojo.data.contract import Tally
from jojo.data.own import interviews


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
