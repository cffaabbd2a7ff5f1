"""Conversations of a prepared dataset as the model sees them, token by token.

    python data/preview.py chat
    python data/preview.py mine --n 5 --seed 1 --ids
    python data/preview.py mix --windows                  # what a training step reads
    python data/preview.py chat --html chat.html

Tokens that are trained are coloured (in « » where there are no colours); the others are read but
not learned. The whole dataset is checked too: this fails if a reply of the assistant does not end
in a stop token that is trained, since the model would then never learn to stop.
Writes nothing but --html.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from jojo.command import Count, Seed, Whole, parse, run, say
from jojo.data.contract import SPLITS, DataFolder


@dataclass(kw_only=True)
class PreviewOptions(DataFolder):
    name: tyro.conf.Positional[str]
    """The dataset."""
    n: Count = 3
    """How many conversations."""
    split: Literal[SPLITS] = "train"
    """From which split."""
    start: Whole | None = None
    """Number of the first one, from 0."""
    seed: Seed | None = None
    """Draw them instead; with --windows, the seed of the training."""
    loss_on: Literal["assistant", "all"] = "assistant"
    """As for train.py. Plain text is always trained on all."""
    ids: bool = False
    """Show the id of each token."""
    windows: bool = False
    """Show windows of a training: conversations packed to --block_size."""
    block_size: Count = 256
    """Tokens in a window."""
    html: Path | None = None
    """Write a page for the browser to this file instead."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seed is not None and self.start is not None and not self.windows:
            raise ValueError("--start picks by number and --seed draws: give one of them")


def command() -> int:
    options = parse(PreviewOptions, None, __doc__)
    from jojo.data.bins import open_dataset
    from jojo.data.inspect.preview import audit

    dataset = open_dataset(options.name, options.data_dir)
    loss_on = "all" if dataset.manifest.template == "text" else options.loss_on
    found = audit(dataset, loss_on)
    show(options, found, passages(options, dataset, loss_on))
    if found.problem:
        raise ValueError(found.problem)
    return 0


def passages(options: PreviewOptions, dataset, loss_on: str) -> list:
    from jojo.data.inspect import preview
    from jojo.train.config import TrainConfig

    what = dataset, options.split, options.n, options.start or 0
    if not options.windows:
        return preview.conversation_passages(*what, options.seed, loss_on)
    seed = TrainConfig.seed if options.seed is None else options.seed
    return preview.window_passages(*what, seed, loss_on, options.block_size)


def show(options: PreviewOptions, found, shown: list) -> None:
    from jojo.data.inspect.tokenview import as_html, as_text, legend
    from jojo.files import write_text

    if options.html:
        write_text(options.html, as_html(found, shown, options.ids))
        say("\n".join([*found.lines(), f"written: {options.html}"]))
        return
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # where it cannot show all of Unicode
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    print(legend(colour, options.ids), end="\n\n")
    for passage in shown:
        print(as_text(passage, colour, options.ids))
    print("\n".join(found.lines()))


if __name__ == "__main__":
    run(command)
