"""The active-vocabulary head: rows that the data never uses are one shared row, exactly."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def hold_active(model: nn.Module, ids_in_use: Tensor) -> None:
    """Hold the active vocabulary alone in head and embedding of an untied model, in place.

    Shared are the rows of the head that equal the last one, which belongs to no token, and are
    not of `ids_in_use`: all others in a new model, whose head is zero, and in one that was trained
    here those that its data did not use either. A head without such rows is left as it is.
    """
    W = model.lm_head.weight.detach()
    own = ~unlearned(W)
    own[ids_in_use] = True
    if own.sum() <= len(W) - 2:
        model.lm_head = ActiveHead(W, own.nonzero().flatten())
        model.wte = ActiveEmbedding(model.wte, ids_in_use)


def unlearned(head: Tensor) -> Tensor:
    """Which rows of a head (V, C) equal the last one, which belongs to no token: bool (V,), CPU."""
    return (head == head[-1]).all(-1).cpu()


class ActiveHead(nn.Module):
    """A head with a row for each id in use and one row for all the others, which must be equal.

    Ids that never are a target get the same gradient at every step, so in the full head their
    rows would stay equal for ever. One shared row stands for them: log(count) is added to its
    logit in the normaliser, which makes loss and weights those of the full softmax.
    `forward` gives full logits (..., V), `full_weight` the full matrix.
    """

    def __init__(self, full: Tensor, ids_in_use: Tensor):
        super().__init__()
        vocab_size, A = len(full), len(ids_in_use)
        self.n_others = vocab_size - A
        rows = torch.full((vocab_size,), A, dtype=torch.int64)
        rows[ids_in_use] = torch.arange(A)
        shared = full[rows == A]
        assert len(shared)
        assert (shared == shared[0]).all()
        self.weight = nn.Parameter(torch.cat((full[ids_in_use], shared[:1])))
        bias = torch.zeros(A + 1)
        bias[A] = math.log(self.n_others)
        self.register_buffer("rows", rows, persistent=False)  # id -> row
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, h: Tensor) -> Tensor:
        return F.linear(h, self.weight)[..., self.rows]

    def full_weight(self) -> Tensor:
        return self.weight[self.rows]

    def share_gradient(self) -> None:
        """Turn the shared row's gradient, a sum over its ids, into that of one of them."""
        self.weight.grad[-1] /= self.n_others


class ActiveEmbedding(nn.Module):
    """The embedding rows of the ids in use; the others, which training never reads, stay apart.

    Without weight decay the optimizer would leave those as they are, but look at each every time.
    """

    def __init__(self, embedding: nn.Embedding, ids_in_use: Tensor):
        super().__init__()
        full, A = embedding.weight.detach(), len(ids_in_use)
        other = torch.ones(len(full), dtype=torch.bool)
        other[ids_in_use] = False
        rows = torch.empty(len(full), dtype=torch.int64)
        rows[ids_in_use] = torch.arange(A)
        rows[other] = torch.arange(A, len(full))
        self.weight = nn.Parameter(full[ids_in_use].clone())
        self.register_buffer("others", full[other].clone())
        self.register_buffer("rows", rows, persistent=False)  # id -> row

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(self.rows[ids], self.weight if self.training else self.table())

    def table(self) -> Tensor:
        return torch.cat((self.weight, self.others))

    def full_weight(self) -> Tensor:
        return self.table()[self.rows]
