"""A model filled with given weights, their fingerprint, and the rows of our vocabulary added.

    model = build(config, tensors, device)      # copied one by one
    digest = hash_of(model)
    grow(model)                                 # 50,257 rows -> 50,304

Each new row is the mean of the embeddings and a little noise (Hewitt 2021,
https://nlp.stanford.edu/~johnhew/vocab-expansion.html). Zeros would be wrong: GPT-2's logits all
lie far below 0, so a row whose logit is 0 would take all the probability. The mean of the rows has
the mean of the logits, and so no more than the average probability.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain

import torch
import xxhash
from torch import Tensor, nn

from model import GPT, GPTConfig
from tokenizer import ENDOFTEXT

NOISE = 0.01  # of new rows, as a share of the embeddings' own spread
GPT2_TOKENS = ENDOFTEXT + 1  # 50,257
MODEL_ROWS = GPTConfig.vocab_size  # 50,304: what our vocabulary is padded to


def build(config: GPTConfig, tensors: Iterable[tuple[str, Tensor]], device) -> GPT:
    """A model of the weights `tensors`, copied one by one: they are never all held twice."""
    tensors = iter(tensors)
    first = next(tensors)  # what is wrong with them shows before room is made for the model
    model = empty(config, device)
    own = model.state_dict()
    for name, tensor in chain([first], tensors):
        own[name].copy_(tensor)
    model.fill_tables()
    return model.eval()


def empty(config: GPTConfig, device: torch.device | str) -> GPT:
    """A model whose weights are whatever stood in the memory."""
    with torch.device("meta"):
        model = GPT(config)
    model.to_empty(device=device)
    if config.tie_embeddings:
        model.lm_head.weight = model.wte.weight
    return model


def hash_of(model: GPT) -> str:
    """The fingerprint of a model's weights, whatever files they came from."""
    state = model.state_dict()
    if model.config.tie_embeddings:
        del state["lm_head.weight"]
    return fingerprint(state)


def fingerprint(tensors: Mapping[str, Tensor], beside: str = "") -> str:
    """xxh3_128 over `beside`, names and float32 bytes; the order of the tensors does not count."""
    whole = xxhash.xxh3_128(beside.encode())
    for name in sorted(tensors):
        whole.update(name.encode())
        whole.update(tensors[name].detach().cpu().float().contiguous().numpy())
    return whole.hexdigest()


def grow(model: GPT, vocabulary: Vocabulary | None = None) -> None:
    """Give `model` the rows of our whole vocabulary, in place; the same ones each time.

    `vocabulary` tells which rows above GPT-2's own the model has, if it is not all of them. One of
    our checkpoints with a smaller vocabulary than GPT-2's stays as it is.
    """
    size = model.config.vocab_size
    rows = vocabulary.rows if vocabulary else {i: i for i in range(GPT2_TOKENS, size)}
    is_whole = size >= MODEL_ROWS and vocabulary is None
    is_whole |= size == MODEL_ROWS and rows == {i: i for i in range(GPT2_TOKENS, size)}
    if is_whole or size < GPT2_TOKENS:
        return
    model.wte.weight = _grown(model.wte.weight, rows)
    tied = model.config.tie_embeddings
    model.lm_head.weight = model.wte.weight if tied else _grown(model.lm_head.weight, rows)
    model.config.vocab_size = model.wte.num_embeddings = model.lm_head.out_features = MODEL_ROWS


@torch.no_grad()
def _grown(weight: nn.Parameter, rows: dict[int, int]) -> nn.Parameter:
    mean, spread = _mean_and_spread(weight[:GPT2_TOKENS].cpu())  # (C,)
    shape = MODEL_ROWS - GPT2_TOKENS, weight.size(1)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    new = torch.empty(MODEL_ROWS, weight.size(1), device=weight.device)
    new[:GPT2_TOKENS] = weight[:GPT2_TOKENS]
    new[GPT2_TOKENS:] = (mean + NOISE * spread * noise).float()
    for ours, theirs in rows.items():
        new[ours] = weight[theirs]
    return nn.Parameter(new)


def _mean_and_spread(known: Tensor) -> tuple[Tensor, Tensor]:
    """Of each column of (V, C), float64, summed part by part: the same however many threads."""
    total, squares = torch.zeros(2, known.size(1), dtype=torch.float64)
    for part in known.split(1024):
        part = part.double()
        total += part.sum(0)
        squares += part.square().sum(0)
    mean = total / len(known)
    return mean, (squares / len(known) - mean.square()).clamp(min=0).sqrt()


@dataclass(frozen=True)
class Vocabulary:
    """Where the rows above GPT-2's own stand in a folder's embedding."""

    rows: dict[int, int]  # our id -> row of theirs; an id without one is new
    dropped: list[str]  # tokens that have no place in ours
