"""Conversations in the shapes people keep them in -> messages. Pure functions.

    messages = tidy(messages_of(record))   # raises Unusable: str(error) is why not

The keys tell the shape. Chats: {"messages": [{"role", "content"}]} (OpenAI's fine-tuning
files too), ShareGPT's {"conversations": [{"from", "value"}]}, lists of {"user", "bot"}, trees of
OpenAssistant. Single questions: instruction/input/output, context/user/assistant, prompt/completion
and the like. Exports of ChatGPT and Claude are read too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING

from jojo.data.formats.markup import plain_text
from jojo.data.formats.records import Skip, Unusable, ignore
from jojo.data.own import aichats

if TYPE_CHECKING:
    from jojo.text.template import Message

SPEAKERS = {
    "system": ("system", "developer"),
    "user": ("user", "human", "prompter", "person", "customer", "client", "questioner"),
    "assistant": (
        *("assistant", "gpt", "chatgpt", "bot", "chatbot", "model", "ai", "llm", "agent"),
        *("bing", "bard", "claude", "gemini"),
    ),
    "tool": ("tool", "function", "function_call", "tool_call", "tool_response", "observation"),
}
ROLE_OF = {name: role for role, names in SPEAKERS.items() for name in names}
TURNS = ("messages", "conversations", "conversation", "dialog", "dialogue", "turns", "utterances")
ROLE_KEYS = ("role", "from", "speaker", "sender")
TEXT_KEYS = ("content", "value", "text")
ASKED = ("instruction", "user", "human", "prompt", "question")
ANSWERED = ("output", "response", "assistant", "bot", "gpt", "completion", "answer")
INVISIBLE = "\u200b\ufeff"  # what str.strip() leaves
NO_INPUT = re.compile(r"(?i)(?:^|\n)\s*<?(?:no ?input|none|n/a)\.?>?\s*$")  # as Alpaca has it


def messages_of(record: object, skip: Skip = ignore) -> list[Message]:
    """The turns of a record of any known shape; `skip` is told of every part left out."""
    if isinstance(record, list):
        return _turns(record, skip)
    if not isinstance(record, dict):
        raise Unusable(f"not an object but {_kind(record)}")
    fields = {str(k).strip().lower(): v for k, v in record.items()}
    if isinstance(fields.get("prompt"), dict) and "replies" in fields["prompt"]:
        return oasst_best_path(fields, lang=None)
    if isinstance(fields.get("mapping"), dict):
        return aichats.chatgpt(fields, skip)
    if isinstance(fields.get("chat_messages"), list):
        return _turns(aichats.claude(fields), skip)
    system = _text(fields, ("system", "system_prompt"))
    if isinstance(fields.get("prompt"), list):  # TRL: turns in both
        fields["messages"] = [*fields["prompt"], *_listed(fields.get("completion"))]
    for key in TURNS:
        if fields.get(key) not in (None, ""):
            messages = _turns(_listed(fields[key]), skip)
            break
    else:
        messages = _pair(fields)
    return [*_message("system", system), *messages]


def tidy(messages: Iterable[Message], skip: Skip = ignore) -> list[Message]:
    """Stripped, neighbours of one role merged, ending in a reply; Unusable where none is left."""
    tidied: list[Message] = []
    for message in messages:
        content = message["content"].strip().strip(INVISIBLE).strip()
        if not content:
            skip("empty turn")
        elif tidied and tidied[-1]["role"] == message["role"]:
            tidied[-1]["content"] += "\n" + content
        else:
            tidied.append({"role": message["role"], "content": content})
    if not tidied:
        raise Unusable("no turn with text")
    roles = [m["role"] for m in tidied]
    if "assistant" not in roles:
        raise Unusable("no assistant turn")
    if "user" not in roles:
        raise Unusable("no user turn")
    while tidied and tidied[-1]["role"] != "assistant":
        skip("last turn without a reply")
        tidied.pop()
    roles = [m["role"] for m in tidied]
    if ("user", "assistant") not in pairwise(roles):
        raise Unusable("no user turn with a reply")
    return tidied


def oasst_best_path(tree: dict, lang: str | None = "en") -> list[Message]:
    """The best-ranked conversation of an OpenAssistant tree: at each turn the reply of lowest
    rank, of those neither deleted nor turned down in review. Köpf et al. 2023, arXiv 2304.07327."""
    messages: list[Message] = []
    node = tree.get("prompt")
    if not isinstance(node, dict):
        raise Unusable("no tree of messages")
    if lang and node.get("lang") != lang:
        raise Unusable(f"not in the language {lang}")
    if not _is_approved(node, lang):
        raise Unusable("first message empty, deleted or turned down")
    while node:
        messages += _message(_role(node.get("role")), node.get("text"))
        replies = node.get("replies") if isinstance(node.get("replies"), list) else []
        replies = [r for r in replies if _is_approved(r, lang)]
        node = min(replies, key=_rank, default=None)
    return messages


def _is_approved(node: object, lang: str | None) -> bool:
    return (
        isinstance(node, dict)
        and not node.get("deleted")
        and node.get("review_result") is not False
        and bool(str(node.get("text") or "").strip())
        and (not lang or node.get("lang") == lang)
    )


def _rank(node: dict) -> float:
    rank = node.get("rank")
    return rank if isinstance(rank, int) else float("inf")  # not everything was ranked


def _turns(turns: list, skip: Skip) -> list[Message]:
    if not turns:
        raise Unusable("no turns")
    if all(isinstance(t, str) for t in turns):  # DailyDialog's parquet: who speaks first asks
        return [m for i, t in enumerate(turns) for m in _message(("user", "assistant")[i % 2], t)]
    messages: list[Message] = []
    for turn in turns:
        if not isinstance(turn, dict):
            raise Unusable(f"a turn is not an object but {_kind(turn)}")
        fields = {str(k).strip().lower(): v for k, v in turn.items()}
        role = next((fields[k] for k in ROLE_KEYS if k in fields), None)
        if role is None:
            messages += _pair(fields)
        elif fields.get("weight") == 0:  # OpenAI: not to be learned, so neither is its question
            skip("turn of weight 0")
            while messages and messages[-1]["role"] == "user":
                messages.pop()
        else:
            messages += _turn(_role(role), fields, skip)
    return messages


def _turn(role: str, fields: dict, skip: Skip) -> list[Message]:
    if role == "tool":
        skip("turn of a tool")
        return []
    key = next((k for k in TEXT_KEYS if fields.get(k)), None)  # Claude has `content` and `text`
    content = fields.get(key)
    if isinstance(content, list):  # OpenAI's content parts
        parts = [p.get("text") if isinstance(p, dict) else p for p in content]
        if any(not isinstance(p, str) for p in parts):
            skip("part that is not text")
        content = "\n".join(p for p in parts if isinstance(p, str))
    if content is None or content == "":
        calls = fields.get("tool_calls") or fields.get("function_call")
        skip("call of a tool" if calls else "empty turn")
        return []
    if not isinstance(content, str):
        raise Unusable(f"a turn's text is {_kind(content)}")
    is_saved = key == "value" and role == "assistant"  # ShareGPT's, once copied from web pages
    return _message(role, plain_text(content) if is_saved else content)


def _pair(fields: dict) -> list[Message]:
    """One question and its answer."""
    asked = next((k for k in ASKED if k in fields), "input" if "input" in fields else None)
    answered = next((k for k in ANSWERED if k in fields), None)
    if asked is None or answered is None:
        raise Unusable("no known shape")
    question, reply = _text(fields, (asked,)), _text(fields, (answered,))
    context = _text(fields, ("context",))
    material = "" if asked == "input" else NO_INPUT.sub("", _text(fields, ("input",)))
    if not question.strip():
        raise Unusable("empty question")
    if not reply.strip():
        raise Unusable("empty reply")
    situation = ""
    if asked in ("user", "human"):  # context/user/assistant: not said, but what holds around it
        situation = context
    else:  # instruction/context/response: the text that the question is about
        material = material or context
    if material.strip():
        question = f"{question.strip()}\n\n{material.strip()}"
    return [
        *_message("system", situation),
        {"role": "user", "content": question},
        {"role": "assistant", "content": reply},
    ]


def _message(role: str, content: object) -> list[Message]:
    """A list of one message, or of none."""
    return [{"role": role, "content": content}] if isinstance(content, str) and content else []


def _role(name: object) -> str:
    role = ROLE_OF.get(name.strip().lower()) if isinstance(name, str) else None
    if role is None:
        raise Unusable("unknown role")
    return role


def _text(fields: dict, keys: tuple[str, ...]) -> str:
    value = next((fields[k] for k in keys if fields.get(k) is not None), "")
    if not isinstance(value, str):
        raise Unusable(f"{_kind(value)} where text should be")
    return value


def _listed(value: object) -> list:
    """Turns; in the cell of a table they are written as JSON."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise Unusable("malformed JSON in a cell") from None
    if value is None:
        return []
    if not isinstance(value, list):
        raise Unusable(f"{_kind(value)} where turns should be")
    return value


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names = {str: "a text", bool: "a truth value", list: "a list", dict: "an object"}
    return names.get(type(value), "a number")
