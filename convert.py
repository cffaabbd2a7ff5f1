"""Carry a model elsewhere, or bring one here; proven before it is called done.

python convert.py models/chat5000.pt --outfile chat                  a folder for Hugging Face

python convert.py models/chat5000.pt --outfile chat.q8_0.gguf        for llama.cpp

python convert.py models/chat5000.pt --outfile chat.gguf --ollama    with a Modelfile for Ollama

python convert.py ckpt.pt --outfile models/old.pt                    from nanoGPT

The export is written beside its place, and asked there what the model is asked: a table shows that
the answers are the same, or nothing is written.
"""

from __future__ import annotations

from jojo.command import parse, run
from jojo.export.config import ConvertConfig


def main() -> int:
    config = parse(ConvertConfig, None, __doc__)
    from jojo.export.convert import convert

    return convert(config)


if __name__ == "__main__":
    run(main)
