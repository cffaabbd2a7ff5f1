"""How fast one model generates, here and in other programs: what `bench.py gen` measures.

    measured = measure(options)     # of BenchConfig

The weights are written down once; each run is a new process that opens them, warms up, and
generates as many tokens after the same prompt on as many threads, the likeliest each time. What
would end the text is never chosen. The programs take turns, so that the machine's other work falls
on all alike. Nothing heavy is imported above: what a process has held at most counts from what the
one that started it held.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from importlib import metadata
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from jojo.command import say
from jojo.export import llamacpp, process
from jojo.measure import programs
from jojo.measure.config import BenchConfig
from jojo.measure.programs import Work

if TYPE_CHECKING:
    from model import GPT, GPTConfig

PACKAGES = {"uncached": "torch", "transformers": "transformers", "llama.cpp": "xllamacpp"}
DTYPES = ("bfloat16", "float32")  # of transformers
KINDS = ("f32", "f16", "q8_0")  # of llama.cpp
OURS = "gen.py float32"
ALIKE = ("transformers float32", "llama.cpp f32")  # which must choose the same tokens
PROMPT = "My name is Anna, and it is raining again. Tell me a story about a cat, please!"


def wanted_programs(against: str | None) -> list[str]:
    """Those that --against names, else all that are installed; ValueError where one is not."""
    if against is None:
        missing = [name for name, package in PACKAGES.items() if not find_spec(package)]
        for name in missing:
            say(f"note: {name} is left out, it is not installed: pip install {PACKAGES[name]}")
        return [name for name in PACKAGES if name not in missing]
    names = list(dict.fromkeys(name.strip() for name in against.split(",")))
    for name in names:
        if name not in PACKAGES:
            raise ValueError(
                f"`against` {name!r} is none of {', '.join(PACKAGES)}: name some of them, with "
                "commas between"
            )
        if not find_spec(PACKAGES[name]):
            raise ValueError(f"--against {name}: it is not installed: pip install {PACKAGES[name]}")
    return names


def measure(options: BenchConfig) -> dict:
    """{name: medians}: "gen.py float16" (or what gen.py chooses), "gen.py float32", the others."""
    wanted = wanted_programs(options.against)
    with tempfile.TemporaryDirectory() as folder:
        work = apart(write, Path(folder), options, wanted)
        _tell(work, options, wanted)
        tasks, runs = _tasks(work), {}
        for i in range(options.repeats):
            say(f"run {i + 1} of {options.repeats}, of {len(tasks)} programs each")
            for name, task in tasks.items():
                runs.setdefault(name, []).append(task())
        results = {name: _median(found) for name, found in runs.items()}
        ids = {name: found[0]["ids"] for name, found in runs.items() if "ids" in found[0]}
        if "f32" in work.kinds:
            ids["llama.cpp f32"] = llamacpp.apart(programs.ids_in_llamacpp, work, "f32")
    return {
        "results": results,
        "same_tokens": _compare(ids, work.n_tokens),
        "tokens": work.n_tokens,
        "threads": work.n_threads,
        "model": work.about,
    }


def _tasks(work: Work) -> dict[str, Callable[[], dict]]:
    tasks = {f"gen.py {d}": lambda d=d: apart(programs.in_ours, work, d) for d in work.own_dtypes}
    for d in work.dtypes:
        tasks[f"transformers {d}"] = lambda d=d: apart(programs.in_transformers, work, d)
    for k in work.kinds:
        tasks[f"llama.cpp {k}"] = lambda k=k: llamacpp.apart(programs.in_llamacpp, work, k)
    if work.uncached:
        tasks["uncached float32"] = lambda: apart(programs.uncached, work)
    return tasks


def _median(runs: Sequence[dict]) -> dict:
    names = [n for n in runs[0] if n != "ids"]
    medians = {n: statistics.median(run[n] for run in runs) for n in names}
    return medians | {"each_tokens_per_second": [run["tokens_per_second"] for run in runs]}


def _compare(ids: dict[str, list[int]], n_tokens: int) -> dict[str, int]:
    """How many tokens from the first on each program in float32 chose as we do."""
    same = {}
    for name in (name for name in ALIKE if name in ids):
        pairs = zip(ids[OURS], ids[name], strict=True)
        same[name] = n = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
        how = "all" if n == n_tokens else f"the first {n} of"
        say(f"{name} chose the tokens of {OURS}: {how} {n_tokens}")
    return same


def _tell(work: Work, options: BenchConfig, wanted: Sequence[str]) -> None:
    """What is compared, and what is not."""
    for name, has in (("transformers", work.dtypes), ("llama.cpp", work.kinds)):
        if options.against and name in wanted and not has:
            raise ValueError(f"`against` {name}: {next(iter(work.left_out.values()))}")
    for reason in dict.fromkeys(work.left_out.values()):
        names = [name for name, why in work.left_out.items() if why == reason]
        say(f"note: {', '.join(names)} left out: {reason}")
    n, n_prompt = work.n_tokens, len(work.prompt)
    if n < options.tokens:
        say(
            f"note: {options.tokens} tokens after a prompt of {n_prompt} do not fit into the "
            f"context of {work.block_size}: {n} are generated"
        )
    say(f"{work.about}: {n_prompt} + {n} tokens, {work.machine}")
    if work.dtypes:
        say(f"transformers {metadata.version('transformers')}")
    if work.kinds:
        say(llamacpp.apart(programs.build_of_llamacpp))


def apart(function: Callable[..., object], *arguments: object):
    """Call `function` in a process of its own; its peak memory is added to a dict it returns."""
    return process.apart(_with_peak, function, arguments)


def _with_peak(function: Callable[..., object], arguments: tuple):
    result = function(*arguments)
    if not isinstance(result, dict):
        return result
    from jojo import device

    return {**result, "peak_memory_bytes": device.choose().used_bytes()}


# ---------------------------------------------------------------- the model


def write(folder: Path, options: BenchConfig, wanted: Sequence[str]) -> Work:
    """Write the model of `options` as every program of `wanted` reads it."""
    import torch

    from jojo import device
    from jojo.export.hf_folder import save_folder
    from jojo.models import checkpoint, pretrained
    from tokenizer import ENDOFTEXT, IM_END, N_TOKENS

    if options.checkpoint:
        model, facts = pretrained.load_model(options.checkpoint)
        template = facts["template"]
    else:
        model, template = random_model(options.preset), "text"
    checkpoint.save(folder / "model.pt", checkpoint.model_content(model, template=template))
    config, machine = model.config, device.choose()
    others = [name for name in ("transformers", "llama.cpp") if name in wanted]
    left_out = {}
    if config.vocab_size < N_TOKENS:
        reason = f"the model has {config.vocab_size:,} rows for a vocabulary of {N_TOKENS:,} tokens"
        others, left_out = [], dict.fromkeys(others, reason)
    if "transformers" in others:
        save_folder(model, folder / "huggingface", template)
    if "llama.cpp" in others:
        left_out = _write_gguf(model, folder, template)
    prompt = _prompt(config, template)
    own = str(machine.inference_dtype()).removeprefix("torch.")
    name = options.checkpoint or f"random weights, preset {options.preset}"
    return Work(
        folder=folder,
        about=f"{name}: {model.n_params() / 1e6:.1f}M parameters",
        machine=machine.name(),
        block_size=config.block_size,
        prompt=prompt,
        n_tokens=min(options.tokens, config.block_size - len(prompt)),
        n_threads=torch.get_num_threads(),
        ends=[i for i in (ENDOFTEXT, IM_END) if i < config.vocab_size],
        own_dtypes=list(dict.fromkeys([own, "float32"])),
        dtypes=list(DTYPES) if "transformers" in others else [],
        kinds=[k for k in KINDS if (folder / f"{k}.gguf").exists()],
        uncached="uncached" in wanted,
        left_out=left_out,
    )


def _write_gguf(model: GPT, folder: Path, template: str) -> dict[str, str]:
    """Write what can be written; the rest, and why it cannot."""
    from jojo.export import gguf

    left_out = {}
    for kind in KINDS:
        path = folder / f"{kind}.gguf"
        try:
            gguf.check(model.config, kind)
            gguf.write(model, path, kind, template, {})
        except ValueError as error:
            path.unlink(missing_ok=True)
            left_out[f"llama.cpp {kind}"] = str(error).partition(": choose `type`")[0]
    return left_out


def _prompt(config: GPTConfig, template: str) -> list[int]:
    from jojo.text.template import encode_prompt, template_named

    role = "user" if template_named(template).is_chat else "assistant"
    ids = encode_prompt([{"role": role, "content": PROMPT}], template)
    return [i % config.vocab_size for i in ids[-(config.block_size // 2) :]]


def random_model(preset: str) -> GPT:
    """A model of a preset's size with random weights everywhere, the same ones each time."""
    import torch

    from model import GPT, PRESETS, GPTConfig

    torch.manual_seed(0)
    model = GPT(GPTConfig(**PRESETS[preset])).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() > 1 and name != "wte.weight":
                p.normal_(0.0, 0.02)
    return model
