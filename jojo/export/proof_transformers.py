"""The proof of a Hugging Face folder: transformers asked what the model is asked.

checks = in_transformers(model, "chatml", folder)
checks = of_checkpoint(model, path, source)      # a checkpoint made of such a folder
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import torch

import tokenizer
from jojo.export import proof
from jojo.export.proof import Check
from jojo.models import checkpoint, pretrained
from jojo.models.weights import GPT2_TOKENS
from jojo.text.template import encode_prompt, render, template_named
from model import GPT

INSTALL = "pip install 'transformers>=4.56'"
END = "<|endoftext|>"


@torch.inference_mode()
def in_transformers(model: GPT, template: str, folder: Path) -> list[Check]:
    """A Hugging Face folder against `model` (float32, on the CPU)."""
    if not _is_there():
        return [proof.skipped("transformers", INSTALL)]
    import transformers

    where, theirs = _opened_there(folder)
    fast = transformers.AutoTokenizer.from_pretrained(folder)
    asked = proof.prompts(template, model.config.block_size)
    checks = [
        proof.read_back(model, pretrained.load_model(str(folder))[0]),
        proof.compare_logits(where, model, lambda ids: theirs(ids).logits, asked),
    ]
    ids = [fast(text, split_special_tokens=True)["input_ids"] for text in proof.ODD_TEXTS]
    checks.append(
        proof.same(where, "token ids", ids, [tokenizer.encode(text) for text in proof.ODD_TEXTS])
    )
    how = template_named(template)
    if how.is_chat:
        odd, templated = proof.chats(template, proof.ODD_TEXTS), fast.apply_chat_template
        rendered = [templated(m, tokenize=False, add_generation_prompt=True) for m in odd]
        rendered += [templated(m, tokenize=False) + END for m in odd]
        expected = [proof.opened(m, template) for m in odd]
        expected += [render(m, template) for m in odd]
        checks.append(proof.same(where, "chat template", rendered, expected))
        plain = proof.chats(template)
        made = [templated(m, add_generation_prompt=True, return_dict=True) for m in plain]
        ids = [inputs["input_ids"] for inputs in made]
        expected = [encode_prompt(m, template) for m in plain]
        checks.append(proof.same(where, "ids of chats", ids, expected))
    stops = [theirs.generation_config.eos_token_id, fast.eos_token_id, theirs.config.eos_token_id]
    special = how.special_end
    checks.append(proof.same(where, "stop tokens", stops, [how.end_ids, special, special]))
    n = proof.n_written(model.config.block_size)
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
    n, wrong = proof.n_written(model.config.block_size), 0
    for prompt, ids in zip(asked, written, strict=True):
        ended = [i in ends for i in ids]
        stops = not any(ended[:-1]) and (ended[-1] or len(ids) == n)
        wrong += not stops or bool((proof.judge(model, prompt, ids)[1] > proof.TIE).any())
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
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    finally:
        if bar:
            logging.enable_progress_bar()
    return f"transformers {transformers.__version__}", model.eval()


def of_checkpoint(model: GPT, path: Path, source: Path | None) -> list[Check]:
    """A checkpoint against `model`; and, of a Hugging Face folder it came from, against that."""
    checks = [proof.read_back(model, checkpoint.load_model(path)[0])]
    if source is None:
        return checks
    if not _is_there():
        return [*checks, proof.skipped("transformers", INSTALL)]
    where, theirs = _opened_there(source)
    asked = proof.prompts("text", model.config.block_size)  # of ids that every vocabulary has
    logits = proof.compare_logits(where, model, lambda ids: theirs(ids).logits, asked, GPT2_TOKENS)
    return [*checks, logits]
