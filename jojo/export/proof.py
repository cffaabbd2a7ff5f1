"""The proof of an export: the same prompts here and in other people's software, compared.

    checks = in_transformers(model, "chatml", folder) + in_llamacpp(model, "chatml", path, "f16")
    demand(checks)      # prints them; ValueError where one differs

What is not installed is skipped, and the table says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

import tokenizer
from jojo import chatml, checkpoint, weights
from jojo.command import say
from jojo.config import SamplingOptions
from jojo.export import llamacpp
from jojo.export.hf_tokenizer import GPT2_TOKENS
from jojo.sampling import generate
from model import GPT
from tokenizer import N_TOKENS

N_TOKENS_WRITTEN = 32  # after each prompt
LOGIT_LIMIT = 1e-4  # of float32 logits, or a 100,000th of the largest
LOGPROB_LIMIT = {"f32": 0.01, "f16": 0.05, "bf16": 0.2}  # of a token's natural log-probability
# Least share of tokens that are the likeliest here, too. Packed weights are another model.
AGREEMENT = {"f32": 0.99, "f16": 0.97, "bf16": 0.95, "q8_0": 0.9}
AGREEMENT_PACKED = 0.3  # below it the file is broken rather than coarse

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
    """Ids that a model of this template begins from, with room to go on."""
    if not chatml.template_named(template).is_chat:
        asked = [[{"role": "assistant", "content": text}] for text in QUESTIONS]
    else:
        asked = chats(template)
    room = block_size - n_written(block_size)
    return [chatml.encode_prompt(messages, template)[-room:] for messages in asked]


def n_written(block_size: int) -> int:
    return min(N_TOKENS_WRITTEN, block_size // 2)


def chats(template: str, contents: Sequence[str] = QUESTIONS) -> list[list[chatml.Message]]:
    """Conversations that end in a question: short ones, and one of several turns."""
    found = [[{"role": "user", "content": text}] for text in contents]
    roles = ("user", "assistant") * len(contents)
    found.append([{"role": r, "content": c} for r, c in zip(roles, contents[:5], strict=False)])
    if "system" in chatml.template_named(template).prefix:
        found.append([{"role": "system", "content": contents[0]}, *found[0]])
    return found


@torch.inference_mode()
def greedy(model: GPT, prompt: Sequence[int], n_tokens: int, ends: Sequence[int]) -> list[int]:
    """What `model` writes after `prompt`, with the token that ends it."""
    options = SamplingOptions(temp=0.0, max_tokens=n_tokens)
    ids: list[int] = []
    for (drawn,) in generate(model, prompt, options, torch.Generator()):
        ids.append(drawn)
        if drawn in ends:
            break
    return ids


@torch.inference_mode()
def _logits(model: GPT, ids: Sequence[int]) -> Tensor:
    return model(torch.tensor([ids]))[0].float()  # (T, V)


# ---------------------------------------------------------------- transformers


@torch.inference_mode()
def in_transformers(model: GPT, template: str, folder: Path) -> list[Check]:
    """A Hugging Face folder against `model` (float32, on the CPU)."""
    if not find_spec("transformers"):
        return [_skipped("transformers", "pip install transformers")]
    import transformers

    where = f"transformers {transformers.__version__}"
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    fast = transformers.AutoTokenizer.from_pretrained(folder)
    asked = prompts(template, model.config.block_size)
    checks = [compare_logits(where, model, lambda ids: theirs(ids).logits, asked)]
    ids = [fast(text, split_special_tokens=True)["input_ids"] for text in ODD_TEXTS]
    checks.append(_same(where, "token ids", ids, [tokenizer.encode(text) for text in ODD_TEXTS]))
    how = chatml.template_named(template)
    if how.is_chat:
        odd = chats(template, ODD_TEXTS)
        rendered = [
            fast.apply_chat_template(m, tokenize=False, add_generation_prompt=True) for m in odd
        ]
        checks.append(_same(where, "chat template", rendered, [_opened(m, template) for m in odd]))
    stops = theirs.generation_config.eos_token_id
    checks.append(_same(where, "stop tokens", stops, how.end_ids))
    n = n_written(model.config.block_size)
    written = [theirs.generate(torch.tensor([p]), max_new_tokens=n, do_sample=False) for p in asked]
    written = [ids[0, len(p) :].tolist() for ids, p in zip(written, asked, strict=True)]
    ours = [greedy(model, p, n, how.end_ids) for p in asked]
    return [*checks, _same(where, "greedy replies", written, ours)]


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


def _opened(messages: Sequence[chatml.Message], template: str) -> str:
    """A conversation as text, up to where the next reply begins."""
    return tokenizer.decode(chatml.encode_prompt(messages, template))


def _same(where: str, what: str, theirs: object, ours: object) -> Check:
    if not isinstance(ours, list) or not isinstance(theirs, list) or len(ours) != len(theirs):
        return Check(where, what, f"{theirs!r} instead of {ours!r}"[:200], theirs == ours)
    differing = [i for i, pair in enumerate(zip(theirs, ours, strict=True)) if pair[0] != pair[1]]
    if not differing:
        return Check(where, what, f"all {len(ours)}", True)
    i = differing[0]
    result = f"{len(differing)} of {len(ours)} differ: {theirs[i]!r} instead of {ours[i]!r}"
    return Check(where, what, result[:200], False)


def _skipped(program: str, install: str) -> Check:
    return Check(program, "everything", f"skipped, it is not installed: {install}", None)


def of_checkpoint(model: GPT, path: Path, source: Path | None) -> list[Check]:
    """A checkpoint against `model`; and, of a Hugging Face folder it came from, against that."""
    there = weights.hash_of(checkpoint.load_model(path)[0])
    checks = [Check("jojo", "weights", there[:12], there == weights.hash_of(model))]
    if source is None:
        return checks
    if not find_spec("transformers"):
        return [*checks, _skipped("transformers", "pip install transformers")]
    import transformers

    where = f"transformers {transformers.__version__}"
    theirs = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval()
    asked = prompts("text", model.config.block_size)  # of ids that every vocabulary has
    logits = compare_logits(where, model, lambda ids: theirs(ids).logits, asked, GPT2_TOKENS)
    return [*checks, logits]


# ---------------------------------------------------------------- llama.cpp


def in_llamacpp(model: GPT, template: str, path: Path, kind: str) -> list[Check]:
    """A GGUF file of type `kind` against `model` (float32, on the CPU)."""
    if (version := llamacpp.version()) is None:
        return [_skipped("llama.cpp", llamacpp.INSTALL)]
    where, how = f"llama.cpp ({version}), {kind}", chatml.template_named(template)
    asked, n = prompts(template, model.config.block_size), n_written(model.config.block_size)
    odd = chats(template, ODD_TEXTS) if how.is_chat else []
    talks = chats(template)[:4] if how.is_chat else []
    seen = llamacpp.observe(path, asked, n, ODD_TEXTS, odd, talks, torch.get_num_threads())
    checks = [_same(where, "token ids", seen.ids, [tokenizer.encode(t) for t in ODD_TEXTS])]
    if how.is_chat:
        rendered = [_opened(messages, template) for messages in odd]
        checks.append(_same(where, "chat template", seen.rendered, rendered))
        checks.append(_ended(where, template, talks, seen))
    return [*checks, *compare_tokens(where, model, asked, seen.continuations, kind)]


def compare_tokens(
    where: str,
    model: GPT,
    asked: Sequence[Sequence[int]],
    written: Sequence[llamacpp.Continuation],
    kind: str,
) -> list[Check]:
    """Whether the tokens llama.cpp chose are the likeliest here too, after the same tokens."""
    likeliest, worst, total = 0, 0.0, 0
    for prompt, theirs in zip(asked, written, strict=True):
        logits = _logits(model, [*prompt, *theirs.ids[:-1]])[len(prompt) - 1 :, :N_TOKENS]
        ours = logits.log_softmax(-1)  # (n, V)
        chosen = ours.gather(1, torch.tensor(theirs.ids)[:, None])[:, 0]
        likeliest += int((ours.max(-1).values - chosen <= LOGPROB_LIMIT["f32"]).sum())
        if theirs.logprobs is not None:
            worst = max(worst, (chosen - torch.tensor(theirs.logprobs)).abs().max().item())
        total += len(theirs.ids)
    share, least = likeliest / total, AGREEMENT.get(kind, AGREEMENT_PACKED)
    result = f"{likeliest} of {total} are the likeliest here (at least {least:.0%})"
    checks = [Check(where, "greedy tokens", result, share >= least)]
    limit = LOGPROB_LIMIT.get(kind)
    result = f"max abs {worst:.1e}" + (f" (limit {limit:g})" if limit else "")
    checks.append(Check(where, "log-probabilities", result, worst <= limit if limit else None))
    return checks


def _ended(where: str, template: str, talks: Sequence, seen: llamacpp.Seen) -> Check:
    """Whether replies end where the same tokens end here, without what ends them in the text."""
    ends = chatml.template_named(template).end_ids
    wrong, stopped = [], 0
    for (text, reason), written in zip(seen.replies, seen.continuations, strict=False):
        ended = written.ids[-1] in ends
        expected = tokenizer.decode(written.ids[:-1] if ended else written.ids)
        if (text.strip(), reason) != (expected.strip(), "stop" if ended else "length"):
            wrong.append(f"{text!r} ({reason}) instead of {expected!r}")
        stopped += ended
    n = len(seen.replies)
    result = wrong[0] if wrong else f"{stopped} of {n} ended by themselves, as they do here"
    return Check(where, "ends of replies", result[:200], not wrong)
