"""Fine-tuning: from a trained model, all weights or adapters, killed and resumed, and continued."""

from __future__ import annotations

import json
import re

import pytest
import torch
from runs import interrupted_at, killed_and_resumed, same, weights
from shapes import slow_after

from jojo.models import checkpoint, lora, pretrained
from jojo.train.config import TrainConfig
from jojo.train.run import train
from jojo.train.trainer import Trainer
from tokenizer import IM_END, N_TOKENS

TUNED = {
    "batch_size": 2,
    "warmup_iters": 2,
    "sample_interval": 0,
    "eval_tokens": 256,
    "compile": False,
    "max_iters": 12,
    "block_size": 32,
    "learning_rate": 1e-3,
}
LORA = {"lora_rank": 4, "lora_dropout": 0.1}


@pytest.fixture
def base(tiny_model, tmp_path):
    """Writes a checkpoint with random weights and context 64; returns its path."""

    def write(name: str = "base.pt", seed: int = 0, **changes):
        model = tiny_model(seed, **({"arch": "gpt2"} | changes))
        for p in model.parameters():
            p.data.mul_(0.3 if p.dim() > 1 else 0.5)  # as calm as a trained one
        path = tmp_path / name
        checkpoint.save(path, checkpoint.model_content(model, template="text"))
        return path

    return write


def settings(data_dir, out_dir, base, **changes) -> TrainConfig:
    known = {"dataset": "tiny", "data_dir": data_dir, "out_dir": out_dir, "init_from": str(base)}
    return TrainConfig(**(TUNED | known | changes))


def rows(folder, name="tiny"):
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("arch", slow_after(1, ["jojo", "gpt2"]))
@pytest.mark.parametrize("changes", [{}, {"lora_rank": 4}], ids=["all weights", "adapters"])
def test_a_run_starts_at_the_base_and_learns(arch, changes, base, tiny_dataset, tmp_path):
    path = base(arch=arch)
    changes = {"dtype": "float32", "max_iters": 20, "batch_size": 4, **changes}
    config = settings(tiny_dataset(), tmp_path / "m", path, **changes)
    t = Trainer(config)
    model, _ = pretrained.load_model(path)
    ids = torch.from_numpy(t.batches.ids_of(0))[:, :-1]
    with torch.no_grad():
        torch.testing.assert_close(t.model(ids), model(ids), rtol=0, atol=1e-5)
    assert t.model.config.block_size == 64  # the window is 32, the context stays
    train(config, "")
    losses = [r["loss"] for r in rows(tmp_path / "m") if "loss" in r]
    assert losses[-1] < losses[0] - (0.05 if config.lora_rank else 0.5)


def test_adapters_are_saved_alone_and_open_with_their_base(base, tiny_dataset, tmp_path, capsys):
    path = base()
    config = settings(tiny_dataset(), tmp_path / "m", path, **LORA, learning_rate=0.01)
    assert train(config, "") == 0
    said = capsys.readouterr().err
    assert re.search(r"lora     rank 4 on q, k, v, o: \d,\d{3} parameters are trained", said)
    assert "peak memory" in said
    saved = tmp_path / "m" / "tiny12.pt"
    content = checkpoint.load(saved)
    assert "model" not in content
    assert saved.stat().st_size < 40_000 < path.stat().st_size / 100
    assert content["lora"] == {
        "rank": 4,
        "alpha": 8.0,
        "dropout": 0.1,
        "targets": ("q", "k", "v", "o"),
    }
    before, _ = pretrained.load_model(path)
    after, facts = pretrained.load_model(saved)
    assert facts["template"] == "chatml"
    assert facts["step"] == 12
    changed = {
        n for n, p in after.state_dict().items() if not torch.equal(p, dict(before.state_dict())[n])
    }
    targets = {f"h.{i}.attn.{x}_proj.weight" for i in range(2) for x in "qkvo"}
    assert changed == targets | {"wte.weight", "lm_head.weight"}
    rows_changed = (after.wte.weight != before.wte.weight).any(-1).nonzero().flatten().tolist()
    assert rows_changed == list(range(IM_END, N_TOKENS))


def test_merged_on_save_is_merged_on_load(base, tiny_dataset, tmp_path):
    data_dir, path = tiny_dataset(), base()
    train(settings(data_dir, tmp_path / "a", path, lora_rank=4), "")
    train(settings(data_dir, tmp_path / "b", path, lora_rank=4, lora_merge=True), "")
    one, _ = pretrained.load_model(tmp_path / "a" / "tiny12.pt")
    two, _ = checkpoint.load_model(tmp_path / "b" / "tiny12.pt")
    assert same(dict(one.state_dict()), dict(two.state_dict()))


@pytest.mark.parametrize(
    "changes",
    slow_after(
        2, [{}, LORA, {"dropout": 0.1}, {**LORA, "dtype": "bfloat16"}, {**LORA, "lora_merge": True}]
    ),
    ids=["all weights", "adapters", "dropout", "adapters in bfloat16", "merged adapters"],
)
def test_broken_off_tuning_resumes_to_the_same_weights(
    changes, base, tiny_dataset, tmp_path, monkeypatch
):
    data_dir, path = tiny_dataset(), base()
    train(settings(data_dir, tmp_path / "whole", path, **changes), "")
    again = {"resume": True, "resume_seconds": 0.0}
    parts = settings(data_dir, tmp_path / "parts", path, **again, **changes)
    for step in (0, 3, 4, 11):
        interrupted_at(step, monkeypatch, parts)
    assert train(parts, "") == 0
    assert same(*(weights(tmp_path / part / "tiny12.pt") for part in ("whole", "parts")))


def test_adapters_make_small_resume_files(base, tiny_dataset, tmp_path, monkeypatch):
    config = settings(tiny_dataset(), tmp_path / "m", base(), **LORA, resume_seconds=0.0)
    interrupted_at(3, monkeypatch, config)
    assert (tmp_path / "m" / "tiny-resume.pt").stat().st_size < 150_000


def test_resuming_on_another_base_is_refused(base, tiny_dataset, tmp_path, monkeypatch, complaint):
    data_dir, path, other = tiny_dataset(), base(), base("other.pt", seed=1)
    interrupted_at(3, monkeypatch, settings(data_dir, tmp_path / "m", path, **LORA))
    said = complaint(train, settings(data_dir, tmp_path / "m", other, resume=True, **LORA), "")
    assert "other.pt is not the model this run began with" in said
    moved = path.rename(tmp_path / "moved.pt")
    assert train(settings(data_dir, tmp_path / "m", moved, resume=True, **LORA), "") == 0


def test_an_adapter_is_trained_further_or_merged(base, tiny_dataset, tmp_path, complaint):
    data_dir, path = tiny_dataset(), base()
    train(settings(data_dir, tmp_path / "m", path, run_name="first", **LORA), "")
    first = tmp_path / "m" / "first12.pt"
    t = Trainer(settings(data_dir, tmp_path / "m", first, **LORA))
    assert same(t.weights(), checkpoint.load(first)["adapter"])
    train(settings(data_dir, tmp_path / "m", first, run_name="second", **LORA), "")
    second = checkpoint.load(tmp_path / "m" / "second12.pt")
    assert second["base"] == checkpoint.load(first)["base"]
    whole = Trainer(settings(data_dir, tmp_path / "m", first))
    merged, _ = pretrained.load_model(first)
    assert not lora.is_adapted(whole.model)
    assert same(dict(whole.model.state_dict()), dict(merged.state_dict()))
    said = complaint(Trainer, settings(data_dir, tmp_path, first, lora_rank=2))
    assert "first12.pt is an adapter of rank 4 on q,k,v,o" in said


def test_an_adapter_keeps_its_alpha(base, tiny_dataset, tmp_path, complaint):
    data_dir, path = tiny_dataset(), base()
    more = {**LORA, "lora_alpha": 32.0, "learning_rate": 0.01, "dtype": "float32"}
    train(settings(data_dir, tmp_path / "m", path, run_name="first", **more), "")
    first = tmp_path / "m" / "first12.pt"
    merged, _ = pretrained.load_model(first)
    t = Trainer(settings(data_dir, tmp_path / "m", first, lora_rank=4, dtype="float32"))
    ids = torch.from_numpy(t.batches.ids_of(0))
    torch.testing.assert_close(t.model.eval()(ids), merged(ids), rtol=0, atol=1e-4)
    said = complaint(Trainer, settings(data_dir, tmp_path, first, lora_rank=4, lora_alpha=8.0))
    assert "first12.pt has 32" in said


def test_the_adapter_a_run_starts_from_is_not_overwritten(base, tiny_dataset, tmp_path, complaint):
    data_dir, path = tiny_dataset(), base()
    train(settings(data_dir, tmp_path / "m", path, **LORA), "")
    first = tmp_path / "m" / "tiny12.pt"
    again = settings(data_dir, tmp_path / "m", first, overwrite=True, **LORA)
    assert "tiny12.pt would be overwritten by this run" in complaint(train, again, "")
    assert first.exists()


def test_a_run_that_may_end_early_spares_the_files_of_others(
    base, tiny_dataset, tmp_path, complaint
):
    data_dir, path = tiny_dataset(), base()
    train(settings(data_dir, tmp_path / "m", path, run_name="tiny1", max_iters=1), "")
    run = settings(data_dir, tmp_path / "m", path, patience=2, max_iters=20, save_interval=100)
    assert "tiny11.pt is of another run" in complaint(train, run, "")


def test_models_are_tuned_by_the_optimizer_that_trained_them(base, tiny_dataset, tmp_path):
    data_dir = tiny_dataset()
    new = {"arch": "jojo", "n_layer": 1, "n_head": 2, "n_embd": 32, "init_from": None}
    flags = {"learning_rate": None, "max_iters": 2}
    train(settings(data_dir, tmp_path, None, run_name="ours", **new, **flags), "")
    ours = settings(data_dir, tmp_path, tmp_path / "ours2.pt", learning_rate=None)
    found = Trainer(ours).config
    assert (found.chosen_optimizer, found.rate) == ("muon", 0.004)
    other = settings(data_dir, tmp_path, base(), learning_rate=None)
    assert (Trainer(other).config.chosen_optimizer, other.rate) == ("adamw", 5e-5)
    ours.lora_rank = 4
    assert (Trainer(ours).config.chosen_optimizer, ours.rate) == ("adamw", 2e-4)


def test_a_model_of_ours_is_tuned_with_the_rows_its_data_used(tiny_dataset, tmp_path, monkeypatch):
    """The rest of its head's rows are equal, so one stands for them: the same weights, sooner."""
    data_dir, new = tiny_dataset(), {"arch": "jojo", "n_layer": 1, "n_head": 2, "n_embd": 32}
    flags = {"dtype": "float32", "max_iters": 10}
    scratch = {**flags, **new, "init_from": None, "learning_rate": None, "run_name": "base"}
    train(settings(data_dir, tmp_path, None, **scratch), "")
    tiny_dataset(name="other", template="person")
    found = []
    for name in ("active", "full"):
        config = settings(data_dir, tmp_path / name, tmp_path / "base10.pt", **flags)
        config.dataset = "other"
        if name == "full":
            monkeypatch.setattr("jojo.train.trainer.hold_active", lambda *_: None)
        t = Trainer(config)
        found.append((len(t.model.lm_head.weight), len(t.model.wte.weight)))
        train(config, "")
    assert found[1] == (50304, 50304)
    assert found[0][1] < found[0][0] < 200
    active, full = (weights(tmp_path / name / "other10.pt") for name in ("active", "full"))
    for name, tensor in full.items():
        torch.testing.assert_close(active[name], tensor, rtol=2e-3, atol=2e-4)


def test_adapters_cannot_teach_what_the_base_never_saw(tiny_dataset, tmp_path, capsys):
    data_dir = tiny_dataset()
    new = {"arch": "jojo", "n_layer": 1, "n_head": 2, "n_embd": 32, "init_from": None}
    train(settings(data_dir, tmp_path, None, run_name="ours", **(new | {"max_iters": 2})), "")
    tiny_dataset(name="other", template="person")
    capsys.readouterr()
    config = settings(data_dir, tmp_path, tmp_path / "ours2.pt", lora_rank=4)
    Trainer(config)
    assert "warning" not in capsys.readouterr().err
    config.dataset = "other"
    Trainer(config)
    assert "different tokens of this data do not occur in what the base" in capsys.readouterr().err


def test_windows_longer_than_the_context_are_refused(base, tiny_dataset, tmp_path, complaint):
    said = complaint(Trainer, settings(tiny_dataset(), tmp_path, base(), block_size=65))
    assert "`block_size` 65" in said
    assert "a context of 64 tokens" in said


def test_a_rank_above_the_width_is_refused(base, tiny_dataset, tmp_path, complaint):
    config = settings(tiny_dataset(), tmp_path, base(), lora_rank=33)
    assert "is 32 wide, more than that adds nothing" in complaint(Trainer, config)


def test_wrong_targets_are_named(base, tiny_dataset, tmp_path, complaint):
    config = settings(tiny_dataset(), tmp_path, base(), lora_rank=4, lora_targets="q,kv")
    assert "`lora_targets` 'kv' matches nothing" in complaint(Trainer, config)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"max_iters": 80}, {**LORA, "max_iters": 200}], ids=str)
def test_kills_at_random_moments_change_nothing(changes, base, tiny_dataset, tmp_path):
    flags = {"dataset": "tiny", "data_dir": tiny_dataset(), "init_from": base()}
    killed_and_resumed(tmp_path, TUNED | flags | {"resume_seconds": 0} | changes, 4)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"preset": "tiny"}, "`preset` is for a new model"),
        ({"n_layer": 3}, "`n_layer` is for a new model"),
        ({"lora_rank": 4, "optimizer": "muon"}, "`optimizer` muon is not for adapters"),
        ({"lora_rank": 4, "lora_targets": " , "}, "`lora_targets` is empty"),
        ({"load_in_4bit": True}, "add `lora_rank` 16"),
        ({"lora_rank": 4, "init_from": None}, "name it with `init_from`"),
        ({"lora_rank": -1}, "`lora_rank` -1 must"),
        ({"lora_alpha": 32.0}, "`lora_alpha` is for adapters: add `lora_rank` 16"),
        ({"lora_targets": "q"}, "`lora_targets` is for adapters"),
        ({"learning_rate": -1.0}, "`learning_rate` -1.0 must lie between"),
        ({"learning_rate": float("nan")}, "`learning_rate` nan must lie between"),
    ],
)
def test_settings_that_exclude_each_other(changes, expected, complaint):
    assert expected in complaint(TrainConfig, **({"init_from": "gpt2"} | changes))


def test_four_bits_are_for_gpus(base, tiny_dataset, tmp_path, complaint):
    config = settings(
        tiny_dataset(), tmp_path, base(), lora_rank=4, load_in_4bit=True, device="cpu"
    )
    assert "`load_in_4bit` needs a CUDA GPU" in complaint(Trainer, config)


@pytest.mark.slow
def test_patience_ends_a_run_that_learns_no_more(base, tiny_dataset, tmp_path, monkeypatch, capsys):
    """The validation loss is made to rise after the fourth step; a kill does not reset it."""
    data_dir, path = tiny_dataset(), base()

    def loss(self, model, machine, weigh):
        return next(losses)

    monkeypatch.setattr("jojo.train.validation.Validation.loss", loss)
    flags = {"eval_interval": 2, "patience": 2, "save_interval": 100}
    losses = iter([3.0, 2.0, 2.1, 2.2, 2.3])
    assert train(settings(data_dir, tmp_path / "m", path, **flags), "") == 0
    assert "stopped early: no lower validation loss in 2 validations" in capsys.readouterr().err
    assert [r["val_loss"] for r in rows(tmp_path / "m") if "val_loss" in r] == [3.0, 2.0, 2.1, 2.2]
    found = sorted(p.name for p in (tmp_path / "m").iterdir())
    assert found == ["tiny-best.pt", "tiny.jsonl", "tiny.png", "tiny8.pt"]
    assert checkpoint.load(tmp_path / "m" / "tiny-best.pt")["step"] == 4
    losses = iter([3.0, 2.0, 2.1, 2.2, 2.3])
    flags |= {"resume": True, "resume_seconds": 0.0}
    parts = settings(data_dir, tmp_path / "p", path, **flags)
    interrupted_at(7, monkeypatch, parts)
    assert train(parts, "") == 0
    assert same(weights(tmp_path / "m" / "tiny8.pt"), weights(tmp_path / "p" / "tiny8.pt"))


def test_a_run_does_not_overwrite_what_it_starts_from(base, tiny_dataset, tmp_path, complaint):
    data_dir = tiny_dataset()
    for name in ("tiny-best.pt", "tiny7.pt"):
        path = base(name)
        config = settings(data_dir, tmp_path, path, overwrite=True)
        assert f"{name} would be overwritten by this run" in complaint(train, config, "")
        assert path.exists()
    assert train(settings(data_dir, tmp_path, path, run_name="another"), "") == 0
