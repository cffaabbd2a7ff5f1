"""Conversations as ChatGPT and Claude export them.

    {"title": "Tea", "current_node": "c", "mapping": {                     ChatGPT
      "a": {"message": null, "parent": null, "children": ["b"]},
      "b": {"message": {"author": {"role": "user"}, "content": {"content_type": "text",
            "parts": ["Hi!"]}, "metadata": {}}, "parent": "a", "children": ["c", "d"]}, ...}}

    {"uuid": "x", "name": "Tea", "chat_messages": [                        Claude
      {"uuid": "b", "sender": "human", "text": "Hi!", "content": [{"type": "text", ...}],
       "parent_message_uuid": "..."}, ...]}

Messages are a tree: a question or answer that was redone is another branch. Only the branch that
the page shows is read. ChatGPT's hidden messages, tools and thoughts are left out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jojo.data.formats.records import Skip
    from jojo.text.template import Message

TEXTS = (None, "text", "multimodal_text")
SOURCE = re.compile(
    "\ue200[^\ue201]*\ue201|【\\d[^【】]*†[^【】]*】"
)  # the page makes links of these


def chatgpt(record: dict, skip: Skip) -> list[Message]:
    """What user and assistant said."""
    mapping = {k: v for k, v in record["mapping"].items() if isinstance(v, dict)}
    nodes = {k: (v.get("parent"), v.get("message")) for k, v in mapping.items()}
    said = []
    for message in _branch(nodes, record.get("current_node")):
        if reason := _left_out(message):
            skip(reason)
            continue
        parts = _object(message, "content").get("parts")
        parts = parts if isinstance(parts, list) else []
        if any(not isinstance(part, str) for part in parts):
            skip("part that is not text")
        text, sources = SOURCE.subn("", "\n".join(p for p in parts if isinstance(p, str)))
        if sources:
            skip("mark of a source")
        said.append({"role": message["author"]["role"], "content": text})
    return said


def claude(record: dict) -> list:
    """Its turns, in a common shape."""
    turns = record["chat_messages"]
    if not all(isinstance(t, dict) and isinstance(t.get("uuid"), str) for t in turns):
        return turns
    if not any("parent_message_uuid" in t for t in turns):
        return turns
    nodes = {t["uuid"]: (t.get("parent_message_uuid"), t) for t in turns}
    return _branch(nodes, record.get("current_leaf_message_uuid"))


def _branch(nodes: dict[str, tuple[object, object]], leaf: object) -> list[dict]:
    """The messages from the root to `leaf`, of {id: (parent, message)}; by default the last one."""
    node = leaf if isinstance(leaf, str) and leaf in nodes else next(reversed(nodes), None)
    found, seen = [], set()
    while isinstance(node, str) and node in nodes and node not in seen:
        seen.add(node)  # a damaged tree may go round
        node, message = nodes[node]
        if isinstance(message, dict):
            found.append(message)
    return found[::-1]


def _left_out(message: dict) -> str | None:
    role = _object(message, "author").get("role")
    if _object(message, "metadata").get("is_visually_hidden_from_conversation"):
        return "hidden message"
    if role == "tool":
        return "turn of a tool"
    if role not in ("user", "assistant"):
        return "system message of ChatGPT"
    if message.get("recipient") not in (None, "all"):
        return "call of a tool"
    if _object(message, "content").get("content_type") not in TEXTS:
        return "part that is not text"
    return None


def _object(holder: dict, key: str) -> dict:
    value = holder.get(key)
    return value if isinstance(value, dict) else {}
