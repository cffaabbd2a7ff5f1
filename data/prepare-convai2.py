"""Persona-Chat (ConvAI2) as chats with an assistant that plays a person, in ChatML.

    python data/prepare-convai2.py
    python data/prepare-convai2.py --input ~/Downloads/convai2_fix_723.tgz

Zhang et al. 2018, https://arxiv.org/abs/1801.07243. The persona is the system message; capitals
and spacing are restored. Writes data/convai2-train.bin, -val.bin (and the same as .txt) and
data/convai2.json.
"""

from jojo.data.contract import Recipe
from jojo.data.prepare import main
from jojo.data.public import personachat

RECIPE = Recipe(
    name="convai2",
    template="chatml",
    licence=personachat.FACTS.licence,
    sources=personachat.FACTS.where,
    conversations=personachat.conversations,
    near_duplicates=False,  # each dialogue is there from both sides: near copies by design
)

if __name__ == "__main__":
    main(RECIPE)
