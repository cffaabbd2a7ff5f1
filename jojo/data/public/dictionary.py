"""A dictionary's entries -> questions that a person asks about a word, and their answers.

Entries come from the free dictionary API (https://dictionaryapi.dev; Wiktionary, CC BY-SA 3.0) or
from WordNet (jojo/data/public/wordnet.py). GPT-2's vocabulary, which is here anyway, tells which
words are worth asking about: the 16,000 English words that are a single token are the common ones
of the web, and one that is more frequent with a capital is a name.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jojo.data.inspect.wording import TOXIC

if TYPE_CHECKING:
    from jojo.data.contract import Tally

API_LIMITS = {"most": 450, "window_seconds": 300.0}  # https://dictionaryapi.dev answers 429 beyond
EVERYDAY = 1000  # ids below this are words like "that" and "have", which nobody asks about
SENSES = 2  # given for each part of speech
PARTS = 3  # parts of speech given
LONGEST = 240  # characters of a definition
WORDS_TOLD = 4  # synonyms in one answer

PHRASINGS = {
    "meaning": (
        "What does {w} mean?",
        'What does "{w}" mean?',
        'What does the word "{w}" mean?',
        "What is the meaning of {w}?",
        'What\'s the meaning of the word "{w}"?',
        "Can you tell me what {w} means?",
        'Do you know what "{w}" means?',
    ),
    "definition": (
        "Define {w}.",
        'Define the word "{w}".',
        "Can you define {w}?",
        "How would you define {w}?",
        "What is the definition of {w}?",
        "Give me a short definition of {w}.",
    ),
    "sentence": (
        "Use {w} in a sentence.",
        'Can you use "{w}" in a sentence?',
        "Please use {w} in a sentence.",
        'Give me a sentence with the word "{w}".',
        'Show me a sentence with "{w}" in it.',
    ),
    "example": (
        "How is {w} used?",
        'How do you use the word "{w}"?',
        "Give me an example of how {w} is used.",
        'Can you give me an example for "{w}"?',
    ),
    "synonym": (
        "What is another word for {w}?",
        'What\'s another word for "{w}"?',
        "Give me a synonym for {w}.",
        'What are some synonyms of "{w}"?',
        "What word can I use instead of {w}?",
    ),
    "antonym": (
        "What is the opposite of {w}?",
        'What\'s the opposite of "{w}"?',
        "Give me an antonym of {w}.",
    ),
}
LABEL = re.compile(r"^(?:\([^()]{0,60}\),? *)+")  # "(academia) An examination"
UNWANTED = re.compile(
    r"ethnic slur|offensive (?:term|name|word)|\((?:offensive|vulgar|taboo)|obscene (?:term|name)"
    r"|derogatory|disparaging|pejorative|vulgar (?:term|slang)|sexual intercourse|coitus",
    re.IGNORECASE,
)
OLD = re.compile(
    r"^\([^)]*\b(?:archaic|obsolete|rare|dated|historical)\b|^(?:archaic|obsolete) terms?\b",
    re.IGNORECASE,
)
# an example that begins like this, or holds this, is a sentence and not a phrase
SUBJECT = re.compile(
    r"(?:i|he|she|it|they|we|you|there|who|what|how|don't|please|let's|this|these)\b", re.IGNORECASE
)
VERB = re.compile(
    r"\b(?:is|was|are|were|has|had|have|will|would|can|could|did|does|must|should|may|might|won't|"
    r"isn't|wasn't|can't|didn't|doesn't|went|came|made|took|gave|got|became|seemed|seems|looked|"
    r"felt|said|began|left|kept|fell|ran|grew|stood|sat|brought|found|lost|told|knew)\b"
    r"|\b(?:a|an|the|his|her|their|my|our) (?!\w+ly )\w+ \w{2,}ed\b"
)
SPECIES = re.compile(r"[A-Z][a-z]+ [a-z]")  # "Brassica oleracea"


@dataclass
class Sense:
    part: str  # "noun"
    definition: str
    examples: list[str] = field(default_factory=list)
    synonyms: list[str] = field(default_factory=list)
    antonyms: list[str] = field(default_factory=list)


def senses_of(answer: object) -> list[Sense]:
    """The senses in the API's answer: a list of entries, any field of which may be missing."""
    senses = []
    for entry in answer:
        for meaning in entry.get("meanings") or []:
            part = (meaning.get("partOfSpeech") or "word").lower()
            more = {"synonyms": meaning.get("synonyms"), "antonyms": meaning.get("antonyms")}
            for told in meaning.get("definitions") or []:
                if not (told.get("definition") or "").strip():
                    continue
                words = {kind: [*(told.get(kind) or []), *(more[kind] or [])] for kind in more}
                examples = [told["example"].strip()] if told.get("example") else []
                definition = _uncapitalised(" ".join(told["definition"].split()))
                senses.append(Sense(part, definition, examples, **words))
                more = {"synonyms": [], "antonyms": []}  # the meaning's own: given once
    return senses


def entries(answer: object) -> object:
    """What is kept of the API's answer; ValueError if it is not a list of entries."""
    if not isinstance(answer, list) or not all(isinstance(e, dict) for e in answer):
        raise ValueError("the answer is not a list of entries")
    return answer


def choose(
    words: Iterable[str],
    lengths: tuple[int, int],
    common: bool,
    most: int,
    seed: int,
    tally: Tally,
) -> list[str]:
    """At most `most` of the words that a person may ask about, shuffled by the seed.

    A higher `most` only adds words: their order does not depend on it.
    """
    listed = {w.strip().lower() for w in words} - {""}
    fit = {w for w in listed if w.isascii() and w.isalpha()}
    tally.skip("words of the list with characters other than letters", len(listed) - len(fit))
    shortest, longest = lengths
    right = sorted(w for w in fit if shortest <= len(w) <= longest)
    tally.skip(f"words of the list not of {shortest} to {longest} letters", len(fit) - len(right))
    if common:
        every, right = right, _common(right)
        left = len(every) - len(right)
        tally.skip("words of the list that are rare, names, or forms of another", left)
    chosen = sorted(right, key=lambda w: random.Random(f"{seed}:{w}").random())[:most]
    tally.skip("words of the list beyond --max_words", len(right) - len(chosen))
    return chosen


def _ids(words: Sequence[str]) -> list[int | None]:
    """The token of each word and the space before it; None if there are several."""
    import tokenizer

    ids, lengths = tokenizer.encode_batch([f" {w}" for w in words])
    ends = lengths.cumsum()
    return [int(ids[e - 1]) if n == 1 else None for e, n in zip(ends, lengths, strict=True)]


def _is_name(small: int | None, capital: int | None) -> bool:
    """From the tokens of a word and of its capitalised form: the lower id is the more frequent."""
    return capital is not None and (small is None or capital < small)


def _common(words: list[str]) -> list[str]:
    import tokenizer

    vocabulary = {tokenizer.decode([i])[1:] for i in range(tokenizer.ENDOFTEXT)}
    words = [w for w in words if w in vocabulary]
    known = {w for w in vocabulary if len(w) >= 4} | set(words)
    small, capital = _ids(words), _ids([w.capitalize() for w in words])
    return [
        w
        for w, s, c in zip(words, small, capital, strict=True)
        if s is not None and s >= EVERYDAY and not _is_name(s, c) and not _is_form(w, known)
    ]


def _is_form(word: str, words: set[str]) -> bool:
    """Whether it is a plural, a past tense or the like of one of `words`."""
    for ending, replacements in (
        ("ies", "y"), ("ied", "y"), ("es", ["", "e"]), ("s", [""]), ("ed", ["", "e"]),
        ("ing", ["", "e"]),
    ):  # fmt: skip
        stem = word.removesuffix(ending)
        if stem == word or word.endswith("ss"):
            continue
        if any(stem + r in words for r in replacements):
            return True
        if len(stem) > 3 and stem[-1] == stem[-2] and stem[:-1] in words:  # stopped
            return True
    return False


def pairs(word: str, senses: Sequence[Sense], seed: int) -> list[tuple[str, str]]:
    """(question, answer) about a word, each kind in one phrasing chosen by the seed."""
    if word in TOXIC:
        return []
    told = _told(senses)
    answers: dict[str, str | None] = {
        "meaning": _meaning(word, told),
        "definition": _definition(word, told),
        **_usage(word, [sense for group in told for sense in group]),
        "synonym": _words_answer(word, told, "synonyms"),
        "antonym": _words_answer(word, told, "antonyms"),
    }
    rng = random.Random(f"{seed}:{word}")
    asked = {kind: rng.choice(PHRASINGS[kind]).format(w=word) for kind in PHRASINGS}
    return [(asked[kind], answer) for kind, answer in answers.items() if answer]


def _told(senses: Sequence[Sense]) -> list[list[Sense]]:
    """The senses worth telling, by part of speech."""
    usable = [s for s in senses if not UNWANTED.search(s.definition)]
    usable = [s for s in usable if not OLD.match(s.definition)] or usable
    groups: dict[str, list[Sense]] = {}
    for sense in usable:
        definition = LABEL.sub("", sense.definition).strip(" .;:,")
        if len(definition) > LONGEST:
            definition = definition.partition(";")[0]
        if 0 < len(definition) <= LONGEST:
            groups.setdefault(sense.part, []).append(
                Sense(sense.part, definition, sense.examples, sense.synonyms, sense.antonyms)
            )
    return [group[:SENSES] for group in groups.values()][:PARTS]


def _meaning(word: str, told: list[list[Sense]]) -> str | None:
    if not told:
        return None
    parts = [_a(group[0].part) for group in told]
    name = f'"{word.capitalize()}"'
    kinds = _listed(parts, "or")
    if len(told) == 1:
        return f"{name} is {kinds}. {_senses_told(told[0], 'It')}"
    rest = " ".join(
        _senses_told(group, f"As {part}, it") for part, group in zip(parts, told, strict=True)
    )
    return f"{name} can be {kinds}. {rest}"


def _senses_told(group: list[Sense], opening: str) -> str:
    first, *more = (_means(sense) for sense in group)
    return " ".join([f"{opening} {first[0]}.", *(f"It {also}." for _, also in more)])


def _means(sense: Sense) -> tuple[str, str]:
    """Two ways to go on after "it": for the first sense, and for a further one."""
    text = _with_to(sense)
    if text.startswith("used "):
        return f"is {text}", f"is also {text}"
    return f"means {text}", f"can also mean {text}"


def _with_to(sense: Sense) -> str:
    bare_verb = sense.part.endswith("verb") and sense.part != "adverb"
    if bare_verb and not re.match(r"(?:to|used|be used) ", sense.definition):
        return f"to {sense.definition}"
    return sense.definition


def _definition(word: str, told: list[list[Sense]]) -> str | None:
    if not told:
        return None
    return f"{word.capitalize()} ({told[0][0].part}): {_with_to(told[0][0])}."


def _usage(word: str, senses: list[Sense]) -> dict[str, str]:
    """An example that is a sentence, and one that is a phrase."""
    stem = word[:-1] if word[-1] in "ey" else word
    holds = re.compile(rf"\b{stem}", re.IGNORECASE)
    found: dict[str, str] = {}
    for example in (e for sense in senses for e in sense.examples if holds.search(e)):
        if UNWANTED.search(example) or ".." in example:
            continue
        text = " ".join(example.split()).strip(" ;,")
        ends = text[-1] in ".!?"
        n = len(text.split())
        clause = (n >= 3 and SUBJECT.match(text)) or (n >= 4 and VERB.search(text))
        if clause or (ends and text[0].isupper()):
            text = text[0].upper() + text[1:]
            found.setdefault("sentence", text if ends or text[-1] == '"' else f"{text}.")
        elif n >= 2:
            found.setdefault("example", f'For example: "{text}"{"" if ends else "."}')
    return found


def _words_answer(word: str, told: list[list[Sense]], kind: str) -> str | None:
    """From the first sense that has any; synonyms only from a part of speech's first sense."""
    groups = [group[:1] for group in told] if kind == "synonyms" else told
    for sense in (s for group in groups for s in group):
        others = dict.fromkeys(getattr(sense, kind))
        words = [w for w in others if w and word not in w.lower() and not SPECIES.match(w)]
        words = [w for w in words if w.lower() not in TOXIC]
        if words:
            quoted = [f'"{w}"' for w in words[:WORDS_TOLD]]
            if kind == "antonyms":
                return f'The opposite of "{word}" is {_listed(quoted, "or")}.'
            verb = (
                "Another word for {} is {}." if len(quoted) == 1 else "Other words for {} are {}."
            )
            return verb.format(f'"{word}"', _listed(quoted, "and"))
    return None


def _listed(words: Sequence[str], last: str) -> str:
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _a(part: str) -> str:
    return f"{'an' if part[0] in 'aeiou' else 'a'} {part}"


def _uncapitalised(definition: str) -> str:
    """For use inside a sentence: without the capital of its first word, unless that is a name."""
    label = LABEL.match(definition)
    start = label.end() if label else 0
    first = re.match(r"[A-Z][a-z]*\b", definition[start:])
    if not first or (len(first[0]) > 1 and _is_name(*_ids([first[0].lower(), first[0]]))):
        return definition
    return definition[:start] + definition[start].lower() + definition[start + 1 :]
