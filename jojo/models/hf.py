"""Hugging Face weights <-> ours, without transformers.

    for name, tensor in read_tensors(folder, config): ...     # our names, float32
    tensors = state_to_hf(model.state_dict(), model.config)   # their names

Only this module knows how their names and shapes correspond to ours (their settings: hf_config.py).
Weights are read from safetensors, one file or several with an index; pickled ones are refused, they
could run code. Folders are written by jojo/export/hf_folder.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from jojo.models.hf_config import raw_config
from jojo.models.hub import weight_files
from jojo.text.template import template_named
from model import GPT, GPTConfig

LASTING = {
    "run": str,
    "dataset": str,
    "step": int,
    "metrics": dict,
    "data": dict,
    "made_from": list,
}  # facts kept in config.json
# Parts of our names that have another name there, what stands before all but the head, and
# buffers of older versions that hold nothing learned.
RENAMED = {
    "gpt2": {"q_proj": "c_attn", "o_proj": "c_proj", "up_proj": "c_fc", "down_proj": "c_proj"},
    "jojo": {
        "wte": "embed_tokens",
        "h": "layers",
        "ln_1": "input_layernorm",
        "attn": "self_attn",
        "ln_2": "post_attention_layernorm",
        "ln_f": "norm",
    },
}
PREFIX = {"gpt2": "transformer.", "jojo": "model."}
BUFFERS = re.compile(r"h\.\d+\.attn\.(masked_)?bias|layers\.\d+\.self_attn\.rotary_emb\.inv_freq")


# ---------------------------------------------------------------- names


@dataclass(frozen=True)
class Piece:
    """A tensor of theirs, and the one or three of ours that it holds, one below the other."""

    theirs: str  # without PREFIX
    ours: tuple[str, ...]
    shape: tuple[int, ...]  # of theirs
    transposed: bool  # GPT-2's Conv1D holds (in, out)

    def to_theirs(self, state: dict[str, Tensor]) -> Tensor:
        parts = [state[name].detach().to("cpu", torch.float32) for name in self.ours]
        joined = parts[0] if len(parts) == 1 else torch.cat(parts)
        return (joined.T if self.transposed else joined).contiguous()

    def to_ours(self, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Views of `tensor` where it is float32 already."""
        tensor = tensor.to(torch.float32)
        tensor = tensor.T if self.transposed else tensor
        yield from zip(self.ours, tensor.chunk(len(self.ours)), strict=True)


def pieces_of(config: GPTConfig) -> list[Piece]:
    """Every tensor of a model, in its order."""
    with torch.device("meta"):
        shapes = {name: tuple(t.shape) for name, t in GPT(config).state_dict().items()}
    if config.tie_embeddings:
        del shapes["lm_head.weight"]
    gpt2, renamed, pieces = config.arch == "gpt2", RENAMED[config.arch], []
    for name, shape in shapes.items():
        ours = (name,)
        if gpt2 and ".q_proj." in name:  # queries, keys and values are one matrix there
            ours = tuple(name.replace("q_proj", f"{x}_proj") for x in "qkv")
            shape = (3 * shape[0], *shape[1:])
        elif gpt2 and (".k_proj." in name or ".v_proj." in name):
            continue
        transposed = gpt2 and len(shape) == 2 and name.startswith("h.")
        theirs = ".".join(renamed.get(part, part) for part in name.split("."))
        pieces.append(Piece(theirs, ours, shape[::-1] if transposed else shape, transposed))
    return pieces


def full_name(piece: Piece, config: GPTConfig) -> str:
    """The name of a tensor of theirs."""
    is_head = piece.theirs.startswith("lm_head.")
    return piece.theirs if is_head else PREFIX[config.arch] + piece.theirs


def state_to_hf(state: dict[str, Tensor], config: GPTConfig) -> dict[str, Tensor]:
    """Our weights under their names, float32, on the CPU."""
    return {full_name(p, config): p.to_theirs(state) for p in pieces_of(config)}


# ---------------------------------------------------------------- reading


def facts(folder: Path) -> dict:
    """What is known beside the weights: at least the template, `text` where it is not told."""
    own = raw_config(Path(folder)).get("jojo")
    known = own if isinstance(own, dict) else {}
    template = known.get("template", "text")
    known = {n: known[n] for n, kind in LASTING.items() if isinstance(known.get(n), kind)}
    return {**known, "template": template_named(str(template)).name}


def read_tensors(folder: Path, config: GPTConfig) -> Iterator[tuple[str, Tensor]]:
    """(our name, float32) one by one, to be copied at once: they may be views of the file.

    Everything is checked before the first: ValueError names the first tensor that is missing, of
    another shape, or of no use.
    """
    folder = Path(folder)
    with ExitStack() as stack:
        files = [stack.enter_context(_opened(path)) for path in weight_files(folder)]
        found = {  # their name without the prefix -> (file, name)
            name.removeprefix(PREFIX[config.arch]): (file, name)
            for file in files
            for name in file.keys()  # noqa: SIM118  (it is no dict)
        }
        _must_fit(folder, config, found)
        for piece in pieces_of(config):
            file, name = found[piece.theirs]
            yield from piece.to_ours(file.get_tensor(name))


def _must_fit(folder: Path, config: GPTConfig, found: dict) -> None:
    n_layer = len({m[1] for name in found if (m := re.match(r"(?:h|layers)\.(\d+)\.", name))})
    if n_layer != config.n_layer:
        raise ValueError(
            f"{folder}: the weights have {n_layer} layers, config.json says {config.n_layer}: "
            "they are not of one model"
        )
    pieces = pieces_of(config)
    for piece in pieces:
        if piece.theirs not in found:
            raise ValueError(f"{folder}: the weights lack {full_name(piece, config)}")
        file, name = found[piece.theirs]
        part = file.get_slice(name)
        if tuple(part.get_shape()) != piece.shape:
            raise ValueError(
                f"{folder}: {name} is {tuple(part.get_shape())}, by config.json it is {piece.shape}"
            )
        if not part.get_dtype().startswith(("F", "BF")):
            raise ValueError(
                f"{folder}: {name} holds {part.get_dtype()}, not floating-point numbers: choose "
                "the unquantized model"
            )
    unknown = found.keys() - {piece.theirs for piece in pieces}
    unknown = {name for name in unknown if not BUFFERS.fullmatch(name)}
    if config.tie_embeddings and "lm_head.weight" in unknown:
        unknown.remove("lm_head.weight")
        wte = next(piece.theirs for piece in pieces if piece.ours == ("wte.weight",))
        _must_be_equal(folder, found["lm_head.weight"], found[wte])
    if unknown:
        raise ValueError(
            f"{folder}: the weights have {len(unknown)} tensors too many, e.g. "
            f"{found[min(unknown)][1]}: it is another kind of model"
        )


def _must_be_equal(folder: Path, *places: tuple) -> None:
    """A head that was saved although it is the embedding."""
    head, embedding = (file.get_tensor(name).float() for file, name in places)
    if not torch.equal(head, embedding):
        raise ValueError(
            f'{folder}: head and embedding differ, but config.json has "tie_word_embeddings": true '
            "(or leaves it out): set it to false there"
        )


def _opened(path: Path):
    try:
        return safe_open(path, framework="pt", device="cpu")
    except SafetensorError:
        with open(path, "rb") as file:
            pointer = file.read(64).startswith(b"version https://git-lfs")
        hint = "it is a pointer of Git LFS: git lfs pull" if pointer else "copy it again"
        raise ValueError(f"{path} is not a safetensors file, or it is truncated: {hint}") from None
