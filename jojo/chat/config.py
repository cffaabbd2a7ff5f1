"""Settings of sampling, gen.py and interact.py, and what other commands share with them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jojo.command import Count, Options, Range, Seed, Share
from jojo.files import MODELS, is_plain_name

Temperature = Annotated[float, Range(0, 100)]


@dataclass(kw_only=True)
class SamplingOptions(Options):
    temp: Temperature = 0.7
    """Temperature: 0 always takes the likeliest token."""
    top_k: Annotated[int, Range(0, 1 << 30)] = 0
    """Only the k likeliest tokens; 0 for all."""
    top_p: Annotated[float, Range(1e-9, 1.0)] = 0.9
    """Only the likeliest tokens that together have this probability."""
    min_p: Share = 0.0
    """Only tokens at least this likely, relative to the likeliest."""
    repetition_penalty: Annotated[float, Range(0.01, 100)] = 1.0
    """Above 1: makes tokens already used less likely (CTRL, arXiv:1909.05858)."""
    max_tokens: Count = 256
    """Longest reply, in tokens."""


@dataclass(kw_only=True)
class DeviceOption(Options):
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""


@dataclass(kw_only=True)
class BaseOption(Options):
    base: str | None = None
    """The model an adapter was trained on, if it is not found."""


@dataclass(kw_only=True)
class TalkOptions(DeviceOption, BaseOption, SamplingOptions):
    """What gen.py and interact.py share."""

    seed: Seed | None = None
    """Same seed, same replies; without one every run differs."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of the weights; auto takes the fastest."""


@dataclass(kw_only=True)
class GenConfig(TalkOptions):
    checkpoint: Annotated[str, tyro.conf.Positional]
    """A checkpoint of train.py, e.g. models/chat5000.pt, an adapter, a Hugging Face folder, or a
    name: gpt2, gpt2-medium, owner/name."""
    prompt: str | None = None
    """What to say to a chat model, or what a text model continues."""
    prompt_file: Path | None = None
    """Read the prompt from a file: text, or turns in ChatML."""
    interactive: bool = False
    """Chat in the terminal; a text model continues each line."""
    system: str | None = None
    """System message of the chat."""
    examples: Path | None = None
    """Example interactions for the system message: any file data/prepare-file.py reads."""
    nonstop: bool = False
    """Go on past the end of the reply, up to --max_tokens."""
    num_samples: Count = 1
    """Replies to draw, all at once."""
    output: Path | None = None
    """Also write the text to this file."""
    verbose: bool = False
    """Say what is loaded and how fast it goes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prompt is not None and self.prompt_file is not None:
            raise ValueError("`prompt` and `prompt_file` exclude each other: give one")
        if self.interactive and self.num_samples > 1:
            raise ValueError("`interactive` has one reply at a time: leave out `num_samples`")


@dataclass(kw_only=True)
class InteractConfig(TalkOptions):
    temp: Annotated[Temperature, tyro.conf.arg(aliases=["--temperature"])] = SamplingOptions.temp
    """Temperature: 0 always takes the likeliest token."""
    max_tokens: Annotated[Count, tyro.conf.arg(aliases=["--max_length"])] = (
        SamplingOptions.max_tokens
    )
    """Longest reply, in tokens."""
    run_name: str
    """The run of train.py: its best model, else its newest, is talked to."""
    max_history: Count = 10
    """How many exchanges before the last message the model reads; fewer where the context ends."""
    no_sample: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Always take the likeliest token, whatever the temperature."""
    no_info: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show the conversation alone."""
    out_dir: Path = MODELS
    """Where the checkpoints are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_plain_name(self.run_name):
            raise ValueError(f"`run_name` {self.run_name!r} must be a plain file name")

    def sampling(self) -> SamplingOptions:
        options = {f.name: getattr(self, f.name) for f in fields(SamplingOptions)}
        return SamplingOptions(**options | ({"temp": 0.0} if self.no_sample else {}))
