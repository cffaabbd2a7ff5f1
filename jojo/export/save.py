"""An opened model written again, in full precision: as a checkpoint or a Hugging Face folder."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import torch

from jojo.chat.opened import Opened, stamp_of
from jojo.export.hf_folder import save_folder
from jojo.models import checkpoint, pretrained
from jojo.models.names import CHECKPOINT, ENDINGS
from model import GPT

# Facts that every file states itself, and the base of an adapter, which is merged in.
NOT_KEPT = ("format", "config", "tokenizer", "template", "base")


def save_model(opened: Opened, path: str | os.PathLike[str]) -> Opened:
    """NAME.pt becomes a checkpoint, else a Hugging Face folder; what Jojo wrote there is replaced.

    Weights rounded in memory are read again; ValueError where their file is gone or has changed.
    Returns `opened` as it is now: it may have been written over what it was opened from.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ValueError(f"{path!r} is not a path: name a file NAME.pt or a folder")
    path = Path(os.path.expanduser(path))
    _check_place(opened, path)
    model, facts = _in_full(opened), opened.facts
    if path.suffix == CHECKPOINT:
        checkpoint.save(path, content_of(model, facts))
    else:
        save_folder(model, path, facts["template"], facts, overwrite=True)
    if path.resolve() != Path(opened.source).resolve():
        return opened
    return replace(opened, base=None, stamp=stamp_of(opened.source))


def content_of(model: GPT, facts: dict) -> dict:
    """A checkpoint of a whole model of which `facts` are known."""
    kept = {name: value for name, value in facts.items() if name not in NOT_KEPT}
    return checkpoint.model_content(model, template=facts["template"], **kept)


def _check_place(opened: Opened, path: Path) -> None:
    """ValueError where a model cannot be saved to `path`, or would replace what is not ours."""
    if path.suffix != CHECKPOINT and (path.suffix in ENDINGS or path.is_file()):
        raise ValueError(f"{path} cannot be saved to: name a file NAME.pt or a folder")
    if path.suffix == CHECKPOINT and path.is_dir():
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
    if stamp_of(opened.source) != opened.stamp:
        raise ValueError(
            f"{opened.source} is gone or changed since it was loaded, and the weights in memory "
            "are rounded: load the model again, with dtype float32 to keep whole weights in memory"
        )
    return pretrained.load_model(opened.source, "cpu", opened.base)[0]
