"""Our models as Hugging Face folders, written without transformers.

    save_folder(model, folder, "chatml")     # what AutoModelForCausalLM and AutoTokenizer open

A folder is written whole or not at all: config.json, generation_config.json, model.safetensors
(or shards of it), tokenizer.json, tokenizer_config.json. Names and shapes: jojo/models/hf.py.

The tokenizer gives the ids of `tokenizer.encode`, with one difference that cannot be mended there:
Hugging Face tokenizers read special tokens out of text, and `apply_chat_template` makes text first.
So "<|im_end|>" typed by a user does end the turn. A program that must not be fooled encodes each
content separately, with `tokenizer(content, split_special_tokens=True)`, and joins the turns
itself, as jojo/text/template.py does.
"""

from __future__ import annotations

import errno
import json
import math
import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

import tokenizer
from jojo.export.folder import whole_folder
from jojo.export.publish import public_facts
from jojo.files import sync, write_text
from jojo.models.hf import LASTING, full_name, pieces_of, state_to_hf
from jojo.models.hf_config import config_to_hf
from jojo.models.hf_tokenizer import gpt2_json
from jojo.models.hub import INDEX, WEIGHTS
from jojo.text.dialects import JINJA
from jojo.text.template import template_named
from model import GPT
from tokenizer import ENDOFTEXT, N_TOKENS, SPECIAL_TOKENS

NO_SPACE = f"os error {errno.ENOSPC}"  # as Rust writes it
MAX_SHARD_BYTES = 2 << 30


def save_folder(
    model: GPT,
    folder: Path,
    template: str,
    facts: dict | None = None,
    overwrite: bool = False,
) -> None:
    """Write `model` (a plain GPT) as what transformers opens. `facts`: of its checkpoint."""
    with whole_folder(Path(folder), overwrite) as temporary:
        write(model, temporary, template, facts or {})


def write(model: GPT, folder: Path, template: str, facts: dict) -> None:
    """The same into a folder that is there and empty."""
    config = config_to_hf(model.config)
    special = {"bos_token_id": ENDOFTEXT, "pad_token_id": ENDOFTEXT}
    config |= {"dtype": "float32", "eos_token_id": template_named(template).special_end, **special}
    config["jojo"] = {**_lasting(facts), "template": template}
    generation = {"eos_token_id": template_named(template).end_ids, **special}
    if model.config.vocab_size > N_TOKENS:  # rows that stand for no token
        generation["suppress_tokens"] = list(range(N_TOKENS, model.config.vocab_size))
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", generation)
    write_tokenizer(folder, template, model.config.block_size)
    _write_weights(model, folder)


def as_transformers(model: GPT):
    """The transformers model with the weights of `model`."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(**config_to_hf(model.config))
    theirs = AutoModelForCausalLM.from_config(config).eval()
    missing, unexpected = theirs.load_state_dict(
        state_to_hf(model.state_dict(), model.config), strict=False
    )
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"}  # a tied one
    return theirs


def _lasting(facts: dict) -> dict:
    """What of a checkpoint's facts is worth keeping and may be read by anybody, as JSON has it."""
    facts = public_facts(facts)
    kept = {name: facts[name] for name in LASTING if name in facts}
    if isinstance(kept.get("metrics"), dict):
        numbers = kept["metrics"].items()
        kept["metrics"] = {n: v for n, v in numbers if type(v) is not float or math.isfinite(v)}
    return kept


def _write_json(path: Path, content: dict) -> None:
    write_text(path, json.dumps(content, indent=2) + "\n")


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a safetensors file; OSError where the disk is full."""
    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as error:
        if NO_SPACE in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
        raise
    path.chmod(path.parent.stat().st_mode & 0o666)  # it is for its owner alone else
    sync(path)


def _write_weights(model: GPT, folder: Path) -> None:
    """model.safetensors, or shards and their index; one shard at a time is held in memory."""
    state, shards, room = model.state_dict(), [[]], MAX_SHARD_BYTES
    for piece in pieces_of(model.config):
        size = 4 * math.prod(piece.shape)
        if size > room and shards[-1]:
            shards.append([])
            room = MAX_SHARD_BYTES
        shards[-1].append(piece)
        room -= size
    names = [f"model-{i + 1:05}-of-{len(shards):05}.safetensors" for i in range(len(shards))]
    names = names if len(shards) > 1 else [WEIGHTS]
    weight_map = {}
    for name, shard in zip(names, shards, strict=True):
        tensors = {full_name(p, model.config): p.to_theirs(state) for p in shard}
        save_tensors(tensors, folder / name)
        weight_map |= dict.fromkeys(tensors, name)
    if len(shards) > 1:
        total = sum(4 * math.prod(p.shape) for shard in shards for p in shard)
        _write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map})


def write_tokenizer(folder: Path, template: str, block_size: int) -> None:
    """Write tokenizer.json and tokenizer_config.json: GPT-2's BPE, our special tokens, and the chat
    template of what chats."""
    fast = gpt2_json()
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    fast["added_tokens"] = [
        {"id": i, "content": token, **flags, "special": True}
        for token, i in sorted(SPECIAL_TOKENS.items(), key=lambda pair: pair[1])
    ]
    end = _text_of(ENDOFTEXT)
    config = {
        # the class that takes tokenizer.json as it is: those named after a model build their own
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": block_size,
        "bos_token": end,
        "eos_token": _text_of(template_named(template).special_end),
        "pad_token": end,
        "add_bos_token": False,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
    }
    if template in JINJA:
        config["chat_template"] = JINJA[template]
    write_text(folder / "tokenizer.json", json.dumps(fast, ensure_ascii=False))
    write_text(folder / "tokenizer_config.json", json.dumps(config, indent=2) + "\n")


def _text_of(token_id: int) -> str:
    return tokenizer.decode([token_id])
