"""The programs that `bench.py gen` compares: each opens a model from files and generates.

A function here runs in a process of its own, which imports this module: nothing heavy stands above.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jojo.export import llamacpp


@dataclass(frozen=True)
class Work:
    """A model as files in `folder`, and what every program is asked."""

    folder: Path  # model.pt, huggingface/, KIND.gguf
    about: str
    machine: str
    block_size: int
    prompt: list[int]
    n_tokens: int
    n_threads: int
    ends: list[int]  # ids that would end the text
    own_dtypes: list[str]  # what gen.py chooses, and float32
    dtypes: list[str]  # of transformers
    kinds: list[str]  # of llama.cpp
    uncached: bool
    left_out: dict[str, str]  # a program -> why


def in_ours(work: Work, dtype: str) -> dict:
    """gen.py's engine, one sequence."""
    import torch

    from jojo.chat.config import SamplingOptions
    from jojo.chat.engine import Drawing
    from jojo.chat.opened import open_model
    from jojo.text.template import template_named

    model = open_model(str(work.folder / "model.pt"), "auto", dtype).model
    text = template_named("text")

    def generate(n: int) -> list[int]:
        options = SamplingOptions(temp=0.0, max_tokens=n)
        drawing = Drawing(
            model, work.prompt, text, options, torch.Generator(), nonstop=True, banned=work.ends
        )
        return drawing.run()[0].ids

    return _clocked(generate, work.n_tokens)


def uncached(work: Work) -> dict:
    """Float32 decoding that reads the whole text again for each token, as nanoGPT does.

    Timed at nine lengths between the first and the last and integrated over all of them.
    """
    import numpy as np
    import torch

    from jojo.chat.opened import open_model

    opened = open_model(str(work.folder / "model.pt"), "auto", "float32")
    first, n = len(work.prompt), work.n_tokens

    def seconds_to_read(length: int) -> float:
        ids = torch.randint(0, opened.model.config.vocab_size, (1, length))
        ids = ids.to(opened.machine.device)
        began = time.perf_counter()
        opened.model(ids)
        opened.machine.synchronize()
        return time.perf_counter() - began

    lengths = np.linspace(first, first + n - 1, 9).astype(int)
    with torch.inference_mode():
        seconds = [min(seconds_to_read(int(length)) for _ in range(2)) for length in lengths]
    each = np.interp(np.arange(first, first + n), lengths, seconds)
    return {"tokens_per_second": n / each.sum()}


def in_transformers(work: Work, dtype: str) -> dict:
    import torch
    import transformers

    from jojo import device
    from tokenizer import N_TOKENS

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    where = device.choose().device
    model = transformers.AutoModelForCausalLM.from_pretrained(
        work.folder / "huggingface", dtype=getattr(torch, dtype)
    )
    model.to(where).eval()
    # its own ways to ban tokens take up to a tenth of a small model's time
    model.generation_config.eos_token_id = model.generation_config.suppress_tokens = None
    no_tokens = range(N_TOKENS, model.config.vocab_size)
    never = torch.tensor([*work.ends, *no_tokens], dtype=torch.long, device=where)
    prompt = torch.tensor([work.prompt], device=where)

    def ban(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return scores.index_fill_(1, never, -torch.inf)

    @torch.inference_mode()
    def generate(n: int) -> list[int]:
        how = {"do_sample": False, "max_new_tokens": n, "logits_processor": [ban]}
        return model.generate(prompt, **how)[0, len(work.prompt) :].tolist()

    return _clocked(generate, work.n_tokens)


def in_llamacpp(work: Work, kind: str) -> dict:
    server = _server(work, kind)
    request = _request(work)

    def generate(n: int) -> range:
        answer = server.handle_completions(request | {"n_predict": n})
        return range(answer["timings"]["predicted_n"])  # it does not tell the ids

    import resource

    result = _clocked(generate, work.n_tokens)
    del result["ids"]
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return result | {"peak_memory_bytes": peak}


def ids_in_llamacpp(work: Work, kind: str) -> list[int]:
    """What it chooses. Its completions tell the text alone, its own interface all ids."""
    server = _server(work, kind)
    request = _request(work) | {"n_predict": work.n_tokens, "return_tokens": True}
    return llamacpp.ask(server, "completion", request)["tokens"]


def _server(work: Work, kind: str):
    """Its own defaults, except that the cache of f32 is float32, as in the other programs."""
    path = str(work.folder / f"{kind}.gguf")
    return llamacpp.server(path, work.n_threads, float32_cache=kind == "f32")


def _request(work: Work) -> dict:
    return {"prompt": work.prompt, "temperature": 0, "ignore_eos": True, "cache_prompt": False}


def build_of_llamacpp() -> str:
    import xllamacpp

    built = xllamacpp.get_system_info()
    used = re.findall(r"(\w+) = 1", built)
    text = f"xllamacpp {llamacpp.version()}: llama.cpp built for {', '.join(used)}"
    cpu = Path("/proc/cpuinfo")
    if cpu.exists() and "avx512f" in cpu.read_text() and "AVX512" not in used:
        text += "; not for this CPU's AVX-512: compiled on this machine it may be faster"
    return text


def _clocked(generate: Callable[[int], list[int]], n_tokens: int) -> dict:
    """`generate(n)` gives n ids. The rate is of the tokens after the first."""
    generate(2)  # warm up

    def seconds_to_first() -> float:
        began = time.perf_counter()
        generate(1)
        return time.perf_counter() - began

    first = min(seconds_to_first() for _ in range(3))
    began = time.perf_counter()
    ids = generate(n_tokens)
    seconds = time.perf_counter() - began
    assert len(ids) == n_tokens, (len(ids), n_tokens)
    return {
        "tokens_per_second": (n_tokens - 1) / (seconds - first),
        "first_token_seconds": first,
        "ids": ids,
    }
