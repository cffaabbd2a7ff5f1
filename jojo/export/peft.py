"""Our adapters as folders of PEFT, the adapter library beside transformers; written without it.

    found = open_base("models/tuned.pt")     # an adapter and its base, not yet merged
    write(found, folder)                     # adapter_config.json, adapter_model.safetensors, ...
    text = usage(found)                      # how to load it, for the model card
    base = there(found)
    checks = prove(base, merged(found).model, "chatml", folder)     # ours against PEFT's

The folder belongs on a base of `found.model`'s rows: most bases have none for the ChatML tokens, so
what `convert.py BASE --outfile FOLDER` makes of them is meant. The tokenizer lies beside the
adapter, since its chat template came with the adapter.

The rows of the two tokens, which were trained in full, are what PEFT calls trainable tokens. GPT-2
has one matrix there for queries, keys and values: their adapters are stacked into one of up to
three times the rank, with alpha as many times higher, which is the same product at the same scale.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from jojo.export import proof
from jojo.export.hf_folder import as_transformers, save_tensors, write_tokenizer
from jojo.export.proof import Check
from jojo.files import write_text
from jojo.models import hf, pretrained
from jojo.models.lora import LoRA
from jojo.models.names import HUB_ID
from jojo.models.weights import empty, hash_of
from model import GPT
from tokenizer import IM_END, N_TOKENS

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
OLDEST = (0, 18)  # of PEFT: the first that can replace single rows of an untied head


def write(found: pretrained.Base, folder: Path, template: str) -> None:
    """Write the adapter of `found` into `folder`, which is there; ValueError where it has none."""
    how, config = _adapter_of(found), found.model.config
    embeddings, projections = dict(_rows(found)), dict(_projections(found))
    tensors = {f"{name}.token_adapter.trainable_tokens_delta": t for name, t in embeddings.items()}
    for name, (A, B) in projections.items():
        tensors |= {f"{name}.lora_A.weight": A, f"{name}.lora_B.weight": B}
    ids = list(range(IM_END, N_TOKENS))
    raw = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": _base_name(found),
        "inference_mode": True,
        "r": how.rank,
        "lora_alpha": how.alpha,
        "lora_dropout": how.dropout,
        "bias": "none",
        "fan_in_fan_out": config.arch == "gpt2",  # its matrices are stored (in, out)
        "target_modules": sorted({_in_a_block(name) for name in projections}),
        **_stacked(projections, how),
        "trainable_token_indices": {name.split(".")[-1]: ids for name in embeddings},
    }
    write_text(folder / CONFIG, json.dumps(raw, indent=2) + "\n")
    whole = {f"base_model.model.{name}": t.contiguous() for name, t in tensors.items()}
    save_tensors(whole, folder / WEIGHTS)
    write_tokenizer(folder, template, config.block_size)


def _adapter_of(found: pretrained.Base) -> LoRA:
    """How the adapter was made; ValueError where there is none or it does not fit its base."""
    if found.adapter is None:
        raise ValueError(f"{found.source} is not an adapter: leave out `adapter`")
    shell = empty(found.model.config, "meta")
    pretrained.merged(replace(found, model=shell), "the adapter")  # which looks at every shape
    return pretrained.of_adapter(found.adapter)


def _rows(found: pretrained.Base) -> Iterator[tuple[str, Tensor]]:
    """(their module, rows of the ChatML tokens) of the embedding and of an untied head."""
    state = found.adapter["adapter"]
    for piece in hf.pieces_of(found.model.config):
        if (rows := state.get(f"{_module(piece.ours[0])}.rows")) is not None:
            yield _module(hf.full_name(piece, found.model.config)), rows.float().clone()


def _projections(found: pretrained.Base) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    """(their module, (A (r, in), B (out, r))) of each matrix that has adapters."""
    config, state = found.model.config, found.adapter["adapter"]
    for piece in hf.pieces_of(config):
        ours = [_module(name) for name in piece.ours]
        if not any(f"{name}.lora_A" in state for name in ours):
            continue
        n_out, n_in = reversed(piece.shape) if piece.transposed else piece.shape
        nothing = torch.empty(0, n_in), torch.empty(n_out // len(ours), 0)  # an adapter of rank 0
        A = [state.get(f"{name}.lora_A", nothing[0]).float() for name in ours]
        B = [state.get(f"{name}.lora_B", nothing[1]).float() for name in ours]
        yield _module(hf.full_name(piece, config)), (torch.cat(A), torch.block_diag(*B))


def _module(name: str) -> str:
    return name.removesuffix(".weight")


def _in_a_block(name: str) -> str:
    """attn.c_proj of transformer.h.0.attn.c_proj: c_proj alone is in the MLP, too."""
    return re.split(r"\.\d+\.", name)[1]


def _stacked(projections: dict[str, tuple[Tensor, Tensor]], how: LoRA) -> dict[str, dict]:
    """Rank and alpha of the modules that hold several adapters: alpha / rank stays what it was."""
    ranks = {_in_a_block(name): len(A) for name, (A, _) in projections.items()}
    ranks = {name: rank for name, rank in ranks.items() if rank != how.rank}
    alphas = {name: how.alpha * (rank // how.rank) for name, rank in ranks.items()}
    return {"rank_pattern": ranks, "alpha_pattern": alphas}


# ---------------------------------------------------------------- the base


def _base_name(found: pretrained.Base) -> str:
    """The base where it can be loaded from the hub as it is, else the folder that `usage` has
    written: names of people's own files are not for others to read."""
    return found.source if _is_on_the_hub(found) else "base"


def _is_on_the_hub(found: pretrained.Base) -> bool:
    """Whether the hub has the base with all its rows: it was not grown when it was opened."""
    named = HUB_ID.fullmatch(found.source) is not None
    return named and hash_of(found.model) == found.hash


def usage(found: pretrained.Base, adapter: str = ".") -> str:
    """How to load the folder, which lies at `adapter`, as Markdown."""
    name, known = _base_name(found), HUB_ID.fullmatch(found.source)
    source = found.source if known else "BASE.pt"
    text = f"This is an adapter of `{source}`, to be loaded with PEFT 0.18 or later.\n"
    if name != source:  # not to be had as it is
        why = "with rows for the ChatML tokens" if known else "as transformers reads it"
        if "base" in found.facts:  # what an adapter says
            why = "which is an adapter itself and is merged into its own base here"
        command = f"python convert.py {source} --outfile {name}"
        text += f"Write its base first, {why}:\n\n```bash\n{command}\n```\n"
    return (
        f"{text}\n```python\n"
        "from peft import PeftModel\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f"base = AutoModelForCausalLM.from_pretrained({json.dumps(name)})\n"
        f"model = PeftModel.from_pretrained(base, {json.dumps(adapter)})\n"
        f"tokenizer = AutoTokenizer.from_pretrained({json.dumps(adapter)})\n"
        "model.generation_config.eos_token_id = tokenizer.eos_token_id\n```\n"
    )


# ---------------------------------------------------------------- the proof


def there(found: pretrained.Base):
    """The base of an adapter as transformers has it; None where that or PEFT is not installed.

    To be asked for before `pretrained.merged` adds the adapter to `found.model`.
    """
    return as_transformers(found.model) if _missing() is None else None


def _missing() -> str | None:
    """What to type before an adapter can be proven."""
    if names := [name for name in ("transformers", "peft") if find_spec(name) is None]:
        return f"pip install {' '.join(names)}"
    version = re.findall(r"\d+", metadata.version("peft"))
    return "pip install --upgrade peft" if tuple(map(int, version[:2])) < OLDEST else None


def prove(base, merged: GPT, template: str, folder: Path) -> list[Check]:
    """Compare our merged model with what PEFT makes of `base` (of `there`) and `folder`."""
    if base is None:
        return [Check("peft", "logits", f"skipped: {_missing()}", None)]
    from peft import PeftModel

    where = f"peft {metadata.version('peft')}"
    asked = proof.prompts(template, merged.config.block_size)
    try:
        with warnings.catch_warnings():  # PEFT asks transformers for what will be renamed
            warnings.simplefilter("ignore", FutureWarning)
            theirs = PeftModel.from_pretrained(base, str(folder), torch_device="cpu").eval()
    except (RuntimeError, ValueError, KeyError, OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        return [Check(where, "loading", f"{type(error).__name__}: {reason}", False)]
    adapted = proof.compare_logits(where, merged, lambda ids: theirs(ids).logits, asked)
    plain = theirs.merge_and_unload()
    again = proof.compare_logits(where, merged, lambda ids: plain(ids).logits, asked)
    return [adapted, replace(again, what="logits, merged there")]
