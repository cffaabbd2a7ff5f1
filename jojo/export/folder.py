"""Folders of models that appear whole or not at all: written beside their place, then renamed.

    with whole_folder(Path("exports/chat"), overwrite=False) as temporary:
        write_text(temporary / "config.json", text)

What stands at the place before is replaced only where that was asked for, and only by a whole one.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from jojo.files import sync_folder

OF_A_MODEL = re.compile(
    r"(generation_|tokenizer_|adapter_)?config\.json|README\.md|"
    r"(adapter_)?model.*\.safetensors(\.index\.json)?|"
    r"(tokenizer|vocab|added_tokens|special_tokens_map)\.json|merges\.txt|chat_template\.jinja"
)


@contextmanager
def whole_folder(folder: Path, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary folder beside `folder`; on success it takes its place.

    ValueError where something stands there that is not to be replaced: only with `overwrite`, and
    only a model's folder.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_over(folder)
    must_be_free(folder, overwrite)
    temporary, old = (folder.with_name(f".{folder.name}.{os.getpid()}.{x}") for x in ("tmp", "old"))
    temporary.mkdir()
    try:
        yield temporary
        sync_folder(temporary)
        must_be_free(folder, overwrite)
        if folder.exists():
            os.replace(folder, old)
        os.replace(temporary, folder)
        sync_folder(folder.parent)
    finally:
        _remove_left_over(folder, os.getpid())


def must_be_free(folder: Path, overwrite: bool) -> None:
    """ValueError where `folder` is not to be replaced."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise ValueError(f"{folder} exists and is not a model's folder: choose another place")
    strange = [p.name for p in folder.iterdir() if p.is_dir() or not OF_A_MODEL.fullmatch(p.name)]
    if strange:
        raise ValueError(
            f"{folder} holds {strange[0]}, which is not part of a model: choose another place"
        )
    if not overwrite:
        raise ValueError(f"{folder} is there already: add `overwrite`, or choose another place")


def _remove_left_over(folder: Path, mine: int | None = None) -> None:
    """Clear away what a killed process left; a folder that it had moved aside comes back."""
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.*.*"):
        pid, kind = left.name.rsplit(".", 2)[1:]
        if (
            left.name != f".{folder.name}.{pid}.{kind}"  # of another folder, chat.v2 beside chat
            or not left.is_dir()
            or not pid.isdigit()
            or (int(pid) != mine and psutil.pid_exists(int(pid)))
        ):
            continue
        if kind == "old" and not folder.exists():
            os.replace(left, folder)
        elif kind in ("old", "tmp"):
            shutil.rmtree(left)
