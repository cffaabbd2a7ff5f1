"""jojo/train/loss.py: the chunked loss is cross entropy, the active head is the full head."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from jojo.models.active_vocabulary import ActiveHead
from jojo.train import loss
from jojo.train.config import TrainConfig
from jojo.train.loss import chunk_rows, cross_entropy
from jojo.train.optim import Optimizers, clip_gradients
from jojo.train.run import train
from model import GPT, GPTConfig

V, C = 97, 24
IN_USE = torch.tensor([*range(0, 40, 3), 60, 96])


def random_problem(seed: int = 0, batch: int = 3, length: int = 14):
    """Hidden states, targets and weights (some of them zero)."""
    g = torch.Generator().manual_seed(seed)
    h = torch.randn(batch, length, C, generator=g, requires_grad=True)
    targets = torch.randint(V, (batch, length), generator=g)
    weights = torch.rand(batch, length, generator=g) * (
        torch.rand(batch, length, generator=g) > 0.3
    )
    return h, targets, weights


def random_head(seed: int = 1) -> nn.Linear:
    head = nn.Linear(C, V, bias=False)
    with torch.no_grad():
        head.weight.normal_(generator=torch.Generator().manual_seed(seed))
    return head


def plain_cross_entropy(h, head, targets, weights):
    nll = F.cross_entropy(head(h).flatten(0, 1), targets.flatten(), reduction="none")
    return (nll * weights.flatten()).sum()


def with_grads(loss_function, factor: float = 1.0):
    """Loss and its gradients on hidden states and head."""
    h, targets, weights = random_problem()
    head = random_head()
    loss = loss_function(h, head, targets, weights) * factor
    loss.backward()
    return loss.detach(), h.grad, head.weight.grad


# chunks


@pytest.mark.parametrize("rows", [1, 5, 8, 42, 1000])
def test_loss_and_gradients_are_those_of_pytorch(rows, monkeypatch):
    monkeypatch.setitem(loss.CHUNK_LOGITS, "cpu", rows * V)
    for ours, theirs in zip(
        with_grads(cross_entropy, 0.5), with_grads(plain_cross_entropy, 0.5), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_without_gradients_the_loss_is_the_same():
    h, targets, weights = random_problem()
    head = random_head()
    with torch.no_grad():
        loss = cross_entropy(h, head, targets, weights)
        torch.testing.assert_close(loss, plain_cross_entropy(h, head, targets, weights))


def test_no_weight_no_loss():
    h, targets, weights = random_problem()
    loss = cross_entropy(h, random_head(), targets, torch.zeros_like(weights))
    loss.backward()
    assert loss == 0
    assert (h.grad == 0).all()


def test_huge_logits_do_not_overflow():
    h, targets, weights = random_problem()
    head = random_head()
    loss = cross_entropy(h.detach() * 1e4, head, targets, weights)
    expected = plain_cross_entropy(h.detach() * 1e4, head, targets, weights)
    torch.testing.assert_close(loss, expected)


def test_bfloat16_hidden_states_come_close():
    h, targets, weights = random_problem()
    head = random_head()
    loss = cross_entropy(h.detach().bfloat16(), head, targets, weights)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(
        loss, plain_cross_entropy(h, head, targets, weights).detach(), rtol=0.02, atol=0
    )


@pytest.mark.parametrize(("n", "most"), [(12, 100), (12, 5), (13, 5), (1, 1), (8192, 3000), (7, 1)])
def test_chunks_are_equal_where_that_costs_little(n, most):
    rows = chunk_rows(n, most)
    assert 1 <= rows <= min(n, most)
    assert 4 * rows >= min(n, most)


# the active-vocabulary head


def filled_active_head() -> ActiveHead:
    head = ActiveHead(torch.zeros(V, C), IN_USE)
    with torch.no_grad():
        head.weight.normal_(generator=torch.Generator().manual_seed(2))
    return head


def test_the_active_head_gives_all_logits():
    head = filled_active_head()
    h = torch.randn(2, 5, C)
    logits = head(h)
    assert logits.shape == (2, 5, V)
    torch.testing.assert_close(logits, F.linear(h, head.full_weight()))
    others = [i for i in range(V) if i not in IN_USE.tolist()]
    assert (logits[..., others] == logits[..., others[:1]]).all()
    assert logits[..., IN_USE].std() > 0


@pytest.mark.parametrize("rows", [4, 1000])
def test_the_active_loss_is_the_full_softmax_even_of_targets_not_in_use(rows, monkeypatch):
    monkeypatch.setitem(loss.CHUNK_LOGITS, "cpu", rows * (len(IN_USE) + 1))
    head = filled_active_head()
    full = random_head()
    full.weight.data = head.full_weight().detach()
    h, targets, weights = random_problem()
    assert set(targets.flatten().tolist()) - set(IN_USE.tolist())
    ours = cross_entropy(h, head, targets, weights)
    theirs = plain_cross_entropy(h, full, targets, weights)
    torch.testing.assert_close(ours, theirs)
    ours_h, theirs_h = (torch.autograd.grad(loss, h)[0] for loss in (ours, theirs))
    torch.testing.assert_close(ours_h, theirs_h, atol=1e-5, rtol=1e-5)


def small_model(active: bool) -> GPT:
    torch.manual_seed(3)
    model = GPT(GPTConfig(n_layer=2, n_head=2, n_embd=C, n_inner=32, block_size=16, vocab_size=V))
    if active:
        model.lm_head = ActiveHead(torch.zeros(V, C), IN_USE)
    return model


def run_of_20_steps(active: bool, config: TrainConfig) -> tuple[list[float], list[float], GPT]:
    """Losses, gradient norms and the model after training on ids in use."""
    model = small_model(active)
    optimizers = Optimizers(model, config)
    g = torch.Generator().manual_seed(4)
    losses, norms = [], []
    for step in range(20):
        ids = IN_USE[torch.randint(len(IN_USE), (4, 17), generator=g)]
        weights = torch.ones(4, 16)
        loss = cross_entropy(model.hidden(ids[:, :-1]), model.lm_head, ids[:, 1:], weights) / 64
        loss.backward()
        if active:
            model.lm_head.share_gradient()
        norms.append(clip_gradients(model, config.grad_clip))
        optimizers.set_rate(min(1.0, (step + 1) / 5))
        optimizers.step()
        optimizers.zero_grad()
        losses.append(loss.item())
    return losses, norms, model


@pytest.mark.parametrize("grad_clip", [0.0, 0.1])
@pytest.mark.parametrize(
    ("optimizer", "loss_atol", "head_atol", "atol"),
    [
        ("adamw", 2e-6, 1e-6, 1e-5),
        ("muon", 5e-4, 1e-3, 5e-2),  # Muon rounds gradients to bfloat16: tiny differences grow
    ],
)
def test_training_with_the_active_head_is_training_with_the_full_head(
    optimizer, loss_atol, head_atol, atol, grad_clip
):
    config = TrainConfig(optimizer=optimizer, grad_clip=grad_clip)
    losses, norms, active = run_of_20_steps(True, config)
    full_losses, full_norms, full = run_of_20_steps(False, config)
    assert full_losses[-1] < full_losses[0] - 0.1
    torch.testing.assert_close(losses, full_losses, atol=loss_atol, rtol=0)
    torch.testing.assert_close(norms, full_norms, atol=1e-4, rtol=1e-3)
    head = active.lm_head.full_weight().detach()
    torch.testing.assert_close(head, full.lm_head.weight.detach(), atol=head_atol, rtol=0)
    ours, theirs = active.state_dict(), full.state_dict()
    for name in ours.keys() - {"lm_head.weight"}:
        torch.testing.assert_close(ours[name], theirs[name], atol=atol, rtol=0, msg=name)


def test_an_active_head_saves_most_of_the_work():
    head = ActiveHead(torch.zeros(V, C), IN_USE)
    assert head.weight.shape == (len(IN_USE) + 1, C)
    assert (head.weight == 0).all()


@pytest.mark.slow
def test_a_run_with_the_active_vocabulary_ends_in_the_full_models_weights(
    tiny_dataset, tmp_path, monkeypatch
):
    from jojo.models import checkpoint
    from jojo.train import trainer
    from jojo.train.config import TrainConfig

    settings = {"n_layer": 1, "n_head": 2, "n_embd": 32, "block_size": 32, "preset": "tiny"}
    settings |= {"dataset": "tiny", "data_dir": tiny_dataset(), "optimizer": "adamw"}
    settings |= {"batch_size": 4, "max_iters": 15, "compile": False, "dtype": "float32"}
    found = []
    for name in ("active", "full"):
        config = TrainConfig(**settings, out_dir=tmp_path / name, sample_interval=0)
        assert train(config, "") == 0
        found.append(checkpoint.load(tmp_path / name / "tiny15.pt"))
        monkeypatch.setattr(trainer, "hold_active", lambda *_: None)
    active, full = found
    assert active["metrics"]["loss"] == pytest.approx(full["metrics"]["loss"], abs=1e-5)
    assert active["model"].keys() == full["model"].keys()
    for name, tensor in full["model"].items():
        torch.testing.assert_close(active["model"][name], tensor, rtol=2e-3, atol=2e-4)
