"""What a published file may tell of the person who made it: facts and the command, without names.

    facts = public_facts(facts)
    line = public_command(command, is_private=True)

No folder of this machine and no file that was learned from is told; where people's own files were
learned from, or nobody knows what was, no name that somebody gave either: the names of datasets,
runs and checkpoints often hold a person's.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path

from jojo.models.provenance import stages_of
from jojo.train.config import ChatbotConfig, TrainConfig

HIDDEN = ("me", "system", "data_path", "text_file", "conversation_file")  # flags
HARMLESS = {  # flags that take numbers, or one of a few words
    *(
        f.name
        for f in fields(TrainConfig) + fields(ChatbotConfig)
        if not re.search(r"\b(str|Path|bool)\b", f.type)
    ),
    *("device", "lora_targets", "time_budget"),
}


def public_facts(facts: dict) -> dict:
    """`facts` of a model without names that may tell of somebody. Of an older checkpoint, which
    does not tell its data's licence, none is kept."""
    stages = stages_of(facts, None)
    if not any(stage.is_private for stage in stages):
        return facts
    below = [{"source": s.source} | ({"data": s.data} if s.data else {}) for s in stages[1:]]
    kept = {name: value for name, value in facts.items() if name not in ("run", "dataset")}
    return kept | ({"made_from": below} if below or "made_from" in facts else {})


def public_command(command: str, is_private: bool = False) -> str:
    """A command line without what people wrote, their files and the folders of a machine; a
    private one without any name."""
    try:
        words = shlex.split(command)
    except ValueError:  # not written by us
        return ""
    shown: list[str] = []
    hidden = False
    for i, word in enumerate(words):
        if flag := re.match(r"--?([A-Za-z][\w-]*)(?:=|$)", word):
            name = flag[1].replace("-", "_")
            hidden = name in HIDDEN or (is_private and name not in HARMLESS)
        start = flag[0] if flag else ""
        value = word[len(start) :]
        value = "..." if hidden and value else _without_folders(value)
        if start or not hidden or shown[-1] != "...":
            shown.append(start + value)
        if is_private and i and value:  # python train.py, and no more without a flag before it
            hidden = True
    return shlex.join(shown)


def _without_folders(word: str) -> str:
    """A path that may tell whose machine it is of, as its last name."""
    if not re.search(r"(^|[^\w.-])[/~]|\.\.|^[A-Za-z]:|\\|(^|/)(home|Users)/", word):
        return word
    *above, name = [part for part in re.split(r"[/\\]", word) if part] or ["..."]
    is_home = name.startswith(("~", "..")) or above[-1:] in (["home"], ["Users"])
    return "..." if is_home or name == Path.home().name else name
