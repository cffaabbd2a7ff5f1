"""Models written as files to look into."""

from __future__ import annotations

from pathlib import Path

import pytest

from jojo.export import gguf
from model import GPT


@pytest.fixture
def written_gguf(tiny_model, tmp_path):
    """(a model, its file) of a shape and a type."""

    def write(kind: str = "f32", template: str = "chatml", **shape) -> tuple[GPT, Path]:
        model = tiny_model(vocab_size=50304, **shape)
        gguf.check(model.config, kind)
        path = tmp_path / f"model.{kind}.gguf"
        gguf.write(model, path, kind, template, {"name": "model", "license": "mit"})
        return model, path

    return write
