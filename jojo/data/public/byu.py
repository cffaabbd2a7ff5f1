"""The BYU Perception, Control & Cognition lab's Chit-Chat Challenge: people talking to people.

7,168 conversations in the pip package `chitchat-dataset` (MIT), one JSON object by id: runs of
messages, each run a list of {"text", "sender", "timestamp"}.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

from jojo.text.template import Conversation

if TYPE_CHECKING:
    from jojo.data.contract import Tally


def installed() -> Path:
    """The package's data file, found without importing the package."""
    try:
        path = Path(str(distribution("chitchat-dataset").locate_file("")))
    except PackageNotFoundError:
        raise ValueError(
            "chitchat-dataset is not installed: pip install chitchat-dataset==0.9.0, "
            "or give its dataset.json with `input`"
        ) from None
    return path / "chitchat_dataset" / "dataset.json"


def read(path: Path, tally: Tally) -> Iterator[Conversation]:
    """Conversations in the file's order; turns of one speaker are merged, the first is the user."""
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
        runs = [record["messages"] for record in records.values()]
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; give chitchat-dataset's dataset.json") from None
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not chitchat-dataset's dataset.json: {error!r}") from None
    for conversation in tally.records(runs):
        messages = _merged([message for run in conversation for message in run])
        if len(messages) < 2:
            tally.drop("nobody answered")
        else:
            yield Conversation(messages)


def _merged(records: list[dict]) -> list[dict[str, str]]:
    messages: list[dict[str, str]] = []
    last = first = None
    for record in records:
        text = " ".join(record["text"].split())
        if not text:
            continue
        first = first or record["sender"]
        if record["sender"] == last:
            messages[-1]["content"] += f" {text}"
        else:
            role = "user" if record["sender"] == first else "assistant"
            messages.append({"role": role, "content": text})
        last = record["sender"]
    return messages
