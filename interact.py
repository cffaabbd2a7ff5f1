"""Talk to the model of a run.

python interact.py --run_name run1

python interact.py --run_name run1 --max_history 3 --temperature 0.9 --top_k 40 --seed 1

Opens models/<run>-best.pt, or the newest checkpoint of the run, or models/<run>.pt, which
train_chatbot.py writes. `h` shows what was said, `q` leaves. Replies go to stdout as they are
drawn, everything else to stderr.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from jojo.chat.config import InteractConfig
from jojo.command import parse, run, say

SHORT = {"h": "/history", "q": "/quit"}
RUNS_SHOWN = 20


def main() -> int:
    config = parse(InteractConfig, None, __doc__)
    path = checkpoint_of(config.run_name, config.out_dir)
    from jojo.chat.opened import chat_with, open_model
    from jojo.chat.terminal import converse

    opened = open_model(str(path), config.device, config.dtype, config.base)
    chat = chat_with(opened, config.sampling(), config.seed, max_history=config.max_history)
    if not config.no_info:
        say(introduction(path, opened.facts, chat.template.name))
    converse(chat, short=SHORT, hints=not config.no_info)
    return 0


def checkpoint_of(name: str, out_dir: Path) -> Path:
    """The best model of a run, else the newest; ValueError where it has none."""
    from jojo.models.checkpoint import RunFiles

    files = RunFiles(out_dir, name)
    if files.best.exists():
        return files.best
    if found := files.milestones():
        return found[-1]
    if files.alone.exists():
        return files.alone
    if files.unfinished():
        raise ValueError(
            f"run {name!r} has saved no model yet: go on with the command of train.py that began "
            "it and --resume"
        )
    known = runs(out_dir)
    there = f"there is {', '.join(known[-RUNS_SHOWN:])}" if known else "there is none"
    raise ValueError(
        f"no run {name!r} in {out_dir}: {there}; python train.py --run_name {shlex.quote(name)} "
        "trains it"
    )


def runs(out_dir: Path) -> list[str]:
    """Names of the runs that have a model, the newest last."""
    from jojo.models import checkpoint
    from jojo.models.names import models_in

    names = []
    for path in models_in(out_dir):
        try:
            names.append(checkpoint.load(path).get("run"))
        except ValueError:  # no checkpoint of ours
            continue
    return list(dict.fromkeys(name for name in reversed(names) if isinstance(name, str)))[::-1]


def introduction(path: Path, facts: dict, template: str) -> str:
    trained = f"{facts['step']:,} steps on {facts.get('dataset')}, " if facts.get("step") else ""
    known = f"template {template}"
    if facts["template"] != template:
        gen = f"gen.py {shlex.quote(str(path))}"
        known = f"plain text, which it goes on with as a dialogue ({gen} continues texts)"
    return f"{path}: {trained}{known}"


if __name__ == "__main__":
    run(main)
