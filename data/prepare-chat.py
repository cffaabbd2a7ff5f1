"""DailyDialog as chats with an assistant, in ChatML.

    python data/prepare-chat.py
    python data/prepare-chat.py --input ~/Downloads/dailydialog --no_refine

Li et al. 2017, https://aclanthology.org/I17-1099, CC BY-NC-SA 4.0: not for commercial use.
Writes data/chat-train.bin, -val.bin (and the same as .txt), data/chat.json and
examples/chat_prompt.txt. Who speaks first is the user, who answers is the assistant.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jojo.data.clean.refine import refine
from jojo.data.clean.rules import reword_replies
from jojo.data.contract import PrepareOptions, Recipe, Tally
from jojo.data.prepare import main
from jojo.data.public import dailydialog

EXAMPLE = "Hello! How are you today?\n"


@dataclass
class ChatOptions(PrepareOptions):
    refine: bool = True
    """Reword what the assistant says to be clearer and more polite (jojo/data/clean/refine.py)."""


def conversations(options: ChatOptions, tally: Tally) -> Iterator:
    found = dailydialog.conversations(options, tally)
    return reword_replies(found, refine, tally) if options.refine else found


RECIPE = Recipe(
    name="chat",
    template="chatml",
    licence=dailydialog.FACTS.licence,
    sources=dailydialog.FACTS.where,
    conversations=conversations,
    example_prompt=EXAMPLE,
    options=ChatOptions,
)

if __name__ == "__main__":
    main(RECIPE)
