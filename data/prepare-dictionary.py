"""What words mean: definitions, examples, synonyms and opposites as questions and answers.

    python data/prepare-dictionary.py                      # the free dictionary API, 1,000 words
    python data/prepare-dictionary.py --source offline     # WordNet, which pip installs
    python data/prepare-dictionary.py --input words.txt --no_common   # words of your own

https://dictionaryapi.dev (Wiktionary, CC BY-SA 3.0), https://wordnet.princeton.edu (its own).
Writes data/dictionary-train.bin, -val.bin (and the same as .txt) and data/dictionary.json. Every
answer of the API is kept forever in data/raw/dictionary/answers.sqlite, so no word is looked
up twice: stopped at any moment, the same command resumes. Validation uses other words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jojo.command import Amount, Count
from jojo.data.contract import PrepareOptions, Recipe, Tally
from jojo.data.prepare import main

if TYPE_CHECKING:
    from jojo.data.public.dictionary import Sense
    from jojo.text.template import Conversation


@dataclass
class DictionaryOptions(PrepareOptions):
    """--input: a list of words, one per line, instead of the downloaded one."""

    source: Literal["api", "offline"] = "api"
    """The free dictionary API, or WordNet, which needs no network (and brings its own words)."""
    max_words: Count = 1000
    """How many words to look up."""
    min_word_length: Count = 4
    """Length of the shortest word, in letters."""
    max_word_length: Count = 12
    """Length of the longest word, in letters."""
    common: bool = True
    """Only words in common use: nothing rare, no names, no plurals or past forms."""
    sleep: Amount = 0.5
    """Seconds between two calls. The server's limit, 450 in 5 minutes, is always respected."""
    api_url: str = "https://api.dictionaryapi.dev/api/v2/entries/en/"
    """A word is looked up at this address followed by the word."""
    wordnet: Path | None = None
    """Folder of WordNet's data files, for --source offline; by default the installed one."""
    reset: bool = False
    """Delete the dataset first. The API's answers stay: the meaning of a word does not change."""
    verbose: bool = False
    """Report every word."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_word_length > self.max_word_length:
            raise ValueError(
                f"no word has --min_word_length {self.min_word_length} to --max_word_length "
                f"{self.max_word_length} letters: the minimum must be from 1 to the maximum"
            )


def conversations(options: DictionaryOptions, tally: Tally) -> Iterator[Conversation]:
    from jojo.data.bins import delete_dataset
    from jojo.data.public import dictionary
    from jojo.data.splits import splits_of
    from jojo.text.template import Conversation

    if options.reset:
        delete_dataset(options.name or RECIPE.name, options.out_dir)
    look_up = _in_wordnet if options.source == "offline" else _at_the_api
    asked = []
    for word, senses in look_up(options, tally).items():
        if tally.is_full:
            break
        pairs = dictionary.pairs(word, senses, options.seed)
        if not pairs:
            reason = "no definition worth telling" if senses else "not in the dictionary"
            tally.reject(reason, f"the word {word!r}")
        asked += [(word, *pair) for pair in tally.records(pairs)]
    several = len({word for word, *_ in asked}) > 1
    groups = [word if several else question for word, question, _ in asked]
    splits = splits_of(groups, options.seed, options.val_fraction)
    for group, (word, question, answer) in zip(groups, asked, strict=True):
        turns = [("user", question), ("assistant", answer)]
        messages = [{"role": role, "content": text} for role, text in turns]
        yield Conversation(messages, splits[group], where=f"the word {word!r}")


def _chosen(words: Iterable[str], options: DictionaryOptions, tally: Tally) -> list[str]:
    from jojo.data.public.dictionary import choose

    lengths = (options.min_word_length, options.max_word_length)
    most = min(options.max_words, options.limit or options.max_words)
    chosen = choose(words, lengths, options.common, most, options.seed, tally)
    if not chosen:
        raise ValueError("no word of the list is left: give another --input, or --no_common")
    return chosen


def _listed(options: DictionaryOptions, tally: Tally) -> Iterator[str]:
    """The words of --input or of the list that is downloaded."""
    from jojo.data.public.origins import opened, raw

    with opened(raw("words", options, tally)) as files:
        for path in files:
            tally.used(path)
            yield from path.read_text(encoding="utf-8-sig", errors="replace").splitlines()


def _at_the_api(options: DictionaryOptions, tally: Tally) -> dict[str, list[Sense]]:
    from jojo.data.public import dictionary
    from jojo.web.asking import Manners, Request, ask_all
    from jojo.web.journal import Journal

    words = _chosen(_listed(options, tally), options, tally)
    base = options.api_url.rstrip("/")
    manners = Manners(sleep_seconds=options.sleep, keep=dictionary.entries, **dictionary.API_LIMITS)
    with Journal(options.out_dir / "raw" / "dictionary" / "answers.sqlite") as journal:
        requests = {word: Request(f"{base}/{word}") for word in words}
        ask_all(requests, journal, manners, what="words", verbose=options.verbose)
        return {word: dictionary.senses_of(journal[word] or []) for word in words}


def _in_wordnet(options: DictionaryOptions, tally: Tally) -> dict[str, list[Sense]]:
    from jojo.data.public import wordnet

    folder = options.wordnet or wordnet.installed()
    tally.used(folder / "index.sense")
    net = wordnet.WordNet(folder)
    words = _listed(options, tally) if options.input else net.words()
    return {word: net.look_up(word) for word in _chosen(words, options, tally)}


RECIPE = Recipe(
    name="dictionary",
    template="chatml",
    licence="CC BY-SA 3.0 (Wiktionary, the API); WordNet 3.0 licence (--source offline)",
    sources=("https://dictionaryapi.dev", "https://wordnet.princeton.edu (--source offline)"),
    conversations=conversations,
    near_duplicates=False,  # questions are near copies of one another by design
    options=DictionaryOptions,
)

if __name__ == "__main__":
    main(RECIPE)
