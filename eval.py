"""Measure a checkpoint: validation loss, and replies to phrasings it was never shown.

python eval.py models/chitchat300.pt
python eval.py models/chat5000.pt --dataset chat

A model trained on chitchat answers --prompts prompts of held-out phrasings; counted are the
replies that end by themselves within --max_tokens and those that carry the right intent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from jojo.command import parse, run, say
from jojo.files import ROOT


@dataclass
class EvalConfig:
    checkpoint: Annotated[Path, tyro.conf.Positional]
    """A checkpoint of train.py."""
    dataset: str | None = None
    """Validate on this dataset; by default the one it was trained on."""
    data_dir: Path = ROOT / "data"
    """Where datasets are."""
    eval_tokens: int = 1_000_000
    """Validation tokens to read at most."""
    prompts: int = 400
    """Prompts of held-out phrasings to answer (chitchat only); 0 for none."""
    temp: float = 0.8
    """Temperature of the replies."""
    top_p: float = 0.95
    """As in gen.py."""
    max_tokens: int = 64
    """A reply that has not ended by then counts as not ended."""
    seed: int = 1
    """Chooses the prompts and the replies."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    show_wrong: int = 10
    """Replies without the right intent to show."""
    json: bool = False
    """Print the numbers as JSON on stdout."""


def main() -> int:
    config = parse(EvalConfig, None, __doc__)
    from jojo.evaluate import measure

    result = measure(config)
    if config.json:
        print(json.dumps(result))
        return 0
    say(f"{config.checkpoint}: validation loss {result['val_loss']:.4f} on {result['dataset']}")
    if score := result.get("replies"):
        for wrong in score["wrong"][: config.show_wrong]:
            say(f"  {wrong['intent']}: {wrong['prompt']!r} -> {wrong['reply']!r}")
        say(
            f"{score['prompts']} prompts of held-out phrasings: {100 * score['ended']:.1f}% of the "
            f"replies end within {config.max_tokens} tokens, {100 * score['right_intent']:.1f}% "
            f"carry the right intent"
        )
    return 0


if __name__ == "__main__":
    run(main)
