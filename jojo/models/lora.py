"""LoRA: small matrices trained beside frozen ones (Hu et al. 2021, https://arxiv.org/abs/2106.09685).

    adapt(model, LoRA(16, 32.0, 0.0, ("q", "v")))   # in place: adapters and ChatML rows learn
    logits = model(ids)
    merge(model)                                    # in place; a plain GPT again

A projection W becomes W + alpha / rank B A with A (rank, in) random and B (out, rank) zero, so that
training starts at the base model. The rows of <|im_end|> and <|im_start|> are trained in full: a
base that never saw ChatML could not learn to stop otherwise.

B batch, T positions, C n_embd, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model import GPT
from tokenizer import IM_END, N_TOKENS


@dataclass(frozen=True)
class LoRA:
    """`targets` name projections with or without "_proj"; "all" stands for every one."""

    rank: int
    alpha: float
    dropout: float
    targets: tuple[str, ...]

    @property
    def scale(self) -> float:
        return self.alpha / self.rank


class LoRALinear(nn.Module):
    """A frozen linear layer and its adapter."""

    def __init__(self, base: nn.Linear, how: LoRA):
        super().__init__()
        self.base, self.how = base, how
        where = {"device": base.weight.device, "dtype": torch.float32}
        self.lora_A = nn.Parameter(torch.empty(how.rank, base.in_features, **where))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, how.rank, **where))
        self.dropout = nn.Dropout(how.dropout)
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        small = F.linear(self.dropout(x), self.lora_A)  # (B, T, rank)
        return self.base(x) + F.linear(small, self.lora_B) * self.how.scale

    def merged_weight(self) -> Tensor:
        assert self.base.weight.is_floating_point()  # not packed in 4 bits
        return self.base.weight + self.how.scale * self.lora_B @ self.lora_A


class _TrainedRows(nn.Module):
    """A frozen matrix (V, C) of which the rows of the ChatML tokens are trained.

    `rows` is a view: the optimizer's change of it is a change of `weight`.
    """

    span = slice(IM_END, N_TOKENS)

    def __init__(self, weight: nn.Parameter, rows: nn.Parameter | None = None):
        super().__init__()
        self.weight = weight.requires_grad_(False)
        self.rows = nn.Parameter(weight.data[self.span]) if rows is None else rows


class TrainedRowsEmbedding(_TrainedRows):
    def forward(self, ids: Tensor) -> Tensor:
        is_new = (ids >= IM_END) & (ids < N_TOKENS)
        rows = F.embedding((ids - IM_END).clamp(0, N_TOKENS - IM_END - 1), self.rows)
        return torch.where(is_new[..., None], rows, F.embedding(ids, self.weight))


class TrainedRowsHead(_TrainedRows):
    """`jojo.train.loss.cross_entropy` sends a gradient to `rows` alone."""

    def forward(self, h: Tensor) -> Tensor:
        return F.linear(h, self.weight)


def adapt(model: GPT, how: LoRA) -> None:
    """Freeze `model`, in place, but for adapters on its projections and the ChatML rows.

    ValueError where a target matches none of its projections. Move the model to its device first.
    """
    model.requires_grad_(False)
    wanted = _targets(model, how.targets)
    for part, name, child in _children(model):
        if name in wanted:
            setattr(part, name, LoRALinear(child, how))
    wte = TrainedRowsEmbedding(model.wte.weight)
    tied = model.config.tie_embeddings
    model.lm_head = TrainedRowsHead(model.lm_head.weight, wte.rows if tied else None)
    model.wte = wte
    model.train(model.training)


def _children(model: GPT) -> list[tuple[nn.Module, str, nn.Module]]:
    """(attention or MLP, name, layer) of every layer in the blocks; they may be replaced."""
    parts = [part for block in model.h for part in (block.attn, block.mlp)]
    return [(part, name, child) for part in parts for name, child in part.named_children()]


def _targets(model: GPT, targets: tuple[str, ...]) -> set[str]:
    """Full names of the projections that `targets` stand for."""
    block = model.h[0]
    known = [n for part in (block.attn, block.mlp) for n, _ in part.named_children()]
    known = [n for n in known if n.endswith("_proj")]
    if "all" in targets:
        return set(known)
    full = {t if t.endswith("_proj") else f"{t}_proj" for t in targets}
    if unknown := full - set(known):
        short = ", ".join(n.removesuffix("_proj") for n in known)
        raise ValueError(
            f"`lora_targets` {sorted(unknown)[0].removesuffix('_proj')!r} matches nothing in this "
            f"model: it has {short}, or all"
        )
    return full


def is_adapted(model: GPT) -> bool:
    return isinstance(model.wte, TrainedRowsEmbedding)


def of(model: GPT) -> LoRA:
    """How an adapted model was adapted."""
    return next(m.how for m in model.modules() if isinstance(m, LoRALinear))


def adapter_state(model: GPT) -> dict[str, Tensor]:
    """What was trained: adapters and ChatML rows, by name, as copies on the CPU."""
    return {n: p.detach().cpu().clone() for n, p in model.named_parameters() if p.requires_grad}


@torch.no_grad()
def load_adapter_state(model: GPT, state: dict[str, Tensor]) -> None:
    """Fill the adapters of an adapted model; ValueError where `state` is of another shape."""
    own = {n: p for n, p in model.named_parameters() if p.requires_grad}
    wrong = [n for n in own if getattr(state.get(n), "shape", None) != own[n].shape]
    wrong += [n for n in state if n not in own]
    if wrong:
        raise ValueError(f"{len(wrong)} adapters are of another shape, e.g. {wrong[0]}")
    for name, p in own.items():
        p.copy_(state[name])


@torch.no_grad()
def merged_state(model: GPT) -> dict[str, Tensor]:
    """The weights of an adapted model under the names of a plain one, adapters added in."""
    state = {
        n: t for n, t in model.state_dict().items() if not n.endswith((".rows", "lora_A", "lora_B"))
    }
    for name, module in model.named_modules():
        if isinstance(module, LoRALinear):
            del state[f"{name}.base.weight"]
            state[f"{name}.weight"] = module.merged_weight().cpu()
            if (bias := state.pop(f"{name}.base.bias", None)) is not None:
                state[f"{name}.bias"] = bias
    return state


@torch.no_grad()
def merge(model: GPT) -> None:
    """Add the adapters to the weights they belong to, in place: a plain GPT again."""
    for part, name, child in _children(model):
        if isinstance(child, LoRALinear):
            child.base.weight.copy_(child.merged_weight())
            setattr(part, name, child.base)
    embedding = nn.Embedding(*model.wte.weight.shape, _weight=model.wte.weight)
    head = nn.Linear(*reversed(model.lm_head.weight.shape), bias=False, device="meta")
    embedding.weight = model.wte.weight
    head.weight = embedding.weight if model.config.tie_embeddings else model.lm_head.weight
    model.wte, model.lm_head = embedding, head
    model.requires_grad_(True)


def hold_in(model: GPT, dtype: torch.dtype) -> None:
    """Store the frozen projections of an adapted model in `dtype`, in place.

    Under autocast to that dtype the products stay what they were, bit for bit, but the weights
    are not cast, and kept twice, at every step. `merge` then adds to rounded weights.
    """
    for module in model.h.modules():
        if isinstance(module, nn.Linear) and module.weight.is_floating_point():
            module.weight.data = module.weight.data.to(dtype)


def hold_in_4bit(model: GPT, device: torch.device) -> None:
    """Move a model from the CPU to a GPU with its projections in 4 bits (NF4; QLoRA,
    https://arxiv.org/abs/2305.14314). Adapt it afterwards.

    ValueError where bitsandbytes or a CUDA GPU is missing.
    """
    if device.type != "cuda":
        raise ValueError(
            f"`load_in_4bit` needs a CUDA GPU, this run is on {device}: leave it out; LoRA alone "
            "already keeps gradients and optimizer small"
        )
    if find_spec("bitsandbytes") is None:
        raise ValueError("--load_in_4bit needs bitsandbytes: pip install bitsandbytes")
    quantize(model, device)
    model.to(device)


def quantize(model: GPT, device: torch.device) -> None:
    import bitsandbytes

    for part, name, child in _children(model):
        if isinstance(child, nn.Linear):
            setattr(part, name, _in_4bit(child, bitsandbytes.nn).to(device))


def _in_4bit(linear: nn.Linear, nn4) -> nn.Module:
    """A 4-bit layer that is packed when it is moved to its device."""
    small = nn4.Linear4bit(
        linear.in_features,
        linear.out_features,
        bias=linear.bias is not None,
        compute_dtype=torch.bfloat16,
        quant_type="nf4",
    )
    weight = linear.weight.detach()
    small.weight = nn4.Params4bit(weight, requires_grad=False, quant_type="nf4")
    if linear.bias is not None:
        small.bias = nn.Parameter(linear.bias.detach(), requires_grad=False)
    return small
