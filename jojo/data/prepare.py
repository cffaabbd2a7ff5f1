"""What every recipe shares: flags, duplicates, the split, tokenizing, writing, the report.

    from jojo.data.prepare import main

A recipe names its licence and sources and turns raw records into conversations; `main` does the
rest and writes <out_dir>/<name>-train.bin, -val.bin (the same as .txt) and <name>.json.
Every record that came in is either kept or dropped for a named reason; the sums add up.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from jojo.command import parse, run, say
from jojo.data.contract import COPY_OF_TRAIN, SPLITS, CommonOptions, Recipe, Tally
from jojo.files import ROOT, write_text

if TYPE_CHECKING:  # numpy and the tokenizer load only when there is work: --help stays quick
    from jojo.data.bins import Manifest


def main(recipe: Recipe, argv: list[str] | None = None) -> None:
    """Run a recipe as a command, with the flags of its options, and exit with its code."""

    def command() -> int:
        options = parse(recipe.options, argv, sys.modules["__main__"].__doc__)
        try:
            prepare(recipe, options)
        except KeyboardInterrupt as stop:
            name = options.name or recipe.name
            nothing = f"stopped: nothing of {name} was written; run it again to prepare it"
            raise KeyboardInterrupt(str(stop) or nothing) from None
        return 0

    run(command)


def prepare(recipe: Recipe, options: CommonOptions) -> Manifest:
    """Run a recipe and return the manifest of what it wrote."""
    from jojo.data.bins import DatasetWriter
    from jojo.data.inspect.quality import examine
    from jojo.data.pipeline import SAMPLE_SIZES, Encoder, Sample, take_conversations, take_documents

    began = time.perf_counter()
    tally = Tally(limit=options.limit)
    sample = Sample(SAMPLE_SIZES["documents" if recipe.documents else "conversations"])
    template = recipe.template if isinstance(recipe.template, str) else recipe.template(options)
    name = options.name or recipe.name
    with DatasetWriter(
        options.out_dir, name, template=template, write_text=recipe.write_text
    ) as writer:
        with Encoder(writer) as encoder:
            take = take_documents if recipe.documents else take_conversations
            take(recipe, options, tally, encoder, sample)
        if not tally.records_in:
            where = getattr(options, "input", None) or "the source"
            raise ValueError(f"no record found in {where}: is it empty?")
        kept = sum(writer.conversations.values())
        assert tally.records_in == kept + sum(tally.dropped.values()), (tally, kept)
        if not kept:
            reasons = ", ".join(" ".join(r.split()) for r in _left_out(tally.dropped, tally.first))
            raise ValueError(f"nothing is left of {tally.records_in:,} records: {reasons}")
        prompt = _write_example(recipe)
        sources, first = tally.sources, tally.first
        if getattr(options, "anonymize", False):  # chats' files are named after people
            sources, first = [_without_name(source) for source in sources], {}
        quality = examine(sample.conversations(), template, total=kept)
        if not options.val_fraction:
            writer.repeat_train()
        manifest = writer.commit(
            licence=recipe.licence,
            private=recipe.private if recipe.licence else None,
            sources=[*recipe.sources, *sources],
            seed=options.seed,
            records_in=tally.records_in,
            dropped=dict(tally.dropped.most_common()),
            notes={
                "val_fraction": options.val_fraction,
                "changed": dict(tally.changed),
                "skipped": dict(tally.skipped),
                "first": first,
                **tally.notes,
                "quality": quality.brief(),
                **({} if options.val_fraction else {"val": COPY_OF_TRAIN}),
            },
        )
    for action in tally.when_written:
        action()
    _report(manifest, tally, options.out_dir, prompt, time.perf_counter() - began)
    say("\n".join(f"  {line}" for line in quality.summary()))
    return manifest


def _without_name(source: str) -> str:
    """What Tally.used notes, without the file's name."""
    _, mark, digest = source.partition(" sha256:")
    return f"a file{mark}{digest}" if mark else "a folder"


def _write_example(recipe: Recipe) -> Path | None:
    if recipe.example_prompt is None:
        return None
    path = ROOT / "examples" / f"{recipe.name}_prompt.txt"
    if not path.exists() or path.read_text(encoding="utf-8") != recipe.example_prompt:
        write_text(path, recipe.example_prompt)
    return path


def _left_out(
    counter: Counter[str], first: dict[str, str], how: str = "", width: int = 0
) -> list[str]:
    at = {reason: f" (first: {where})" for reason, where in first.items()}
    return [f"{n:>{width},}  {how}{r}{at.get(r, '')}" for r, n in counter.most_common()]


def _report(
    manifest: Manifest, tally: Tally, out_dir: Path, prompt: Path | None, seconds: float
) -> None:
    lines = [f"{manifest.name}: {tally.records_in:,} records in"]
    for counter, how in ((tally.dropped, "dropped: "), (tally.skipped, "skipped: ")):
        lines += [f"  {line}" for line in _left_out(counter, tally.first, how, width=11)]
    lines += [f"  {n:>11,}  changed: {what}" for what, n in tally.changed.most_common()]
    for split, n in manifest.conversations.items():
        kind = "documents" if manifest.template == "text" else "conversations"
        copied = f" ({COPY_OF_TRAIN})" if split == "val" and not manifest.holds_out else ""
        lines.append(f"  {n:>11,}  {kind} in {split}, {manifest.tokens[split]:,} tokens{copied}")
    files = [
        out_dir / f"{manifest.name}-{split}.{kind}" for kind in ("bin", "txt") for split in SPLITS
    ]
    files += [out_dir / f"{manifest.name}.json", *([prompt] if prompt else [])]
    lines += [f"  {f.stat().st_size:>11,}  bytes in {f}" for f in files if f.exists()]
    lines.append(f"  {seconds:>11.1f}  seconds")
    say("\n".join(lines))
