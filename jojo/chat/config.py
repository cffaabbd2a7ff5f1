"""Settings of sampling, gen.py and interact.py."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro

from jojo.command import check_ranges, check_seed
from jojo.files import ROOT, is_plain_name


@dataclass(kw_only=True)
class SamplingOptions:
    temp: float = 0.7
    """Temperature: 0 always takes the likeliest token."""
    top_k: int = 0
    """Only the k likeliest tokens; 0 for all."""
    top_p: float = 0.9
    """Only the likeliest tokens that together have this probability."""
    min_p: float = 0.0
    """Only tokens at least this likely, relative to the likeliest."""
    repetition_penalty: float = 1.0
    """Above 1: makes tokens already used less likely (CTRL, arXiv:1909.05858)."""
    max_tokens: int = 256
    """Longest reply, in tokens."""

    def __post_init__(self) -> None:
        limits = {
            "temp": (0.0, 100.0),
            "top_k": (0, 1 << 30),
            "top_p": (1e-9, 1.0),
            "min_p": (0.0, 1.0),
            "repetition_penalty": (0.01, 100.0),
            "max_tokens": (1, 1 << 30),
        }
        check_ranges(self, limits)


@dataclass(kw_only=True)
class GenConfig(SamplingOptions):
    checkpoint: Annotated[str, tyro.conf.Positional]
    """A checkpoint of train.py, e.g. models/chat5000.pt, an adapter, a Hugging Face folder, or a
    name: gpt2, gpt2-medium, owner/name."""
    base: str | None = None
    """The model an adapter was trained on, where it is not found."""
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
    num_samples: int = 1
    """Replies to draw, all at once."""
    seed: int | None = None
    """Same seed, same text; without one every run differs."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of the weights; auto takes the fastest."""
    output: Path | None = None
    """Also write the text to this file."""
    verbose: bool = False
    """Say what is loaded and how fast it goes."""


@dataclass(kw_only=True)
class InteractConfig(SamplingOptions):
    temp: Annotated[float, tyro.conf.arg(aliases=["--temperature"])] = SamplingOptions.temp
    """Temperature: 0 always takes the likeliest token."""
    max_tokens: Annotated[int, tyro.conf.arg(aliases=["--max_length"])] = SamplingOptions.max_tokens
    """Longest reply, in tokens."""
    run_name: str
    """The run of train.py: its best model, else its newest, is talked to."""
    max_history: int = 10
    """How many exchanges before the last message the model reads; fewer where the context ends."""
    no_sample: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Always take the likeliest token, whatever the temperature."""
    seed: int | None = None
    """Same seed, same replies; without one every talk differs."""
    no_info: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show the conversation alone."""
    out_dir: Path = ROOT / "models"
    """Where the checkpoints are."""
    base: str | None = None
    """The model an adapter was trained on, where it is not found."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of the weights; auto takes the fastest."""

    # where an option has two names; errors say both
    flags: ClassVar[dict[str, str]] = {
        "temp": "--temperature (--temp)",
        "max_tokens": "--max_length (--max_tokens)",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_seed(self.seed)
        if self.max_history < 1:
            raise ValueError(f"--max_history {self.max_history} must be 1 or more")
        if not is_plain_name(self.run_name):
            raise ValueError(f"--run_name {self.run_name!r} must be a plain file name")

    def sampling(self) -> SamplingOptions:
        options = {f.name: getattr(self, f.name) for f in fields(SamplingOptions)}
        return SamplingOptions(**options | ({"temp": 0.0} if self.no_sample else {}))
