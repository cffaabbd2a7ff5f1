"""The validation loss: always the same windows, whatever the run."""

from __future__ import annotations

from collections.abc import Callable

import torch

from jojo.data.batches import Batches
from jojo.data.contract import NOTHING_HELD_OUT
from jojo.device import Machine
from jojo.text.template import loss_mask
from jojo.train.loss import cross_entropy
from model import GPT

EVAL_SEED = 0  # validation windows are the same in every run, whatever its seed


def target_weights(windows: torch.Tensor, template: str, loss_on: str) -> torch.Tensor:
    """Weight of each target of windows (B, T + 1): float32 (B, T), 1 where it counts, else 0."""
    if loss_on == "all":
        return torch.ones(windows[:, 1:].shape)
    return torch.from_numpy(loss_mask(windows.numpy(), template)[:, 1:]).float()


def loss_name(holds_out: bool) -> str:
    """What to call the loss on the validation split."""
    return "validation loss" if holds_out else f"loss on the training data ({NOTHING_HELD_OUT})"


class Validation:
    """Always the same windows of the validation split: about `max_tokens` targets."""

    def __init__(self, ids, template: str, block_size: int, max_tokens: int, batch_size: int):
        block_size = min(block_size, len(ids) - 1)  # a small split may be shorter than a block
        batches = Batches(ids, template, block_size, 1, EVAL_SEED)
        n = min(batches.windows_per_epoch(), max(1, max_tokens // block_size))
        windows = [batches.ids_of(i)[0] for i in range(n)]
        self.windows = torch.stack([torch.from_numpy(w) for w in windows])  # (n, block_size + 1)
        self.batch_size = batch_size

    @torch.no_grad()
    def loss(self, model: GPT, machine: Machine, weigh: Callable) -> float:
        """Mean negative log likelihood in nats per counted token.

        `weigh(windows)` gives each target's weight (B, T): 1 where it counts, else 0.
        """
        training = model.training
        model.eval()
        total, count = 0.0, 0.0
        for windows in self.windows.split(self.batch_size):
            weights = weigh(windows)
            ids = windows.to(machine.device)
            with machine.autocast(), torch.compiler.set_stance("force_eager"):
                h = model.hidden(ids[:, :-1])
            count += weights.sum().item()
            weights = weights.to(machine.device)
            h = h.to(machine.dtype)
            total += cross_entropy(h, model.lm_head, ids[:, 1:], weights).item()
        model.train(training)
        return total / max(count, 1.0)
