"""OpenAssistant: conversations written and ranked by volunteers, as ChatML.

    python data/prepare-oasst.py
    python data/prepare-oasst.py --lang de
    python data/prepare-oasst.py --input ~/Downloads/2023-11-05_oasst2_ready.trees.jsonl.gz

Köpf et al. 2023, https://arxiv.org/abs/2304.07327, Apache 2.0. One conversation per tree: at each
turn the reply that ranked best, none that was deleted or that reviewers turned down.
Writes data/oasst-train.bin, -val.bin (and the same as .txt) and data/oasst.json.
"""

from jojo.data.contract import Recipe
from jojo.data.prepare import main
from jojo.data.public import instructions
from jojo.data.public.origins import PUBLIC_DATASETS

RECIPE = Recipe(
    name="oasst",
    template="chatml",
    licence=PUBLIC_DATASETS["oasst"].licence,
    sources=PUBLIC_DATASETS["oasst"].where,
    conversations=instructions.oasst,
    options=instructions.OasstOptions,
)

if __name__ == "__main__":
    main(RECIPE)
