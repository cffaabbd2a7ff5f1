"""Dolly: 15,011 questions and answers written by the employees of Databricks, as ChatML.

    python data/prepare-dolly.py
    python data/prepare-dolly.py --input ~/Downloads/databricks-dolly-15k.jsonl

Conover et al. 2023, https://huggingface.co/datasets/databricks/databricks-dolly-15k, CC BY-SA 3.0.
A text that a question is about follows the question in the user's turn.
Writes data/dolly-train.bin, -val.bin (and the same as .txt) and data/dolly.json.
"""

from jojo.data.contract import Recipe
from jojo.data.prepare import main
from jojo.data.public import instructions
from jojo.data.public.origins import PUBLIC_DATASETS

RECIPE = Recipe(
    name="dolly",
    template="chatml",
    licence=PUBLIC_DATASETS["dolly"].licence,
    sources=PUBLIC_DATASETS["dolly"].where,
    conversations=instructions.dolly,
)

if __name__ == "__main__":
    main(RECIPE)
