"""A conversation with a model: memory, trimming to the context, streaming replies.

What the model reads is the system message, examples (turns that stay there), and of the
conversation what fits. The oldest exchanges go first, then the oldest examples.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from jojo.chat.config import SamplingOptions
from jojo.chat.engine import Drawing, Reply
from jojo.chat.examples import examples_of, room_tokens, with_examples
from jojo.files import write_text
from jojo.text.template import Message, encode_prompt, template_named
from model import GPT, KVCache
from tokenizer import decode

SYSTEM_MARKS = 8  # tokens around the text of a system message, at most


def chat_template_of(facts: Mapping[str, object]) -> str:
    """The template to chat in with a model, from what its checkpoint says about it.

    A model that knows nothing but text, such as GPT-2, goes on with a written dialogue.
    """
    template = str(facts["template"])
    return "person" if template == "text" else template


class Chat:
    """Messages so far and a model that answers them; computed positions are kept in a KV cache.

    `examples` stand before the conversation: as turns, or with `examples_in_system` inside the
    system message, where the template has one. `max_history`: how many exchanges before the last
    message the model reads; None for as many as fit.
    """

    def __init__(
        self,
        model: GPT,
        template: str,
        options: SamplingOptions,
        generator: torch.Generator,
        system: str | None = None,
        nonstop: bool = False,
        examples: Sequence[Message] = (),
        max_history: int | None = None,
        examples_in_system: bool = False,
    ):
        self.model, self.options, self.generator = model, options, generator
        self.template = template_named(template)
        if not self.template.is_chat:
            raise ValueError("this model was trained on plain text: it continues, it does not chat")
        if max_history is not None and max_history < 0:
            raise ValueError(f"`max_history` {max_history} must be 0 or more")
        self.nonstop, self.max_history = nonstop, max_history
        self.system = system
        self._check_system()
        self.examples = list(examples)
        self.examples_in_system = examples_in_system and "system" in self.template.prefix
        self.reset()

    def reset(self) -> None:
        """Forget everything but the system message and the examples."""
        self.messages: list[Message] = []
        self.forgotten = 0  # messages that the last prompt had no room for
        self._cache = KVCache(
            self.model.config, 1, self.model.config.block_size, self.model.wte.weight.device
        )
        self._cached: list[int] = []  # the ids in the cache

    def say(self, text: str) -> Iterator[str]:
        """Add a user message and stream the reply; it is remembered when the stream ends."""
        prefix = self.template.prefix["user"]
        if self.template.stop_text and text.startswith(prefix):
            text = text[len(prefix) :]  # "Person A: Hello" is what people type
        before = len(self.messages)
        self.messages.append({"role": "user", "content": text.strip()})
        try:
            yield from self.answer()
        except ValueError:
            del self.messages[before:]
            raise

    def answer(self) -> Iterator[str]:
        """Stream a reply to the messages so far."""
        prompt = self._prompt()
        known = _common_prefix(self._cached, prompt[:-1])
        self._cache.length = known
        self._cached = prompt
        drawing = Drawing(
            self.model,
            prompt[known:],
            self.template,
            self.options,
            self.generator,
            nonstop=self.nonstop,
            cache=self._cache,
        )
        self.last = drawing.reply
        try:
            yield from filter(None, drawing.stream())
        finally:  # also when the listener stops listening (Ctrl+C)
            self._cached = (prompt + self.last.ids)[: self._cache.length]
            self._remember(self.last)

    def _remember(self, reply: Reply) -> None:
        """Keep a reply, up to where it should have ended if --nonstop took it further."""
        stops = [i for i, token in enumerate(reply.ids) if token in self.template.stop_ids]
        text = decode(reply.ids[: stops[0]]) if stops and self.nonstop else reply.text
        self.messages.append({"role": "assistant", "content": text.strip()})

    def retry(self) -> Iterator[str]:
        """Forget the last reply and stream another."""
        if [m["role"] for m in self.messages[-2:]] != ["user", "assistant"]:
            raise ValueError("there is no reply to retry yet")
        self.messages.pop()
        yield from self.answer()

    def undo(self) -> None:
        """Forget the last message and its reply."""
        if not self.messages:
            raise ValueError("there is nothing to undo yet")
        while self.messages and self.messages.pop()["role"] != "user":
            pass

    def save(self, path: Path) -> None:
        content = {"system": self.system, "messages": self.messages}
        if self.examples:
            content["examples"] = self.examples
        write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def load(self, path: Path) -> None:
        """Go on with a saved chat; without examples of its own it gets those that are here."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            messages = _checked(content["messages"])
            examples = _checked(content.get("examples", self.examples))
            system = content.get("system")
            if system is not None and not isinstance(system, str):
                raise ValueError("its system message is not text")
            if system and "system" not in self.template.prefix:
                raise ValueError("it has a system message, and this model was trained without any")
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} is not a saved chat: {error}") from error
        self.system, self.examples, self.messages = system, examples, messages

    def opening(self, said: list[Message]) -> list[Message]:
        """System message and examples, as far as they leave room for `said` and a reply."""
        self._check_system()
        if not self.examples:
            return _system(self.system)
        if self.examples_in_system:
            alone = len(encode_prompt(said, self.template.name))
            room = min(
                room_tokens(self.model.config.block_size),
                self._room() - alone - SYSTEM_MARKS,
            )
            examples = examples_of(self.examples)
            return _system(with_examples(self.system, examples, room))
        system = _system(self.system)
        starts = [*_starts(self.examples), len(self.examples)]
        first = self._first_that_fits(starts, lambda i: system + self.examples[i:] + said)
        return system + (self.examples[first:] if first is not None else [])

    def _prompt(self) -> list[int]:
        """Ids of the newest messages that leave room for a reply, the opening before them."""
        last = max(i for i, m in enumerate(self.messages) if m["role"] == "user")
        opening = self.opening(self.messages[last:])
        starts = [i for i in _starts(self.messages) if i <= last]
        if self.max_history is not None:
            starts = starts[-1 - self.max_history :]
        first = self._first_that_fits(starts, lambda i: opening + self.messages[i:])
        if first is None:
            first = last
        ids = encode_prompt(opening + self.messages[first:], self.template.name)
        block_size = self.model.config.block_size
        if len(ids) >= block_size:
            beside = " and the system message" if self.system else ""
            raise ValueError(
                f"the message has {len(ids):,} tokens with its turn marks{beside}, the context is "
                f"{block_size}: shorten it"
            )
        self.forgotten = first if first > starts[0] else 0
        return ids

    def _check_system(self) -> None:
        if self.system is not None and not isinstance(self.system, str):
            kind = type(self.system).__name__
            raise ValueError(f"the system message is of type {kind}: give a text, or None")
        if self.system and "system" not in self.template.prefix:
            raise ValueError(
                f"a model of template {self.template.name!r} was trained without system messages: "
                "leave out `system`, show it examples instead"
            )

    def _room(self) -> int:
        """Tokens that a prompt may have, so that a reply fits after it."""
        block_size = self.model.config.block_size
        return block_size - min(self.options.max_tokens, block_size // 4)

    def _first_that_fits(
        self, starts: list[int], prompt_from: Callable[[int], list[Message]]
    ) -> int | None:
        """The first of `starts` from which on a prompt leaves room for a reply."""

        def fits(start: int) -> bool:
            ids = encode_prompt(prompt_from(start), self.template.name)
            return len(ids) <= self._room()

        found = bisect_left(starts, True, key=fits)
        return starts[found] if found < len(starts) else None


def _system(text: str | None) -> list[Message]:
    return [{"role": "system", "content": text}] if text else []


def _starts(messages: Sequence[Message]) -> list[int]:
    """Where exchanges begin: whole ones go, so that the rest starts with the user."""
    return [i for i, m in enumerate(messages) if i == 0 or m["role"] == "user"]


def _checked(messages: list) -> list[Message]:
    messages = [{k: str(m[k]) for k in ("role", "content")} for m in messages]
    if any(m["role"] not in ("user", "assistant") for m in messages):
        raise ValueError("a role is neither user nor assistant")
    return messages


def _common_prefix(a: list[int], b: list[int]) -> int:
    n = min(len(a), len(b))
    return next((i for i in range(n) if a[i] != b[i]), n)
