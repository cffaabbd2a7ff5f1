"""Muon for matrices, AdamW for the rest, and the learning-rate schedule."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from jojo.models.active_vocabulary import ActiveHead


@dataclass
class Schedule:
    """Warm-up, stable, decay (https://arxiv.org/abs/2404.06395): a factor on every rate.

    `max_iters` is the length of the run, `decay_iters` how many steps at its end decay.
    """

    max_iters: int
    warmup_iters: int
    decay_iters: int
    final_fraction: float

    def __call__(self, step: int) -> float:
        warm = min(1.0, (step + 1) / max(1, self.warmup_iters))
        left = min(1.0, (self.max_iters - step) / max(1, self.decay_iters))
        return warm * (self.final_fraction + (1 - self.final_fraction) * left)

    @property
    def decay_start(self) -> int:
        return self.max_iters - self.decay_iters


class Optimizers:
    """The optimizers of a model, stepped together."""

    def __init__(self, model: nn.Module, config):
        learned = {n: p for n, p in model.named_parameters() if p.requires_grad}
        matrices = [p for n, p in learned.items() if n.startswith("h.") and p.dim() == 2]
        taken = {id(p) for p in matrices}
        rest = {n: p for n, p in learned.items() if id(p) not in taken}
        embeddings = [p for n, p in rest.items() if n.startswith(("wte", "wpe"))]
        others = [p for n, p in rest.items() if not n.startswith(("wte", "wpe"))]
        decay = config.weight_decay
        tied = model.config.tie_embeddings
        adam = {"betas": (0.8, 0.95), "eps": 1e-10, "weight_decay": 0.0, "fused": True}
        if config.chosen_optimizer == "muon":
            muon = torch.optim.Muon(matrices, lr=config.rate, momentum=0.95, weight_decay=decay)
            groups = [
                # a tied matrix is a head too
                {"params": embeddings, "lr": config.head_lr if tied else config.embedding_lr},
                {"params": others, "lr": config.head_lr},
            ]
            self.all = [muon, torch.optim.AdamW(groups, **adam)]
        else:
            groups = [
                {"params": matrices, "weight_decay": decay},
                {"params": embeddings + others},
            ]
            adam |= {"betas": (0.9, 0.95), "eps": 1e-8}
            self.all = [torch.optim.AdamW(groups, lr=config.rate, **adam)]
        for optimizer in self.all:
            for group in optimizer.param_groups:
                group["base_lr"] = group["lr"]

    def set_rate(self, factor: float) -> None:
        for optimizer in self.all:
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * factor

    def step(self) -> None:
        for optimizer in self.all:
            optimizer.step()

    def zero_grad(self) -> None:
        for optimizer in self.all:
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict]:
        return [optimizer.state_dict() for optimizer in self.all]

    def load_state_dict(self, states: list[dict]) -> None:
        for optimizer, state in zip(self.all, states, strict=True):
            optimizer.load_state_dict(state)


@torch.no_grad()
def clip_gradients(model: nn.Module, limit: float) -> float:
    """Scale gradients to a global norm of at most `limit` (0: leave them); return the norm.

    The shared row of an active-vocabulary head counts as the many rows it stands for.
    """
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    squares = torch.stack([g.square().sum() for g in grads]).sum()
    head = getattr(model, "lm_head", None)
    if isinstance(head, ActiveHead):
        squares = squares + (head.n_others - 1) * head.weight.grad[-1].square().sum()
    norm = squares.sqrt()
    if limit > 0 and norm.isfinite():
        factor = (limit / (norm + 1e-6)).clamp(max=1.0)
        for g in grads:
            g.mul_(factor)
    return norm.item()
