"""ShareGPT: chats with ChatGPT that people shared, some 94,000 pieces, as ChatML.

    python data/prepare-sharegpt.py
    python data/prepare-sharegpt.py --input ~/Downloads/ShareGPT_V3_unfiltered_cleaned_split.json

https://huggingface.co/datasets/anon8231489123/ShareGPT_Vicuna_unfiltered: long, much of it code.
Its records are pieces of chats. Where a piece begins with a reply, that stays: 6 in 10 of the
questions after it ("continue", "make it shorter") make no sense without.
Writes data/sharegpt-train.bin, -val.bin (and the same as .txt) and data/sharegpt.json.
"""

from jojo.data.contract import Recipe
from jojo.data.prepare import main
from jojo.data.public import instructions
from jojo.data.public.origins import PUBLIC_DATASETS

RECIPE = Recipe(
    name="sharegpt",
    template="chatml",
    licence=PUBLIC_DATASETS["sharegpt"].licence,
    sources=PUBLIC_DATASETS["sharegpt"].where,
    conversations=instructions.sharegpt,
)

if __name__ == "__main__":
    main(RECIPE)
