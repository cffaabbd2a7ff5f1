"""From figures to a verdict in plain words, and how it is printed.

A threshold is a share of the conversations examined, unless it says otherwise. They
were set by reading DailyDialog, chit-chat, TinyStories, Alpaca and ShareGPT: see LOG.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jojo.data.contract import NOTHING_HELD_OUT

CASUAL = 3.0  # marks in 100 words: DailyDialog 4.5, chit-chat 7, stories 0.9, Alpaca 0.3
SIMPLE_SENTENCE = 12  # words: TinyStories 8, SQuAD's Wikipedia 24
TINY = 500  # conversations: of fewer, validation has less than 25
DISTINCT_2 = 0.25  # of 20,000 words: DailyDialog 0.49, chit-chat from a table 0.2
TOP_REPLIES = 0.25  # the ten most frequent replies together: DailyDialog 0.02
SUMMARY_WARNINGS = 3


@dataclass(frozen=True)
class Finding:
    """A sign, good or bad: where it holds and what it looks like."""

    name: str
    text: str
    examples: tuple[str, ...] = ()


NO_VALIDATION = Finding(
    NOTHING_HELD_OUT, "val is a copy of train: its loss says nothing about unseen text"
)


@dataclass(frozen=True)
class Sign:
    mark: str  # as in Quality.figures["shares"]
    at: float  # share of the conversations from which it counts as a sign
    name: str
    text: str  # {share} is filled in
    is_kind: bool = False  # says what kind of data it is; no mistake in it


GOOD = (
    Sign("several exchanges", 0.5, "multi-turn flow", "{share} go on for more than one exchange"),
    Sign("question and answer", 0.5, "Q&A pairs", "{share} are a question and its answer"),
    Sign("persona", 0.1, "role-play", "{share} have a persona: a system prompt, a part to play"),
    Sign("support", 0.1, "support chat", "in {share} somebody with a problem is helped"),
)
BAD = (
    Sign(
        "encyclopedic",
        0.2,  # Alpaca has 0.11: an instruction may well ask for a definition
        "raw encyclopedia",
        "{share} explain like an encyclopedia: a model trained on it sounds like Wikipedia",
        is_kind=True,
    ),
    Sign(
        "formal",
        0.25,  # DailyDialog has 0.01, TinyStories 0.01
        "formal documents",
        "{share} are answered stiffly, in long or heavy sentences that address nobody",
        is_kind=True,
    ),
    Sign(
        "code",
        0.15,  # a chat about everything has some; from here on code is what it is about
        "code",
        "{share} are answered with code: a model trained on it answers in code blocks",
        is_kind=True,
    ),
    Sign("exact duplicates", 0.002, "duplicates", "{share} occur more than once"),
    Sign("near duplicates", 0.05, "near duplicates", "{share} are almost the same as another"),
    Sign(
        "leak",
        0.01,  # of val: less does not show in the loss
        "leakage",
        "{share} of val are in train too, or almost: the validation loss looks too good",
    ),
    Sign("one-sided", 0.005, "one-sided", "{share} have one side only: nothing is answered"),
    Sign(
        "ends without a reply",
        0.02,
        "no reply",
        "{share} end with an unanswered turn, which `loss_on` assistant never learns",
    ),
    Sign("over 1024 tokens", 0.1, "too long", "{share} are longer than a window of 1,024 tokens"),
    Sign("over 256 tokens", 0.5, "too long", "{share} are longer than a window of 256 tokens"),
    Sign("another language", 0.02, "mixed languages", "{share} are in another language"),
    # One real address in a thousand chats is one that a model may memorize.
    Sign(
        "personal data",
        0.001,
        "personal data",
        "{share} contain an e-mail address, phone or card number",
    ),
    Sign(
        "toxic words",
        0.005,
        "toxic words",
        "{share} contain a word from a list, which cannot judge tone",
    ),
)
COPIES = (
    "exact duplicates",
    "near duplicates",
    "leak",
)  # in a sample, the other copy may be missing
DOCUMENTS_HAVE_NO = ("too long",)  # plain text is cut into windows anyway


@dataclass
class Quality:
    """What was found: figures, signs, a verdict. `looked_at` of `total` conversations."""

    template: str
    looked_at: int
    total: int
    figures: dict
    good: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    verdict: str = ""

    @property
    def is_chat(self) -> bool:
        return self.template != "text"

    @property
    def kind(self) -> str:
        return "conversations" if self.is_chat else "documents"

    def facts(self) -> dict:
        """Everything as plain JSON."""

        def plain(findings: list[Finding]) -> list[dict]:
            return [
                {"name": f.name, "text": f.text, "examples": list(f.examples)} for f in findings
            ]

        return {
            "template": self.template,
            "conversations": self.total,
            "looked_at": self.looked_at,
            "verdict": self.verdict,
            "figures": self.figures,
            "good": plain(self.good),
            "warnings": plain(self.warnings),
        }

    def brief(self) -> dict:
        """The same for a manifest, without any text of the conversations."""
        facts = self.facts()
        facts["figures"] = {k: v for k, v in self.figures.items() if k != "frequent_replies"}
        return {name: facts[name] for name in ("looked_at", "verdict", "figures")} | {
            kind: [finding["name"] for finding in facts[kind]] for kind in ("good", "warnings")
        }

    def summary(self) -> list[str]:
        """A few short lines for the end of a recipe's report."""
        lines = [f"quality: {self.verdict} ({self._looked_at()})"]
        for warning in self.warnings[:SUMMARY_WARNINGS]:
            example = f", e.g. {warning.examples[0]}" if warning.examples else ""
            lines.append(f"  warning: {warning.name}: {warning.text}{example}")
        if (more := len(self.warnings) - SUMMARY_WARNINGS) > 0:
            lines.append(f"  and {more} more; python data/report.py shows all")
        return lines

    def report(self) -> str:
        """The whole of it."""
        lines = [f"{self._looked_at()}, template {self.template}", f"verdict: {self.verdict}", ""]
        lines += [f"  {name:<18} {text}" for name, text in _rows(self) if text]
        for title, findings in (("good signs", self.good), ("warnings", self.warnings)):
            lines += ["", f"{title}:{'' if findings else ' none'}"]
            for found in findings:
                lines.append(f"  {found.name}: {found.text}")
                lines += [f"      {example}" for example in found.examples]
        return "\n".join(lines)

    def _looked_at(self) -> str:
        if self.looked_at == self.total:
            return f"{self.total:,} {self.kind}"
        return f"{self.looked_at:,} of {self.total:,} {self.kind} examined"


def with_verdict(
    quality: Quality, shares: Mapping[str, float], shown: Mapping[str, tuple[str, ...]]
) -> Quality:
    """Fill in the signs and the verdict. `shares` of what is marked, `shown` examples of it."""
    figures = quality.figures
    for sign in GOOD:
        if shares.get(sign.mark, 0) >= sign.at:
            quality.good.append(Finding(sign.name, _text(sign, shares)))
    casual, sentence = figures["casual_per_100_words"], figures["words_a_sentence"]
    if casual >= CASUAL:
        text = f"{casual} contractions, interjections and the like in 100 words of the replies"
        quality.good.insert(0, Finding("casual talk", text))
    kinds = []
    sampled = quality.looked_at < quality.total
    for sign in BAD:
        share = shares.get(sign.mark, 0)
        if not share or share < sign.at or (sign.name in DOCUMENTS_HAVE_NO and not quality.is_chat):
            continue
        if sign.name not in [w.name for w in quality.warnings]:
            text = _text(sign, shares)
            if sampled and sign.mark in COPIES:
                text = f"at least {text}"
            found = Finding(sign.name, text, shown.get(sign.mark, ()))
            quality.warnings.append(found)
            kinds += [sign.name] if sign.is_kind else []
    if not quality.is_chat and not kinds and sentence <= SIMPLE_SENTENCE:
        quality.good.append(Finding("simple language", f"{sentence} words a sentence"))
    quality.warnings += _of_size(quality)
    quality.verdict = _verdict(quality, kinds)
    return quality


def _of_size(quality: Quality) -> list[Finding]:
    """Warnings that are about the whole and not about single conversations."""
    found = []
    if quality.total < TINY:
        text = f"{quality.total:,} {quality.kind}: a model will memorize them"
        found.append(Finding("tiny", text))
    words = quality.figures.get("distinct_replies") or quality.figures["distinct"]
    frequent = quality.figures.get("frequent_replies", {})
    top = sum(frequent.values())
    # few words repeat little: with fewer than 20,000, distinct-2 is higher anyway
    if words[1] < DISTINCT_2 or top >= TOP_REPLIES:
        text = f"distinct-2 is {words[1]}"
        if top:
            text += f", the ten most frequent replies are {percent(top)} of all"
        examples = tuple(f"{percent(share)} {reply}" for reply, share in list(frequent.items())[:3])
        found.append(Finding("repetitive", text, examples))
    return found


def _verdict(quality: Quality, kinds: list[str]) -> str:
    good = ", ".join(sign.name for sign in quality.good)
    warnings = ", ".join(w.name for w in quality.warnings if w.name not in kinds)
    if not quality.is_chat:
        text = "plain documents without turns: they teach a model to write, not to answer"
        text += f"; {', '.join([good] if good else kinds)}" if good or kinds else ""
    elif kinds and good:
        text = f"mixed: {good}; but {', '.join(kinds)}"
    elif kinds:
        text = f"poor chat data: {', '.join(kinds)}"
    elif good:
        text = f"good chat data: {good}"
    else:
        text = "chat data with no clear sign of talk"
    return f"{text}; warnings: {warnings}" if warnings else text


def _text(sign: Sign, shares: Mapping[str, float]) -> str:
    return sign.text.format(share=percent(shares[sign.mark]))


def percent(share: float) -> str:
    if 0 < share < 0.001:
        return "under 0.1%"
    return f"{100 * share:.1f}%".replace(".0%", "%")


def _rows(quality: Quality) -> list[tuple[str, str]]:
    f, shares = quality.figures, quality.figures["shares"]

    def share(mark: str) -> str:
        return percent(shares.get(mark, 0))

    def listed(counts: Mapping[str, float], how=lambda n: f"{n:,}") -> str:
        return ", ".join(f"{name} {how(n)}" for name, n in counts.items())

    one = quality.kind.removesuffix("s")
    tokens = f"{_spread(f['tokens'])} a {one}; {share('over 256 tokens')} over 256, "
    tokens += f"{share('over 1024 tokens')} over 1,024"
    rows = [("tokens", tokens)]
    if quality.is_chat:
        rows = [
            (
                "turns",
                f"{_spread(f['turns'])} a conversation; {percent(f['ends_replied'])} end with the "
                f"assistant, {share('system prompt')} have a system prompt",
            ),
            *rows,
            ("tokens a turn", _spread(f["tokens_a_turn"])),
        ]
    unsure = (
        f"; {percent(f['language_unsure'])} too short or mixed to tell"
        if f["language_unsure"]
        else ""
    )
    style = f"{f['casual_per_100_words']} casual marks in 100 words, "
    style += f"{f['words_a_sentence']} words a sentence"
    if quality.is_chat:
        style += f", {percent(f['replies_that_ask'])} of the replies ask something back"
    style += (
        f"; formal {share('formal')}, encyclopedic {share('encyclopedic')}, code {share('code')}"
    )
    repeats = "at least " if quality.looked_at < quality.total else ""
    repeats += f"exact {share('exact duplicates')}, near {share('near duplicates')}, "
    repeats += f"{share('leak')} of val similar to train"
    distinct = "distinct-1 {}, distinct-2 {}".format(*f["distinct"])
    if quality.is_chat:
        distinct += "; of the replies {}, {}".format(*f["distinct_replies"])
    frequent = dict(list(f.get("frequent_replies", {}).items())[:5])
    return [
        *rows,
        ("languages", listed(f["languages"], percent) + unsure),
        ("style", style),
        ("variety", distinct),
        ("frequent replies", listed(frequent, percent)),
        ("copies", repeats),
        ("personal data", listed(f["personal_data"]) or "none found"),
        ("listed words", listed(f["toxic_words"]) or "none"),
    ]


def _spread(of: Mapping[str, float]) -> str:
    return f"{of['mean']:,} (median {of['median']:,}, most {of['most']:,})"
