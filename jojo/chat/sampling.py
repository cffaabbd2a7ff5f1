"""Drawing tokens from a model, one by one, with a KV cache.

B sequences, T positions, V vocabulary. The same seed gives the same text on the same machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jojo.chat.config import SamplingOptions
from jojo.device import cpu_multiplies_bfloat16
from jojo.text.template import Template
from model import GPT, KVCache
from tokenizer import IM_START, N_TOKENS, StreamDecoder


def choose_tokens(
    logits: Tensor, options: SamplingOptions, generator: torch.Generator, used: Tensor | None = None
) -> Tensor:
    """logits (B, V) -> one id a row (B,). `used` (B, T): ids the repetition penalty falls on."""
    logits = logits.float().cpu().clone()
    if not logits.isfinite().any(-1).all() or logits.isnan().any():
        raise ValueError("the model's logits are not numbers: try --dtype float32")
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
            f"shorten it to {config.block_size - 1} or train with a larger --block_size"
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


@dataclass
class Reply:
    """A reply as it grows. `ended`: the model itself came to an end."""

    ids: list[int]
    text: str
    ended: bool


class ReplyReader:
    """Turns the ids of one reply into text as they come, up to where its template ends it.

    What must not be seen is held back: half characters, the line break before <|im_end|>.
    """

    def __init__(self, template: Template, nonstop: bool = False):
        self.template, self.nonstop = template, nonstop
        self.reply = Reply([], "", False)
        self._decoder, self._held = StreamDecoder(), ""

    def push(self, token_id: int) -> str:
        """The next piece of text to show; sets `reply.ended` at the end."""
        if self.reply.ended:
            return ""
        self.reply.ids.append(token_id)
        if token_id in self.template.stop_ids and not self.nonstop:
            return self._end()
        text = self._held + self._decoder.push(token_id)
        stop = None if self.nonstop else self.template.stop_text
        if stop and stop in text:
            self._held = text.partition(stop)[0]
            return self._end()
        if self.template.name == "text" or self.nonstop:
            self._held = ""
        else:
            self._held = "\n" if text.endswith("\n") else ""
            text = text.removesuffix(self._held)
        return self._show(text)

    def finish(self) -> str:
        """What is still held back when no more tokens come."""
        return (
            "" if self.reply.ended else self._show(self._held.rstrip("\n") + self._decoder.flush())
        )

    def _end(self) -> str:
        self.reply.ended = True
        return self._show(self._held.removesuffix("\n") + self._decoder.flush())

    def _show(self, text: str) -> str:
        if not self.reply.text and self.template.stop_text:
            text = text.lstrip(" ")  # the space between "Person B:" and the words
        self.reply.text += text
        return text


def banned_ids(template: Template, nonstop: bool = False) -> list[int]:
    """Ids that a reply must not hold: a turn is opened by the program, never by the model."""
    return [] if nonstop or template.name == "text" else [IM_START]


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
