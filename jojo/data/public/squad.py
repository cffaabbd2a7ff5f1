"""SQuAD: questions that people asked about paragraphs of Wikipedia. CC BY-SA 4.0.

Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250. Versions 1.1 and 2.0, as the JSON of the
authors or the flat records of the hub. The answers are pieces of the paragraph; `sentence` makes
one a sentence if a simple rule can, and otherwise gives it a capital and a full stop.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jojo.data.formats.records import Unusable, read_records

if TYPE_CHECKING:
    from jojo.data.contract import Tally

LICENCE = "CC BY-SA 4.0"
ASKS = re.compile(
    r"(?:what|who|whom|whose|which|when|where|why|how|is|are|was|were|did|does|do|has|have|had|can"
    r"|could|in|on|at|to|from|for|with|by|of|about|during|after|before|between|under|against)\b",
    re.IGNORECASE,
)
MONTH = "(?:January|February|March|April|May|June|July|August|September|October|November|December)"
YEAR = re.compile(rf"(?:{MONTH},? )?(?:1\d|20)\d\d|(?:1\d|20)\d0s")
DAY = re.compile(rf"{MONTH} \d\d?(?:, ?\d{{4}})?|\d\d? {MONTH}(?:,? \d{{4}})?")
WHEN = re.compile(
    r"(?:When (?:did|was|were|do|does|is)|(?:In |During )?(?:what|which) year) ", re.I
)
# past forms that can follow "Who"; "Who did", "Who was" and "Who had" ask for something else
WHO_DID = re.compile(
    r"Who ((?:\w+ly )?(?!need)(?:\w{2,}ed|began|became|bought|brought|built|caught|chose|drew|"
    r"drove|fought|found|gave|held|kept|knew|led|left|lost|made|met|ran|said|sang|saw|sold|sent|shot|"
    r"spoke|taught|threw|told|took|went|won|wore|wrote) .+)\?"
)
WHO_WAS = re.compile(r"Who (was|is|were|are) (the .+)\?")
WHAT_OF = re.compile(r"What (was|is|were|are) (the (?:[\w'-]+ ){1,3}?(?:of|for) .+)\?")
# a question that ends like this is about something else than what follows its verb
OPEN_END = re.compile(
    r".*\b(?:about|after|against|as|at|before|behind|between|beside|by|for|from|in|into|like|near|"
    r"of|off|on|over|through|to|under|with|\w+ed|known|given|made|built|born|written|taken|held|"
    r"doing|going|like|\w+ly)",
    re.IGNORECASE,
)
# what follows a phrase that is whole, so that an article before it belongs to it
AFTER = re.compile(
    r"$|[.,;)]| (?:and|are|as|at|because|but|by|for|from|had|has|have|in|is|on|or|that|to|was|were|"
    r"when|where|which|while|who|with)\b"
)
AIM = re.compile(r"\b(?:aim|basis|focus|goal|plan|purpose|reason|role)s?\b")
SOMEBODY = re.compile(r"\b(?:she|her|hers|he|his|him)\b", re.IGNORECASE)
LONGEST = 8  # words of an answer that is put into a sentence


@dataclass(slots=True)
class Question:
    text: str
    answer: str | None  # None: the paragraph has none
    title: str
    context: str
    where: str
    opens: bool = False  # the answer begins a sentence, which may be why it has a capital


def read(files: Iterable[Path], tally: Tally) -> Iterator[Question]:
    """Every question of the files, the ones without an answer too."""
    for path in files:
        for where, record in read_records(path, tally):
            try:
                for article in record.get("data", [record]):  # the whole file, or one of its parts
                    yield from _questions(article, where)
            except (KeyError, TypeError, AttributeError, IndexError):
                raise ValueError(
                    f"{where}: this is not SQuAD, whose articles have a title and paragraphs: give "
                    "train-v1.1.json"
                ) from None


def _questions(record: dict, where: str) -> Iterator[Question]:
    if "paragraphs" not in record:  # the hub's: a record a question
        found = record["answers"]
        answers = [
            {"text": text, "answer_start": start}
            for text, start in zip(found["text"], found["answer_start"], strict=True)
        ]
        title = record["title"].replace("_", " ")
        yield _question(record["question"], answers, title, record["context"], where)
        return
    title = record["title"].replace("_", " ")
    for number, paragraph in enumerate(record["paragraphs"], start=1):
        for asked in paragraph["qas"]:
            answers = [] if asked.get("is_impossible") else asked["answers"]
            place = f"{where}, {title!r}, paragraph {number}"
            yield _question(asked["question"], answers, title, paragraph["context"], place)


def _question(text: str, answers: list[dict], title: str, context: str, where: str) -> Question:
    if not answers:
        return Question(text, None, title, context, where)
    answer, start = answers[0]["text"], answers[0]["answer_start"]
    before, after = context[:start], context[start + len(answer) :]
    article = re.search(r"\b(the|an?) $", before, re.IGNORECASE)
    if article and not answer[:1].isdigit() and AFTER.match(after):
        answer, before = f"{article[1].lower()} {answer}", before[: article.start()]
    return Question(text, answer, title, context, where, not before or before[-2] in ".!?")


def in_turns(questions: Iterable[Question]) -> list[Question]:
    """One of each article, then a second of each, and so on: the first N are of all articles."""
    times: dict[str, int] = {}
    rounds = []
    for question in questions:
        times[question.title] = times.get(question.title, -1) + 1
        rounds.append((times[question.title], len(rounds), question))
    return [question for *_, question in sorted(rounds, key=lambda r: r[:2])]


def tidy_question(text: str) -> str:
    """With a capital and a question mark; Unusable for what is too short to be one."""
    text = " ".join(text.split())
    text = re.sub(r" +([?.,])", r"\1", text)
    text = re.sub(r"[/?]+$", "?", text)
    if len(text.split()) < 3 and not re.match(r"(?:who|what|when|where) \w{3}", text, re.I):
        raise Unusable("a question of fewer than three words")
    if text[-1].isalnum() and ASKS.match(text):
        text += "?"
    return text[0].upper() + text[1:]


def names_nobody(question: str) -> bool:
    """Whether it is about a "she" or "he" whom only the paragraph identifies."""
    if not (somebody := SOMEBODY.search(question)):
        return False
    asks = ASKS.match(question)
    before = question[asks.end() if asks else 0 : somebody.start()]
    return not re.search(r"\b[A-Z]", before)


def key_of(question: str) -> str:
    """What two ways to write one question have in common."""
    return " ".join(re.findall(r"\w+", question.casefold()))


def sentence(question: str, answer: str, opens: bool = False) -> tuple[str, bool]:
    """The answer with a capital and a full stop, and whether it became a whole sentence.

    `opens`: whether it began a sentence, so that it may be no name although it has a capital.
    """
    answer = _tidy_answer(answer)
    if not answer:
        raise Unusable("an empty answer")
    if whole := _whole_sentence(question, answer.removesuffix("."), opens):
        return closed(whole), True
    if WHEN.match(question):
        if YEAR.fullmatch(answer):
            answer = f"In {'the ' if answer.endswith('s') else ''}{answer}"
        elif DAY.fullmatch(answer):
            answer = f"On {answer}"
    return closed(answer), False


def _whole_sentence(question: str, answer: str, opens: bool) -> str | None:
    if len(answer.split()) > LONGEST or re.search(r"[;:()]|[.!?]\s", answer):
        return None
    if (did := WHO_DID.fullmatch(question)) and not re.search(r"[?,]| and ", did[1]):
        return f"{answer} {did[1]}"
    match = WHO_WAS.fullmatch(question) or WHAT_OF.fullmatch(question)
    if not match or OPEN_END.fullmatch(match[2]) or "?" in match[2]:
        return None
    was, rest = match[1], match[2]
    if question.startswith("Who"):
        return f"{answer} {was} {rest}"
    if opens or AIM.search(rest):
        return None
    return f"{rest} {was} {answer}"


def _tidy_answer(answer: str) -> str:
    answer = " ".join(answer.split()).strip(" ,;:-–")
    for opening, closing in ('""', "“”", "()", "[]"):
        one_sided = answer.count(opening) != answer.count(closing)
        if one_sided or (opening == closing and answer.count(opening) % 2):
            answer = answer.replace(opening, "").replace(closing, "")
    return re.sub(r"[,;:]([\"”])$", r"\1", answer.strip(" ,;:-–"))


def closed(text: str) -> str:
    """With a capital, where the word is not written otherwise (iPod), and a full stop."""
    if text[:2].islower() or not text[1:2].isalpha():
        text = text[0].upper() + text[1:]
    if not re.search(r"[.!?…][\"'”’)]*$", text):
        text += "."
    return text
