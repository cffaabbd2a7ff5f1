"""Models as files, and a hub that answers or does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch
from hf_folders import cache_of
from huggingface_hub import constants

from jojo.export.hf_folder import save_folder
from jojo.models import checkpoint, hub, lora, pretrained
from model import GPT

HOW = lora.LoRA(2, 4.0, 0.1, ("q", "up"))


@pytest.fixture(autouse=True)
def no_hub(monkeypatch, tmp_path):
    """An empty cache and a hub that does not answer; what is asked of it fails the test."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "hub_answers", lambda: False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)


@pytest.fixture
def folder(tiny_model, tmp_path) -> Path:
    """A GPT-2 in a Hugging Face folder, as the hub has it: 50,257 rows, no template."""
    save_folder(tiny_model(arch="gpt2", vocab_size=50257), tmp_path / "gpt2-tiny", "text")
    return tmp_path / "gpt2-tiny"


@pytest.fixture
def adapted(tiny_model, tmp_path):
    """Saves an adapter of a base as train.py does; returns its path and the merged model."""

    def write(base: str | Path, name: str = "adapter.pt", seed: int = 0) -> tuple[Path, GPT]:
        opened = pretrained.merged(pretrained.open_base(base), str(base))
        model, source = opened.model, {"source": opened.source, "hash": opened.hash}
        torch.manual_seed(seed)
        lora.adapt(model, HOW)
        for p in model.parameters():
            if p.requires_grad:
                p.data.add_(torch.randn_like(p) * 0.1)
        content = checkpoint.model_content(model, template="chatml", base=source, step=7)
        checkpoint.save(tmp_path / name, content)
        lora.merge(model)
        return tmp_path / name, model

    return write


@pytest.fixture
def plain(tiny_model, tmp_path) -> Path:
    """A whole checkpoint."""
    content = checkpoint.model_content(tiny_model(), template="chatml", step=3, dataset="tiny")
    checkpoint.save(tmp_path / "base3.pt", content)
    return tmp_path / "base3.pt"


@pytest.fixture
def answering(monkeypatch, folder):
    """A hub that has `folder` as gpt2; its requests are noted, `error` is raised if it is set."""

    class Hub:
        requests: list
        error: Exception | None

    def snapshot_download(hub_id, allow_patterns, ignore_patterns):
        Hub.requests.append((hub_id, allow_patterns, ignore_patterns))
        if Hub.error:
            raise Hub.error
        place = cache_of(hub_id)
        shutil.copytree(folder, place, dirs_exist_ok=True)
        return str(place)

    Hub.requests, Hub.error = [], None
    monkeypatch.setattr(hub, "hub_answers", lambda: True)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return Hub
