"""Cornell Movie-Dialogs, talks of film characters, as ChatML or as <speaker1> and <speaker2>.

    python data/prepare-cornell.py
    python data/prepare-cornell.py --template speaker --name movies
    python data/prepare-cornell.py --input ~/Downloads/cornell_movie_dialogs_corpus.zip

Danescu-Niculescu-Mizil and Lee 2011, https://aclanthology.org/W11-0609. Who speaks first is the
user. Writes data/cornell-train.bin, -val.bin (and the same as .txt) and data/cornell.json.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jojo.data.contract import PrepareOptions, Recipe
from jojo.data.prepare import main
from jojo.data.public import cornell


@dataclass
class CornellOptions(PrepareOptions):
    template: Literal["chatml", "speaker"] = "chatml"
    """How turns are written; `speaker` is for transfer learning."""


RECIPE = Recipe(
    name="cornell",
    template=lambda options: options.template,
    licence=cornell.FACTS.licence,
    sources=cornell.FACTS.where,
    conversations=cornell.conversations,
    options=CornellOptions,
)

if __name__ == "__main__":
    main(RECIPE)
