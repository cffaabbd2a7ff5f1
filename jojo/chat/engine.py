"""Replies drawn from a model: whatever a model says, here or in an export's card, is drawn here.

    drawing = Drawing(model, prompt, template_named("chatml"), options, generator)
    for piece in drawing.stream():
        print(piece, end="")
    drawing.reply        # its ids and text, and whether the model ended it

A prompt is ids, and so is a reply; what ends a reply and what it must not hold depends on its
template. Messages are made into prompts by memory.py, ids are chosen by sampling.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from jojo.chat.config import SamplingOptions
from jojo.chat.sampling import generate
from jojo.text.template import Template
from model import GPT, KVCache
from tokenizer import IM_START, StreamDecoder


class Drawing:
    """`n` replies to one prompt, drawn in step.

    With a `cache`, which is for one reply, `prompt` continues what the cache holds. `nonstop`:
    nothing ends a reply but its limit. `banned`: ids never drawn, beside those of the template.
    """

    def __init__(
        self,
        model: GPT,
        prompt: Sequence[int],
        template: Template,
        options: SamplingOptions,
        generator: torch.Generator,
        n: int = 1,
        nonstop: bool = False,
        cache: KVCache | None = None,
        banned: Sequence[int] = (),
    ):
        self._readers = [ReplyReader(template, nonstop) for _ in range(n)]
        self.replies = [reader.reply for reader in self._readers]
        banned = [*banned_ids(template, nonstop), *banned]
        self._drawn = generate(model, prompt, options, generator, n, cache, banned)

    @property
    def reply(self) -> Reply:
        """The first reply, which is the only one of most drawings."""
        return self.replies[0]

    def stream(self) -> Iterator[str]:
        """The first reply, piece by piece; ends when all of them have ended."""
        for ids in self._drawn:
            pieces = [r.push(i) for r, i in zip(self._readers, ids, strict=True)]
            yield pieces[0]
            if all(reply.ended for reply in self.replies):
                return
        yield self.finish()

    def finish(self) -> str:
        """The end of a reply that is stopped before its time: what is still held back of it."""
        ends = [reader.finish() for reader in self._readers]
        return ends[0]

    def run(self) -> list[Reply]:
        """The replies, when all of them are whole."""
        for _ in self.stream():
            pass
        return self.replies


@dataclass
class Reply:
    """A reply as it grows. `ended`: the model itself came to an end."""

    ids: list[int]
    text: str
    ended: bool

    @property
    def shown(self) -> str:
        """The text, with dots where a limit cut it off."""
        return self.text if self.ended else f"{self.text} ..."


class ReplyReader:
    """Turns the ids of one reply into text as they come, up to where its template ends it.

    What must not be seen is held back: half characters, the line break before <|im_end|>.
    """

    def __init__(self, template: Template, nonstop: bool = False):
        self.template, self.nonstop = template, nonstop
        self.reply = Reply([], "", False)
        self._decoder, self._held = StreamDecoder(), ""

    def push(self, token_id: int) -> str:
        """The next piece of text to show; sets `reply.ended` at the end."""
        if self.reply.ended:
            return ""
        self.reply.ids.append(token_id)
        if token_id in self.template.stop_ids and not self.nonstop:
            return self._end()
        text = self._held + self._decoder.push(token_id)
        stop = None if self.nonstop else self.template.stop_text
        if stop and stop in text:
            self._held = text.partition(stop)[0]
            return self._end()
        if self.template.name == "text" or self.nonstop:
            self._held = ""
        else:
            self._held = "\n" if text.endswith("\n") else ""
            text = text.removesuffix(self._held)
        return self._show(text)

    def finish(self) -> str:
        """What is still held back when no more tokens come."""
        return (
            "" if self.reply.ended else self._show(self._held.rstrip("\n") + self._decoder.flush())
        )

    def _end(self) -> str:
        self.reply.ended = True
        return self._show(self._held.removesuffix("\n") + self._decoder.flush())

    def _show(self, text: str) -> str:
        if not self.reply.text and self.template.stop_text:
            text = text.lstrip(" ")  # the space between "Person B:" and the words
        self.reply.text += text
        return text


def banned_ids(template: Template, nonstop: bool = False) -> list[int]:
    """Ids that a reply must not hold: a turn is opened by the program, never by the model."""
    return [] if nonstop or template.name == "text" else [IM_START]
