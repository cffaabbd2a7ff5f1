"""A model opened to generate with.

opened = open_model("models/chat5000.pt", "auto", "auto")
chat = chat_with(opened, SamplingOptions(), seed=1)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from jojo import device
from jojo.chat.config import SamplingOptions
from jojo.chat.memory import Chat, chat_template_of
from jojo.chat.sampling import for_inference
from jojo.models import pretrained
from model import GPT


@dataclass(frozen=True)
class Opened:
    """`facts` is what the model's checkpoint says about it."""

    model: GPT
    facts: dict
    machine: device.Machine
    dtype: torch.dtype  # of the weights of the matrix products
    source: str
    base: str | None
    stamp: tuple  # of the files at `source`


def open_model(
    source: str, device_name: str, dtype: str, base: str | None = None, sequences: int = 1
) -> Opened:
    """Anything that jojo/models/pretrained.py opens, ready for `sequences` texts at once."""
    machine = device.choose(device_name, dtype)
    stamp = stamp_of(source)
    model, facts = pretrained.load_model(source, machine.device, base)
    precision = machine.inference_dtype(dtype, sequences)
    for_inference(model, precision)
    return Opened(model, facts, machine, precision, source, base, stamp)


def chat_with(
    opened: Opened, options: SamplingOptions, seed: int | None, **settings: object
) -> Chat:
    """A conversation with any model: one of plain text goes on with a written dialogue."""
    return Chat(opened.model, chat_template_of(opened.facts), options, seeded(seed), **settings)


def seeded(seed: int | None) -> torch.Generator:
    """What draws the tokens; without a seed it draws others every time."""
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator


def stamp_of(source: str) -> tuple:
    """Sizes and times of the files at a path; of a name, nothing."""
    path = Path(source)
    files = sorted(path.rglob("*")) if path.is_dir() else [path] if path.exists() else []
    return tuple((str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file())
