"""How models are named: GPT-2's sizes, owner/name of the hub, paths; checked without torch."""

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
FILE_ENDINGS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".gguf", ".zip")


def check_name(source: str) -> None:
    """ValueError for what can be no model; quick, without torch and network."""
    source, path = str(source), path_of(source)
    if not source.strip():
        raise ValueError(f"the name of the model is empty: {_known_names()}")
    if path.is_file():
        if path.suffix in FILE_ENDINGS[1:]:
            raise ValueError(
                f"{path} is neither a checkpoint (.pt) nor a folder: of a Hugging Face model give "
                "the folder that holds config.json and model.safetensors"
            )
        return
    if source in NAMES or source in NAMES.values() or path.is_dir():
        return
    if path.suffix in FILE_ENDINGS or path.is_absolute() or source.startswith((".", "~")):
        raise ValueError(f"model {path} does not exist{nearby(path.parent, path.name)}")
    if not HUB_ID.fullmatch(source):
        near = difflib.get_close_matches(source, NAMES, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"unknown model {source!r}{hint}: {_known_names()}")
    if path.parent.is_dir():  # models/chat is rather a slip than somebody called models
        raise ValueError(f"{path} does not exist{nearby(path.parent, path.name)}; {_known_names()}")


def path_of(source: str) -> Path:
    return Path(os.path.expanduser(source))


def _known_names() -> str:
    names = ", ".join(f'"{name}"' if " " in name else name for name in NAMES)
    return f"give {names}, owner/name of a gpt2 or qwen3 model, a folder with one, or a checkpoint"


def nearby(folder: Path, name: str = "") -> str:
    """The checkpoints of a folder that has none of this name: the one that was meant, or the
    newest."""
    found = [p for p in folder.glob("*.pt") if "-resume" not in p.name]
    near = difflib.get_close_matches(name, [p.name for p in found], n=1, cutoff=0.75)
    if near:
        return f": there is {folder / near[0]}, did you mean that?"
    if found:
        newest = sorted(found, key=os.path.getmtime)[-5:]
        return f": there is {', '.join(map(str, newest))}"
    return ": train one first, e.g. make chat" if name.endswith(".pt") or not name else ""
