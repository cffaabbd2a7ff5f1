"""Tables (or JSON lines) with a row for every turn -> a record for every conversation.

    conversation_id,role,content           conv,speaker,utterance
    7,user,Hi!                             7,Anna,Hi!
    7,assistant,Hello.                     7,Bob,Hello.

Where roles are names, whoever speaks first in a conversation is its user. The rows of a
conversation may be scattered, so all are kept in memory until the last one has been read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jojo.data.formats.shapes import ROLE_KEYS, ROLE_OF, TEXT_KEYS, TURNS

CONVERSATION = [f"{what}{id}" for what in ("conversation", "conv", "dialog", "dialogue", "thread")
                for id in ("_id", "id", "")]  # fmt: skip
CONVERSATION += ["chat_id", "session_id"]
WHO = (*ROLE_KEYS, "speaker_idx", "speaker_id", "author", "sender", "name", "user")
TEXTS = (*TEXT_KEYS, "utterance", "message")

Place = tuple[str, object]  # where a record is, and the record


def grouped(records: Iterable[Place]) -> Iterator[Place]:
    """Records as they come, and at the end those that are made of rows."""
    found: dict[object, tuple[str, list[dict]]] = {}
    for where, value in records:
        if row := _row(value):
            conversation, who, text = row
            turn = {"role": who, "content": text}
            found.setdefault(conversation, (where, []))[1].append(turn)
        else:
            yield where, value
    for where, turns in found.values():
        yield where, {"messages": _with_roles(turns)}


def _row(value: object) -> tuple[object, object, str] | None:
    """Which conversation a turn belongs to, who said it, and what."""
    if not isinstance(value, dict) or not any(key in value for key in CONVERSATION):
        return None
    fields = {key: v for key, v in value.items() if isinstance(v, (str, int)) and v != ""}
    keys = [next((k for k in known if k in fields), None) for known in (CONVERSATION, WHO, TEXTS)]
    if None in keys or not isinstance(fields[keys[2]], str):
        return None
    if any(key in value for key in TURNS if key != keys[0]):
        return None
    return fields[keys[0]], fields[keys[1]], fields[keys[2]]


def _with_roles(turns: list[dict]) -> list[dict]:
    """Names become user and assistant; a third one stays, and is no role."""
    names = list(dict.fromkeys(turn["role"] for turn in turns))
    if all(isinstance(name, str) and name.strip().lower() in ROLE_OF for name in names):
        return turns
    roles = dict(zip(names, ("user", "assistant"), strict=False))
    return [{**turn, "role": roles.get(turn["role"], turn["role"])} for turn in turns]
