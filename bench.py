"""Measure this machine: ours beside a plain reference, as a ratio, in one run.

python bench.py prepare: MB/s of the story recipe, against tiktoken batches

python bench.py train: tokens/s of train.py, against an eager float32 AdamW loop

python bench.py gen: tokens/s of gen.py, against uncached decoding and transformers

python bench.py race --dataset chat --budget 10m: time to the plain loop's final loss

Peak memory is of the whole process (on a GPU, of the device). --json prints to stdout.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
from dataclasses import replace
from pathlib import Path

from jojo.command import parse, read_toml, run, say
from jojo.config import BenchConfig, TrainConfig, seconds

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
    say(f"{name:<34} {', '.join(parts)}")


def prepare(options: BenchConfig) -> dict:
    from jojo import benchmarks as b

    with tempfile.TemporaryDirectory() as folder:
        path, less = Path(folder) / "stories.txt", Path(folder) / "less.txt"
        b.sample_stories(path, options.megabytes, options.input)
        b.sample_stories(less, min(options.megabytes, REFERENCE_MEGABYTES), options.input)
        ours = b.apart(b.prepare, path, True)
        plain = b.apart(b.prepare, less, False)
    show("ours (tokie where it is right)", ours)
    show("tiktoken batches", plain)
    return compared(ours, {"tiktoken": plain}, "megabytes_per_second")


def compared(ours: dict, others: dict[str, dict], by: str) -> dict:
    ratios = {name: ours[by] / other[by] for name, other in others.items()}
    for name, ratio in ratios.items():
        say(f"{'':<34} {ratio:.2f} times {name}")
    return {"ours": ours, **others, "ratios": ratios}


def settings(options: BenchConfig) -> TrainConfig:
    config = TrainConfig(**read_toml(TrainConfig, options.config))
    every = RACE_EVAL_INTERVAL if options.what == "race" else config.eval_interval
    where = {"dataset": options.dataset, "data_dir": options.data_dir}
    return replace(config, eval_interval=every, **where).for_new_model()


def train(options: BenchConfig) -> dict:
    from jojo import benchmarks as b

    config = settings(options)
    ours = b.apart(b.train_ours, config, options.steps)
    plain = b.apart(b.train_plain, config, options.steps)
    show("train.py", ours)
    show("eager float32 AdamW GPT-2 loop", plain)
    return compared(ours, {"plain loop": plain}, "tokens_per_second")


def gen(options: BenchConfig) -> dict:
    from jojo import benchmarks as b

    others = {}
    results = {
        dtype: b.apart(b.gen_ours, options.preset, options.tokens, dtype)
        for dtype in ("float16", "float32")
    }
    if importlib.util.find_spec("transformers"):
        others["transformers bfloat16"] = b.apart(
            b.gen_transformers, options.preset, options.tokens
        )
    others["uncached float32"] = b.apart(b.gen_uncached, options.preset, options.tokens)
    for name, result in ({f"gen.py {d}": r for d, r in results.items()} | others).items():
        show(name, result)
    return compared(results["float16"], others, "tokens_per_second")


def race(options: BenchConfig) -> dict:
    from jojo import benchmarks as b

    config = settings(options)
    budget = seconds(options.budget)
    plain = b.apart(b.race_plain, config, budget)
    show(f"plain loop, {options.budget}", plain)
    ours = b.apart(b.race_ours, config, options.budget, plain["val_loss"])
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
