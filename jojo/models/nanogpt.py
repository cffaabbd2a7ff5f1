"""Checkpoints of nanoGPT and of the first Jojo, as models of ours.

    model, facts = open_checkpoint(Path("ckpt.pt"))     # arch gpt2, our vocabulary, our ids

Three layouts, each with the weights of nanoGPT's GPT under "model":

nanoGPT           model_args, iter_num, best_val_loss, config (flat)
first Jojo, old   model_args, config (flat), and dataset, batch_counter or config's checkpoint_file
first Jojo, new   config ("model", "data", ...), global_iter_num, metrics, metadata

The first Jojo has <|im_start|> at 50257 and <|im_end|> at 50258, ours are the other way round:
these two rows change places. Both programs have GPT-2's tanh form of GELU, but nanoGPT the exact
one since June 2023. Its files do not tell their age; those without `bias` in model_args are of
before February 2023. What was trained in the months between is read with the exact form too, which
differs by less than 0.0005.
https://github.com/karpathy/nanoGPT, https://github.com/jasonacox/JojoLLM
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from jojo.command import say
from jojo.models import checkpoint, hf
from jojo.models.weights import GPT2_TOKENS, MODEL_ROWS, Vocabulary, build, grow
from jojo.text.template import template_named
from model import GPT, GPTConfig
from tokenizer import IM_END, IM_START

WTE, WPE, HEAD = "transformer.wte.weight", "transformer.wpe.weight", "lm_head.weight"
COMPILED = "_orig_mod."  # before each name, where the model was compiled
STEPS = ("iter_num", "global_iter_num", "batch_counter")  # the first that there is
# What the first Jojo had recipes for; its dailydialog was lines of "Person A: ...".
TEMPLATE_OF = {"story": "text", "dailydialog": "person"}
TEMPLATE_OF |= dict.fromkeys(("chat", "chitchat", "knowledge", "dictionary"), "chatml")


def open_checkpoint(path: Path, template: str | None = None) -> tuple[GPT, dict]:
    """(model, float32, in evaluation mode; facts: template, and step, dataset, metrics if told).

    ValueError names the first tensor or setting that does not fit.
    """
    given = template_named(template).name if template else None
    content = checkpoint.read(path)
    if not checkpoint.is_older(content):
        raise ValueError(f"{path} is no checkpoint of nanoGPT or the first Jojo")
    args = content.get("model_args", _table(content, "config").get("model"))
    if not isinstance(args, dict):
        raise ValueError(f"{path}: its model_args are {args!r}: the file is damaged")
    first_jojo = _is_first_jojo(content)
    gelu = "exact" if "bias" in args and not first_jojo else "tanh"
    state = _state(path, content)
    config, bias = _shape(path, args, state, gelu)
    model = build(config, _tensors(path, config, state, bias), "cpu")
    rows = {i: i for i in range(GPT2_TOKENS, config.vocab_size)}
    if first_jojo and config.vocab_size > IM_START:
        rows |= {IM_START: IM_END, IM_END: IM_START}
    grow(model, Vocabulary(rows, []))
    return model, _facts(path, content, first_jojo, given)


def _table(content: dict, name: str) -> dict:
    found = content.get(name)
    return found if isinstance(found, dict) else {}


def _is_first_jojo(content: dict) -> bool:
    return (
        "model_args" not in content
        or "dataset" in content
        or "batch_counter" in content
        or "checkpoint_file" in _table(content, "config")
    )


# ---------------------------------------------------------------- weights


def _state(path: Path, content: dict) -> dict[str, Tensor]:
    """Tensors by the names of a model that was not compiled, without the attention masks."""
    state = _table(content, "model")
    if not state:
        raise ValueError(f"{path} has no weights under 'model': the file is damaged")
    named = {str(name).removeprefix(COMPILED): tensor for name, tensor in state.items()}
    for name in list(named):
        if hf.BUFFERS.fullmatch(name.removeprefix("transformer.")):
            del named[name]
        elif not isinstance(named[name], Tensor) or not named[name].is_floating_point():
            raise ValueError(f"{path}: {name} holds no floating point numbers")
    return named


def _shape(path: Path, args: dict, state: dict[str, Tensor], gelu: str) -> tuple[GPTConfig, bool]:
    """The config, and whether there are biases. Sizes are the tensors', with which `args` agree."""
    for name in (WTE, WPE):
        if name not in state:
            raise ValueError(f"{path}: the weights lack {name}")
        if state[name].dim() != 2:
            raise ValueError(f"{path}: {name} is {tuple(state[name].shape)}, which is no table")
    sizes = {
        "vocab_size": state[WTE].size(0),
        "block_size": state[WPE].size(0),
        "n_embd": state[WTE].size(1),
        "n_layer": len({n.split(".")[2] for n in state if n.startswith("transformer.h.")}),
    }
    for name, size in sizes.items():
        if type(told := args.get(name, size)) is not int or told != size:
            raise ValueError(
                f"{path}: {name} is {told!r}, by the weights it is {size}: the file is damaged"
            )
    n_head, bias = args.get("n_head"), args.get("bias", True)
    if type(n_head) is not int or type(bias) is not bool:
        wrong = "bias" if type(n_head) is int else "n_head"
        raise ValueError(f"{path}: {wrong} is {args.get(wrong)!r}: the file is damaged")
    if not GPT2_TOKENS <= sizes["vocab_size"] <= MODEL_ROWS:
        raise ValueError(
            f"{path}: its vocabulary has {sizes['vocab_size']:,} tokens; Jojo's is GPT-2's "
            f"({GPT2_TOKENS:,}): a model of single characters, or of another tokenizer, cannot be "
            "converted"
        )
    tied = HEAD not in state or torch.equal(state[HEAD].float(), state[WTE].float())
    try:
        shape = GPTConfig("gpt2", n_head=n_head, tie_embeddings=tied, gelu=gelu, **sizes)
    except ValueError as error:
        raise ValueError(f"{path} holds a model that cannot be built: {error}") from None
    return shape, bias


def _tensors(
    path: Path, config: GPTConfig, state: dict[str, Tensor], bias: bool
) -> Iterator[tuple[str, Tensor]]:
    """(our name, tensor), all checked before the first; without biases ours are zeros."""
    pieces = {hf.full_name(p, config): p for p in hf.pieces_of(config)}
    for name, piece in pieces.items():
        if piece.transposed:  # Hugging Face's Conv1D, which is a Linear in nanoGPT
            pieces[name] = piece = replace(piece, shape=piece.shape[::-1], transposed=False)
        if name.endswith(".bias") and not bias and name not in state:
            state[name] = torch.zeros(piece.shape)
        if name not in state:
            raise ValueError(f"{path}: the weights lack {name}")
        if tuple(state[name].shape) != piece.shape:
            raise ValueError(
                f"{path}: {name} is {tuple(state[name].shape)}, by the other weights it is "
                f"{piece.shape}: the file is damaged"
            )
    known = {*pieces, HEAD} if config.tie_embeddings else pieces
    if unknown := state.keys() - known:
        raise ValueError(
            f"{path}: the weights have {len(unknown)} tensors too many, e.g. {min(unknown)}: it is "
            "another kind of model"
        )
    for name, piece in pieces.items():
        yield from piece.to_ours(state[name])


# ---------------------------------------------------------------- what is known beside them


def _facts(path: Path, content: dict, first_jojo: bool, template: str | None) -> dict:
    dataset = _dataset(content, first_jojo)
    facts = {"template": template or _template(path, dataset, first_jojo)}
    if dataset is not None:
        facts["dataset"] = dataset
    steps = [content[name] for name in STEPS if type(content.get(name)) is int]
    if steps:
        facts["step"] = steps[0]
    if metrics := _metrics(content, first_jojo):
        facts["metrics"] = metrics
    return facts


def _dataset(content: dict, first_jojo: bool) -> str | None:
    config = _table(content, "config")
    if not first_jojo:
        name = config.get("dataset")
    elif "model_args" not in content:
        name = _table(config, "data").get("dataset_name")
    else:  # it stands in neither place on the first day, when there were stories alone
        name = content.get("dataset", config.get("dataset_name", "story"))
    return name if isinstance(name, str) else None


def _template(path: Path, dataset: str | None, first_jojo: bool) -> str:
    if not first_jojo:
        return "text"
    if dataset not in TEMPLATE_OF:
        say(
            f"note: {path} was trained on {dataset or 'unnamed data'}, no dataset of the first "
            "Jojo's own: taken for chats in chatml; `template` names another"
        )
    return TEMPLATE_OF.get(dataset, "chatml")


def _metrics(content: dict, first_jojo: bool) -> dict[str, float]:
    """Validation losses: the one measured on these very weights, and the best of the run."""
    name = "best_val_loss" if first_jojo else "val_loss"  # nanoGPT saves what it has just measured
    losses = {name: content.get("best_val_loss")}
    for name, now in (("val_loss_iter", "global_iter_num"), ("val_loss", "epoch")):
        match _table(content, "metrics").get(name):
            case [*_, (when, loss)] if when == content.get(now):
                losses["val_loss"] = loss
    for name, loss in losses.items():
        if isinstance(loss, Tensor) and loss.numel() == 1:
            losses[name] = loss.item()
    return {n: v for n, v in losses.items() if isinstance(v, float) and math.isfinite(v)}
