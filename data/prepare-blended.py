"""BlendedSkillTalk as chats with an assistant that has a persona, in ChatML.

    python data/prepare-blended.py
    python data/prepare-blended.py --input ~/Downloads/blended_skill_talk.tar.gz

Smith et al. 2020, https://arxiv.org/abs/2004.08449. Persona and topic are the system message.
Writes data/blended-train.bin, -val.bin (and the same as .txt) and data/blended.json.
"""

from jojo.data.contract import Recipe
from jojo.data.prepare import main
from jojo.data.public import blended

RECIPE = Recipe(
    name="blended",
    template="chatml",
    licence=blended.FACTS.licence,
    sources=blended.FACTS.where,
    conversations=blended.conversations,
)

if __name__ == "__main__":
    main(RECIPE)
