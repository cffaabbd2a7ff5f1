"""A conversation with a model: memory, trimming to the context, streaming replies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch

from jojo import chatml
from jojo.files import write_text
from jojo.sampling import Reply, ReplyReader, SamplingOptions, banned_ids, generate
from model import GPT, KVCache
from tokenizer import decode


class Chat:
    """Messages so far and a model that answers them; computed positions are kept in a KV cache."""

    def __init__(
        self,
        model: GPT,
        template: str,
        options: SamplingOptions,
        generator: torch.Generator,
        system: str | None = None,
        nonstop: bool = False,
    ):
        self.model, self.options, self.generator = model, options, generator
        self.template = chatml.template_named(template)
        if not self.template.is_chat:
            raise ValueError("this model was trained on plain text: it continues, it does not chat")
        if system and "system" not in self.template.prefix:
            raise ValueError(
                f"--system: a model of template {template!r} was trained without system messages"
            )
        self.nonstop = nonstop
        self.system = system
        self.reset()

    def reset(self) -> None:
        """Forget everything but the system message."""
        self.messages: list[chatml.Message] = []
        self.forgotten = 0  # messages trimmed from the last prompt
        self._cache = KVCache(
            self.model.config, 1, self.model.config.block_size, self.model.wte.weight.device
        )
        self._cached: list[int] = []  # the ids in the cache

    def say(self, text: str) -> Iterator[str]:
        """Add a user message and stream the reply; it is remembered when the stream ends."""
        prefix = self.template.prefix["user"]
        if self.template.stop_text and text.startswith(prefix):
            text = text[len(prefix) :]  # "Person A: Hello" is what people type
        self.messages.append({"role": "user", "content": text.strip()})
        try:
            yield from self.answer()
        except ValueError:
            self.messages.pop()
            raise

    def answer(self) -> Iterator[str]:
        """Stream a reply to the messages so far."""
        prompt = self._prompt()
        known = _common_prefix(self._cached, prompt[:-1])
        self._cache.length = known
        self._cached = prompt
        reader = ReplyReader(self.template, self.nonstop)
        self.last: Reply = reader.reply
        new = prompt[known:]
        banned = banned_ids(self.template, self.nonstop)
        try:
            for drawn in generate(
                self.model, new, self.options, self.generator, cache=self._cache, banned=banned
            ):
                if piece := reader.push(drawn[0]):
                    yield piece
                if reader.reply.ended:
                    break
            if piece := reader.finish():
                yield piece
        finally:  # also when the listener stops listening (Ctrl+C)
            self._cached = (prompt + reader.reply.ids)[: self._cache.length]
            self._remember(reader.reply)

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
        write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def load(self, path: Path) -> None:
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            messages = [{k: str(m[k]) for k in ("role", "content")} for m in content["messages"]]
            if any(m["role"] not in ("user", "assistant") for m in messages):
                raise ValueError("a role is neither user nor assistant")
            if content.get("system") and "system" not in self.template.prefix:
                raise ValueError("it has a system message, this model was trained without")
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} is not a saved chat: {error}") from error
        self.system, self.messages = content.get("system"), messages

    def _prompt(self) -> list[int]:
        """Ids of the newest messages that leave room for a reply, the system message first."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        block_size = self.model.config.block_size
        room = block_size - min(self.options.max_tokens, block_size // 4)
        for first in range(len(self.messages)):
            if first and self.messages[first]["role"] != "user":
                continue  # whole exchanges go, so that the rest starts with the user
            ids = chatml.encode_prompt(system + self.messages[first:], self.template.name)
            if len(ids) <= room or (first == self._last_user() and len(ids) < block_size):
                self.forgotten = first
                return ids
        raise ValueError(
            f"the message has {len(ids):,} tokens with its turn marks, the context is "
            f"{block_size}: shorten it"
        )

    def _last_user(self) -> int:
        return max(i for i, m in enumerate(self.messages) if m["role"] == "user")


def _common_prefix(a: list[int], b: list[int]) -> int:
    n = min(len(a), len(b))
    return next((i for i in range(n) if a[i] != b[i]), n)
