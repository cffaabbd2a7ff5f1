"""Every dataset at a glance, and several of them mixed into one.

    python data/prepare.py --list
    python data/prepare.py --dataset chitchat,chat --weights 3,1 --name mix

Without --dataset it prints the list. With it, sets that are not there yet are prepared first, with
their defaults. --weights are shares of the training tokens; without them every set is used once.
A set is used whole at least once, and at most --max_repeats times; if that is impossible, the
larger sets are cut. Plain text mixes with ChatML: as documents between the conversations. Writes
data/<name>-train.bin, -val.bin and data/<name>.json.
"""

from __future__ import annotations

import difflib
import math
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from jojo.command import Count, Options, Seed, UsageError, parse, run, say
from jojo.data import recipes
from jojo.files import ROOT, is_plain_name


@dataclass
class MixOptions(Options):
    list: bool = False
    """Show every dataset: template, size of the download, licence, tokens if it is prepared."""
    json: bool = False
    """The list as JSON."""
    dataset: str | None = None
    """The sets to mix, separated by commas."""
    weights: str | None = None
    """Their shares of the training tokens, e.g. 3,1; without them each set is used once."""
    name: str = "mix"
    """Name of the mixture."""
    max_repeats: Count = 4
    """Use a conversation at most this many times."""
    seed: Seed = 1337
    """Decides the order, and which conversations are left out or used once more."""
    out_dir: Path = ROOT / "data"
    """Where the sets are and the mixture is written."""


def command() -> int:
    options = parse(MixOptions, None, __doc__)
    if options.list or options.json or (options.dataset is None and options.weights is None):
        return show(options)
    names, weights = wanted(options)
    prepare_missing(names, options)

    from jojo.data.mixture import mix

    limits = {"max_repeats": options.max_repeats, "seed": options.seed}
    mix(names, weights, options.name, options.out_dir, **limits)
    return 0


def show(options: MixOptions) -> int:
    rows = recipes.listing(options.out_dir)
    if options.json:
        print(recipes.as_json(rows))
        return 0
    width = shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 100
    print(recipes.as_table(rows, max(80, width)))
    if sys.stdout.isatty():
        say("\nprepare one:   python data/prepare-<name>.py")
        say(
            "mix several:   python data/prepare.py --dataset chitchat,chat --weights 3,1 --name mix"
        )
    return 0


def wanted(options: MixOptions) -> tuple[list[str], list[float] | None]:
    """Names and weights as asked for; UsageError where the flags do not fit together."""
    if options.dataset is None:
        raise UsageError("--weights of what? --dataset names the sets to mix, e.g. chitchat,chat")
    names = [name.strip() for name in options.dataset.split(",") if name.strip()]
    if len(names) < 2:
        raise UsageError(
            f"--dataset {options.dataset!r}: a mixture takes two or more sets, separated by commas"
        )
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"--dataset names {twice[0]} twice: give it a weight instead")
    if not is_plain_name(options.name):
        raise UsageError(f"--name {options.name!r} must be a plain file name")
    if options.name in {*names, *recipes.names()}:
        raise UsageError(f"--name {options.name} would overwrite that dataset: choose another")
    weights = None if options.weights is None else [_weight(w) for w in options.weights.split(",")]
    if weights is not None and len(weights) != len(names):
        raise UsageError(f"--weights gives {len(weights)} numbers for {len(names)} sets")
    return names, weights


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise UsageError(f"--weights: {text.strip()!r} is not a number above 0")
    return weight


def prepare_missing(names: list[str], options: MixOptions) -> None:
    """Prepare those that are not there, once it is sure that all can be mixed."""
    rows = {row.name: row for row in recipes.listing(options.out_dir)}
    old = rows.get(options.name)
    if old and not old.is_mixture:
        raise ValueError(f"{options.name} is a dataset, not a mixture: choose another --name")
    for name in names:
        if name not in rows:
            near = difflib.get_close_matches(name, rows, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"unknown dataset {name!r}: {hint}There are {', '.join(rows)}")
        if rows[name].error:
            raise ValueError(f"{name}: {rows[name].error}")
        if rows[name].template == recipes.BY_DATA:
            raise ValueError(
                f"{name} reads files of yours: run {rows[name].recipe} PATH --name mine, then "
                "--dataset mine,..."
            )
    from jojo.data.mixture import common_template

    common_template({name: rows[name].template for name in names})
    for name in [name for name in names if not rows[name].prepared]:
        from jojo.data.prepare import prepare

        say(f"{name} is not prepared yet: {rows[name].recipe}")
        recipe = recipes.load(name)
        prepare(recipe, recipe.options(out_dir=options.out_dir))


if __name__ == "__main__":
    run(command)
