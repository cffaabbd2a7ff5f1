"""What a published file may tell of the person who made it: facts and the command, without names.

    facts = public_facts(facts)
    line = command_of(facts, is_private=True)

No folder of this machine and no file that was learned from is told; where people's own files were
learned from, or nobody knows what was, no name that somebody gave either: the names of datasets,
runs and checkpoints often hold a person's.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import fields

from jojo.models.provenance import public_name, stages_of
from jojo.train.config import TrainConfig

SCRIPTS = ("train.py", "train_chatbot.py")
# Settings that are told beside numbers: words to choose from and, of public data, names.
WORDS = {f.name for f in fields(TrainConfig) if "Literal" in f.type}
WORDS |= {"device", "lora_targets", "time_budget"}
NAMES = {"dataset", "run_name", "init_from"}
OF_A_SITTING = {"resume", "overwrite", "interactive"}
FOLDER = re.compile(r"(^|[^\w.-])[/~]|\.\.|\b[A-Za-z]:|\\|\b(home|Users)/")


def public_facts(facts: dict) -> dict:
    """`facts` of a model without names that may tell of somebody. Of an older checkpoint, which
    does not tell its data's licence, none is kept."""
    stages = stages_of(facts, None)
    if not any(stage.is_private for stage in stages):
        return facts
    below = [{"source": s.source} | ({"data": s.data} if s.data else {}) for s in stages[1:]]
    kept = {name: value for name, value in facts.items() if name not in ("run", "dataset")}
    return kept | ({"made_from": below} if below or "made_from" in facts else {})


def command_of(facts: dict, is_private: bool) -> str:
    """The command that made a checkpoint, from its settings, without what people wrote, their files
    and folders; of a private one without any name. Empty where it cannot be told."""
    script, settings = facts.get("script"), facts.get("settings")
    if script not in SCRIPTS or not isinstance(settings, dict):
        line = facts.get("command")  # of an older one, as it was typed
        is_shown = isinstance(line, str) and not is_private and not FOLDER.search(line)
        return line if is_shown else ""
    words, told = ["python", script], WORDS if is_private else WORDS | NAMES
    for name, value in settings.items():
        if name in OF_A_SITTING:
            continue
        if type(value) is bool and name != "tie_embeddings":  # which is None by default
            words.append(f"--{name}" if value else f"--no_{name}")
        elif type(value) in (bool, int, float) or (type(value) is str and name in told):
            words += [f"--{name}", public_name(str(value)) if name == "init_from" else str(value)]
    return shlex.join(words)
