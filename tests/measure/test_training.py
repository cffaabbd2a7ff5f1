"""bench.py prepare, train and race: every measurement runs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from jojo.files import ROOT
from jojo.measure import training
from jojo.train.config import TrainConfig

TINY = {"preset": "tiny", "n_layer": 1, "n_embd": 32, "n_head": 2, "block_size": 32}


@pytest.fixture
def config(tiny_dataset):
    return TrainConfig(**TINY, dataset="tiny", data_dir=tiny_dataset(), batch_size=4, compile=False)


@pytest.mark.slow
def test_preparing_gives_the_same_tokens_with_and_without_tokie(tmp_path, monkeypatch):
    import tokenizer

    monkeypatch.setattr(tokenizer, "bulk", tokenizer.bulk)  # put back what `prepare` replaces
    path = tmp_path / "stories.txt"
    training.sample_stories(path, 1, None)
    assert path.stat().st_size > 1_000_000
    fast, plain = (training.prepare(path, fast=fast) for fast in (True, False))
    assert fast["tokens"] == plain["tokens"] > 100_000
    assert fast["megabytes_per_second"] > 0


def test_training_is_measured_beside_the_plain_loop(config):
    ours, plain = training.train_ours(config, 2), training.train_plain(config, 3)
    assert ours["tokens_per_second"] > 0
    assert plain["tokens_per_second"] > 0


@pytest.mark.slow
def test_the_race_tells_when_the_plain_loops_loss_was_reached(config):
    config.eval_interval = 5
    plain = training.race_plain(config, 2.0)
    assert plain["val_loss"] < 10.825  # less than log(50,304), however busy the machine
    ours = training.race_ours(config, "8s", 10.0)
    assert 0 < ours["reached_seconds"] <= ours["seconds"]
    assert training.race_ours(config, "3s", 0.0)["reached_seconds"] is None


@pytest.mark.slow
def test_the_command_prints_json():
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench.py"), "prepare", "--megabytes", "1", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["ratios"]["tiktoken"] > 0
    assert "times tiktoken" in done.stderr
