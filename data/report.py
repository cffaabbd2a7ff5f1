"""How good a prepared dataset is for a chat model: figures, good signs, warnings with examples.

    python data/report.py chat
    python data/report.py mine --examples 5 --json > mine-quality.json

Looks at up to --sample conversations, evenly drawn; verbatim copies and leaks from train to val
are searched in all of them. "train 7" in the examples is what data/preview.py shows with
--split train --start 7. Writes nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import tyro

from jojo.command import Count, Whole, parse, run
from jojo.data.contract import DataFolder


@dataclass(kw_only=True)
class ReportOptions(DataFolder):
    name: tyro.conf.Positional[str]
    """The dataset."""
    sample: Count = 20_000
    """Look at this many conversations at most."""
    examples: Whole = 3
    """Show this many examples behind each warning."""
    json: bool = False
    """Print JSON instead of text."""


def command() -> int:
    options = parse(ReportOptions, None, __doc__)
    from jojo.data.bins import open_dataset
    from jojo.data.inspect.quality import examine_dataset

    dataset = open_dataset(options.name, options.data_dir)
    quality = examine_dataset(dataset, options.sample, options.examples)
    if options.json:
        print(json.dumps({"name": options.name, **quality.facts()}, indent=2, ensure_ascii=False))
    else:
        print(f"{options.name}: {quality.report()}")
    return 0


if __name__ == "__main__":
    run(command)
