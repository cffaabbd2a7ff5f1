"""How models are named: GPT-2's sizes, owner/name of the hub, files, checked without torch."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

HUB_IDS = {
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
    "distilgpt2": "distilbert/distilgpt2",
}
NAMES = HUB_IDS | {
    "gpt2-small": HUB_IDS["gpt2"],
    "gpt2-small (124M)": HUB_IDS["gpt2"],
    "gpt2-medium (355M)": HUB_IDS["gpt2-medium"],
    "gpt2-large (774M)": HUB_IDS["gpt2-large"],
    "gpt2-xl (1558M)": HUB_IDS["gpt2-xl"],
}
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
MODELS_SHOWN = 5
RESUME = re.compile(r"-resume(-previous)?\.pt$")  # of an unfinished run: no models

# What the ending of a file tells of the model in it; a folder's name has none of these. Jojo reads
# and writes .pt, writes .gguf, and reads .safetensors in a folder.
CHECKPOINT, GGUF, SAFETENSORS = ".pt", ".gguf", ".safetensors"
PICKLED = "pickled weights, which could run code"
ENDINGS = {
    CHECKPOINT: "a checkpoint",
    GGUF: "a GGUF file",
    SAFETENSORS: "weights alone",
    ".bin": PICKLED,
    ".pth": PICKLED,
    ".ckpt": PICKLED,
    ".h5": "weights of TensorFlow",
    ".msgpack": "weights of Flax",
    ".onnx": "an ONNX graph",
    ".zip": "an archive",
}


def check_name(source: str) -> None:
    """ValueError for what cannot be a model; quick, without torch and network."""
    source, path = str(source), path_of(source)
    if not source.strip():
        raise ValueError(f"the name of the model is empty: {_known_names()}")
    if path.is_file():
        if path.suffix in ENDINGS and path.suffix != CHECKPOINT:
            raise ValueError(
                f"{path} is neither a checkpoint (.pt) nor a folder but {ENDINGS[path.suffix]}: "
                "for a Hugging Face model give the folder with config.json and model.safetensors"
            )
        return
    if source in NAMES or source in NAMES.values() or path.is_dir():
        return
    if path.suffix in ENDINGS or path.is_absolute() or source.startswith((".", "~")):
        raise ValueError(f"model {path} does not exist{nearby(path)}")
    if not HUB_ID.fullmatch(source):
        near = difflib.get_close_matches(source, NAMES, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"unknown model {source!r}{hint}: {_known_names()}")
    if path.parent.is_dir():  # models/chat is more likely a slip than a user named models
        raise ValueError(f"{path} does not exist{nearby(path)}; {_known_names()}")


def path_of(source: str) -> Path:
    return Path(os.path.expanduser(source))


def _known_names() -> str:
    names = ", ".join(f'"{name}"' if " " in name else name for name in NAMES)
    return f"give {names}, owner/name of a gpt2 or qwen3 model, a folder with one, or a checkpoint"


def models_in(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the newest last."""
    found = [p for p in folder.glob(f"*{CHECKPOINT}") if not RESUME.search(p.name)]
    return sorted(found, key=os.path.getmtime)


def there_is(folder: Path) -> str:
    """The end of a message about a checkpoint that is not there: the newest ones that are."""
    found = models_in(folder)
    if not found:
        return ": train one first, e.g. make chat"
    return f": there is {', '.join(map(str, found[-MODELS_SHOWN:]))}"


def nearby(path: Path) -> str:
    """The same for one path: the model that was probably meant, or those beside it."""
    names = [p.name for p in models_in(path.parent)]
    if near := difflib.get_close_matches(path.name, names, n=1, cutoff=0.75):
        return f": there is {path.parent / near[0]}, did you mean that?"
    return there_is(path.parent) if names or path.suffix == CHECKPOINT else ""
