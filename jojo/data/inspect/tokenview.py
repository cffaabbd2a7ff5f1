"""Tokens drawn: for a terminal, and as one self-contained HTML page.

print(as_text(passage, colour=True, ids=False))
page = as_html(audit, passages, ids=False)
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jojo.data.inspect.preview import Audit, Passage, Token

SEPARATOR = "│"
# 256 colours, letters and ground both set, so that they can be read on a dark and a light terminal
TRAINED = ("38;5;231;48;5;28", "38;5;231;48;5;22")  # the second of each: every other token
MASKED = ("38;5;247;48;5;237", "38;5;247;48;5;235")
SPECIAL = ";1;38;5;222"  # on top of either
NUMBER = "38;5;67"


def legend(colour: bool, ids: bool) -> str:
    if colour:
        kinds = [_paint(" trained ", TRAINED[0]), _paint(" masked ", MASKED[0])]
        kinds.append(_paint(" special ", MASKED[0] + SPECIAL))
    else:
        kinds = ["«trained» masked", f"{SEPARATOR} between tokens"]
    rest = "↵ line break  → tab  ⟨f0 9f⟩ bytes of a character cut by a token"
    return "  ".join([*kinds, rest, *(["[number] id"] if ids else [])])


def as_text(passage: Passage, colour: bool, ids: bool) -> str:
    """The tokens for a terminal; without colours, « » surround those that are trained."""
    draw = _coloured if colour else _plain
    return f"--- {passage.title}: {_totals(passage)}\n{draw(passage.tokens, ids).rstrip()}\n"


def _totals(passage: Passage) -> str:
    n = len(passage.tokens)
    return f"{n:,} tokens, {passage.trained:,} trained ({passage.trained / n:.1%})"


def _coloured(tokens: Sequence[Token], ids: bool) -> str:
    out = []
    for i, token in enumerate(tokens):
        style = (TRAINED if token.trained else MASKED)[i % 2]
        out.append(_paint(token.text, style + (SPECIAL if token.is_special else "")))
        if ids:
            out.append(_paint(f"[{token.id}]", NUMBER))
        out.append("\n" * token.breaks)
    return "".join(out)


def _paint(text: str, style: str) -> str:
    return f"\x1b[{style}m{text}\x1b[0m"


def _plain(tokens: Sequence[Token], ids: bool) -> str:
    out, before = [], None
    for token in tokens:
        trained_before = before is not None and before.trained
        if trained_before and not token.trained:
            out.append("»")
        if before and before.breaks:
            out.append("\n" * before.breaks)
        if token.trained and not trained_before:
            out.append("«")
        elif before and not before.breaks and before.trained == token.trained:
            out.append(SEPARATOR)
        out.append(token.text + (f"[{token.id}]" if ids else ""))
        before = token
    if before and before.trained:
        out.append("»")
    return "".join(out)


# ---------------------------------------------------------------- HTML


def as_html(audit: Audit, passages: Sequence[Passage], ids: bool) -> str:
    """One page without scripts and without anything from elsewhere; all text is escaped."""
    problem = f'<p class="problem">{escape(audit.problem)}</p>' if audit.problem else ""
    facts = "".join(f"<li>{escape(line)}</li>" for line in audit.lines())
    return PAGE.format(
        style=STYLE,
        name=escape(audit.name),
        template=escape(audit.template),
        problem=problem,
        facts=facts,
        checked=" checked" if ids else "",
        passages="\n".join(map(_section, passages)),
    )


def _section(passage: Passage) -> str:
    tokens = "".join(map(_span, passage.tokens))
    return (
        f"<section><h2>{escape(passage.title)}<small>{_totals(passage)}</small></h2>"
        f'<div class="tokens">{tokens}</div></section>'
    )


def _span(token: Token) -> str:
    kinds = "t" if token.trained else "m"
    kinds += " s" if token.is_special else ""
    learned = "trained" if token.trained else "masked: read, not learned"
    about = f"id {token.id}  ·  {_bytes(token)}  ·  {learned}"
    text = escape(token.text).replace("↵", "<i>↵</i>") if token.breaks else escape(token.text)
    return f'<b class="{kinds}" data-n="{token.id}" data-i="{escape(about)}">{text}</b>' + (
        "<br>" * token.breaks
    )


def _bytes(token: Token) -> str:
    if token.is_special:
        return f"special token {token.text}"
    return f"{len(token.data)} byte{'s' * (len(token.data) != 1)}: {token.data.hex(' ')}"


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{name}: what the model sees</title><style>{style}</style></head><body>
<h1>{name} <small>template {template}</small></h1>{problem}
<ul class="facts">{facts}</ul>
<input type="checkbox" id="ids"{checked}><label for="ids">show ids</label>
<p class="legend"><b class="t">trained</b> a loss is taken on it
<b class="m">masked</b> read, not learned <b class="m s">&lt;|name|&gt;</b> special token
<b class="m"><i>↵</i></b> line break <b class="m">⟨f0 9f⟩</b> bytes of a character cut by a token.
Point at a token for its id and bytes.</p>
<main>{passages}</main></body></html>
"""

STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf7; --card: #fff; --ink: #1f2328; --dim: #63666c;
  --line: #e3e1db; --t1: #c9ebcf; --t2: #aedfb8; --tink: #0d3b1a; --m1: #f1f0ec; --m2: #e6e4df;
  --special: #8a4b08; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --paper: #14161a; --card: #1c1f24; --ink: #e4e6ea;
  --dim: #8d939d; --line: #2e3239; --t1: #1d4a2b; --t2: #256039; --tink: #d9f7e0; --m1: #25282e;
  --m2: #2d3138; --special: #f0b464; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 5rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0 0 .5rem; font-size: 1.6rem; }
small { margin-left: .6em; font-size: .85rem; font-weight: 400; color: var(--dim); }
h2 { margin: 0; padding: .6rem 1rem; border-bottom: 1px solid var(--line); font-size: 1rem; }
.facts { margin: 0 0 1rem; padding: 0; list-style: none; }
.problem { padding: .6rem 1rem; border: 1px solid var(--bad); border-radius: .5rem;
  color: var(--bad); overflow-wrap: anywhere; }
label { margin-left: .4rem; cursor: pointer; }
.legend { color: var(--dim); line-height: 2; }
.legend b { margin-left: .7rem; } .legend b:first-child { margin-left: 0; }
section { margin: 1.25rem 0; border: 1px solid var(--line); border-radius: .6rem;
  background: var(--card); overflow: hidden; }
.tokens { padding: .9rem 1rem; font: 14px/1.9 ui-monospace, Menlo, Consolas, monospace;
  overflow-wrap: anywhere; }
b { padding: .15em 0; border-radius: 3px; font-weight: 400; white-space: pre-wrap; }
.t { background: var(--t1); color: var(--tink); } .t:nth-of-type(even) { background: var(--t2); }
.m { background: var(--m1); color: var(--dim); } .m:nth-of-type(even) { background: var(--m2); }
b.s { color: var(--special); font-weight: 600; }
i { font-style: normal; opacity: .55; }
.tokens b:hover { outline: 2px solid var(--ink); }
.tokens b:hover::before { content: attr(data-i); position: fixed; z-index: 1; left: 0; right: 0;
  bottom: 0; padding: .7rem 1.25rem; background: var(--ink); color: var(--paper);
  font-weight: 400; }
#ids:checked ~ main b { display: inline-block; margin-bottom: .3rem; padding: .1em .15em 0;
  line-height: 1.3; vertical-align: top; }
#ids:checked ~ main b::after { content: attr(data-n); display: block; color: var(--dim);
  font-size: .65rem; font-weight: 400; }
"""
