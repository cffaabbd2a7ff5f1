"""Your own chats: files, folders and zips of whatever holds conversations, as ChatML.

    python data/prepare-file.py WhatsApp.zip telegram/result.json --me Anna --name mine
    python data/prepare-file.py training_data.jsonl --system "You are Tsuki, a playful companion."
    python data/prepare-file.py my-stories/ --name stories

The content of a file tells what it is, not its name: exports of WhatsApp, Telegram, Discord, Slack;
JSON, JSON lines, CSV, TSV and parquet with messages, instructions and replies, questions and
answers; ChatML and "User: ... / Bot: ..." text. Plain text alone makes a dataset of plain text.
Writes data/<name>-train.bin, -val.bin (and the same as .txt) and data/<name>.json.
"""

from jojo.data.own.recipe import RECIPE
from jojo.data.prepare import main

if __name__ == "__main__":
    main(RECIPE)
