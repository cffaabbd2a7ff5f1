"""Drawing tokens from a model, one by one, with a KV cache.

B sequences, T positions, V vocabulary. The same seed gives the same text on the same machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jojo.chat.config import SamplingOptions
from jojo.device import cpu_multiplies_bfloat16
from model import GPT, KVCache
from tokenizer import N_TOKENS


def choose_tokens(
    logits: Tensor, options: SamplingOptions, generator: torch.Generator, used: Tensor | None = None
) -> Tensor:
    """logits (B, V) -> one id a row (B,). `used` (B, T): ids the repetition penalty falls on."""
    logits = logits.float().cpu().clone()
    if not logits.isfinite().any(-1).all() or logits.isnan().any():
        raise ValueError("the model's logits are not numbers: try `dtype` float32")
    logits[:, N_TOKENS:] = -torch.inf  # rows that stand for no token
    if options.repetition_penalty != 1.0 and used is not None:
        seen = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, used.cpu(), True)
        r = options.repetition_penalty
        logits = torch.where(seen, torch.where(logits > 0, logits / r, logits * r), logits)
    if options.temp < 1e-6:  # smaller ones overflow, and draw the same
        return logits.argmax(-1)
    logits = logits / options.temp
    if 0 < options.top_k < logits.size(-1):
        least = logits.topk(options.top_k).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    probs = logits.softmax(-1)
    if options.min_p > 0:
        probs = probs.masked_fill(probs < options.min_p * probs.amax(-1, keepdim=True), 0.0)
    if options.top_p < 1:
        ordered, order = _likeliest(probs, options.top_p)
        before = ordered.cumsum(-1) - ordered  # the likeliest token always stays
        ordered = ordered.masked_fill(before >= options.top_p * probs.sum(-1, keepdim=True), 0.0)
        return order.gather(1, torch.multinomial(ordered, 1, generator=generator))[:, 0]
    return torch.multinomial(probs, 1, generator=generator)[:, 0]


def _likeliest(probs: Tensor, share: float, n: int = 512) -> tuple[Tensor, Tensor]:
    """Probabilities and ids, likeliest first, at least as many as have `share` of each row.

    Sorting a whole vocabulary takes longer than a small model does.
    """
    if n < probs.size(-1):
        top, ids = probs.topk(n)
        if (top.sum(-1) >= share * probs.sum(-1)).all():
            return top, ids
    return probs.sort(descending=True)


@torch.inference_mode()
def generate(
    model: GPT,
    prompt: Sequence[int],
    options: SamplingOptions,
    generator: torch.Generator,
    n: int = 1,
    cache: KVCache | None = None,
    banned: Sequence[int] = (),
) -> Iterator[list[int]]:
    """Continue `prompt` n times in step: each item holds one id per sequence. Never stops by itself
    before `max_tokens` or the end of the context.

    With a cache, `prompt` continues what the cache holds, and what is drawn is added to it.
    """
    config, device = model.config, model.wte.weight.device
    if not len(prompt):
        raise ValueError("the prompt is empty: give at least one token")
    past = cache.length if cache is not None else 0
    room = config.block_size - past - len(prompt)
    if room < 1:
        raise ValueError(
            f"the prompt has {past + len(prompt)} tokens, the context {config.block_size}: "
            f"shorten it to {config.block_size - 1} or train with a larger `block_size`"
        )
    steps = min(options.max_tokens, room + 1)
    if cache is None:
        cache = KVCache(config, n, min(config.block_size, len(prompt) + steps), device)
    ids = torch.tensor([list(prompt)], device=device).expand(n, -1)  # (B, T)
    used = ids
    for _ in range(steps):
        logits = model(ids, cache, last=True)[:, -1]  # (B, V)
        if len(banned):
            logits[:, list(banned)] = -torch.inf
        drawn = choose_tokens(logits, options, generator, used)  # (B,)
        yield drawn.tolist()
        ids = drawn[:, None].to(device)
        if options.repetition_penalty != 1.0:
            used = torch.cat((used, ids), dim=1)


class LowPrecisionLinear(nn.Module):
    """A linear layer whose weights are stored in `dtype` and whose output is float32.

    On CPUs a product with one position is bound by reading the weights, and PyTorch's float16
    kernel reads them fastest; with several positions float16 is slow there, so weights are
    widened to `wide` first.
    """

    def __init__(self, linear: nn.Linear, dtype: torch.dtype, wide: torch.dtype):
        super().__init__()
        self.wide = wide
        self.register_buffer("weight", linear.weight.detach().to(dtype), persistent=False)
        bias = None if linear.bias is None else linear.bias.detach().float()
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        W = self.weight
        if x.device.type == "cpu" and W.dtype == torch.float16 and x.numel() != x.size(-1):
            W = W.to(self.wide)
        y = F.linear(x.to(W.dtype), W).float()
        return y if self.bias is None else y + self.bias


def for_inference(model: GPT, dtype: torch.dtype) -> GPT:
    """Store the weights of the matrix products in `dtype`, in place; the rest stays float32."""
    model.requires_grad_(False).eval()
    if dtype == torch.float32:
        return model
    wide = torch.bfloat16 if cpu_multiplies_bfloat16() else torch.float32
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                setattr(module, name, LowPrecisionLinear(child, dtype, wide))
    return model
