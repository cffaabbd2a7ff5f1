"""A model opened to generate with, and written down again in full precision.

opened = open_model("models/chat5000.pt", "auto", "auto")
save_model(opened, Path("my-chatbot"))     # a Hugging Face folder; NAME.pt: a checkpoint
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from jojo import checkpoint, device, pretrained
from jojo.chat import Chat, chat_template_of
from jojo.sampling import SamplingOptions, for_inference
from model import GPT

# Facts that a new file has anew, and the base of an adapter, which is merged in.
NOT_KEPT = ("format", "config", "tokenizer", "template", "base")
OTHER_FORMATS = (".bin", ".ckpt", ".gguf", ".onnx", ".pth", ".safetensors")


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
    """Anything that jojo/pretrained.py opens, ready for `sequences` texts at once."""
    machine = device.choose(device_name, dtype)
    stamp = _stamp(source)
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


def save_model(opened: Opened, path: str | os.PathLike[str]) -> Opened:
    """NAME.pt becomes a checkpoint, else a Hugging Face folder; what Jojo wrote there is replaced.

    Weights that are rounded in memory are read again; ValueError where they are gone or others.
    Returns `opened` as it is now: it may have been written over what it was opened from.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(f"{path!r} is no path: name a file NAME.pt or a folder")
    path = Path(os.path.expanduser(path))
    _check_place(opened, path)
    model, facts = _in_full(opened), opened.facts
    if path.suffix == ".pt":
        checkpoint.save(path, content_of(model, facts))
    else:
        from jojo.export import hf

        hf.save_folder(model, path, facts["template"], facts, overwrite=True)
    if path.resolve() != Path(opened.source).resolve():
        return opened
    return replace(opened, base=None, stamp=_stamp(opened.source))


def content_of(model: GPT, facts: dict) -> dict:
    """A checkpoint of a whole model of which `facts` are known."""
    kept = {name: value for name, value in facts.items() if name not in NOT_KEPT}
    return checkpoint.model_content(model, template=facts["template"], **kept)


def _check_place(opened: Opened, path: Path) -> None:
    """ValueError where a model cannot be saved to `path`, or would replace what is not ours."""
    if path.suffix in OTHER_FORMATS or (path.suffix != ".pt" and path.is_file()):
        raise ValueError(f"{path} cannot be saved to: name a file NAME.pt or a folder")
    if path.suffix == ".pt" and path.is_dir():
        raise ValueError(f"{path} is a folder: choose another name")
    if file := next((p for p in path.parents if p.is_file()), None):
        raise ValueError(f"{path} cannot be saved to: {file} is a file, choose another place")
    pretrained.check_not_base(path, opened.source, opened.facts, opened.base)
    if (path / "config.json").is_file() and not _is_ours(path):
        raise ValueError(f"{path} holds a model that Jojo did not write: choose another place")


def _is_ours(folder: Path) -> bool:
    try:
        return "jojo" in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (ValueError, TypeError):  # no config at all
        return False


def _in_full(opened: Opened) -> GPT:
    if opened.dtype == torch.float32:
        return opened.model
    if _stamp(opened.source) != opened.stamp:
        raise ValueError(
            f"{opened.source} is gone or changed since it was loaded, and the weights in memory "
            "are rounded: load the model again, with dtype float32 to keep whole weights in memory"
        )
    return pretrained.load_model(opened.source, "cpu", opened.base)[0]


def _stamp(source: str) -> tuple:
    """Sizes and times of the files at a path; of a name, nothing."""
    path = Path(source)
    files = sorted(path.rglob("*")) if path.is_dir() else [path] if path.exists() else []
    return tuple((str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file())
