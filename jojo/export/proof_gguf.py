"""The proof of a GGUF file: its settings and weights read back, and llama.cpp asked the same.

checks = in_llamacpp(model, "chatml", path, "q8_0")
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

import tokenizer
from jojo.export import gguf, llamacpp, proof
from jojo.export.gguf import Reader
from jojo.export.proof import Check
from jojo.text.template import encode_prompt, template_named
from model import GPT
from tokenizer import ENDOFTEXT, SPECIAL_TOKENS

LOGPROB_LIMIT = {"f32": 0.01, "f16": 0.05, "bf16": 0.2, "q8_0": 0.5}  # of chosen tokens, natural
# Least share of tokens that are the likeliest here, too; and the largest error of a matrix, as a
# share of its own size (root mean square). Packed weights are a coarser model.
AGREEMENT = {
    "f32": 0.99,
    "f16": 0.97,
    "bf16": 0.95,
    "q8_0": 0.95,
    "q6_k": 0.8,
    "q5": 0.7,
    "q4": 0.6,
}
AGREEMENT_LEAST = 0.3  # q3 and q2
ERROR = {"f32": 0.0, "f16": 1e-3, "bf16": 4e-3, "q8_0": 0.02, "q6_k": 0.05, "q5": 0.1, "q4": 0.15}
ERROR_LARGEST = 0.6


def in_llamacpp(model: GPT, template: str, path: Path, kind: str) -> list[Check]:
    """A GGUF file of type `kind` against `model` (float32, on the CPU)."""
    reader = Reader(path)
    checks = [settings(model, template, reader), weights(model, reader, kind)]
    del reader  # and holds the file
    if (version := llamacpp.version()) is None:
        return [*checks, proof.skipped("llama.cpp", llamacpp.INSTALL)]
    where, how = f"llama.cpp ({version}), {kind}", template_named(template)
    texts, block_size = proof.ODD_TEXTS, model.config.block_size
    asked, n = proof.prompts(template, block_size), proof.n_written(block_size)
    odd, talks = [], []  # chats to render; chats to reply to, with their ids
    if how.is_chat:
        odd = proof.chats(template, texts)
        short = [(m, encode_prompt(m, template)) for m in proof.chats(template)]
        talks = [(m, ids) for m, ids in short if len(ids) <= block_size - n][:4]
    said = [messages for messages, _ in talks]
    seen = llamacpp.observe(path, asked, n, texts, odd, said, torch.get_num_threads())
    ids = [tokenizer.encode(text) for text in texts]
    checks.append(proof.same(where, "token ids", seen.ids, ids))
    if odd:
        rendered = [proof.opened(messages, template) for messages in odd]
        checks.append(proof.same(where, "chat template", seen.rendered, rendered))
    if talks:
        written = [seen.continuations[asked.index(ids)] for _, ids in talks]
        checks.append(_ended(where, how.end_ids, written, seen.replies))
    return [*checks, *compare_tokens(where, model, asked, seen.continuations, kind)]


def settings(model: GPT, template: str, reader: Reader) -> Check:
    """What a file says of the model's shape and of the ids that begin, end and pad a text."""
    c, how = model.config, template_named(template)
    arch = gguf.gguf.MODEL_ARCH_NAMES[gguf.ARCH[c.arch]]
    expected = {
        "general.architecture": arch,
        f"{arch}.block_count": c.n_layer,
        f"{arch}.context_length": c.block_size,
        f"{arch}.embedding_length": c.n_embd,
        f"{arch}.feed_forward_length": c.n_inner,
        f"{arch}.attention.head_count": c.n_head,
        "tokenizer.ggml.bos_token_id": ENDOFTEXT,
        "tokenizer.ggml.padding_token_id": ENDOFTEXT,
        "tokenizer.ggml.eos_token_id": how.special_end,
        "tokenizer.ggml.eot_token_id": how.end_ids[0] if how.is_chat else None,
        "tokenizer.ggml.add_bos_token": False,
    }
    eps = f"{arch}.attention.layer_norm{'_rms' if c.arch == 'jojo' else ''}_epsilon"
    expected[eps] = float(np.float32(c.norm_eps))
    if c.arch == "jojo":
        expected[f"{arch}.attention.head_count_kv"] = c.n_kv_head
        expected[f"{arch}.attention.key_length"] = c.head_dim
        expected[f"{arch}.rope.freq_base"] = float(np.float32(c.rope_theta))
    fields = reader.fields
    found = {name: fields[name].contents() if name in fields else None for name in expected}
    tokens = fields["tokenizer.ggml.tokens"]
    found["tokens"] = [tokens.contents(i) for i in SPECIAL_TOKENS.values()]
    return proof.same(
        "gguf", "settings", list(found.items()), [*expected.items(), ("tokens", [*SPECIAL_TOKENS])]
    )


def weights(model: GPT, reader: Reader, kind: str) -> Check:
    """Every tensor of a file, unpacked, against ours."""
    worst, name = 0.0, ""
    there = {t.name: t for t in reader.tensors}
    ours = dict(gguf.tensors(model))
    for tensor_name, expected in ours.items():
        tensor = there.pop(tensor_name, None)
        if tensor is None:
            return Check("gguf", "weights", f"{tensor_name} is missing", False)
        found = gguf.gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        size = float(np.sqrt(np.mean(expected**2, dtype=np.float64)))
        error = float(np.sqrt(np.mean((found - expected) ** 2, dtype=np.float64))) / (size or 1.0)
        if not error <= worst:  # also where it is no number
            worst, name = error, tensor_name
    limit = _of_type(ERROR, kind, ERROR_LARGEST)
    result = f"{len(ours)} tensors, largest error {worst:.1e} of {name} (limit {limit:g})"
    return Check(
        "gguf", "weights", result if worst else f"all {len(ours)}", not there and worst <= limit
    )


def _of_type(limits: dict[str, float], kind: str, other: float) -> float:
    """q4_k_m: that of q4_k_m, or of q4."""
    return limits.get(kind, limits.get(kind[:2], other))


def compare_tokens(
    where: str,
    model: GPT,
    asked: Sequence[Sequence[int]],
    written: Sequence[llamacpp.Continuation],
    kind: str,
) -> list[Check]:
    """Whether the tokens llama.cpp chose are the likeliest here too, after the same tokens."""
    likeliest, total, differing = 0, 0, []
    for prompt, theirs in zip(asked, written, strict=True):
        chosen, behind = proof.judge(model, prompt, theirs.ids)
        likeliest += int((behind <= proof.TIE).sum())
        total += len(theirs.ids)
        if theirs.logprobs is not None:
            differing.append((chosen - torch.tensor(theirs.logprobs)).abs().max().item())
    least = _of_type(AGREEMENT, kind, AGREEMENT_LEAST)
    result = f"{likeliest} of {total} are the likeliest here (at least {least:.0%})"
    checks = [Check(where, "greedy tokens", result, likeliest / total >= least)]
    limit = LOGPROB_LIMIT.get(kind) if differing else None
    result = f"max abs {max(differing):.1e}" if differing else "not given"
    result += f" (limit {limit:g})" if limit else ""
    passed = max(differing) <= limit if limit else None
    return [*checks, Check(where, "log-probabilities", result, passed)]


def _ended(
    where: str,
    ends: Sequence[int],
    written: Sequence[llamacpp.Continuation],
    replies: Sequence[tuple[str, str]],
) -> Check:
    """Whether replies of its server end where the same tokens end, without what ends them."""
    wrong, stopped = [], 0
    for (text, reason), tokens in zip(replies, written, strict=True):
        ended = tokens.ids[-1] in ends
        expected = tokenizer.decode(tokens.ids[:-1] if ended else tokens.ids)
        # bytes that are no character: how many signs stand for them differs
        said, expected = (t.replace("\ufffd", "").strip() for t in (text, expected))
        if (said, reason) != (expected, "stop" if ended else "length"):
            wrong.append(f"{said!r} ({reason}) instead of {expected!r}")
        stopped += ended
    n = len(replies)
    result = wrong[0] if wrong else f"{stopped} of {n} ended by themselves, as they do here"
    return Check(where, "ends of replies", result[:200], not wrong)
