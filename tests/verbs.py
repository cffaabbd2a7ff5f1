"""The commands run as a person runs them, and small models for them to open."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from jojo.data.bins import DatasetWriter
from jojo.files import ROOT
from jojo.text.template import encode_batch
from jojo.train.config import TrainConfig
from jojo.train.run import train

SMALL = {
    "preset": "tiny",
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 32,
    "n_inner": 64,
    "block_size": 48,
    "batch_size": 4,
    "warmup_iters": 2,
    "head_lr": 0.03,
    "sample_interval": 0,
    "compile": False,
}


ASKED, SAID = "Hello, how are you today?", "Fine, and you?"


def call(verb: str, *arguments, stdin: str = "") -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(ROOT / verb), *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        timeout=120,
    )


def complaint(verb: str, *arguments, code: int = 1) -> str:
    """Stderr of a command that must fail with one line and no traceback."""
    done = call(verb, *arguments)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, done.stderr
    return done.stderr


def trained(folder: Path, templates: Sequence[str]) -> Path:
    """`folder` with a small dataset of each template and a model that knows its one exchange."""
    said = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": SAID}]
    for template in templates:
        with DatasetWriter(folder / "data", template, template=template) as writer:
            ids = encode_batch([said[1:] if template == "text" else said], template)[0]
            for i in range(120):
                writer.add("val" if i % 10 == 0 else "train", ids)
            writer.commit(licence="none", records_in=120)
        known = {"dataset": template, "data_dir": folder / "data", "out_dir": folder / "models"}
        assert train(TrainConfig(**SMALL, **known, max_iters=90), "test") == 0
    return folder
