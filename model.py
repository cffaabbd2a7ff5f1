"""One GPT in two architectures, with a KV cache. No files, no devices, no sampling.

    from model import GPT, GPTConfig, PRESETS
    model = GPT(GPTConfig(**PRESETS["tiny"]))
    logits = model(ids)                          # (B, T) -> (B, T, V)

arch="jojo" (the default) is Qwen3-shaped, so that what is trained here runs elsewhere: RMSNorm
before each sublayer, rotary positions (https://arxiv.org/abs/2104.09864), RMSNorm on queries and
keys, SwiGLU (https://arxiv.org/abs/2002.05202), grouped-query attention
(https://arxiv.org/abs/2305.13245), no biases, an untied head.
arch="gpt2" is GPT-2: LayerNorm, learned positions, GELU, biases, a tied head.

Shapes: B batch, T positions, C n_embd, H heads, K key-value heads, D head size, F n_inner, V vocab.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ARCHS = ("jojo", "gpt2")
GELUS = {"tanh": "tanh", "exact": "none"}  # ours -> torch's `approximate`

PRESETS = {
    "tiny": {"n_layer": 4, "n_head": 4, "n_embd": 256, "block_size": 256},
    "small": {"n_layer": 6, "n_head": 6, "n_embd": 384, "block_size": 512},
    "gpt2": {"n_layer": 12, "n_head": 12, "n_embd": 768, "block_size": 1024},
    "medium": {"n_layer": 24, "n_head": 16, "n_embd": 1024, "block_size": 1024},
    "large": {"n_layer": 36, "n_head": 20, "n_embd": 1280, "block_size": 1024},
    "xl": {"n_layer": 48, "n_head": 25, "n_embd": 1600, "block_size": 1024},
}


@dataclass
class GPTConfig:
    """The shape of a model; zeros stand for "derived from the others" and are resolved at once."""

    arch: str = "jojo"
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    block_size: int = 1024
    vocab_size: int = 50304  # 50,259 ids, rounded up to a multiple of 64
    n_kv_head: int = 0  # 0: as many as n_head
    head_dim: int = 0  # 0: n_embd / n_head
    n_inner: int = 0  # 0: 4 C (gpt2), or 8/3 C, rounded up (jojo)
    tie_embeddings: bool | None = None  # None: as the architecture has it
    dropout: float = 0.0
    rope_theta: float = 10000.0
    norm_eps: float = 0.0  # 0: 1e-5 (gpt2), 1e-6 (jojo)
    gelu: str = "tanh"  # of arch gpt2: "tanh" as GPT-2 has it, "exact" as nanoGPT

    def __post_init__(self) -> None:
        if self.arch not in ARCHS:
            raise ValueError(f"arch {self.arch!r} is unknown: it is one of {', '.join(ARCHS)}")
        if self.gelu not in GELUS:
            raise ValueError(f"gelu {self.gelu!r} is unknown: it is one of {', '.join(GELUS)}")
        gpt2 = self.arch == "gpt2"
        if not gpt2 and self.gelu != "tanh":
            raise ValueError("arch jojo has no GELU: leave out gelu, or use arch gpt2")
        for name in ("n_layer", "n_head", "n_embd", "block_size", "vocab_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} must be 1 or more")
        if self.n_inner < 0 or self.n_kv_head < 0 or self.head_dim < 0:
            raise ValueError("n_inner, n_kv_head and head_dim must be 1 or more, or 0")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout {self.dropout} must lie between 0 and 1")
        self.n_kv_head = self.n_kv_head or self.n_head
        if not self.head_dim:
            _must_divide("n_embd", self.n_embd, "n_head", self.n_head)
            self.head_dim = self.n_embd // self.n_head
        _must_divide("n_head", self.n_head, "n_kv_head", self.n_kv_head)
        if gpt2 and (self.n_kv_head, self.head_dim * self.n_head) != (self.n_head, self.n_embd):
            raise ValueError(
                "arch gpt2 has as many key-value heads as heads, which add up to n_embd: "
                "leave out n_kv_head and head_dim, or use arch jojo"
            )
        if not gpt2 and self.head_dim % 2:
            raise ValueError(f"head_dim {self.head_dim} is odd: rotary positions need an even one")
        if not self.n_inner:
            # rows of a multiple of 256 can be packed in 4 bits, which pays for large models
            multiple = 256 if self.n_embd >= 512 and self.n_embd % 256 == 0 else 64
            up = -(-8 * self.n_embd // (3 * multiple)) * multiple
            self.n_inner = 4 * self.n_embd if gpt2 else up
        if self.tie_embeddings is None:
            self.tie_embeddings = gpt2
        self.norm_eps = self.norm_eps or (1e-5 if gpt2 else 1e-6)


def _must_divide(a: str, a_value: int, b: str, b_value: int) -> None:
    if b_value < 1 or a_value % b_value:
        raise ValueError(f"{a} {a_value} is not a multiple of {b} {b_value}")


class KVCache:
    """Keys and values of the positions seen so far, for `batch_size` sequences in step."""

    def __init__(
        self,
        config: GPTConfig,
        batch_size: int,
        max_tokens: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        shape = (config.n_layer, batch_size, config.n_kv_head, max_tokens, config.head_dim)
        self.k = torch.zeros(shape, device=device, dtype=dtype)  # (L, B, K, T, D)
        self.v = torch.zeros(shape, device=device, dtype=dtype)
        self.length = 0
        self.max_tokens = max_tokens

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write (B, K, T, D) after what is there; return all of it. `GPT` moves `length`."""
        end = self.length + k.size(2)
        self.k[layer, :, :, self.length : end] = k
        self.v[layer, :, :, self.length : end] = v
        return self.k[layer, :, :, :end], self.v[layer, :, :, :end]


class RMSNorm(nn.RMSNorm):
    """torch's, in the precision of its input: the fused kernel wants one dtype under autocast."""

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


class Attention(nn.Module):
    def __init__(self, config: GPTConfig, layer: int):
        super().__init__()
        self.config, self.layer = config, layer
        C, D, bias = config.n_embd, config.head_dim, config.arch == "gpt2"
        self.q_proj = nn.Linear(C, config.n_head * D, bias=bias)
        self.k_proj = nn.Linear(C, config.n_kv_head * D, bias=bias)
        self.v_proj = nn.Linear(C, config.n_kv_head * D, bias=bias)
        self.o_proj = nn.Linear(config.n_head * D, C, bias=bias)
        if config.arch == "jojo":
            self.q_norm = RMSNorm(D, eps=config.norm_eps)
            self.k_norm = RMSNorm(D, eps=config.norm_eps)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor] | None, cache: KVCache | None):
        c = self.config
        B, T, _ = x.shape
        q = self.q_proj(x).view(B, T, c.n_head, c.head_dim)  # (B, T, H, D)
        k = self.k_proj(x).view(B, T, c.n_kv_head, c.head_dim)  # (B, T, K, D)
        v = self.v_proj(x).view(B, T, c.n_kv_head, c.head_dim).transpose(1, 2)  # (B, K, T, D)
        if rope is not None:
            q, k = rotate(self.q_norm(q), *rope), rotate(self.k_norm(k), *rope)
            q, k = q.to(v.dtype), k.to(v.dtype)
        q, k = q.transpose(1, 2), k.transpose(1, 2)  # (B, H, T, D), (B, K, T, D)
        mask = None
        if cache is not None:
            past = cache.length
            k, v = cache.append(self.layer, k, v)
            if past and T > 1:  # several new positions after old ones
                mask = torch.ones(T, past + T, dtype=torch.bool, device=x.device).tril(past)
        if c.n_kv_head != c.n_head:
            k = k.repeat_interleave(c.n_head // c.n_kv_head, dim=1)
            v = v.repeat_interleave(c.n_head // c.n_kv_head, dim=1)
        y = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            is_causal=mask is None and T > 1,
            dropout_p=c.dropout if self.training else 0.0,
        )  # (B, H, T, D)
        return self.o_proj(y.transpose(1, 2).reshape(B, T, -1))


class MLP(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        C, inner, bias = config.n_embd, config.n_inner, config.arch == "gpt2"
        if config.arch == "jojo":
            self.gate_proj = nn.Linear(C, inner, bias=False)
        self.up_proj = nn.Linear(C, inner, bias=bias)
        self.down_proj = nn.Linear(inner, C, bias=bias)
        self.approximate = GELUS[config.gelu]

    def forward(self, x: Tensor) -> Tensor:
        if hasattr(self, "gate_proj"):
            return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return self.down_proj(F.gelu(self.up_proj(x), approximate=self.approximate))


class Block(nn.Module):
    def __init__(self, config: GPTConfig, layer: int):
        super().__init__()
        self.ln_1 = norm(config)
        self.attn = Attention(config, layer)
        self.ln_2 = norm(config)
        self.mlp = MLP(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,  # (B, T, C)
        rope: tuple[Tensor, Tensor] | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        x = x + self.dropout(self.attn(self.ln_1(x), rope, cache))
        return x + self.dropout(self.mlp(self.ln_2(x)))


class GPT(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        if config.arch == "gpt2":
            self.wpe = nn.Embedding(config.block_size, config.n_embd)
        self.h = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.ln_f = norm(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.lm_head.weight = self.wte.weight
        if config.arch == "jojo":
            shape = config.block_size, config.head_dim
            self.register_buffer("cos", torch.empty(shape), persistent=False)  # (T, D)
            self.register_buffer("sin", torch.empty(shape), persistent=False)
        self.init_weights()
        self.fill_tables()

    def fill_tables(self) -> None:
        """Compute what is derived from the config and not stored with the weights."""
        if self.config.arch == "jojo":
            c = self.config
            cos, sin = rotary_table(c.block_size, c.head_dim, c.rope_theta)
            self.cos.copy_(cos)
            self.sin.copy_(sin)

    @torch.no_grad()
    def init_weights(self) -> None:
        """gpt2: as GPT-2 (std 0.02, residual outputs smaller). jojo: outputs and head at zero."""
        c = self.config
        for name, p in self.named_parameters():
            if name.endswith("bias"):
                p.zero_()
            elif p.dim() < 2:
                p.fill_(1.0)
            elif c.arch == "gpt2":
                out = name.endswith(("o_proj.weight", "down_proj.weight"))
                p.normal_(0.0, 0.02 / math.sqrt(2 * c.n_layer) if out else 0.02)
            elif name.endswith(("o_proj.weight", "down_proj.weight", "lm_head.weight")):
                p.zero_()
            elif name == "wte.weight":
                p.normal_(0.0, 0.02 if c.tie_embeddings else 1.0)
            else:
                p.normal_(0.0, p.size(1) ** -0.5)

    def hidden(self, ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """ids (B, T) -> final hidden states (B, T, C), normalised, ready for `lm_head`.

        With a cache, `ids` are the positions that follow the cached ones.
        """
        T, past = ids.size(1), cache.length if cache is not None else 0
        if past + T > self.config.block_size:
            raise ValueError(
                f"{past + T} tokens do not fit the context of {self.config.block_size}: "
                "shorten the prompt or --max_tokens"
            )
        x = self.wte(ids)  # (B, T, C)
        rope = None
        if self.config.arch == "gpt2":
            x = x + self.wpe.weight[past : past + T]
        else:
            rope = self.cos[past : past + T, None], self.sin[past : past + T, None]  # (T, 1, D)
        for block in self.h:
            x = block(x, rope, cache)
        if cache is not None:
            cache.length += T
        return self.ln_f(x)

    def forward(self, ids: Tensor, cache: KVCache | None = None, last: bool = False) -> Tensor:
        """ids (B, T) -> logits (B, T, V), or (B, 1, V) of the last position only."""
        x = self.hidden(ids, cache)
        return self.lm_head(x[:, -1:] if last else x)

    def n_params(self) -> int:
        return sum(p.numel() for p in self.parameters())

    def train_flops_per_token(self, head_rows: int, block_size: int) -> float:
        """Forward and backward, counted as in PaLM, appendix B (https://arxiv.org/abs/2204.02311).

        `head_rows` rows of the head are computed. A frozen weight takes 4 operations instead of 6.
        """
        c = self.config
        weights = [(p.numel(), p.requires_grad) for p in self.h.parameters() if p.dim() > 1]
        weights.append((head_rows * c.n_embd, self.lm_head.weight.requires_grad))
        attention = 12 * c.n_layer * c.n_head * c.head_dim * block_size
        return sum(n * (6.0 if learned else 4.0) for n, learned in weights) + attention


def norm(config: GPTConfig) -> nn.Module:
    if config.arch == "gpt2":
        return nn.LayerNorm(config.n_embd, eps=config.norm_eps)
    return RMSNorm(config.n_embd, eps=config.norm_eps)


def rotary_table(positions: int, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """cos and sin (T, D) in the half-split layout of Hugging Face's Llama and Qwen models."""
    powers = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
    angles = torch.outer(torch.arange(positions, dtype=torch.float32), theta**-powers)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions on x (B, T, H, D)."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin
