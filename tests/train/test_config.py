"""jojo/train/config.py: settings that go together, and those of train_chatbot.py."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from jojo.command import parse
from jojo.files import ROOT
from jojo.train.config import ChatbotConfig, LearningOptions, TrainConfig


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.toml")), ids=lambda p: p.name)
def test_the_configs_of_the_project_are_valid(path):
    assert parse(TrainConfig, [str(path)], None) != TrainConfig()


@pytest.mark.parametrize(
    "settings",
    [
        {"max_iters": 0},
        {"batch_size": 0},
        {"eval_interval": 0},
        {"save_interval": -1},
        {"epochs": 1.0, "time_budget": "10m"},
        {"resume": True, "overwrite": True},
        {"run_name": "a/b"},
        {"run_name": "../a"},
        {"run_name": ".hidden"},
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_named(settings, complaint):
    message = complaint(TrainConfig, **settings)
    assert any(f"`{name}`" in message for name in settings)


def test_a_chatbot_learns_with_every_setting_that_both_commands_have():
    changed = {"learning_rate": 0.5, "lora_rank": 2, "lora_targets": "q", "seed": 5, "epochs": 2.0}
    changed |= {
        "me": "Anna",
        "block_size": 9,
        "loss_on": "assistant",
        "patience": 4,
        "dropout": 0.1,
    }
    changed |= {"resume": True, "compile": False, "device": "cpu", "data_dir": Path("d")}
    settings = ChatbotConfig(**changed, text_file=(Path("x"),)).training()
    for f in fields(LearningOptions):
        assert getattr(settings, f.name) == changed.get(f.name, f.default), f.name


def test_a_chatbot_decides_where_its_run_goes_and_what_it_starts_from():
    config = ChatbotConfig(model="distilgpt2", save_path=Path("here/bot.pt"))
    settings = config.training(batch_size=3)
    assert (settings.run, settings.dataset, settings.base) == ("bot", "chatbot-bot", "distilgpt2")
    assert (settings.out_dir, settings.batch_size) == (Path("here"), 3)
