"""EmpatheticDialogues as chats with an assistant that listens, in ChatML.

    python data/prepare-empathetic.py
    python data/prepare-empathetic.py --situation
    python data/prepare-empathetic.py --input ~/Downloads/empatheticdialogues.tar.gz

Rashkin et al. 2019, https://arxiv.org/abs/1811.00207, CC BY-NC 4.0: not for commercial use.
Writes data/empathetic-train.bin, -val.bin (and the same as .txt) and data/empathetic.json.
"""

from jojo.data.contract import Recipe
from jojo.data.prepare import main
from jojo.data.public import empathetic

RECIPE = Recipe(
    name="empathetic",
    template="chatml",
    licence=empathetic.FACTS.licence,
    sources=empathetic.FACTS.where,
    conversations=empathetic.conversations,
    options=empathetic.EmpatheticOptions,
)

if __name__ == "__main__":
    main(RECIPE)
