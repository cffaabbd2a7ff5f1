"""Chit-chat for a first chat model: generated from the table data/chitchat.toml, or real.

    python data/prepare-chitchat.py                      # generated; needs no download
    python data/prepare-chitchat.py --source byu         # 7,168 real conversations of people
    python data/prepare-chitchat.py --input my-bot.toml  # a phrasing table of your own

Writes data/chitchat-train.bin, chitchat-val.bin (the same as .txt) and chitchat.json.
Validation is on phrasings that training never shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from jojo.command import Count
from jojo.data.contract import PrepareOptions, Recipe, Tally
from jojo.data.prepare import main

if TYPE_CHECKING:
    from jojo.text.template import Conversation

TABLE = {".toml": "a phrasing table (.toml)"}
REAL = {".json": "the dataset.json of chitchat-dataset"}
INPUTS = {"generated": TABLE, "byu": REAL, "both": TABLE | REAL}  # what --input may be
EXAMPLE = "Hi, my name is Anna. What's yours?\n"


@dataclass
class ChitchatOptions(PrepareOptions):
    source: Literal["generated", "byu", "both"] = "generated"
    """Generated conversations, the real ones of the package chitchat-dataset, or both."""
    conversations: Count = 25_000
    """How many conversations to generate."""


def conversations(options: ChitchatOptions, tally: Tally) -> Iterator[Conversation]:
    from jojo.data.chitchat import table, talk
    from jojo.data.public import byu

    suffix = options.input.suffix.lower() if options.input else None
    if suffix is not None and suffix not in INPUTS[options.source]:
        wanted = " or ".join(INPUTS[options.source].values())
        raise ValueError(f"--source {options.source} reads {wanted}, not {options.input}")
    if options.source != "byu":
        path = options.input if suffix == ".toml" else table.TABLE
        tally.used(path)
        rows = table.load_table(path)
        made = talk.generate_chats(options.conversations, options.seed, options.val_fraction, rows)
        yield from tally.records(made)
    if options.source != "generated":
        path = options.input if suffix == ".json" else byu.installed()
        tally.used(path)
        yield from byu.read(path, tally)


RECIPE = Recipe(
    name="chitchat",
    template="chatml",
    licence="MIT",
    sources=(
        "generated from data/chitchat.toml",
        "https://pypi.org/project/chitchat-dataset/ (--source byu)",
    ),
    conversations=conversations,
    example_prompt=EXAMPLE,
    near_duplicates=False,  # phrasings are near copies of one another by design
    options=ChitchatOptions,
)

if __name__ == "__main__":
    main(RECIPE)
