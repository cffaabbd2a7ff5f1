"""llama.cpp, asked in a process of its own: what it makes of a GGUF file; its quantizer.

    seen = observe(path, prompts, n_tokens=32, texts=["Hi!"], chats=[messages])
    quantize(Path("chat.f32.gguf"), Path("chat.q4_k_m.gguf"), LlamaFileType.MOSTLY_Q4_K_M)

It comes with xllamacpp (https://github.com/xorbitsai/xllamacpp), its quantizer with an installed
llama.cpp or with cyllama (https://github.com/shakfu/cyllama). Both are C++: a damaged file may end
their process, which is why it is not ours. It imports this module: nothing heavy stands above.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from jojo.export import process

if TYPE_CHECKING:
    from gguf import LlamaFileType

    from jojo.text.template import Message

TIMEOUT = 600  # seconds for one answer
INSTALL = "pip install xllamacpp"
INSTALL_QUANTIZER = "pip install cyllama"


@dataclass
class Continuation:
    """What was written after a prompt, the likeliest token each time."""

    ids: list[int]  # with the one that ends it, if one did
    logprobs: list[float] | None  # of these ids, natural; None where llama.cpp left some out


@dataclass
class Seen:
    """What llama.cpp made of what it was asked."""

    continuations: list[Continuation] = field(default_factory=list)  # one a prompt
    ids: list[list[int]] = field(default_factory=list)  # of the texts
    rendered: list[str] = field(default_factory=list)  # the chats, up to the next reply
    # to the talks: (text, why it ended)
    replies: list[tuple[str, str]] = field(default_factory=list)


def version() -> str | None:
    """Of xllamacpp; None where it is not installed."""
    return metadata.version("xllamacpp") if find_spec("xllamacpp") else None


def observe(
    path: Path,
    prompts: Sequence[Sequence[int]],
    n_tokens: int,
    texts: Sequence[str] = (),
    chats: Sequence[Sequence[Message]] = (),
    talks: Sequence[Sequence[Message]] = (),
    n_threads: int = 2,
) -> Seen:
    """Continue each prompt greedily, tokenize `texts`, render `chats`, reply to `talks`.

    ValueError where llama.cpp cannot load the file.
    """
    prompts = [list(prompt) for prompt in prompts]
    asked = list(texts), list(chats), list(talks)
    return apart(_observe, str(path), prompts, n_tokens, *asked, n_threads)


def _observe(path, prompts, n_tokens, texts, chats, talks, n_threads) -> Seen:
    # the weights are compared, not roundings of the cache
    running = server(path, n_threads, float32_cache=True, warmup=False, flash=False)
    seen = Seen()
    greedily = {"n_predict": n_tokens, "temperature": 0, "cache_prompt": False}
    for prompt in prompts:
        request = {"prompt": prompt, "n_probs": 1, "return_tokens": True, **greedily}
        answer = ask(running, "completion", request)
        ids, likely = answer["tokens"], answer.get("completion_probabilities", [])
        # tokens that are no whole character stand in `tokens` alone
        is_whole = [token["id"] for token in likely] == ids
        logprobs = [token["logprob"] for token in likely] if is_whole else None
        seen.continuations.append(Continuation(ids, logprobs))
    for text in texts:
        request = {"content": text, "add_special": False, "parse_special": False}
        seen.ids.append(ask(running, "tokenize", request)["tokens"])
    for messages in chats:
        seen.rendered.append(ask(running, "apply-template", {"messages": messages})["prompt"])
    for messages in talks:
        answer = ask(running, "v1/chat/completions", {"messages": messages, **greedily})
        choice = answer["choices"][0]
        seen.replies.append((choice["message"]["content"] or "", choice["finish_reason"]))
    return seen


def ask(server, what: str, request: dict) -> dict:
    """The answer of a running server to POST /`what`; RuntimeError where it has none."""
    import requests

    with requests.Session() as http:
        http.trust_env = False  # a proxy has no part in what this machine asks itself
        answer = http.post(f"{server.listening_address}/{what}", json=request, timeout=TIMEOUT)
    if not answer.ok:
        raise RuntimeError(f"{what}: {answer.text[:200]}")
    return answer.json()


def server(path: str, n_threads: int, float32_cache: bool, warmup: bool = True, flash: bool = True):
    """A server in this process, for one text at a time, on any free port."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_parallel, params.warmup, params.port = 1, warmup, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = n_threads
    if float32_cache:
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    if not flash:
        kinds = xllamacpp.llama_flash_attn_type
        params.flash_attn_type = kinds.LLAMA_FLASH_ATTN_TYPE_DISABLED
    return xllamacpp.Server(params)


# ---------------------------------------------------------------- quantizing


def check_quantizer() -> None:
    """ValueError where there is none."""
    if not shutil.which("llama-quantize") and not find_spec("cyllama"):
        raise ValueError(
            "k-quants are made by llama.cpp's own quantizer, which is not installed: "
            f"{INSTALL_QUANTIZER}, or put llama-quantize on the PATH"
        )


def quantize(source: Path, target: Path, file_type: LlamaFileType) -> None:
    """`source`, a float32 GGUF file, with its matrices packed as `file_type` has it."""
    check_quantizer()
    program = shutil.which("llama-quantize")
    if program is None:
        apart(_quantize, str(source), str(target), int(file_type))
        return
    kind = file_type.name.removeprefix("MOSTLY_")
    command = [program, str(source), str(target), kind]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise ValueError(f"llama-quantize failed: {_last_line(done.stdout + done.stderr)}")


def _quantize(source: str, target: str, file_type: int) -> None:
    from cyllama.llama import llama_cpp

    params = llama_cpp.LlamaModelQuantizeParams()
    params.ftype, params.nthread = file_type, os.cpu_count() or 1
    llama_cpp.model_quantize(source, target, params)


# ---------------------------------------------------------------- its process


def apart(function: Callable, *arguments):
    """Call `function` in a new process; what that prints is kept for when it fails."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        try:
            return process.apart(function, *arguments, log=log)
        except (BrokenProcessPool, RuntimeError) as error:
            said = log.read_text(errors="replace") if log.exists() else ""
            reason = _last_line(said) or _last_line(str(error))
            raise ValueError(f"llama.cpp failed: {reason}") from None


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or [""])[-1][:300]
