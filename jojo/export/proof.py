"""The proof of an export: the same prompts here and in other people's software, compared.

    checks = in_transformers(model, "chatml", folder) + in_llamacpp(model, "chatml", path, "f16")
    demand(checks)      # prints them; ValueError where one differs

What is not installed is skipped, and the table says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

import tokenizer
from jojo.command import say
from jojo.models import checkpoint, pretrained, weights
from jojo.models.weights import GPT2_TOKENS
from jojo.text.template import Message, encode_prompt, render, template_named
from model import GPT
from tokenizer import N_TOKENS

INSTALL = "pip install 'transformers>=4.56'"
N_TOKENS_WRITTEN = 32  # after each prompt
LONGEST = 512  # tokens of a prompt
END = "<|endoftext|>"
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


# ---------------------------------------------------------------- transformers


@torch.inference_mode()
def in_transformers(model: GPT, template: str, folder: Path) -> list[Check]:
    """A Hugging Face folder against `model` (float32, on the CPU)."""
    if not _is_there():
        return [skipped("transformers", INSTALL)]
    import transformers

    where, theirs = _opened_there(folder)
    fast = transformers.AutoTokenizer.from_pretrained(folder)
    asked = prompts(template, model.config.block_size)
    checks = [
        _read_back(model, pretrained.load_model(str(folder))[0]),
        compare_logits(where, model, lambda ids: theirs(ids).logits, asked),
    ]
    ids = [fast(text, split_special_tokens=True)["input_ids"] for text in ODD_TEXTS]
    checks.append(same(where, "token ids", ids, [tokenizer.encode(text) for text in ODD_TEXTS]))
    how = template_named(template)
    if how.is_chat:
        odd, templated = chats(template, ODD_TEXTS), fast.apply_chat_template
        rendered = [templated(m, tokenize=False, add_generation_prompt=True) for m in odd]
        rendered += [templated(m, tokenize=False) + END for m in odd]
        expected = [opened(m, template) for m in odd]
        expected += [render(m, template) for m in odd]
        checks.append(same(where, "chat template", rendered, expected))
        plain = chats(template)
        made = [templated(m, add_generation_prompt=True, return_dict=True) for m in plain]
        ids = [inputs["input_ids"] for inputs in made]
        expected = [encode_prompt(m, template) for m in plain]
        checks.append(same(where, "ids of chats", ids, expected))
    stops = [theirs.generation_config.eos_token_id, fast.eos_token_id, theirs.config.eos_token_id]
    special = how.special_end
    checks.append(same(where, "stop tokens", stops, [how.end_ids, special, special]))
    n = n_written(model.config.block_size)
    written = [theirs.generate(torch.tensor([p]), max_new_tokens=n, do_sample=False) for p in asked]
    written = [ids[0, len(p) :].tolist() for ids, p in zip(written, asked, strict=True)]
    return [*checks, _replies(where, model, asked, written, how.end_ids)]


def _replies(
    where: str,
    model: GPT,
    asked: Sequence[Sequence[int]],
    written: Sequence[Sequence[int]],
    ends: Sequence[int],
) -> Check:
    """Whether what was written are the likeliest tokens here, up to one of `ends`."""
    n, wrong = n_written(model.config.block_size), 0
    for prompt, ids in zip(asked, written, strict=True):
        ended = [i in ends for i in ids]
        stops = not any(ended[:-1]) and (ended[-1] or len(ids) == n)
        wrong += not stops or bool((judge(model, prompt, ids)[1] > TIE).any())
    result = f"all {len(asked)}" if not wrong else f"{wrong} of {len(asked)} differ"
    return Check(where, "greedy replies", result, not wrong)


def _is_there() -> bool:
    """Whether a transformers is installed that can be asked: `dtype` is new in 4.56."""
    if not find_spec("transformers"):
        return False
    version = metadata.version("transformers").split(".")
    return (int(version[0]), int(version[1])) >= (4, 56)


def _opened_there(folder: Path):
    """("transformers 5.23.0", the model in a folder as it opens it), without its progress bar."""
    import transformers
    from transformers.utils import logging

    bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        opened = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    finally:
        if bar:
            logging.enable_progress_bar()
    return f"transformers {transformers.__version__}", opened.eval()


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


def _read_back(model: GPT, again: GPT) -> Check:
    """Whether what was written is `model`, to the bit: its weights and its settings."""
    differing = [n for n, v in asdict(model.config).items() if v != getattr(again.config, n)]
    digest = weights.hash_of(again)
    if not differing and digest == weights.hash_of(model):
        return Check("jojo", "weights read back", digest[:12], True)
    return Check(
        "jojo", "weights read back", f"others: {', '.join(differing) or digest[:12]}", False
    )


def of_checkpoint(model: GPT, path: Path, source: Path | None) -> list[Check]:
    """A checkpoint against `model`; and, of a Hugging Face folder it came from, against that."""
    checks = [_read_back(model, checkpoint.load_model(path)[0])]
    if source is None:
        return checks
    if not _is_there():
        return [*checks, skipped("transformers", INSTALL)]
    where, theirs = _opened_there(source)
    asked = prompts("text", model.config.block_size)  # of ids that every vocabulary has
    logits = compare_logits(where, model, lambda ids: theirs(ids).logits, asked, GPT2_TOKENS)
    return [*checks, logits]
