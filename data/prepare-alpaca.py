"""Alpaca: 52,002 instructions and replies, written by text-davinci-003, as ChatML.

    python data/prepare-alpaca.py
    python data/prepare-alpaca.py --input ~/Downloads/alpaca_data.json

Taori et al. 2023, https://github.com/tatsu-lab/stanford_alpaca, CC BY-NC 4.0: not for commercial
use. What an instruction is about follows it in the user's turn.
Writes data/alpaca-train.bin, -val.bin (and the same as .txt) and data/alpaca.json.
"""

from jojo.data.contract import Recipe
from jojo.data.prepare import main
from jojo.data.public import instructions
from jojo.data.public.origins import PUBLIC_DATASETS

RECIPE = Recipe(
    name="alpaca",
    template="chatml",
    licence=PUBLIC_DATASETS["alpaca"].licence,
    sources=PUBLIC_DATASETS["alpaca"].where,
    conversations=instructions.alpaca,
)

if __name__ == "__main__":
    main(RECIPE)
