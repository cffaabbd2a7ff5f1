"""Hugging Face folders to read and to spoil: what several test files do with them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from jojo.models import hf, hf_config
from model import GPT


def random_ids(below: int = 50257) -> torch.Tensor:
    return torch.randint(below, (2, 40), generator=torch.Generator().manual_seed(3))


def opened_by_transformers(folder: Path):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def read_state(folder: Path) -> dict[str, torch.Tensor]:
    """The weights in a folder under our names."""
    return {name: t.clone() for name, t in hf.read_tensors(folder, hf_config.read_config(folder))}


def edit(folder: Path, **changes) -> None:
    """Change config.json; None takes a name out."""
    raw = json.loads((folder / "config.json").read_text()) | changes
    raw = {name: value for name, value in raw.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(raw))


def edit_weights(folder: Path, change) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file({n: t.contiguous() for n, t in tensors.items()}, folder / "model.safetensors")


def cache_of(hub_id: str, commit: str = "abc") -> Path:
    """The place of a hub model in the cache, as huggingface_hub lays it out."""
    home = Path(constants.HF_HUB_CACHE) / f"models--{hub_id.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    (home / "snapshots" / commit).mkdir(parents=True)
    return home / "snapshots" / commit


def same(a: GPT, b: GPT) -> bool:
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
