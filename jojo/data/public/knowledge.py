"""What data/prepare-knowledge.py does: choose questions, have them answered, make conversations."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jojo.command import say
from jojo.data.bins import delete_dataset
from jojo.data.formats.records import Unusable
from jojo.data.public import llm, squad
from jojo.data.splits import splits_of
from jojo.web.asking import Manners, Request, ask_all, without_password
from jojo.web.journal import Journal

if TYPE_CHECKING:
    from jojo.data.bins import Dataset
    from jojo.data.contract import Tally
    from jojo.text.template import Conversation

ANSWER = (
    "Answer the question in one or two complete, well-punctuated sentences, as somebody who knows "
    "would tell a friend. The passage has the facts; do not mention it."
)
REWORD = (
    "You are given a question and its correct answer. Write the answer as one complete, "
    "well-punctuated sentence that can be understood without the question. Add no facts and write "
    "nothing else."
)
ANSWERED = "answers by "  # among the sources


@dataclass(slots=True)
class Item:
    """A question that is worth asking, and what SQuAD answers."""

    question: str
    answer: str
    whole: bool  # the answer is a sentence, not a phrase
    asked: squad.Question

    @property
    def key(self) -> str:
        return squad.key_of(self.question)


def conversations(options, tally: Tally) -> Iterator[Conversation]:
    from jojo.text.template import Conversation

    name = options.name or "knowledge"
    if options.reset:
        with Journal(progress_path(options.out_dir, name)) as journal:
            delete_dataset(name, options.out_dir)
            journal.delete()
    existing = _existing(options.out_dir, name) if options.append else None
    kept = list(_conversations_of(existing)) if existing else []
    if existing:  # keep the record of who answered
        tally.sources += [s for s in existing.manifest.sources if s.startswith(ANSWERED)]
    known = {squad.key_of(c.messages[0]["content"]) for c in kept}
    items = _items(options, known, tally)
    answers = {}
    if options.model:
        answers = _asked(options, name, items, existing, tally)
    tally.read(len(kept))
    yield from kept
    several = len({item.asked.title for item in items}) > 1
    groups = {item.key: item.asked.title if several else item.key for item in items}
    by_group = splits_of(groups.values(), options.seed, options.val_fraction, both=not existing)
    splits = {key: by_group[group] for key, group in groups.items()}
    # val first: of two duplicates the first one stays
    for item in sorted(items, key=lambda i: splits[i.key] == "train"):
        try:
            reply = _checked(answers[item.key], item, options) if answers else item.answer
        except Unusable as reason:
            tally.drop(str(reason), where=item.asked.where)
            continue
        if item.whole and not answers:
            tally.change("answer made into a sentence")
        turns = [("user", item.question), ("assistant", reply)]
        messages = [{"role": role, "content": text} for role, text in turns]
        yield Conversation(messages, splits[item.key], where=item.asked.where)


def progress_path(out_dir: Path, name: str) -> Path:
    return out_dir / "raw" / f"{name}.progress.sqlite"


def _existing(out_dir: Path, name: str) -> Dataset | None:
    from jojo.data.bins import manifest_path, open_dataset

    if not manifest_path(name, out_dir).exists():
        return None
    dataset = open_dataset(name, out_dir)
    if dataset.manifest.template != "chatml":
        raise ValueError(f"{name} is not a ChatML dataset: give `append` another `name`")
    return dataset


def _conversations_of(dataset: Dataset) -> Iterator[Conversation]:
    from jojo.data.contract import SPLITS
    from jojo.text.template import Conversation, decode

    for split in reversed(SPLITS) if dataset.manifest.holds_out else SPLITS[:1]:
        for number, ids in enumerate(dataset.conversations(split), start=1):
            where = f"{dataset.manifest.name}-{split}.bin, conversation {number}"
            yield Conversation(decode(ids), split, where=where)


def _items(options, known: set[str], tally: Tally) -> list[Item]:
    """The questions to take; the others are dropped with their reason."""
    from jojo.data.public.origins import opened, raw

    items, seen = [], set()
    with opened(raw("squad", options, tally)) as files:
        for path in files:
            tally.used(path)
        questions: Iterable[squad.Question] = squad.read(files, tally)
        if options.max_questions or options.limit:
            questions = squad.in_turns(questions)
        for question in tally.records(questions):
            try:
                item = _item(question)
                if item.key in known:
                    raise Unusable("in the dataset already")
                if item.key in seen:
                    raise Unusable("the same question again")
            except Unusable as reason:
                tally.drop(str(reason), where=question.where)
                continue
            seen.add(item.key)
            items.append(item)
            if len(items) == options.max_questions:
                break
    return items


def _item(question: squad.Question) -> Item:
    if question.answer is None:
        raise Unusable("no answer in the paragraph")
    text = squad.tidy_question(question.text)
    if squad.names_nobody(text):
        raise Unusable("about somebody it does not name")
    answer, whole = squad.sentence(text, question.answer, question.opens)
    return Item(text, answer, whole, question)


def _asked(
    options, name: str, items: list[Item], existing: Dataset | None, tally: Tally
) -> dict[str, object]:
    """The model's answer to each item. The journal is deleted once the dataset is written."""
    key = llm.api_key(options.llm_api_key)
    base = llm.base_url(options.llm_api_url, key)
    adds_to = existing.manifest.hash if existing else None
    journal = Journal(progress_path(options.out_dir, name))
    tally.when_written.append(journal.delete)
    try:
        if options.append and journal.settings.get("adds_to") != adds_to:
            if len(journal):  # not of a run that was making this very addition
                say(f"`append`: discarding {len(journal):,} answers of another, unfinished run")
            journal.clear()
        journal.agree(
            {
                "model": options.model,
                "temperature": options.temperature,
                "answers": "SQuAD's, reworded" if options.use_squad_answers else "the model's",
                "prompt": hashlib.sha256((REWORD + ANSWER).encode()).hexdigest()[:12],
                "adds_to": adds_to,
            }
        )
        say(f"asking {options.model} at {without_password(base)}")
        manners = Manners(
            retry_seconds=options.retry_delay,
            concurrency=options.concurrency,
            timeout_seconds=300,  # a big model on a small machine
            keep=llm.reply,
            key=key,
        )
        requests = {i.key: _request(i, base, options) for i in items}
        ask_all(requests, journal, manners, what="questions", verbose=options.verbose)
        told = f"{ANSWERED}{options.model}, temperature {options.temperature}"
        tally.sources += [told] if told not in tally.sources else []
        return {i.key: journal[i.key] for i in items}
    except BaseException:
        journal.close()
        raise


def _request(item: Item, base: str, options) -> Request:
    if options.use_squad_answers:
        system, user = REWORD, f"Question: {item.question}\nAnswer: {item.asked.answer}"
    else:
        system, user = ANSWER, f"Passage: {item.asked.context}\n\nQuestion: {item.question}"
    messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    return llm.chat_request(base, options.model, messages, options.temperature)


def _checked(kept: dict[str, str], item: Item, options) -> str:
    """The model's reply as a sentence; Unusable if it is not one, or lost the answer."""
    reply = squad.closed(llm.usable(kept))
    if options.use_squad_answers:
        words = set(re.findall(r"\w+", item.asked.answer.casefold()))
        if words and not words & set(re.findall(r"\w+", reply.casefold())):
            raise Unusable("the model's sentence lost the answer")
    return reply
