"""Cross entropy without ever holding all logits, and the active vocabulary.

N positions, C n_embd, V rows of the head, A active rows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jojo.models.active_vocabulary import ActiveHead
from jojo.models.lora import TrainedRowsHead

CHUNK_LOGITS = {"cpu": 1 << 23, "cuda": 1 << 28}  # logits held at once; fits a CPU's caches


class LinearCrossEntropy(torch.autograd.Function):
    """sum_n weights[n] * -log softmax(h W^T + bias)[n, targets[n]], chunk by chunk over n.

    `bias` (V,) float32 stands in the normaliser only, not in the target's logit. If W is
    frozen, `rows`, a Parameter that shares the memory of W[span], may still learn. Gradients are
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
    """Rows per chunk, at most `most`; chunks of equal size unless they are much smaller."""
    equal = next(r for r in range(min(n, most), 0, -1) if n % r == 0)
    return equal if 4 * equal >= min(n, most) else min(n, most)


def softmax_step(logits: Tensor, bias: Tensor, targets: Tensor, weights: Tensor):
    """Weighted loss of a chunk of logits (N, V), and the gradient of the logits in their dtype."""
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
