"""How good a model is: the loss on validation data."""

from __future__ import annotations

import torch

from jojo.bins import Batches
from jojo.device import Machine
from jojo.loss import cross_entropy, softmax_step
from model import GPT

EVAL_SEED = 0  # validation windows are the same in every run, whatever its seed


class Validation:
    """Always the same windows of the validation split: about `max_tokens` targets."""

    def __init__(self, ids, template: str, block_size: int, max_tokens: int, batch_size: int):
        batches = Batches(ids, template, block_size, 1, EVAL_SEED)
        n = min(batches.windows_per_epoch(), max(1, max_tokens // block_size))
        windows = [batches.ids_of(i)[0] for i in range(n)]
        self.windows = torch.stack([torch.from_numpy(w) for w in windows])  # (n, block_size + 1)
        self.template, self.batch_size = template, batch_size

    @torch.no_grad()
    def loss(self, model: GPT, machine: Machine, weigh, softmax=softmax_step) -> float:
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
            total += cross_entropy(h, model.lm_head, ids[:, 1:], weights, softmax).item()
        model.train(training)
        return total / max(count, 1.0)
