"""Generate text or chat with a model.

python gen.py models/chat5000.pt --interactive

python gen.py models/chat5000.pt --prompt "How was your day?"

python gen.py models/chat5000.pt --system "You are Tsuki." --examples tsuki.jsonl --interactive

The text goes to stdout as it is drawn, everything else to stderr.
"""

from __future__ import annotations

import sys
import time

from jojo.chat.config import GenConfig
from jojo.command import parse, run, say


def main() -> int:
    began = time.perf_counter()
    config = parse(GenConfig, None, __doc__)
    from jojo.chat.session import Session

    session = Session(config)
    if config.verbose:
        say(f"{session.describe()}, loaded in {time.perf_counter() - began:.1f} s")
    if config.interactive:
        session.interact()
    else:
        session.complete(sys.stdout)
    return 0


if __name__ == "__main__":
    run(main)
