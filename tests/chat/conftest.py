"""Small chats, and somebody who types."""

from __future__ import annotations

import io
import json

import pytest
import torch

from jojo.chat import terminal
from jojo.chat.config import SamplingOptions
from jojo.chat.memory import Chat


@pytest.fixture
def chat_with(tiny_model):
    """A greedy chat with a random model of 128 tokens of context."""
    models = {}

    def build(
        template: str = "chatml",
        system: str | None = None,
        block_size: int = 128,
        settings: dict | None = None,
        **options,
    ):
        if block_size not in models:
            models[block_size] = tiny_model(block_size=block_size)
        sampling = SamplingOptions(**({"temp": 0.0, "max_tokens": 8} | options))
        generator = torch.Generator().manual_seed(0)
        return Chat(models[block_size], template, sampling, generator, system, **(settings or {}))

    return build


@pytest.fixture
def typed(monkeypatch, capsys):
    """Types lines into a chat's terminal; returns (stdout, stderr)."""

    def run(chat: Chat, *lines: str) -> tuple[str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        terminal.converse(chat)
        return capsys.readouterr()

    return run


@pytest.fixture
def file(tmp_path):
    """Writes a file of examples and returns its path."""

    def write(content: object, name: str = "examples.json"):
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write
