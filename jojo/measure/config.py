"""Settings of eval.py and bench.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jojo.chat.config import SamplingOptions
from jojo.command import check_ranges
from jojo.files import ROOT


@dataclass(kw_only=True)
class EvalConfig(SamplingOptions):
    checkpoint: Annotated[str, tyro.conf.Positional]
    """A checkpoint or an adapter of train.py, or whatever else gen.py opens."""
    base: str | None = None
    """The model an adapter was trained on, where it is not found."""
    dataset: str | None = None
    """Validate on this dataset; by default the one it was trained on."""
    data_dir: Path = ROOT / "data"
    """Where datasets are."""
    eval_tokens: int = 1_000_000
    """Validation tokens to read at most."""
    prompts: int = 400
    """Prompts of held-out phrasings to answer (chitchat only); 0 for none."""
    max_tokens: int = 64
    """A reply that has not ended by then counts as not ended."""
    seed: int = 1
    """Chooses the prompts and the replies."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    show_wrong: int = 10
    """Replies without the right intent to show."""
    json: bool = False
    """Print the numbers as JSON on stdout."""


@dataclass
class BenchConfig:
    what: Annotated[Literal["prepare", "train", "gen", "race"], tyro.conf.Positional]
    """What to measure."""
    json: bool = False
    """Print the numbers as JSON on stdout."""
    megabytes: int = 1000
    """prepare: size of the text."""
    input: Path | None = None
    """prepare: a text file of stories to make it of, instead of made-up ones."""
    config: Path = ROOT / "config" / "laptop.toml"
    """train, race: the settings of train.py."""
    dataset: str = "chitchat"
    """train, race: a prepared dataset."""
    data_dir: Path = ROOT / "data"
    """train, race: where it is."""
    steps: int = 12
    """train: steps to time."""
    budget: str = "10m"
    """race: how long the plain loop trains."""
    preset: Literal["tiny", "small", "gpt2", "medium", "large", "xl"] = "gpt2"
    """gen: size of the model, whose weights are random."""
    checkpoint: str | None = None
    """gen: a model to measure instead: whatever gen.py opens."""
    tokens: int = 512
    """gen: tokens to generate, or as many as the model's context holds."""
    against: str | None = None
    """gen: the programs beside gen.py, with commas between: uncached, transformers, llama.cpp.
    Without it all that are installed."""
    repeats: int = 3
    """gen: runs of each program, in turn; medians are shown."""

    def __post_init__(self) -> None:
        check_ranges(self, {"tokens": (2, 1 << 30), "repeats": (1, 1 << 30)})
