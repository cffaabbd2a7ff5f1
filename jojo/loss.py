"""Cross entropy without ever holding all logits, and the active vocabulary.

N positions, C n_embd, V rows of the head, A active rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jojo.lora import TrainedRowsHead

CHUNK_LOGITS = {"cpu": 1 << 23, "cuda": 1 << 28}  # logits held at once; fits a CPU's caches


class LinearCrossEntropy(torch.autograd.Function):
    """sum_n weights[n] * -log softmax(h W^T + bias)[n, targets[n]], chunk by chunk over n.

    `bias` (V,) float32 stands in the normaliser only, not in the target's logit. Of a frozen W
    `rows`, a Parameter that shares the memory of W[span], may still learn. Gradients are
    computed in the forward pass, while a chunk's logits are at hand, so that no chunk is computed
    twice (the idea of https://arxiv.org/abs/2410.10989); logits are float32 from the product on.
    `softmax` is `softmax_step`, perhaps compiled, or None where no gradient is wanted.
    """

    @staticmethod
    def forward(ctx, h, weight, rows, span, targets, weights, bias, softmax):
        want = softmax is not None
        want_W = want and ctx.needs_input_grad[1]
        W = weight.to(h.dtype)  # (V, C)
        size = chunk_rows(len(h), max(1, CHUNK_LOGITS.get(h.device.type, 1 << 26) // len(W)))
        grad_h = torch.empty_like(h) if want else None
        grad_W = torch.zeros_like(weight, dtype=torch.float32) if want_W else None
        grad_rows = None if rows is None else torch.zeros_like(rows, dtype=torch.float32)
        total = torch.zeros((), device=h.device, dtype=torch.float32)
        logits = h.new_empty(size, len(W))
        for i in range(0, len(h), size):
            hs, ts, ws = h[i : i + size], targets[i : i + size], weights[i : i + size]
            out = torch.mm(hs, W.t(), out=logits[: len(hs)])
            if not want:
                nll = F.cross_entropy(out.float() + bias, ts, reduction="none") + bias[ts]
                total += (nll * ws).sum()
                continue
            loss, d = softmax(out, bias, ts, ws)
            total += loss
            torch.mm(d, W, out=grad_h[i : i + size])
            if want_W:
                grad_W += d.t() @ hs
            if rows is not None:
                grad_rows += d[:, span].t() @ hs
        ctx.save_for_backward(grad_h, grad_W, grad_rows)
        return total

    @staticmethod
    def backward(ctx, grad):
        grads = [None if g is None else g * grad.to(g.dtype) for g in ctx.saved_tensors]
        return *grads, None, None, None, None, None


def chunk_rows(n: int, most: int) -> int:
    """Rows of a chunk, at most `most`: equal chunks of n where that is not much smaller."""
    equal = next(r for r in range(min(n, most), 0, -1) if n % r == 0)
    return equal if 4 * equal >= min(n, most) else min(n, most)


def softmax_step(logits: Tensor, bias: Tensor, targets: Tensor, weights: Tensor):
    """Weighted loss of a chunk of logits (N, V), and its gradient on them in their dtype."""
    x = logits.float() + bias
    top = x.amax(-1, keepdim=True)
    e = (x - top).exp()
    norm = e.sum(-1, keepdim=True)
    hit = torch.arange(x.size(1), device=x.device) == targets[:, None]
    d = (e / norm - hit.float()) * weights[:, None]
    nll = (norm.log() + top)[:, 0] - logits.gather(1, targets[:, None])[:, 0].float()
    return (nll * weights).sum(), d.to(logits.dtype)


def cross_entropy(
    h: Tensor, head: nn.Module, targets: Tensor, weights: Tensor, softmax: Callable = softmax_step
) -> Tensor:
    """Weighted sum of the negative log likelihoods (nats), a float32 scalar.

    h (B, T, C), targets and weights (B, T); `head` is the model's `lm_head`; `softmax` is
    `softmax_step` or that function compiled.
    """
    h, targets, weights = h.flatten(0, 1), targets.flatten(), weights.flatten().float()
    rows, span = None, None
    if isinstance(head, ActiveHead):
        targets, bias = head.rows[targets], head.bias
    else:
        bias = h.new_zeros(len(head.weight), dtype=torch.float32)
    if isinstance(head, TrainedRowsHead):
        rows, span = head.rows, head.span
    if not torch.is_grad_enabled():  # inside the function it never is
        softmax = None
    return LinearCrossEntropy.apply(h, head.weight, rows, span, targets, weights, bias, softmax)


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
