"""Interviews and chat logs as <speaker1> and <speaker2> text, to teach a model how somebody talks.

    python data/prepare-speakers.py --data_path interviews.json
    python data/prepare-speakers.py --data_path chat.txt --as Anna

Reads whatever data/prepare-file.py reads: a JSON list of messages with `outgoing`, exports of
WhatsApp, Telegram, Discord or Slack, any records with messages; by default the only JSON in
datasets/. <speaker1> is the person to imitate: the author of the outgoing messages, or --as NAME;
in chats with an assistant, the assistant. Writes data/speakers-train.bin, -val.bin (and the same
as .txt) and data/speakers.json.
"""

from jojo.data.own.speakers import RECIPE
from jojo.data.prepare import main

if __name__ == "__main__":
    main(RECIPE)
