"""Generate text or chat with a checkpoint.

python gen.py models/chat5000.pt --interactive
python gen.py models/chat5000.pt --prompt "How was your day?"

The text goes to stdout as it is drawn, everything else to stderr.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jojo.command import parse, run, say


@dataclass
class GenConfig:
    checkpoint: Annotated[Path, tyro.conf.Positional]
    """A checkpoint of train.py, e.g. models/chat5000.pt."""
    prompt: str | None = None
    """What to say to a chat model, or what a text model continues."""
    prompt_file: Path | None = None
    """Read the prompt from a file: text, or turns in ChatML."""
    interactive: bool = False
    """Chat in the terminal; a text model continues each line."""
    system: str | None = None
    """System message of the chat."""
    nonstop: bool = False
    """Go on past the end of the reply, up to --max_tokens."""
    num_samples: int = 1
    """Replies to draw, all at once."""
    temp: float = 0.8
    """Temperature: 0 always takes the likeliest token."""
    top_k: int = 0
    """Only the k likeliest tokens; 0 for all."""
    top_p: float = 0.95
    """Only the likeliest tokens that together have this probability."""
    min_p: float = 0.0
    """Only tokens at least this likely, relative to the likeliest."""
    repetition_penalty: float = 1.0
    """Above 1: makes tokens already used less likely."""
    max_tokens: int = 256
    """Longest reply, in tokens."""
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


def main() -> int:
    began = time.perf_counter()
    config = parse(GenConfig, None, __doc__)
    from jojo.generation import Session

    session = Session(config)
    if config.verbose:
        say(f"{session.describe()}, loaded in {time.perf_counter() - began:.1f} s")
    if config.interactive:
        session.interact()
    else:
        session.complete(sys.stdout)
    return 0


if __name__ == "__main__":
    run(main)
