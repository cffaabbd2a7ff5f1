"""A persona without training: example interactions that stand before a chat.

    examples = read_examples(Path("examples/tsuki.jsonl"))
    system = with_examples("You are Tsuki, a playful AI companion.", examples, room_tokens=512)

An example is {"user": what is said, "bot": what is replied}. Models that know a system message find
the examples in it; the others find them as turns before the conversation.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import tokenizer
from jojo.command import say
from jojo.text.template import Message, encode

if TYPE_CHECKING:
    from jojo.data.contract import Tally

Example = dict[str, str]  # {"user": str, "bot": str}

HEADING = "EXAMPLE INTERACTIONS:"
CONTEXT_SHARE = 0.5  # what examples may take of the context; the rest is for the chat
MOST_RECORDS = 10_000  # read of a file: far more than a context holds
REASONS_SHOWN = 3


def room_tokens(block_size: int) -> int:
    """What the system message with its examples, or examples as turns, may fill of a context."""
    return int(block_size * CONTEXT_SHARE)


def read_examples(path: Path) -> list[Example]:
    """Every user turn with a reply, of a file in any format that data/prepare-file.py reads.

    ValueError where there is none.
    """
    from jojo.data.contract import Tally
    from jojo.data.own.recipe import FileOptions, conversations

    tally = Tally(limit=MOST_RECORDS)
    options = FileOptions(paths=(Path(path),))
    options.me_setting = ""  # `examples` has no `me` beside it
    found = [e for c in conversations(options, tally) for e in examples_of(c.messages)]
    why = _left_out(tally)
    if not found:
        raise ValueError(
            f"{path} holds no user turn with a reply{f': {why}' if why else ''}; an example is "
            '{"user": "Hi", "bot": "Hey there!"}'
        )
    if why:
        say(f"left out of {path}: {why}")
    return found


def _left_out(tally: Tally) -> str:
    """What was dropped most, and why."""
    most = tally.dropped.most_common()
    why = [f"{n:,} {r} (first: {tally.first[r]})" for r, n in most[:REASONS_SHOWN]]
    if more := len(most) - REASONS_SHOWN:
        why += [f"and {more:,} more"] if more > 0 else []
    return ", ".join(why)


def examples_of(messages: Sequence[Message]) -> list[Example]:
    """Every user turn that is followed by a reply."""
    return [
        {"user": asked["content"], "bot": reply["content"]}
        for asked, reply in pairwise(messages)
        if (asked["role"], reply["role"]) == ("user", "assistant")
    ]


def turns_of(examples: Sequence[Example]) -> list[Message]:
    """The examples as turns of a conversation."""
    return [
        {"role": role, "content": example[key]}
        for example in examples
        for role, key in (("user", "user"), ("assistant", "bot"))
    ]


def checked(examples: object) -> list[Example]:
    """The examples as they are kept; ValueError names the first one that is none."""
    if not isinstance(examples, (list, tuple)):
        raise ValueError(
            f'examples is of type {type(examples).__name__}: give a list of {{"user": "Hi", '
            '"bot": "Hey there!"}'
        )
    return [_checked(example, f"example {i}") for i, example in enumerate(examples, start=1)]


def _checked(example: object, name: str) -> Example:
    if not isinstance(example, dict):
        raise ValueError(f'{name} is of type {type(example).__name__}: give {{"user", "bot"}}')
    if "bot" not in example and "assistant" in example:
        example = {**example, "bot": example["assistant"]}
    for key in ("user", "bot"):
        if key not in example:
            has = ", ".join(map(repr, example)) or "nothing"
            raise ValueError(f"{name} has no {key!r}, only {has}")
        text = example[key]
        if not isinstance(text, str):
            raise ValueError(f"{name}: {key!r} is not text but of type {type(text).__name__}")
        if not text.strip():
            raise ValueError(f"{name}: {key!r} is empty")
        if not _is_unicode(text):
            raise ValueError(f"{name}: {key!r} is not valid Unicode (half a surrogate pair)")
    return {key: example[key].strip() for key in ("user", "bot")}


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def with_examples(system: str | None, examples: Sequence[Example], room_tokens: int) -> str:
    """A system message: `system`, then as many of the examples as fit; "" if there is nothing."""
    kept = fitting_system(system, examples, room_tokens)
    text = (system or "").strip()
    if not kept:
        return text
    written = "\n\n".join(map(_written, kept))
    return "\n\n".join([*([text] if text else []), f"{HEADING}\n{written}"])


def fitting_system(
    system: str | None, examples: Sequence[Example], room_tokens: int
) -> list[Example]:
    """The examples that fit into a system message of so many tokens, after its text."""
    text = (system or "").strip()
    room_tokens -= _length(f"{text}\n\n{HEADING}" if text else HEADING)
    return _fitting(examples, room_tokens, lambda example: _length(f"\n\n{_written(example)}"))


def fitting_turns(examples: Sequence[Example], room_tokens: int, template: str) -> list[Example]:
    """The examples that fit as turns of a template into so many tokens."""
    return _fitting(examples, room_tokens, lambda e: len(encode(turns_of([e]), template)) - 1)


def newest_turns(examples: Sequence[Example], block_size: int, template: str) -> list[Message]:
    """As turns, the newest examples that leave room for a chat; warns where not all do."""
    newest = fitting_turns(examples[::-1], room_tokens(block_size), template)
    if len(newest) < len(examples):
        warnings.warn(
            f"{len(newest)} of {len(examples)} examples fit into {CONTEXT_SHARE:.0%} of the "
            f"context of {block_size:,} tokens",
            stacklevel=4,
        )
    return turns_of(newest[::-1])


def _fitting(
    examples: Sequence[Example], room_tokens: int, tokens: Callable[[Example], int]
) -> list[Example]:
    """Whole examples, in order; one that is too long for what is left is passed over."""
    kept = []
    for example in examples:
        if (n := tokens(example)) <= room_tokens:
            kept.append(example)
            room_tokens -= n
    return kept


def _written(example: Example) -> str:
    return f'User: "{example["user"]}"\nYou: "{example["bot"]}"'


def _length(text: str) -> int:
    return len(tokenizer.encode(text))
