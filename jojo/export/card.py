"""The model card: README.md of an exported model, as huggingface.co shows it.

    text = card(model, facts, "chat", "models/chat5000.pt", ["model.safetensors"], Path("data"))

It may be published: of people's own data it names only what jojo/models/provenance.py lets through.
The replies in it are the model's own words, which may be its data's. Format:
https://huggingface.co/docs/hub/model-cards
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from jojo.chat.config import SamplingOptions
from jojo.chat.engine import Drawing
from jojo.export import ollama
from jojo.export.publish import command_of
from jojo.models.names import HUB_ID
from jojo.models.provenance import NAMELESS, Stage, public_name, stages_of, strictest
from jojo.text.template import Message, Template, encode_prompt, render, template_named
from jojo.train.validation import loss_name
from model import GPT
from tokenizer import N_TOKENS

if TYPE_CHECKING:
    from jojo.export.proof import Check

OPENINGS = ("Hello, how are you today?", "What do you like to do?", "Can you help me?")
BEGINNINGS = ("Once upon a time", "The most important thing is", "When I came home,")
SAMPLE_TOKENS = 64
MAX_SOURCES = 30
LEAST_LANGUAGE = 0.1  # of the conversations
LOSS_ON = {"all": "every token", "assistant": "what the assistant says"}
NOT_KNOWN = "not known"
OF_THE_HUB = re.compile(  # (whether it was read from there, owner/name)
    r"(?:(downloaded from )(?:https://huggingface\.co/datasets/)?|https://huggingface\.co/datasets/)"
    r"([\w-][\w.-]*/[\w.-]+)(?:/.*)?"
)


def licence_of(facts: dict, data_dir: Path, source: str = "") -> str | None:
    """The hub's name for the strictest licence of what a model was made from, where it is known."""
    return strictest([stage.licence for stage in stages_of(facts, data_dir, source)])


def card(
    model: GPT,
    facts: dict,
    name: str,
    source: str,
    files: Sequence[str],
    data_dir: Path,
    checks: Sequence[Check] = (),
    usage: str | None = None,
) -> str:
    """README.md of what `files` name. `usage`: how to load an adapter, which its base decides."""
    from jojo.export.proof import table

    template, stages = template_named(facts["template"]), stages_of(facts, data_dir, source)
    sections = {
        "Use": usage or _usage(name, files, template),
        "Samples": _samples(model, template),
        "Figures": _figures(model, facts, files, stages[0]),
        "Data": "\n\n".join(map(_data, stages)),
        "How it was made": _command(facts, source, any(stage.is_private for stage in stages)),
        "Checked": _block(table(checks)) if checks else "Not compared with the model it came from.",
        "Template": _template(template),
        "Limits": _limits(template, stages),
        "Licence": _licence([stage.licence for stage in stages]),
    }
    text = f"{_front_matter(files, template, stages)}\n\n# {_plain(name)}\n\n"
    text += _summary(model, stages)
    text += "".join(f"\n\n## {title}\n\n{body}" for title, body in sections.items())
    return f"{text}\n".encode("utf-8", "replace").decode("utf-8")  # names may be any bytes


def _kind(files: Sequence[str]) -> str:
    if any(file.endswith(".gguf") for file in files):
        return "gguf"
    return "peft" if any(file.startswith("adapter_") for file in files) else "transformers"


def _front_matter(files: Sequence[str], template: Template, stages: list[Stage]) -> str:
    kind, told = _kind(files), [stage.data for stage in stages if stage.data]
    sources = [str(source) for data in told for source in _of(data, "sources", list)]
    hub = [found for source in sources if (found := OF_THE_HUB.fullmatch(source))]
    shares = [pair for data in told for pair in _of(data, "languages", dict).items()]
    tags = ["jojo", *(["conversational"] if template.is_chat else [])]
    fields = {
        "license": strictest([stage.licence for stage in stages]) or "unknown",
        "pipeline_tag": "text-generation",
        "library_name": None if kind == "gguf" else kind,
        "tags": tags + {"gguf": ["gguf"], "peft": ["lora"]}.get(kind, []),
        "base_model": next((s.source for s in stages if HUB_ID.fullmatch(s.source or "")), None),
        "datasets": [found[2] for found in hub if found[1]] or [found[2] for found in hub],
        "language": [
            code
            for code, share in shares
            if re.fullmatch("[a-z]{2,3}", str(code)) and _number(share) and share >= LEAST_LANGUAGE
        ],
    }
    unique = {k: list(dict.fromkeys(v)) if isinstance(v, list) else v for k, v in fields.items()}
    lines = [f"{k}: {json.dumps(v)}" for k, v in unique.items() if v]  # JSON is YAML
    return "\n".join(["---", *lines, "---"])


def _summary(model: GPT, stages: list[Stage]) -> str:
    shape = "GPT-2's" if model.config.arch == "gpt2" else "Qwen3's"
    made = "trained with Jojo"
    if stages[0].source:
        made = f"{_source(stages[0])} as it is, converted with Jojo"
    elif stages[1:]:
        made = f"{_source(stages[1])}, trained further with Jojo"
    return f"A language model of {shape} shape and {model.n_params():,} parameters: {made}."


def _usage(name: str, files: Sequence[str], template: Template) -> str:
    if gguf := next((f for f in files if f.endswith(".gguf")), None):
        file = shlex.quote(gguf)
        lines = [f"llama-cli -m {file} --jinja -cnv", f"llama-server -m {file} --jinja"]
        if not template.is_chat:
            lines = [f"llama-completion -m {file} -no-cnv -p {shlex.quote(BEGINNINGS[0])}"]
        for modelfile in (f for f in files if f.endswith("Modelfile")):
            lines += ollama.commands(Path(modelfile), ollama.name_of(Path(gguf)))
        return "With llama.cpp, or what is built on it:\n\n" + _block("\n".join(lines), "bash")
    called = json.dumps(name)
    said, reply = json.dumps(BEGINNINGS[0]), '["generated_text"]'
    if template.is_chat:
        said, reply = json.dumps([_user(OPENINGS[0])]), f'{reply}[-1]["content"]'
    code = (
        "from transformers import pipeline\n\n"
        f'model = pipeline("text-generation", model={called})  # the folder, or OWNER/NAME\n'
        f"prompt = {said}\n"
        f"print(model(prompt, max_new_tokens=100)[0]{reply})"
    )
    return _block(code, "python")


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _samples(model: GPT, template: Template) -> str:
    vocab_size, shown = model.config.vocab_size, []
    if vocab_size < N_TOKENS:
        return f"None: its vocabulary has {vocab_size:,} rows, the tokenizer {N_TOKENS:,} tokens."
    try:
        for prompt in OPENINGS if template.is_chat else BEGINNINGS:
            reply = _reply(model, prompt, template)
            shown.append(f"> {prompt}\n{reply}" if template.is_chat else prompt + reply)
    except ValueError as error:  # weights that are not numbers, a context too short for a prompt
        return f"None: {_plain(str(error).partition(':')[0])}."
    return f"Its likeliest words, at most {SAMPLE_TOKENS} tokens:\n\n" + _block("\n\n".join(shown))


def _reply(model: GPT, prompt: str, template: Template) -> str:
    messages = [_user(prompt) if template.is_chat else _assistant(prompt)]
    ids = encode_prompt(messages, template.name)
    options = SamplingOptions(temp=0.0, max_tokens=SAMPLE_TOKENS)
    (reply,) = Drawing(model, ids, template, options, torch.Generator()).run()
    return reply.shown


def _figures(model: GPT, facts: dict, files: Sequence[str], stage: Stage) -> str:
    c, metrics = model.config, _of(facts, "metrics", dict)
    packed = re.search(r"[.-](b?f16|f32|q\d\w*)\.gguf", " ".join(files), re.IGNORECASE)
    numbers = (packed[1] if packed else "") if _kind(files) == "gguf" else "float32"
    hashes = _of(stage.data or {}, "sha256", dict)
    held_out = not hashes or hashes.get("train") != hashes.get("val")
    val_loss = metrics.get("val_loss")
    perplexity = math.exp(val_loss) if _number(val_loss) and val_loss < 20 else None
    rows = {
        "parameters": f"{model.n_params():,}, of which {model.wte.weight.numel():,} embed tokens"
        + (" (and are the head, too)" if c.tie_embeddings else " (and the head has as many)"),
        "layers": f"{c.n_layer}, {c.n_embd} wide",
        "heads": f"{c.n_head}, {c.head_dim} wide, {c.n_kv_head} for keys and values",
        "context": f"{c.block_size:,} tokens",
        "precision": numbers,
        "steps trained": _number(facts.get("step")),
        "training loss": _number(metrics.get("loss"), ".4f"),
        loss_name(held_out): _number(val_loss, ".4f"),
        "lowest of the run": _number(metrics.get("best_val_loss"), ".4f"),
        "perplexity": f"{perplexity:.2f} a token" if perplexity else "",
        "loss is of": LOSS_ON.get(str(_of(facts, "train_config", dict).get("loss_on"))),
    }
    return "| | |\n|---|---|\n" + "\n".join(f"| {k} | {v} |" for k, v in rows.items() if v)


def _data(stage: Stage) -> str:
    of = f"What {_source(stage)} learned from" if stage.source else "What it learned from"
    if not (data := stage.data):
        return f"{of} is not known here."
    name = _code(str(data.get("name"))) if stage.licence else NOT_KNOWN
    name = "the author's own files" if stage.is_own else name
    lines = [f"{of}: {name}; licence: {_plain(stage.licence) or NOT_KNOWN}", ""]
    kind = "documents" if data.get("template") == "text" else "conversations"
    for split, digest in _of(data, "sha256", dict).items():
        n, k = (_number(_of(data, x, dict).get(split)) for x in ("tokens", "conversations"))
        size = f"{n} tokens in {k} {kind}, " if n and k else ""
        lines.append(f"- {_plain(str(split))}: {size}sha256 {_code(str(digest))}")
    sources = list(dict.fromkeys(map(str, _of(data, "sources", list))))
    lines += [f"- from {_code(source)}" for source in sources[:MAX_SOURCES]]
    more = len(sources) - MAX_SOURCES
    return "\n".join([*lines, f"- and {more:,} more"] if more > 0 else lines)


def _source(stage: Stage) -> str:
    return NAMELESS if stage.source == NAMELESS else _code(stage.source)


def _command(facts: dict, source: str, is_private: bool) -> str:
    exported = f"Exported from {NAMELESS if is_private else _code(public_name(source))}"
    if command := command_of(facts, is_private):
        left_out = " (the names and files in it are left out)" if is_private else ""
        return f"{exported}, which this command made{left_out}:\n\n{_block(command, 'bash')}"
    return f"{exported}."


def _template(template: Template) -> str:
    what, said = "A text", [_assistant(f"{BEGINNINGS[0]} there was a cat.")]
    if template.is_chat:
        what, said = "A conversation", [_user(OPENINGS[0]), _assistant("Fine, thanks!")]
    text = json.dumps(render(said, template.name))
    return f"{what} as it learned them, every character, as JSON:\n\n{_block(text)}"


def _limits(template: Template, stages: list[Stage]) -> str:
    lines = [
        "- It is small: it sounds right rather than is right. Rely on nothing that it says.",
        "- Nothing moderates it: what stood in its data it may repeat, unkind words included.",
    ]
    if template.name == "chatml":
        lines.append(
            "- Hugging Face's tokenizers take `<|im_end|>` typed by a user for the end of the "
            "turn. A program that must not be fooled encodes each message apart, with "
            "`split_special_tokens=True`."
        )
    if any(stage.is_own for stage in stages):
        lines.append(
            "- It learned from somebody's own files and may say parts of them word for word: "
            "share it only if those who wrote them agree."
        )
    return "\n".join(lines)


def _licence(stated: Sequence[str]) -> str:
    named = strictest(stated)
    chosen = f"`{named}`, the strictest" if named else "Not known: ask whoever made the model"
    each = "; ".join(dict.fromkeys(_plain(text) or NOT_KNOWN for text in stated))
    return (
        f"{chosen}. The licences of what it was made from: {each}. Jojo's own, MIT, is of its code "
        "and not of this model."
    )


# ---------------------------------------------------------------- Markdown, and facts of any types


def _block(text: str, language: str = "") -> str:
    """A block of code that nothing in `text` can close."""
    text = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", "\ufffd", text)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def _code(text: str) -> str:
    text = " ".join(text.split()) or "?"
    ticks = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{ticks} {text} {ticks}" if "`" in text else f"{ticks}{text}{ticks}"


def _plain(text: str) -> str:
    """Text in which no character is Markdown or HTML."""
    text = re.sub(r"([\\`*_{}\[\]#|~$])", r"\\\1", " ".join(text.split()))
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _number(value: object, form: str = ",") -> str:
    """Of a number that can be shown; else nothing."""
    is_number = type(value) in (int, float) and abs(value) < 1e15  # and so no NaN
    return f"{value:{form}}" if is_number else ""


def _of(facts: dict, name: str, kind: type) -> dict | list:
    return value if isinstance(value := facts.get(name), kind) else kind()
