"""The recipes data/prepare-*.py and what was prepared, as a list.

    load("chat")                 # the RECIPE of data/prepare-chat.py
    print(as_table(listing(data_dir)))

A recipe is a script that a person runs, so it is loaded from its file. A broken one only
spoils its own line of the list.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

from jojo.data.contract import SPLITS, Recipe
from jojo.files import ROOT

FOLDER = ROOT / "data"
COLUMNS = ("name", "template", "download", "licence", "tokens", "what it is")
BY_DATA = "by data"  # the template of a recipe that reads whatever files it is given
LICENCE_WIDTH = 17


@dataclass
class Row:
    """A line of the list."""

    name: str
    what: str
    template: str = "-"
    licence: str = "-"
    size_bytes: int | None = None  # of the download, where known
    recipe: str | None = None  # the command, e.g. "python data/prepare-chat.py"
    prepared: bool = False
    is_mixture: bool = False
    tokens: dict[str, int] | None = None
    conversations: dict[str, int] | None = None
    error: str | None = None


def names(folder: Path = FOLDER) -> list[str]:
    return sorted(path.stem.removeprefix("prepare-") for path in folder.glob("prepare-*.py"))


def load(name: str, folder: Path = FOLDER) -> Recipe:
    """The RECIPE of prepare-<name>.py; ValueError where the file has none or does not run."""
    return _module(name, folder).RECIPE


def _module(name: str, folder: Path) -> ModuleType:
    path = folder / f"prepare-{name}.py"
    module_name = f"prepare_{name.replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # where dataclasses and tyro look up its annotations
    try:
        spec.loader.exec_module(module)
        if not isinstance(module.RECIPE, Recipe):
            raise TypeError(f"RECIPE is a {type(module.RECIPE).__name__}")
    except (Exception, SystemExit) as error:  # whatever somebody's script may raise
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{folder.name}/{path.name} is no recipe ({what})") from error
    return module


def listing(data_dir: Path, folder: Path = FOLDER) -> list[Row]:
    """Every recipe, then what else was prepared in `data_dir`: own files, mixtures, other names."""
    rows = [_recipe_row(name, folder) for name in names(folder)]
    known = {row.name: row for row in rows}
    for path in sorted(data_dir.glob("*.json")):
        facts = _facts(path)
        if facts is None and path.stem not in known:
            continue  # some other JSON
        row = known.get(path.stem)
        if row is None:
            row = Row(path.stem, _what(facts))
            rows.append(row)
        _add_prepared(row, facts, path)
    return rows


def _recipe_row(name: str, folder: Path) -> Row:
    command = f"python {folder.name}/prepare-{name}.py"
    try:
        module = _module(name, folder)
    except ValueError as error:
        return Row(name, "", recipe=command, error=str(error))
    recipe = module.RECIPE
    return Row(
        name,
        (module.__doc__ or "").strip().partition("\n")[0],
        template=_template_of(recipe),
        licence=recipe.licence,
        size_bytes=_download_bytes(recipe),
        recipe=command,
    )


def _template_of(recipe: Recipe) -> str:
    """By default, or BY_DATA where what is read decides."""
    if isinstance(recipe.template, str):
        return recipe.template
    try:
        return recipe.template(recipe.options())
    except ValueError:  # it needs files first
        return BY_DATA


def _download_bytes(recipe: Recipe) -> int | None:
    """Together, of the public datasets whose addresses the recipe names."""
    from jojo.data.public.origins import PUBLIC_DATASETS

    sources = tuple(s for s in recipe.sources if "://" in s)
    sizes = [
        d.size_bytes
        for d in PUBLIC_DATASETS.values()
        if any(u.startswith(sources) for u in d.where)
    ]
    return None if not sizes or None in sizes else sum(sizes)


def _facts(path: Path) -> dict | None:
    """What a manifest says; None where the file is none."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        tokens, conversations = facts["tokens"], facts["conversations"]
        numbers = [kind[split] for kind in (tokens, conversations) for split in SPLITS]
        strings = [facts["template"], facts.get("licence", "")]
        fits = all(type(n) is int for n in numbers) and all(type(s) is str for s in strings)
    except (ValueError, KeyError, TypeError, OSError, AttributeError):
        return None
    return facts if fits else None


def _mixture(facts: dict) -> dict | None:
    notes = facts.get("notes")
    mixture = notes.get("mixture") if isinstance(notes, dict) else None
    return mixture if isinstance(mixture, dict) else None


def _what(facts: dict) -> str:
    if mixture := _mixture(facts):
        return f"mixture of {', '.join(map(str, mixture))}"
    sources = facts.get("sources") or ["unknown sources"]
    more = f" and {len(sources) - 1} more" if len(sources) > 1 else ""
    return f"from {str(sources[0]).partition(' sha256:')[0]}{more}"


def _add_prepared(row: Row, facts: dict | None, path: Path) -> None:
    if facts is None:
        row.error = f"{path} is not a manifest: prepare it again"
        return
    row.is_mixture = _mixture(facts) is not None
    for split in SPLITS:
        file = path.with_name(f"{path.stem}-{split}.bin")
        if not file.exists() or file.stat().st_size != 2 * facts["tokens"][split]:
            row.error = f"{file} is missing or incomplete: prepare it again"
            return
    row.prepared, row.error = True, None
    row.template, row.licence = facts["template"], facts.get("licence") or "-"
    row.tokens, row.conversations = facts["tokens"], facts["conversations"]


def as_table(rows: list[Row], width: int = 100) -> str:
    """Aligned columns, at most `width` characters a line; the last column takes what is left."""
    lines = [list(COLUMNS)] + [_cells(row) for row in rows]
    sizes = [max(len(line[i]) for line in lines) for i in range(5)]
    out = []
    for row, (*cells, what) in zip([None, *rows], lines, strict=True):
        if row and row.error:
            out.append(_cut(f"{row.name.ljust(sizes[0])}  error: {row.error}", width))
            continue
        texts = [
            cell.rjust(size) if i in (2, 4) else cell.ljust(size)
            for i, (cell, size) in enumerate(zip(cells, sizes, strict=True))
        ]
        rest = max(20, width - sum(sizes) - 2 * len(sizes))
        out.append("  ".join([*texts, _cut(what, rest)]).rstrip())
    return "\n".join(out)


def _cells(row: Row) -> list[str]:
    size = "-" if row.size_bytes is None else _megabytes(row.size_bytes)
    tokens = f"{sum(row.tokens.values()):,}" if row.tokens else "-"
    licence = row.licence.partition(" (")[0].partition(";")[0].partition(",")[0]
    return [row.name, row.template, size, _cut(licence, LICENCE_WIDTH), tokens, row.what]


def _megabytes(n: int) -> str:
    return f"{n / 1e9:.1f} GB" if n >= 1e9 else f"{n / 1e6:.1f} MB"


def _cut(text: str, width: int) -> str:
    text = " ".join(text.split())
    if len(text) <= width:
        return text
    head = text[: width - 1]
    word = head if text[width - 1] == " " else head.rpartition(" ")[0]
    return (word if len(word) > width // 2 else head).rstrip(" ,.:;(") + "…"


def as_json(rows: list[Row]) -> str:
    return json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False)
