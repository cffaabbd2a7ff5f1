"""The schedule, which parameter gets which optimizer, clipping, saved state."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from jojo.train.config import TrainConfig
from jojo.train.optim import Optimizers, Schedule, clip_gradients

# the schedule


def test_rates_warm_up_stay_and_fall():
    schedule = Schedule(max_iters=100, warmup_iters=10, decay_iters=40, final_fraction=0.1)
    rates = [schedule(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[4] == pytest.approx(0.5)
    assert rates[9:61] == pytest.approx([1.0] * 52)
    assert schedule.decay_start == 60
    assert rates[80] == pytest.approx(0.1 + 0.9 * 0.5)
    assert rates[99] == pytest.approx(0.1 + 0.9 / 40)
    assert schedule(100) == pytest.approx(0.1)
    assert rates[60:] == sorted(rates[60:], reverse=True)


def test_a_run_without_warmup_or_decay_has_one_rate():
    schedule = Schedule(max_iters=5, warmup_iters=0, decay_iters=0, final_fraction=0.0)
    assert [schedule(step) for step in range(5)] == [1.0] * 5


def test_a_run_of_one_step_learns():
    assert Schedule(1, 0, 1, 0.02)(0) > 0


# groups


def groups_by_name(model, config) -> dict[str, tuple[str, dict]]:
    """Parameter name -> (optimizer's class, the group it is in)."""
    names = {id(p): name for name, p in model.named_parameters()}
    found = {}
    for optimizer in Optimizers(model, config).all:
        for group in optimizer.param_groups:
            for p in group["params"]:
                assert names[id(p)] not in found, "a parameter has two optimizers"
                found[names[id(p)]] = (type(optimizer).__name__, group)
    return found


@pytest.mark.parametrize("arch", ["jojo", "gpt2"])
@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_every_parameter_has_one_optimizer(arch, optimizer, tiny_model):
    model = tiny_model(arch=arch, vocab_size=97)
    found = groups_by_name(model, TrainConfig(optimizer=optimizer))
    assert set(found) == {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize("arch", ["jojo", "gpt2"])
def test_muon_takes_the_matrices_of_the_blocks_and_nothing_else(arch, tiny_model):
    model = tiny_model(arch=arch, vocab_size=97)
    found = groups_by_name(model, TrainConfig())
    muon = {name for name, (kind, _) in found.items() if kind == "Muon"}
    shapes = dict(model.named_parameters())
    assert muon == {n for n in shapes if n.startswith("h.") and shapes[n].dim() == 2}
    assert "h.0.attn.q_proj.weight" in muon
    assert not {"wte.weight", "lm_head.weight"} & muon


def test_each_part_has_the_rate_of_the_config(tiny_model):
    config = TrainConfig(learning_rate=0.5, embedding_lr=0.25, head_lr=0.125, weight_decay=0.1)
    found = groups_by_name(tiny_model(vocab_size=97), config)
    rates = {name: group["lr"] for name, (_, group) in found.items()}
    assert rates["h.0.mlp.up_proj.weight"] == 0.5
    assert rates["wte.weight"] == 0.25
    assert rates["lm_head.weight"] == rates["ln_f.weight"] == rates["h.0.ln_1.weight"] == 0.125


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_only_the_block_matrices_decay(optimizer, tiny_model):
    config = TrainConfig(optimizer=optimizer, weight_decay=0.1)
    found = groups_by_name(tiny_model(vocab_size=97), config)
    decays = {name for name, (_, group) in found.items() if group["weight_decay"]}
    assert "h.1.attn.k_proj.weight" in decays
    assert not any("ln_" in n or n.startswith(("wte", "lm_head")) for n in decays)


def test_adamw_alone_has_one_rate(tiny_model):
    found = groups_by_name(tiny_model(vocab_size=97), TrainConfig(optimizer="adamw"))
    assert {group["lr"] for _, group in found.values()} == {6e-4}


def test_the_factor_scales_every_rate_from_its_base(tiny_model):
    optimizers = Optimizers(tiny_model(vocab_size=97), TrainConfig())
    before = [g["lr"] for o in optimizers.all for g in o.param_groups]
    for factor in (0.5, 0.5, 0.1):
        optimizers.set_rate(factor)
        rates = [g["lr"] for o in optimizers.all for g in o.param_groups]
        assert rates == pytest.approx([factor * rate for rate in before])


# clipping


def test_gradients_are_clipped_together_to_the_limit(tiny_model):
    model = tiny_model(vocab_size=97)
    for p in model.parameters():
        p.grad = torch.full_like(p, 0.5)
    norm = math.sqrt(sum(0.25 * p.numel() for p in model.parameters()))
    assert clip_gradients(model, 0.0) == pytest.approx(norm, rel=1e-5)
    assert clip_gradients(model, 1.0) == pytest.approx(norm, rel=1e-5)
    assert clip_gradients(model, 1.0) == pytest.approx(1.0, rel=1e-4)
    assert clip_gradients(model, 5.0) == pytest.approx(1.0, rel=1e-4)  # small ones stay


# state


def train_a_little(model, optimizers, seeds) -> None:
    for seed in seeds:
        ids = torch.randint(97, (2, 9), generator=torch.Generator().manual_seed(seed))
        logits = model(ids[:, :-1])
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
        optimizers.step()
        optimizers.zero_grad()


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_restored_state_goes_on_bit_for_bit(optimizer, tiny_model):
    config = TrainConfig(optimizer=optimizer, weight_decay=0.1)
    model = tiny_model(vocab_size=97)
    optimizers = Optimizers(model, config)
    train_a_little(model, optimizers, range(3))
    saved = copy.deepcopy((model.state_dict(), optimizers.state_dict()))
    train_a_little(model, optimizers, range(3, 6))

    resumed = tiny_model(seed=9, vocab_size=97)
    resumed.load_state_dict(saved[0])
    again = Optimizers(resumed, config)
    again.load_state_dict(saved[1])
    train_a_little(resumed, again, range(3, 6))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_zero_grad_frees_the_gradients(tiny_model):
    model = tiny_model(vocab_size=97)
    optimizers = Optimizers(model, TrainConfig())
    model(torch.zeros(1, 3, dtype=torch.int64)).sum().backward()
    optimizers.zero_grad()
    assert all(p.grad is None for p in model.parameters())
