"""Speech patterns: a persona's own way of saying things, from a TOML file (--style FILE).

    [[rule]]
    instead_of = ["I do not know", "I have no idea"]
    use = ["Hmm, not sure about that one", "No clue, sorry"]
    where = "alone"

load_style(Path("examples/tsuki-style.toml")).apply("I don't know.")
    -> ("Hmm, not sure about that one.", ["I do not know"])

`where` says where a pattern is tried: "anywhere" (the default), "alone" (a clause of its own: what
ends at a full stop) or "start" (what opens a sentence, before a comma). A pattern is whole words in
either case; "do not" is found as "don't" too. Which of several ways is used depends only on the
text, so that the same data always comes out the same. Code and addresses stay as they are.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from jojo.command import parse_toml
from jojo.data.clean.rules import NO_SPEECH, Rule, reword

KEYS = ("instead_of", "use", "where")
WHERE = ("anywhere", "alone", "start")
NOT = ("is", "are", "was", "were", "do", "does", "did", "has", "have", "had", "could", "would")
SHORT = {  # what is spoken -> what is written, where it can be nothing else
    "can't": "can not",
    "won't": "will not",
    "i'm": "i am",
    **{f"{verb}n't": f"{verb} not" for verb in (*NOT, "should", "must", "need")},
    **{f"{who}'re": f"{who} are" for who in ("you", "we", "they")},
    **{f"{who}'ve": f"{who} have" for who in ("i", "you", "we", "they")},
    **{f"{who}'ll": f"{who} will" for who in ("i", "you", "he", "she", "it", "we", "they", "that")},
    **{f"{who}'s": f"{who} is" for who in ("it", "that", "he", "she", "what", "there", "here")},
}
LONG = {written: spoken for spoken, written in SHORT.items()}
SENTENCE = r"(?:^|(?<=[.!?…]\s)|(?<=[.!?…][\"')”’]\s))"  # where one may begin


@dataclass(frozen=True)
class Style:
    path: Path
    rules: tuple[Rule, ...]

    def apply(self, text: str) -> tuple[str, list[str]]:
        """The text in this style, and the names of the rules that changed it."""
        text, changed_by = reword(text, self.rules, spare=NO_SPEECH)
        return text, list(dict.fromkeys(changed_by))


def load_style(path: Path) -> Style:
    """Read a style file; ValueError, in one line, with what to fix."""
    try:
        raw = parse_toml(Path(path), encoding="utf-8-sig")
    except FileNotFoundError:
        raise ValueError(f"style file {path} does not exist") from None
    _refuse_unknown(raw, ("rule",), str(path))
    entries = raw.get("rule")
    if (
        not entries
        or not isinstance(entries, list)
        or not all(isinstance(e, dict) for e in entries)
    ):
        raise ValueError(f"{path} has no rules: write [[rule]], instead_of = ... and use = ...")
    rules = [r for n, entry in enumerate(entries, 1) for r in _rules(entry, f"{path}, rule {n}")]
    return Style(Path(path), tuple(rules))


def _rules(entry: dict, at: str) -> list[Rule]:
    _refuse_unknown(entry, KEYS, at)
    patterns, uses = (_phrases(entry, key, at) for key in ("instead_of", "use"))
    where = entry.get("where", "anywhere")
    if where not in WHERE:
        raise ValueError(f"{at}: where = {where!r} is none of {', '.join(WHERE)}")
    return [_rule(pattern, uses, where, patterns[0]) for pattern in patterns]


def _refuse_unknown(table: dict, known: tuple[str, ...], at: str) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(known)}"
            raise ValueError(f"{at}: unknown key {key!r}: {hint}")


def _phrases(entry: dict, key: str, at: str) -> list[str]:
    """One phrase, or a list of them; none empty."""
    phrases = entry.get(key)
    phrases = [phrases] if isinstance(phrases, str) else phrases
    if not isinstance(phrases, list) or not all(isinstance(p, str) for p in phrases):
        raise ValueError(f'{at}: {key} must be text or a list of texts, e.g. {key} = "..."')
    if not phrases or not all(re.search(r"\w", p) for p in phrases):
        raise ValueError(f"{at}: {key} is empty: give it at least one word")
    return [" ".join(p.split()) for p in phrases]


def _rule(phrase: str, uses: list[str], where: str, name: str) -> Rule:
    words = phrase.lower().replace("’", "'").split()
    pattern, sure = _spoken_and_written(words)
    before = r"(?<![\w'’-])" if words[0][0].isalnum() else r"(?<!\w)"
    after = r"(?![\w-]|['’]\w)" if words[-1][-1].isalnum() else r"(?!\w)"
    if where == "alone":
        before = f"(?:{SENTENCE}|(?<=,\\s))"
        # after one's own "!" no comma can follow
        stops = "[.!…]" if any(use[-1] in ".!?~" for use in uses) else "[.!…,;]"
        after = rf"(?=\s*(?:{stops}|$))(?P<end>[.!…]*)"
    elif where == "start":
        before, after = f"(?:{SENTENCE}|(?<=;\\s))", r"(?=,)"

    def replacement(match: re.Match[str]) -> str:
        said = uses[_draw(match) % len(uses)]
        end = match.groupdict().get("end") or ""
        return _cased(match, said) + ("" if said[-1] in ".!?~…" else end)

    compiled = re.compile(before + pattern + after, re.IGNORECASE | re.MULTILINE)
    return Rule(max(sure, key=len, default=""), compiled, replacement, name)


def _spoken_and_written(words: list[str]) -> tuple[str, list[str]]:
    """A pattern for the words, short or long, and those of them that are there in either form."""
    parts, sure, i = [], [], 0
    while i < len(words):
        two, one = " ".join(words[i : i + 2]), words[i]
        if two in LONG or one in SHORT:
            written = two if two in LONG else SHORT[one]
            spoken = LONG[written]
            both = [written, spoken] + (["cannot"] if spoken == "can't" else [])
            parts.append(f"(?:{'|'.join(_literal(form) for form in both)})")
            i += 2 if two in LONG else 1
        elif one == "cannot":
            parts.append("(?:can ?not|can['’]t)")
            i += 1
        else:
            parts.append(_literal(one))
            sure += [one] if "'" not in one else []
            i += 1
    return r"[ \t]+".join(parts), sure


def _literal(phrase: str) -> str:
    return re.escape(phrase).replace("'", "['’]").replace(r"\ ", r"[ \t]+")


def _draw(match: re.Match[str]) -> int:
    """A number that only the text and the place in it decide."""
    from jojo.data.dedup import fingerprint

    return fingerprint([match.string, str(match.start())])


def _cased(match: re.Match[str], said: str) -> str:
    """A capital where a sentence begins, none within one; "I" and "OK" keep theirs."""
    found = match[0]
    of_a_name = found[:1].isupper() and not re.match(r"I(?!\w)", found)
    if of_a_name or (found[:1].isupper() and _begins_sentence(match)):
        return said[:1].upper() + said[1:]
    first = re.match(r"[\w'’]*", said)[0]
    if re.match(r"I(?!\w)", said) or first[1:] != first[1:].lower():
        return said
    return said[:1].lower() + said[1:]


def _begins_sentence(match: re.Match[str]) -> bool:
    before = match.string[: match.start()].rstrip(" \t\"'“‘(*")
    return not before or before[-1] in ".!?…:\n"
