"""Rules that reword text, and how a table of them is applied."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from jojo.data.contract import Tally
    from jojo.text.template import Conversation

Replacement = str | Callable[[re.Match[str]], str]
# Code and addresses, which are not speech.
NO_SPEECH = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]+`|(?:https?://|www\.)\S+|[\w.+-]+@[\w-]+\.\S+", re.DOTALL
)


class Rule(NamedTuple):
    """What `pattern` matches is replaced; it is tried only where `needle` occurs, to save time."""

    needle: str  # in lower case
    pattern: re.Pattern[str]
    replacement: Replacement
    name: str = ""  # what reports call it


def rule(needle: str, pattern: str, replacement: Replacement) -> Rule:
    return Rule(needle.lower(), re.compile(pattern), replacement)


def reword(
    text: str, rules: Iterable[Rule], spare: re.Pattern[str] | None = None
) -> tuple[str, list[str]]:
    """The text after all rules, in order, and the names of those that changed it.

    Whatever `spare` matches stays as it is; replacements must then be functions.
    """
    changed_by = []
    lower = text.lower()
    for needle, pattern, replacement, name in rules:
        if needle not in lower:
            continue
        spared = [m.span() for m in spare.finditer(text)] if spare else []
        reworded = pattern.sub(_outside(spared, replacement) if spared else replacement, text)
        if reworded != text:
            text, lower = reworded, reworded.lower()
            changed_by.append(name)
    return text, changed_by


def _outside(
    spared: list[tuple[int, int]], replacement: Callable[[re.Match[str]], str]
) -> Callable[[re.Match[str]], str]:
    def replaced(match: re.Match[str]) -> str:
        if any(start < match.end() and match.start() < end for start, end in spared):
            return match[0]
        return replacement(match)

    return replaced


def reword_replies(
    conversations: Iterable[Conversation],
    how: Callable[[str], tuple[str, list[str]]],
    tally: Tally,
) -> Iterator[Conversation]:
    """Reword what the assistant says; the tally counts the turns that each rule changed."""
    for conversation in conversations:
        for message in conversation.messages:
            if message["role"] == "assistant":
                message["content"], changed_by = how(message["content"])
                for name in changed_by:
                    tally.change(name)
        yield conversation
