"""Training: what a run leaves behind, and that a killed run ends where an unbroken one does."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace

import pytest
import torch
from runs import SMALL, interrupted_at, killed_and_resumed, same, settings, weights
from shapes import slow_after

from jojo.data import bins
from jojo.models import checkpoint
from jojo.train import plan as planning
from jojo.train import trainer
from jojo.train.plan import describe, make_plan
from jojo.train.run import train
from jojo.train.trainer import Trainer


def test_a_run_leaves_milestones_best_metrics_and_curves(tiny_dataset, tmp_path):
    config = settings(tiny_dataset(), tmp_path / "m", save_interval=5, eval_interval=4)
    assert train(config, "train.py") == 0
    found = sorted(p.name for p in (tmp_path / "m").iterdir())
    assert found == [
        *("tiny-best.pt", "tiny.jsonl", "tiny.png"),
        *("tiny10.pt", "tiny12.pt", "tiny5.pt"),
    ]
    rows = [json.loads(line) for line in (tmp_path / "m" / "tiny.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows if "loss" in r] == list(range(1, 13))
    assert [r["step"] for r in rows if "val_loss" in r] == [4, 8, 12]
    assert rows[0]["loss"] > [r for r in rows if "loss" in r][-1]["loss"] + 0.3
    content = checkpoint.load(tmp_path / "m" / "tiny12.pt")
    assert (content["step"], content["template"], content["dataset"]) == (12, "chatml", "tiny")
    assert content["script"] == "train.py"
    assert content["settings"]["data_dir"] == str(tmp_path / "data")
    assert content["settings"]["save_interval"] == 5
    assert "optimizer" not in content["settings"]  # as it is by default
    assert content["train_config"]["max_iters"] == 12


def test_training_learns_the_data(tiny_dataset, tmp_path):
    train(settings(tiny_dataset(), tmp_path / "m", max_iters=80, head_lr=0.03), "")
    rows = [json.loads(line) for line in (tmp_path / "m" / "tiny.jsonl").read_text().splitlines()]
    assert rows[0]["loss"] == pytest.approx(10.83, abs=0.1)  # log of the vocabulary
    assert rows[-1]["val_loss"] < 3.2


def test_the_micro_batch_does_not_change_what_is_learned(tiny_dataset, tmp_path):
    data_dir = tiny_dataset()
    for n in (4, 3, 1):
        config = settings(data_dir, tmp_path / "m", run_name=f"m{n}-", micro_batch_size=n)
        train(config, "")
    whole = weights(tmp_path / "m" / "m4-12.pt")
    for n in (3, 1):
        for name, tensor in weights(tmp_path / "m" / f"m{n}-12.pt").items():
            torch.testing.assert_close(tensor, whole[name], rtol=0.05, atol=0.02)


def test_the_loss_of_assistant_tokens_only(tiny_dataset, tmp_path):
    t = Trainer(settings(tiny_dataset(), tmp_path, loss_on="assistant"))
    windows = torch.from_numpy(t.batches.ids_of(0))
    learned = t.weigh(windows)
    assert 0.1 < learned.mean() < 0.9
    all_of_them = Trainer(settings(tmp_path / "data", tmp_path)).weigh(windows)
    assert all_of_them.mean() == 1


def test_assistant_loss_needs_turns(tiny_dataset, tmp_path):
    data_dir = tiny_dataset(name="story", template="text")
    with pytest.raises(ValueError, match="plain text"):
        Trainer(settings(data_dir, tmp_path, dataset="story", loss_on="assistant"))


@pytest.mark.parametrize(
    "changes", slow_after(1, [{}, {"dropout": 0.1}, {"arch": "gpt2"}, {"optimizer": "adamw"}])
)
def test_a_broken_off_run_resumes_to_the_same_weights(changes, tiny_dataset, tmp_path, monkeypatch):
    data_dir = tiny_dataset()
    whole = settings(data_dir, tmp_path / "whole", **changes)
    train(whole, "")
    parts = settings(data_dir, tmp_path / "parts", resume=True, resume_seconds=0.0, **changes)
    for step in (0, 3, 4, 11):
        interrupted_at(step, monkeypatch, parts)
    assert train(parts, "") == 0
    name = "tiny12.pt"
    assert same(weights(tmp_path / "whole" / name), weights(tmp_path / "parts" / name))
    lines = (tmp_path / "parts" / "tiny.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert sorted(set(steps)) == list(range(1, 13))
    assert not list((tmp_path / "parts").glob("*resume*"))


def test_stopping_saves_and_says_how_to_go_on(tiny_dataset, tmp_path, monkeypatch, capsys):
    config = settings(tiny_dataset(), tmp_path / "m")
    real = Trainer.update

    def update(self, step):
        if step == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "update", update)
        assert train(config, "") == 130
    assert "saved after step 6" in capsys.readouterr().err
    config.resume = True
    assert train(config, "") == 0
    train(settings(tmp_path / "data", tmp_path / "w"), "")
    assert same(weights(tmp_path / "m" / "tiny12.pt"), weights(tmp_path / "w" / "tiny12.pt"))


def test_an_earlier_run_is_not_overwritten_unasked(tiny_dataset, tmp_path, monkeypatch):
    config = settings(tiny_dataset(), tmp_path / "m")
    interrupted_at(2, monkeypatch, config)
    with pytest.raises(ValueError, match=r"unfinished.*`resume`.*`overwrite`"):
        train(config, "")
    config.overwrite = True
    assert train(config, "") == 0
    config.overwrite = False
    with pytest.raises(ValueError, match=r"is done.*`overwrite`"):
        train(config, "")


def test_two_processes_do_not_train_one_run(tiny_dataset, tmp_path, monkeypatch, complaint):
    config = settings(tiny_dataset(), tmp_path / "m")
    real, said = Trainer.update, []

    def update(self, step):
        if step == 2:  # another file handle on the lock, as another process would have
            said.append(complaint(train, replace(config, resume=True), ""))
            said.append(complaint(train, replace(config, overwrite=True), ""))
        return real(self, step)

    (tmp_path / "m").mkdir()
    (tmp_path / "m" / ".tiny.lock").touch()  # left by a kill: in nobody's way
    monkeypatch.setattr(Trainer, "update", update)
    assert train(config, "") == 0
    assert said == 2 * [
        "run 'tiny' is being trained by another process: wait for it, or choose another `run_name`"
    ]
    assert not (tmp_path / "m" / ".tiny.lock").exists()


def test_the_commands_it_names_can_be_pasted(tiny_dataset, tmp_path, capsys):
    config = settings(tiny_dataset(), tmp_path / "my models", max_iters=2)
    train(config, "")
    train(replace(config, resume=True), "")
    hint = f"python gen.py '{tmp_path / 'my models' / 'tiny2.pt'}' --interactive"
    assert capsys.readouterr().err.count(hint) == 2


def test_a_loss_on_training_data_is_not_called_validation(tiny_dataset, tmp_path, capsys):
    data_dir = tiny_dataset(name="first")
    ids = bins.open_dataset("first", data_dir).ids["train"]
    with bins.DatasetWriter(data_dir, "tiny", template="chatml") as writer:
        writer.add("train", ids)
        writer.repeat_train()
        writer.commit(licence="none", sources=["made up"], records_in=1)
    train(settings(data_dir, tmp_path / "m", max_iters=2), "")
    said = capsys.readouterr().err
    assert ": loss on the training data (nothing is held out) 10." in said
    assert "validation loss" not in said


def test_what_a_run_is_said_to_be(tiny_dataset, tmp_path, capsys):
    data_dir = tiny_dataset(name="story", template="text")
    describe(Trainer(settings(data_dir, tmp_path, dataset="story", optimizer="adamw")))
    said = capsys.readouterr().err
    assert "documents, " in said
    assert "conversations" not in said
    assert "head_lr" not in said
    assert "embedding_lr" not in said
    describe(Trainer(settings(tiny_dataset(), tmp_path)))
    said = capsys.readouterr().err
    assert "conversations, " in said
    assert "head_lr=" in said


def test_resuming_with_other_settings_or_data_is_refused(tiny_dataset, tmp_path, monkeypatch):
    data_dir = tiny_dataset()
    interrupted_at(2, monkeypatch, settings(data_dir, tmp_path / "m", resume_seconds=0.0))
    with pytest.raises(ValueError, match=r"`batch_size` 4 \(now 8\)"):
        train(settings(data_dir, tmp_path / "m", resume=True, batch_size=8), "")
    tiny_dataset(conversations=130)
    with pytest.raises(ValueError, match="changed since this run began"):
        train(settings(data_dir, tmp_path / "m", resume=True), "")


def test_out_of_memory_halves_the_micro_batch(tiny_dataset, tmp_path, monkeypatch, capsys):
    real = Trainer.micro_step

    def micro_step(self, windows, weights, total):
        if len(windows) > 2:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return real(self, windows, weights, total)

    t = Trainer(settings(tiny_dataset(), tmp_path))
    before = t.gradients(0)
    t.optimizers.zero_grad()
    monkeypatch.setattr(Trainer, "micro_step", micro_step)
    assert t.gradients(0) == pytest.approx(before, rel=1e-3)
    assert t.micro_batch == 2
    assert "--micro_batch_size 2" in capsys.readouterr().err


def test_a_model_that_cannot_fit_is_refused_before_it_starts(tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("jojo.device.Machine.free_bytes", lambda self: 10_000)
    with pytest.raises(ValueError, match=r"GiB of memory to train.*`preset`"):
        train(settings(tiny_dataset(), tmp_path / "m"), "")


def test_foolish_plans_are_named(tiny_dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(planning, "measure_step", lambda trainer: 100.0)
    t = Trainer(settings(tiny_dataset(), tmp_path, max_iters=3000))
    make_plan(t, time.monotonic())
    said = capsys.readouterr().err
    assert "about 83 h on this CPU; python train.py config/laptop.toml" in said
    assert "times; expect overfitting" in said


def test_epochs_and_time_budget_set_the_number_of_steps(tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "measure_step", lambda trainer: 0.5)
    t = Trainer(settings(tiny_dataset(), tmp_path, epochs=2))
    make_plan(t, time.monotonic())
    assert t.schedule.max_iters == -(-2 * t.batches.windows_per_epoch() // 4)
    t = Trainer(settings(tmp_path / "data", tmp_path, time_budget="1m"))
    make_plan(t, time.monotonic())
    assert 110 < t.schedule.max_iters <= 120


def test_a_time_budget_is_kept_although_the_estimate_was_wrong(tiny_dataset, tmp_path, monkeypatch):
    clock = [0.0]
    real = Trainer.update

    def update(self, step):
        clock[0] += 3.0
        return real(self, step)

    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(Trainer, "update", update)
    monkeypatch.setattr(planning, "measure_step", lambda trainer: 1.0)
    config = settings(tiny_dataset(), tmp_path / "m", time_budget="60s", decay_fraction=0.95)
    assert train(config, "") == 0
    assert clock[0] == 60  # 3 of 60 steps had taken 9 s: 17 more fit into the rest
    assert checkpoint.load(tmp_path / "m" / "tiny20.pt")["train_config"]["max_iters"] == 20


def test_a_loss_that_is_no_number_ends_the_run(tiny_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "gradients", lambda self, step: float("nan"))
    monkeypatch.setattr(Trainer, "update", lambda self, step: {})
    with pytest.raises(ValueError, match="the loss is nan at step 1: lower `learning_rate`"):
        train(settings(tiny_dataset(), tmp_path / "m"), "")


def test_without_a_compiler_training_goes_on(tiny_dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(trainer.device, "compiler_problem", lambda device: "no C++ compiler")
    assert train(settings(tiny_dataset(), tmp_path / "m", compile=True, max_iters=2), "") == 0
    assert "torch.compile does not work here (no C++ compiler)" in capsys.readouterr().err


@pytest.mark.slow
def test_compiled_training_resumes_to_the_same_weights(tiny_dataset, tmp_path, monkeypatch):
    data_dir = tiny_dataset()
    changes = {"compile": True, "max_iters": 6, "dtype": "bfloat16"}
    train(settings(data_dir, tmp_path / "whole", **changes), "")
    parts = settings(data_dir, tmp_path / "parts", resume=True, resume_seconds=0.0, **changes)
    interrupted_at(3, monkeypatch, parts)
    train(parts, "")
    name = "tiny6.pt"
    assert same(weights(tmp_path / "whole" / name), weights(tmp_path / "parts" / name))


@pytest.mark.slow
def test_ten_kills_at_random_moments_change_nothing(tiny_dataset, tmp_path):
    flags = {"dataset": "tiny", "data_dir": tiny_dataset(), "max_iters": 400, "resume_seconds": 0}
    killed_and_resumed(tmp_path, flags | SMALL, 10)
