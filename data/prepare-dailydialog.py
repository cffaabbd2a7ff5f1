"""DailyDialog as "Person A:" / "Person B:" text, for models that continue a conversation.

    python data/prepare-dailydialog.py
    python data/prepare-dailydialog.py --input ~/Downloads/dailydialog

Li et al. 2017, https://aclanthology.org/I17-1099, CC BY-NC-SA 4.0: not for commercial use.
Writes data/dailydialog-train.bin, -val.bin (and the same as .txt) and data/dailydialog.json.
The same corpus with ChatML and an assistant's manners is data/prepare-chat.py.
"""

from jojo.data.contract import Recipe
from jojo.data.prepare import main
from jojo.data.public import dailydialog

RECIPE = Recipe(
    name="dailydialog",
    template="person",
    licence=dailydialog.FACTS.licence,
    sources=dailydialog.FACTS.where,
    conversations=dailydialog.conversations,
)

if __name__ == "__main__":
    main(RECIPE)
