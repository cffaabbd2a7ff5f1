"""General knowledge: the questions of SQuAD, answered by its own answers or by a chat model.

    python data/prepare-knowledge.py --use_squad_answers
    python data/prepare-knowledge.py --model llama3.2                       # Ollama on this machine
    python data/prepare-knowledge.py --model gpt-4o-mini --llm_api_url https://api.openai.com/v1
    python data/prepare-knowledge.py --use_squad_answers --model llama3.2   # its answers, reworded

Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250, CC BY-SA 4.0.
Writes data/knowledge-train.bin, -val.bin (and the same as .txt) and data/knowledge.json. Every
answer of a model is kept at once in data/raw/knowledge.progress.sqlite until the dataset is
written: stopped at any moment, the same command resumes. Validation uses other articles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from jojo.command import Amount, Count, Range
from jojo.data.contract import PrepareOptions, Recipe, Tally
from jojo.data.prepare import main

if TYPE_CHECKING:
    from jojo.text.template import Conversation


@dataclass
class KnowledgeOptions(PrepareOptions):
    use_squad_answers: bool = False
    """Answer with the dataset's answers; with --model, it rewords them as sentences."""
    model: str | None = None
    """The chat model that answers, e.g. llama3.2."""
    llm_api_url: str | None = None
    """Its OpenAI-compatible server. By default OPENAI_BASE_URL, OLLAMA_HOST, OpenAI if there
    is a key, else http://localhost:11434/v1 (Ollama)."""
    llm_api_key: str | None = None
    """By default OPENAI_API_KEY. Never written to disk."""
    temperature: Annotated[float, Range(0, 2)] = 0.3
    """Of the model's answers; 0 gives the most likely one."""
    max_questions: Count | None = None
    """Take at most this many questions, from all articles in turn."""
    reset: bool = False
    """Delete the dataset and the progress first."""
    append: bool = False
    """Keep what the dataset holds and add to it."""
    retry_delay: Amount = 1.0
    """Seconds before a failed request is tried again; doubles each time."""
    concurrency: Annotated[int, Range(1, 64)] = 1
    """Questions asked at once."""
    verbose: bool = False
    """Report every question."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.use_squad_answers or self.model):
            raise ValueError(
                "say who answers: --use_squad_answers for the dataset's own answers, or --model "
                "NAME for a chat model (both: the model rewords the dataset's answers)"
            )
        if self.reset and self.append:
            raise ValueError("--reset deletes what --append keeps: give one of them")


def conversations(options: KnowledgeOptions, tally: Tally) -> Iterator[Conversation]:
    from jojo.data.public import knowledge

    return knowledge.conversations(options, tally)


RECIPE = Recipe(
    name="knowledge",
    template="chatml",
    licence="CC BY-SA 4.0",
    sources=("https://rajpurkar.github.io/SQuAD-explorer/",),
    conversations=conversations,
    near_duplicates=False,  # questions of one kind are near copies by nature
    options=KnowledgeOptions,
)

if __name__ == "__main__":
    main(RECIPE)
