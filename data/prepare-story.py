"""TinyStories V2 as plain text, for models that tell stories.

    python data/prepare-story.py
    python data/prepare-story.py --input ~/Downloads/TinyStories --limit 100000

Eldan and Li 2023, https://arxiv.org/abs/2305.07759, CDLA-Sharing-1.0. Downloads 2.25 GB, resumes
where it stopped, and keeps the text in data/raw/tinystories/. Writes data/story-train.bin,
-val.bin and data/story.json. --input takes a file, or a folder with train and valid.
"""

from jojo.data.contract import Recipe
from jojo.data.prepare import main
from jojo.data.public import stories

RECIPE = Recipe(
    name="story",
    template="text",
    licence=stories.FACTS.licence,
    sources=stories.FACTS.where,
    documents=stories.documents,
    write_text=False,
)

if __name__ == "__main__":
    main(RECIPE)
