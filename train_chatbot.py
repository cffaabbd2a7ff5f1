"""Make a chatbot of your own from a trained model: teach it a text, conversations or both.

python train_chatbot.py --model "gpt2-small (124M)" --text_file your_text_file.txt --epochs 1

python train_chatbot.py --conversation_file examples.json --save_path models/mine.pt --interactive

python train_chatbot.py --save_path models/mine.pt --interactive

The last one only talks to what is trained already. Leaves the best weights in --save_path, with
--lora_rank small adapters, and the metrics beside it as .jsonl and .png. Ctrl+C saves; the same
command with --resume goes on.
"""

from __future__ import annotations

from jojo.command import parse, run
from jojo.train.config import ChatbotConfig


def main() -> int:
    config = parse(ChatbotConfig, None, __doc__)
    from jojo.train.chatbot import make, talk

    if code := make(config):
        return code
    if config.interactive:
        talk(config)
    return 0


if __name__ == "__main__":
    run(main)
