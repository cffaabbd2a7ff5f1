"""The proof of an export: the same prompts here and in other people's software, compared.

    demand(checks)      # prints them; ValueError where one differs

The checks are made in proof_transformers.py and proof_gguf.py, those of adapters in peft.py. What
is not installed is skipped, and the table says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

import tokenizer
from jojo.command import say
from jojo.models import weights
from jojo.text.template import Message, encode_prompt, template_named
from model import GPT
from tokenizer import N_TOKENS

N_TOKENS_WRITTEN = 32  # after each prompt
LONGEST = 512  # tokens of a prompt
TIE = 0.01  # nats: tokens this near to the likeliest count as it
LOGIT_LIMIT = 1e-4  # of float32 logits, or a 100,000th of the largest
QUESTIONS = (
    "Hello! How are you?",
    "My name is Anna.",
    "What is your name?",
    "Can you help me with something?",
    "It's raining again…",
    "Tell me a story about a cat.",
    "Thanks! Bye.",
)
ODD_TEXTS = (
    "I'll see you at 10:30,  won't I?\t's\n\n\nYes.  ",
    "Grüße aus Zürich, 你好, Привет, مرحبا",
    "👩‍👩‍👧 ok 🇩🇪 Ⓐ ½ ﷽",
    "<|im_end|>\n<|im_start|>system\n<|endoftext|>",
    "\r\n\x0b \u00a0x\u2003y\u200bz",
    "def f(x):\n    return x['a']  # 3.14e-10",
    "\n\n",
)


@dataclass(frozen=True)
class Check:
    """One line of the table. `passed` is None where something is only reported, or was skipped."""

    where: str  # "transformers 5.23.0"
    what: str  # "logits"
    result: str  # "max abs 3.1e-06 (limit 1e-04)"
    passed: bool | None


def table(checks: Sequence[Check]) -> str:
    """The checks as lines of text."""
    marks = {True: "same", False: "DIFFERS", None: "-"}
    rows = [(c.where, c.what, marks[c.passed], c.result) for c in checks]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(w) for cell, w in zip(row[:3], widths, strict=True)), row[3]])
        for row in rows
    )


def demand(checks: Sequence[Check]) -> None:
    """Print the checks; ValueError where one has not passed."""
    say(table(checks))
    if wrong := [c for c in checks if c.passed is False]:
        names = ", ".join(f"{c.what} in {c.where}" for c in wrong)
        raise ValueError(f"the export does not do what the model does ({names}): it was removed")


# ---------------------------------------------------------------- what is asked


def prompts(template: str, block_size: int) -> list[list[int]]:
    """Ids that a model of this template begins from, and a long text; with room to go on."""
    how, room = template_named(template), max(1, block_size - n_written(block_size))
    texts = [[{"role": "assistant", "content": text}] for text in QUESTIONS]
    asked = [encode_prompt(m, template) for m in (chats(template) if how.is_chat else texts)]
    long = 4 * tokenizer.encode("\n".join((*QUESTIONS, *ODD_TEXTS)))
    return [*(ids[-room:] for ids in asked), long[: min(room, LONGEST)]]


def n_written(block_size: int) -> int:
    return max(1, min(N_TOKENS_WRITTEN, block_size // 2))


def chats(template: str, contents: Sequence[str] = QUESTIONS) -> list[list[Message]]:
    """Conversations that end in a question: short ones, and one of several turns."""
    found = [[{"role": "user", "content": text}] for text in contents]
    roles = ("user", "assistant") * len(contents)
    found.append([{"role": r, "content": c} for r, c in zip(roles, contents[:5], strict=False)])
    if "system" in template_named(template).prefix:
        found.append([{"role": "system", "content": contents[0]}, *found[0]])
    return found


@torch.inference_mode()
def _logits(model: GPT, ids: Sequence[int]) -> Tensor:
    return model(torch.tensor([ids]))[0].float()  # (T, V)


def judge(model: GPT, prompt: Sequence[int], ids: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Of each of `ids` after those before it: its log-probability here, and how many nats the
    likeliest token lies above it."""
    logits = _logits(model, [*prompt, *ids[:-1]])[len(prompt) - 1 :, :N_TOKENS]
    logprobs = logits.log_softmax(-1)  # (n, V)
    chosen = logprobs.gather(1, torch.tensor(ids)[:, None])[:, 0]
    return chosen, logprobs.max(-1).values - chosen


# ---------------------------------------------------------------- what is compared


@torch.inference_mode()
def compare_logits(
    where: str, model: GPT, theirs, asked: Sequence[Sequence[int]], n_ids: int = N_TOKENS
) -> Check:
    """`theirs`: ids (1, T) -> logits (1, T, V'). Compared are those of the first `n_ids` ids."""
    worst, largest = 0.0, 1.0
    for ids in asked:
        ours, given = _logits(model, ids), theirs(torch.tensor([ids]))[0].float()
        differing = (given[:, :n_ids] - ours[:, :n_ids]).abs().max().item()
        worst = max(worst, differing) if differing == differing else float("inf")  # not a number
        largest = max(largest, ours.abs().max().item())
    limit = max(LOGIT_LIMIT, 1e-5 * largest)
    n = sum(map(len, asked))
    result = f"max abs {worst:.1e} at {n} positions (limit {limit:.1e})"
    return Check(where, "logits", result, worst <= limit)


def opened(messages: Sequence[Message], template: str) -> str:
    """A conversation as text, up to where the next reply begins."""
    return tokenizer.decode(encode_prompt(messages, template))


def same(where: str, what: str, theirs: object, ours: object) -> Check:
    if not isinstance(ours, list) or not isinstance(theirs, list) or len(ours) != len(theirs):
        return Check(where, what, f"{theirs!r} instead of {ours!r}"[:200], theirs == ours)
    differing = [i for i, pair in enumerate(zip(theirs, ours, strict=True)) if pair[0] != pair[1]]
    if not differing:
        return Check(where, what, f"all {len(ours)}", True)
    i = differing[0]
    result = f"{len(differing)} of {len(ours)} differ: {theirs[i]!r} instead of {ours[i]!r}"
    return Check(where, what, result[:200], False)


def skipped(program: str, install: str) -> Check:
    return Check(program, "everything", f"skipped, it is not installed: {install}", None)


def read_back(model: GPT, again: GPT) -> Check:
    """Whether what was written is `model`, to the bit: its weights and its settings."""
    differing = [n for n, v in asdict(model.config).items() if v != getattr(again.config, n)]
    digest = weights.hash_of(again)
    if not differing and digest == weights.hash_of(model):
        return Check("jojo", "weights read back", digest[:12], True)
    return Check(
        "jojo", "weights read back", f"others: {', '.join(differing) or digest[:12]}", False
    )
