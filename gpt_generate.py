"""A chatbot for Python and notebooks: GPT-2, checkpoints, adapters, Hugging Face folders.

    from gpt_generate import GPT2Chatbot

    chatbot = GPT2Chatbot(model_name="gpt2-small (124M)")
    chatbot.load_model("path/to/your/trained_model.pt")
    chatbot.add_custom_examples([{"user": "Who created you?", "bot": "You did, one rainy Sunday."}])
    print(chatbot.chat("Tell me what you learned"))
    for piece in chatbot.stream("Go on"):
        print(piece, end="")
    chatbot.save("my-chatbot")

What `model_name` names is opened, and if need be downloaded, when it first has to answer; above it
never is. Only `save` writes files. In a terminal: python gen.py MODEL --interactive
"""

from __future__ import annotations

import os
import typing
from collections.abc import Iterator
from pathlib import Path

from jojo.chat.config import GenConfig, SamplingOptions
from jojo.command import check_seed
from jojo.models.names import NAMES, check_name

if typing.TYPE_CHECKING:
    from jojo.chat.memory import Chat

PathLike = str | os.PathLike[str]


class GPT2Chatbot:
    """A model and the conversation with it.

    `model_name`: a name, owner/name of the Hugging Face hub, or the path of a checkpoint, of an
    adapter or of a Hugging Face folder; `base`: an adapter's, where it is lost. `sampling`: temp,
    top_k, top_p, min_p, repetition_penalty, max_tokens; these `options` may be changed at any
    time, as may `system`. Models trained on no chats, as GPT-2, go on with a written dialogue.
    """

    def __init__(
        self,
        model_name: PathLike = "gpt2-small (124M)",
        device: str = "auto",
        dtype: str = "auto",
        seed: int | None = None,
        base: PathLike | None = None,
        system: str | None = None,
        **sampling: float,
    ):
        self.options = SamplingOptions(**sampling)
        dtypes = typing.get_args(typing.get_type_hints(GenConfig)["dtype"])
        if dtype not in dtypes:
            raise ValueError(f"dtype {dtype!r} is none of {', '.join(dtypes)}")
        check_seed(seed)
        self._source, self._base = _place(model_name), base and _place(base)
        self._device, self._dtype, self._seed, self.system = device, dtype, seed, system
        self._opened = self._chat = self._stream = None
        self._examples: list[dict[str, str]] = []

    def load_model(self, path: PathLike, base: PathLike | None = None) -> None:
        """Talk to another model, in a new conversation; examples and system message stay.

        ValueError where it cannot be opened; everything is then as it was.
        """
        self._load(_place(path), base and _place(base))

    def chat(self, text: str) -> str:
        """The reply to `text`; both are remembered."""
        return "".join(self.stream(text))

    def stream(self, text: str) -> Iterator[str]:
        """The reply piece by piece; what has been drawn when nobody listens any more is kept."""
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"the message {text!r} is not text: say something")
        chat = self._ready()
        self._end_stream()
        self._stream = chat.say(text)
        return self._stream

    def add_custom_examples(self, examples: list[dict[str, str]]) -> None:
        """Put {"user": ..., "bot": ...} turns before the conversation; nothing is trained or saved.

        They stay there; where there are more than half of the context holds, the newest count.
        """
        from jojo.chat.examples import checked

        self._examples += checked(examples)

    def reset(self, examples: bool = False) -> None:
        """Forget the conversation; with `examples=True` the custom examples, too."""
        self._end_stream()
        if examples:
            self._examples.clear()
        if self._chat is not None:
            self._chat.reset()

    def save(self, path: PathLike) -> None:
        """Write the model alone, in full precision: as NAME.pt, or as a Hugging Face folder."""
        from jojo.export.save import save_model

        if self._opened is None:
            self._load(self._source, self._base)
        self._opened = save_model(self._opened, path)

    @property
    def messages(self) -> list[dict[str, str]]:
        """The conversation so far."""
        return [] if self._chat is None else [dict(m) for m in self._chat.messages]

    def _load(self, source: str, base: str | None) -> None:
        from jojo.chat.opened import chat_with, open_model

        opened = open_model(source, self._device, self._dtype, base)
        chat = chat_with(opened, self.options, self._seed)
        self._end_stream()
        self._source, self._base, self._opened, self._chat = source, base, opened, chat

    def _ready(self) -> Chat:
        """The conversation, with a model, examples, and the settings as they are now."""
        from jojo.chat.examples import newest_turns

        if self._chat is None:
            self._load(self._source, self._base)
        chat, block_size = self._chat, self._opened.model.config.block_size
        chat.system, chat.options = self.system, self.options
        chat.examples = newest_turns(self._examples, block_size, chat.template.name)
        return chat

    def _end_stream(self) -> None:
        """An earlier stream ends where it is: what it drew next would be of another chat."""
        if self._stream is not None:
            self._stream.close()


def _place(name: PathLike) -> str:
    """A name as it is, a path absolute, so that the working directory may change."""
    if not isinstance(name, (str, os.PathLike)):
        raise ValueError(f"a model is named by a text or a path, not by {name!r}")
    text, path = str(name), Path(os.path.expanduser(name))
    if text and text not in NAMES and path.exists():
        text = str(path.absolute())
    check_name(text)
    return text


if __name__ == "__main__":
    print(f"usage: in Python or a notebook,\n\n{__doc__}")
