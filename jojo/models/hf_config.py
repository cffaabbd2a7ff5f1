"""config.json of Hugging Face <-> GPTConfig: our arch jojo is their qwen3, gpt2 is gpt2.

    config = read_config(folder)      # ValueError where ours cannot be that model
    raw = config_to_hf(config)        # for transformers of versions 4 and 5

Options of theirs that our model does not have are refused by name, never ignored.
"""

from __future__ import annotations

from pathlib import Path

from jojo.files import read_json
from jojo.models.names import models_in
from model import GPTConfig

# Our settings and theirs.
FIELDS = {
    "gpt2": {
        "vocab_size": "vocab_size",
        "block_size": "n_positions",
        "n_embd": "n_embd",
        "n_layer": "n_layer",
        "n_head": "n_head",
        "n_inner": "n_inner",
        "norm_eps": "layer_norm_epsilon",
        "tie_embeddings": "tie_word_embeddings",
    },
    "jojo": {
        "vocab_size": "vocab_size",
        "block_size": "max_position_embeddings",
        "n_embd": "hidden_size",
        "n_layer": "num_hidden_layers",
        "n_head": "num_attention_heads",
        "n_kv_head": "num_key_value_heads",
        "head_dim": "head_dim",
        "n_inner": "intermediate_size",
        "norm_eps": "rms_norm_eps",
        "tie_embeddings": "tie_word_embeddings",
    },
}
# What may be left out: GPTConfig then takes the value that theirs would.
OPTIONAL = {
    "gpt2": ("n_inner", "norm_eps", "tie_embeddings"),
    "jojo": ("norm_eps", "tie_embeddings"),
}
KINDS = {"norm_eps": (float, int), "tie_embeddings": (bool,)}  # the others are whole numbers
MAX_SIZE = 1 << 24  # of any of them; larger is a mistake
ARCH_OF = {"gpt2": "gpt2", "qwen3": "jojo"}  # their model_type -> our arch
CLASS_OF = {"gpt2": "GPT2LMHeadModel", "jojo": "Qwen3ForCausalLM"}
GELUS = {"gelu_new": "tanh", "gelu": "exact", "gelu_pytorch_tanh": "tanh"}  # theirs -> ours
# What our model does, where theirs could do something else.
FIXED = {
    "gpt2": {
        "activation_function": tuple(GELUS),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "add_cross_attention": (False,),
    },
    "jojo": {"hidden_act": ("silu",), "attention_bias": (False,)},
}


def config_to_hf(config: GPTConfig) -> dict:
    """config.json for `config`: what transformers of versions 4 and 5 need."""
    arch = config.arch
    model_type = next(theirs for theirs, ours in ARCH_OF.items() if ours == arch)
    raw = {"model_type": model_type, "architectures": [CLASS_OF[arch]]}
    raw |= {theirs: getattr(config, ours) for ours, theirs in FIELDS[arch].items()}
    raw |= {name: allowed[0] for name, allowed in FIXED[arch].items()}
    if arch == "jojo":
        theta = config.rope_theta
        raw |= {"rope_theta": theta, "rope_parameters": {"rope_type": "default"}}
        raw["rope_parameters"]["rope_theta"] = theta
        raw |= {"use_sliding_window": False, "attention_dropout": config.dropout}
    else:
        raw["activation_function"] = next(n for n, ours in GELUS.items() if ours == config.gelu)
        raw |= {f"{x}_pdrop": config.dropout for x in ("attn", "embd", "resid")}
    return raw


def read_config(folder: Path) -> GPTConfig:
    """The shape of the model in a folder; ValueError where ours cannot be that model."""
    folder = Path(folder)
    path, raw = folder / "config.json", raw_config(folder)
    arch = ARCH_OF.get(str(raw.get("model_type")))
    if arch is None:
        raise ValueError(
            f"{path} is of a model of type {raw.get('model_type')!r}: Jojo can read "
            f"{' and '.join(ARCH_OF)}"
        )
    _refuse_options(path, raw, arch)
    settings = {}
    for ours, theirs in FIELDS[arch].items():
        value = raw.get(theirs)
        if value is None and ours in OPTIONAL[arch]:
            continue
        if type(value) not in KINDS.get(ours, (int,)) or not 0 <= value <= MAX_SIZE:
            what = "is missing" if value is None else f"is {value!r}, which it cannot be"
            raise ValueError(f"{path}: {theirs} {what}: the file is damaged or of another model")
        settings[ours] = value
    if arch == "jojo":
        settings["rope_theta"] = _rope_theta(path, raw)
    else:
        settings["gelu"] = GELUS[raw.get("activation_function", "gelu_new")]
    try:
        return GPTConfig(arch=arch, **settings)
    except ValueError as error:
        raise ValueError(f"{path} describes a model that cannot be built: {error}") from None


def raw_config(folder: Path) -> dict:
    if not folder.is_dir():
        raise ValueError(
            f"{folder} is not a folder: give one with config.json and model.safetensors"
        )
    if (folder / "config.json").exists():
        return read_json(folder / "config.json")
    if (folder / "adapter_config.json").exists():
        raise ValueError(
            f"{folder} holds a PEFT adapter, not a model: merge it first, in Python with "
            "PeftModel.merge_and_unload() and save_pretrained()"
        )
    ours = models_in(folder)
    hint = f"did you mean {ours[-1]}?" if ours else "give the folder that holds it"
    raise ValueError(f"{folder} has no config.json, so it is not a Hugging Face model: {hint}")


def _refuse_options(path: Path, raw: dict, arch: str) -> None:
    for name, allowed in FIXED[arch].items():
        if raw.get(name, allowed[0]) not in allowed:
            ours = " or ".join(map(str, allowed))
            raise ValueError(
                f"{path}: {name} is {raw[name]!r}, Jojo has only {ours}: choose another model"
            )
    if raw.get("quantization_config"):
        raise ValueError(f"{path}: the weights are quantized: choose the unquantized model")
    if raw.get("pruned_heads"):
        raise ValueError(f"{path}: pruned_heads is not empty: choose a model with all its heads")
    if arch == "jojo" and _slides(raw):
        raise ValueError(
            f"{path}: use_sliding_window is in use, Jojo's attention has no sliding window: choose "
            "another model"
        )


def _slides(raw: dict) -> bool:
    """Whether any layer of a qwen3 looks back through a window."""
    if isinstance(layers := raw.get("layer_types"), list):
        return any(kind != "full_attention" for kind in layers)
    if not raw.get("use_sliding_window") or raw.get("sliding_window") is None:
        return False
    first, n_layer = raw.get("max_window_layers"), raw.get("num_hidden_layers")
    return not (isinstance(first, int) and isinstance(n_layer, int) and first >= n_layer)


def _rope_theta(path: Path, raw: dict) -> float:
    """The base of the rotary angles, where version 5 of transformers writes it or where 4 does."""
    rope = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    if not isinstance(rope, dict):
        raise ValueError(f"{path}: rope_parameters is {rope!r}, which it cannot be")
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise ValueError(f"{path}: rope scaling of type {kind!r}: Jojo's model has none")
    if rope.get("partial_rotary_factor", raw.get("partial_rotary_factor", 1.0)) != 1:
        raise ValueError(f"{path}: partial_rotary_factor: Jojo rotates only whole heads")
    theta = rope.get("rope_theta", raw.get("rope_theta", GPTConfig.rope_theta))
    if type(theta) not in (int, float) or not theta > 0:
        raise ValueError(f"{path}: rope_theta is {theta!r}, which it cannot be")
    return float(theta)
