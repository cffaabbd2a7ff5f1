"""Settings of eval.py and bench.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jojo.chat.config import BaseOption, DeviceOption, SamplingOptions
from jojo.command import Count, Options, Range, Seed, Whole, seconds
from jojo.data.contract import DataFolder
from jojo.files import ROOT
from jojo.train.config import DEFAULT_DATASET, DEFAULT_PRESET, Preset


@dataclass(kw_only=True)
class EvalConfig(DeviceOption, DataFolder, BaseOption, SamplingOptions):
    checkpoint: Annotated[str, tyro.conf.Positional]
    """A checkpoint or an adapter of train.py, or whatever else gen.py opens."""
    dataset: str | None = None
    """Validate on this dataset; by default the one it was trained on."""
    eval_tokens: Count = 1_000_000
    """Validation tokens to read at most."""
    prompts: Whole = 400
    """Prompts of held-out phrasings to answer (chitchat only); 0 for none."""
    max_tokens: Count = 64
    """A reply that has not ended by then counts as not ended."""
    seed: Seed = 1
    """Chooses the prompts and the replies."""
    show_wrong: Whole = 10
    """Replies without the right intent to show."""
    json: bool = False
    """Print the numbers as JSON on stdout."""


@dataclass(kw_only=True)
class BenchConfig(Options):
    what: Annotated[Literal["prepare", "train", "gen", "race"], tyro.conf.Positional]
    """What to measure."""
    json: bool = False
    """Print the numbers as JSON on stdout."""
    megabytes: Count = 1000
    """prepare: size of the text."""
    input: Path | None = None
    """prepare: a text file of stories to make it of, instead of made-up ones."""
    config: Path = ROOT / "config" / "laptop.toml"
    """train, race: the settings of train.py."""
    dataset: str = DEFAULT_DATASET
    """train, race: a prepared dataset."""
    data_dir: Path = DataFolder.data_dir
    """train, race: where datasets are."""
    steps: Count = 12
    """train: steps to time."""
    budget: str = "10m"
    """race: how long the plain loop trains."""
    preset: Preset = DEFAULT_PRESET
    """gen: size of the model, whose weights are random."""
    checkpoint: str | None = None
    """gen: a model to measure instead: whatever gen.py opens."""
    tokens: Annotated[int, Range(2)] = 512
    """gen: tokens to generate, or as many as the model's context holds."""
    against: str | None = None
    """gen: the programs beside gen.py, with commas between: uncached, transformers, llama.cpp.
    Without it all that are installed."""
    repeats: Count = 3
    """gen: runs of each program, in turn; medians are shown."""

    def __post_init__(self) -> None:
        super().__post_init__()
        seconds(self.budget, "budget")
