"""What gen.py does: load a model, then complete a prompt or hold a conversation."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from jojo.chat import opened
from jojo.chat.config import GenConfig
from jojo.chat.engine import Drawing
from jojo.chat.examples import (
    CONTEXT_SHARE,
    Example,
    fitting_system,
    fitting_turns,
    read_examples,
    room_tokens,
    turns_of,
)
from jojo.chat.memory import Chat
from jojo.chat.terminal import converse, enable_line_editing, read_line
from jojo.command import duration, say
from jojo.files import write_text
from jojo.text.template import Message, decode, encode_prompt, parse_text, template_named

OPENING = "Hello, how are you today?"
STORY_OPENING = "Once upon a time"


class Session:
    """A model ready to generate, as `GenConfig` asks for it."""

    def __init__(self, config: GenConfig):
        self.config = config
        self.options = config
        examples = None if config.examples is None else read_examples(config.examples)
        self.opened = opened.open_model(
            config.checkpoint, config.device, config.dtype, config.base, config.num_samples
        )
        self.model, facts = self.opened.model, self.opened.facts
        self.template = template_named(facts["template"])
        self.examples = self._fitting(examples) if examples else []
        self.generator = opened.seeded(config.seed)

    def describe(self) -> str:
        g, facts = self.model.config, self.opened.facts
        step = facts.get("step")
        trained = f", {step:,} steps on {facts.get('dataset')}" if step else ""
        return (
            f"{self.config.checkpoint}: {g.arch}, {g.n_layer} layers x {g.n_embd}, context "
            f"{g.block_size}{trained}, template {self.template.name}; "
            f"{self.opened.machine.name()}, {str(self.opened.dtype).removeprefix('torch.')}"
        )

    def _fitting(self, examples: list[Example]) -> list[Example]:
        """As many of --examples as leave room for the chat; says how many."""
        if not self.template.is_chat:
            raise ValueError("`examples`: this model was trained on plain text, not on chats")
        block_size = self.model.config.block_size
        room = room_tokens(block_size)
        if "system" in self.template.prefix:
            kept = fitting_system(self.config.system, examples, room)
        else:
            kept = fitting_turns(examples, room, self.template.name)
        share = f"{CONTEXT_SHARE:.0%} of the context of {block_size:,} tokens"
        if not kept:
            raise ValueError(
                f"`examples` {self.config.examples}: none of {len(examples):,} fits into {share}: "
                "shorten them, or `system`"
            )
        say(f"{len(kept):,} of {len(examples):,} examples fit into {share}")
        return kept

    def chat(self) -> Chat:
        return Chat(
            self.model,
            self.template.name,
            self.options,
            self.generator,
            self.config.system,
            self.config.nonstop,
            examples=turns_of(self.examples),
            examples_in_system=True,
        )

    def given(self) -> bool:
        return self.config.prompt is not None or self.config.prompt_file is not None

    def messages(self) -> list[Message]:
        """What is to be answered, from --prompt, --prompt_file, --system and --examples."""
        text = self.config.prompt
        if self.config.prompt_file is not None:
            text = self.config.prompt_file.read_text(encoding="utf-8")
        elif text is None:
            text = OPENING if self.template.is_chat else STORY_OPENING
        if not text.strip():
            raise ValueError("the prompt is empty: give it some text")
        if not self.template.is_chat:
            if self.config.system:
                raise ValueError("`system`: this model was trained on plain text, not on chats")
            return [{"role": "assistant", "content": text}]
        if self.config.prompt_file or self.template.stop_text:
            messages = parse_text(text, self.template.name)
        else:
            messages = [{"role": "user", "content": text.strip()}]
        chat = self.chat()
        if messages[0]["role"] == "system":
            chat.system = messages.pop(0)["content"]
        return chat.opening(messages) + messages

    def complete(self, out: TextIO) -> None:
        """Answer or continue the prompt on `out`, --num_samples times."""
        prompt = encode_prompt(self.messages(), self.template.name)
        began = time.perf_counter()
        drawing = self._drawing(prompt, self.config.num_samples)
        if self.config.num_samples == 1:
            self._show(prompt, drawing, out)
        else:
            for i, reply in enumerate(drawing.run()):
                print(f"--- {i + 1}\n{reply.text}", file=out)
        seconds = time.perf_counter() - began
        if self.config.output is not None:
            texts = [reply.text for reply in drawing.replies]
            write_text(self.config.output, "\n---\n".join(texts) + "\n")
        n = sum(len(reply.ids) for reply in drawing.replies)
        if self.config.verbose:
            say(f"{n} tokens in {duration(seconds)}, {n / seconds:.1f} tokens/s")

    def _drawing(self, prompt: list[int], n: int = 1) -> Drawing:
        nonstop = self.config.nonstop
        return Drawing(self.model, prompt, self.template, self.options, self.generator, n, nonstop)

    def _show(self, prompt: list[int], drawing: Drawing, out: TextIO) -> None:
        """The reply as it is drawn; a text begins with its prompt."""
        if not self.template.is_chat:
            print(decode(prompt, "text")[0]["content"], end="", file=out, flush=True)
        try:
            for piece in drawing.stream():
                print(piece, end="", file=out, flush=True)
        finally:  # also at Ctrl+C
            print(drawing.finish(), file=out, flush=True)

    def interact(self) -> None:
        """Chat until the end of input; a text model continues each line."""
        if self.template.is_chat:
            chat = self.chat()
            converse(chat, [m["content"] for m in self.messages()[-1:]] if self.given() else [])
            if self.config.output is not None:
                chat.save(self.config.output)
            return
        enable_line_editing()
        say("Type the beginning of a text; Ctrl+D leaves.")
        while (line := read_line()) is not None:
            if line.strip() in ("/quit", "/exit"):
                return
            if line.strip():
                try:
                    prompt = encode_prompt(
                        [{"role": "assistant", "content": line.rstrip("\n")}], self.template.name
                    )
                    self._show(prompt, self._drawing(prompt), sys.stdout)
                except (ValueError, KeyboardInterrupt) as error:
                    say(f"error: {error}" if str(error) else "")
