"""Measure a checkpoint: validation loss, and replies to phrasings it was never shown.

python eval.py models/chitchat700.pt

A model trained on chitchat answers --prompts prompts of held-out phrasings; counted are the
replies that end by themselves within --max_tokens and those that carry the right intent.
"""

from __future__ import annotations

import json

from jojo.command import parse, run, say
from jojo.measure.config import EvalConfig


def main() -> int:
    config = parse(EvalConfig, None, __doc__)
    from jojo.measure.evaluate import measure
    from jojo.train.validation import loss_name

    result = measure(config)
    if config.json:
        print(json.dumps(result))
        return 0
    loss = f"{loss_name(result['holds_out'])} {result['val_loss']:.4f}"
    say(f"{config.checkpoint}: {loss} on {result['dataset']}")
    if "assistant_val_loss" in result:
        say(f"on the assistant's tokens alone: {result['assistant_val_loss']:.4f}")
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
