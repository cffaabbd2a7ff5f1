"""Small training runs, whole, broken off and killed, for several test files."""

from __future__ import annotations

import random
import time

import pytest
import torch
from verbs import forks

from jojo.files import ROOT
from jojo.models import checkpoint
from jojo.train.config import TrainConfig
from jojo.train.run import train
from jojo.train.trainer import Trainer

SMALL = {
    "preset": "tiny",
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 32,
    "n_inner": 64,
    "block_size": 32,
    "batch_size": 4,
    "warmup_iters": 2,
    "sample_interval": 0,
    "eval_tokens": 256,
    "compile": False,
}


def settings(data_dir, out_dir, **changes) -> TrainConfig:
    known = {"dataset": "tiny", "data_dir": data_dir, "out_dir": out_dir, "max_iters": 12}
    return TrainConfig(**(SMALL | known | changes))


def weights(path) -> dict[str, torch.Tensor]:
    content = checkpoint.load(path)
    return content["adapter"] if "adapter" in content else content["model"]


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


class Killed(Exception):
    """Stands for a kill in the middle of a step."""


def interrupted_at(step: int, monkeypatch, config: TrainConfig) -> None:
    """Run until the gradients of `step` are half done, then break off without cleaning up."""
    real = Trainer.gradients

    def gradients(self, k):
        loss = real(self, k)
        if k == step:
            raise Killed
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "gradients", gradients)
        with pytest.raises(Killed):
            train(config, "")


def killed_and_resumed(folder, flags: dict, kills: int, *more: str) -> None:
    """Run train.py whole, and killed (SIGKILL) at random moments and resumed: equal milestones."""
    options = ["--no_compile", "--save_interval", "7"]
    options += [part for n, v in flags.items() if n != "compile" for part in (f"--{n}", v)]

    def start(out_dir, *arguments):
        return forks().start(ROOT / "train.py", *options, *more, "--out_dir", out_dir, *arguments)

    assert start(folder / "whole").wait() == 0
    rng, done, killed = random.Random(1), 0, folder / "killed"
    metrics = killed / "tiny.jsonl"

    def lines() -> int:
        return metrics.read_bytes().count(b"\n") if metrics.exists() else 0

    while done < kills:
        until = lines() + rng.randint(0, flags["max_iters"] // kills)
        process = start(killed, "--resume")
        while lines() < until and process.poll() is None:
            time.sleep(0.005)
        if process.poll(rng.uniform(0, 0.1)) is not None:
            break
        process.kill()
        done += 1
        for path in killed.glob("*.pt"):  # whatever is visible is whole
            checkpoint.load(path)
    assert done >= kills // 2, "the run ended before it could be killed often enough"
    assert start(killed, "--resume").wait() == 0
    milestones = list(checkpoint.RunFiles(folder / "whole", "tiny").milestones())
    assert len(milestones) > 10
    for path in milestones:
        assert same(weights(path), weights(killed / path.name)), path.name
