"""Measure this machine: ours beside a plain reference, as a ratio, in one run.

python bench.py prepare: MB/s of the story recipe, against tiktoken batches

python bench.py train: tokens/s of train.py, against an eager float32 AdamW loop

python bench.py gen: tokens/s of gen.py, against uncached decoding, transformers and llama.cpp

python bench.py gen --against transformers,llama.cpp --checkpoint models/laptop800.pt: of your own
model. Linux and Windows wheels of xllamacpp leave out AVX-512 and the like: compiled on the machine
itself llama.cpp may be faster.

python bench.py race --dataset chat --budget 10m: time to the plain loop's final loss

Peak memory is of the whole process, mapped files included (on a GPU, of the device; llama.cpp's of
the process there, too). --json prints to stdout.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

from jojo.command import parse, read_toml, run, say, seconds
from jojo.measure import generation
from jojo.measure.config import BenchConfig
from jojo.measure.generation import apart
from jojo.train.config import TrainConfig

REFERENCE_MEGABYTES = 200  # what tiktoken gets of a larger text: its rate stays the same
RACE_EVAL_INTERVAL = 20  # steps: how finely the crossing is seen


def main() -> int:
    options = parse(BenchConfig, None, __doc__)
    measured = {"prepare": prepare, "train": train, "gen": gen, "race": race}[options.what](options)
    if options.json:
        print(json.dumps(measured))
    return 0


def show(name: str, result: dict) -> None:
    units = {"seconds": "s", "megabytes_per_second": "MB/s", "tokens_per_second": "tokens/s"}
    units |= {"first_token_seconds": "s to the first token", "mfu": "MFU", "val_loss": "val loss"}
    parts = [f"{result[k]:,.4g} {unit}" for k, unit in units.items() if k in result]
    if "peak_memory_bytes" in result:
        parts.append(f"peak {result['peak_memory_bytes'] / 2**20:,.0f} MiB")
    if len(each := result.get("each_tokens_per_second", [])) > 1:
        parts.append(f"runs from {min(each):,.4g} to {max(each):,.4g}")
    say(f"{name:<34} {', '.join(parts)}")


def prepare(options: BenchConfig) -> dict:
    from jojo.measure import training as b

    with tempfile.TemporaryDirectory() as folder:
        path, less = Path(folder) / "stories.txt", Path(folder) / "less.txt"
        b.sample_stories(path, options.megabytes, options.input)
        b.sample_stories(less, min(options.megabytes, REFERENCE_MEGABYTES), options.input)
        ours = apart(b.prepare, path, True)
        plain = apart(b.prepare, less, False)
    show("ours (tokie where it is right)", ours)
    show("tiktoken batches", plain)
    return compared(ours, {"tiktoken": plain}, "megabytes_per_second")


def compared(ours: dict, others: dict[str, dict], by: str) -> dict:
    ratios = {name: ours[by] / other[by] for name, other in others.items()}
    for name, ratio in ratios.items():
        say(f"{'':<34} {ratio:.3g} times {name}")
    return {"ours": ours, **others, "ratios": ratios}


def settings(options: BenchConfig) -> TrainConfig:
    config = TrainConfig(**read_toml(TrainConfig, options.config))
    every = RACE_EVAL_INTERVAL if options.what == "race" else config.eval_interval
    where = {"dataset": options.dataset, "data_dir": options.data_dir}
    return replace(config, eval_interval=every, **where).for_new_model()


def train(options: BenchConfig) -> dict:
    from jojo.measure import training as b

    config = settings(options)
    ours = apart(b.train_ours, config, options.steps)
    plain = apart(b.train_plain, config, options.steps)
    show("train.py", ours)
    show("eager float32 AdamW GPT-2 loop", plain)
    return compared(ours, {"plain loop": plain}, "tokens_per_second")


def gen(options: BenchConfig) -> dict:
    measured, by = generation.measure(options), "tokens_per_second"
    results = measured.pop("results")
    for name, result in results.items():
        show(name, result)
    (chosen, ours), *_ = results.items()
    in_full = results.pop(generation.OURS)  # float32
    others = {name: result for name, result in results.items() if name != chosen}
    say(f"{chosen}, as it chooses by itself:")
    found = compared(ours, others, by) | {"chosen": chosen, generation.OURS: in_full}
    if alike := {name: others[name] for name in generation.ALIKE if name in others}:
        say(f"{generation.OURS}:")
        found["ratios_float32"] = compared(in_full, alike, by)["ratios"]
    return found | measured


def race(options: BenchConfig) -> dict:
    from jojo.measure import training as b

    config = settings(options)
    budget = seconds(options.budget)
    plain = apart(b.race_plain, config, budget)
    show(f"plain loop, {options.budget}", plain)
    ours = apart(b.race_ours, config, options.budget, plain["val_loss"])
    show(f"train.py, {options.budget}", ours)
    if ours["reached_seconds"] is None:
        say(f"train.py did not reach {plain['val_loss']:.4f}")
        return {"ours": ours, "plain loop": plain}
    share = ours["reached_seconds"] / plain["seconds"]
    say(
        f"train.py reached {plain['val_loss']:.4f} after {ours['reached_seconds']:.0f} s: "
        f"{share:.3f} of the plain loop's time"
    )
    return {"ours": ours, "plain loop": plain, "share": share}


if __name__ == "__main__":
    run(main)
