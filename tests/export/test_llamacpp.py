"""llama.cpp: it goes on as we do, tokenizes as we do, and fails in one line."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import GGUF_SHAPES

import tokenizer
from jojo.chat.config import SamplingOptions
from jojo.chat.sampling import generate
from jojo.export import gguf, llamacpp
from jojo.text.template import template_named
from model import GPT, GPTConfig
from tokenizer import N_TOKENS

pytest.importorskip("xllamacpp")


def greedy(model: GPT, prompt: list[int], n_tokens: int, ends: list[int]) -> list[int]:
    """What `model` writes after `prompt`, with the token that ends it."""
    ids = []
    options = SamplingOptions(temp=0.0, max_tokens=n_tokens)
    for (drawn,) in generate(model, prompt, options, torch.Generator()):
        ids.append(drawn)
        if drawn in ends:
            break
    return ids


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["jojo, grouped", "gpt2"])
def test_greedy_continuations_of_a_hundred_prompts(shape, written_gguf):
    model, path = written_gguf(**GGUF_SHAPES[shape], block_size=128)
    rng = random.Random(0)
    prompts = [[rng.randrange(N_TOKENS) for _ in range(rng.randint(1, 60))] for _ in range(100)]
    seen = llamacpp.observe(path, prompts, 64, n_threads=1)
    ends = template_named("chatml").end_ids
    ours = [greedy(model, prompt, 64, ends) for prompt in prompts]
    equal = sum(c.ids == ids for c, ids in zip(seen.continuations, ours, strict=True))
    assert equal >= 95, equal


ODD = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)


@pytest.fixture(scope="module")
def any_file(tmp_path_factory):
    model = GPT(GPTConfig(n_layer=1, n_head=1, n_embd=32, block_size=64, tie_embeddings=True))
    path = tmp_path_factory.mktemp("gguf") / "any.gguf"
    gguf.write(model.eval(), path, "f32", "chatml", {})
    return path


@settings(max_examples=3)
@given(st.lists(ODD, min_size=150, max_size=150))
def test_tokens_of_anything(any_file, texts):
    seen = llamacpp.observe(any_file, [], 1, texts)
    assert seen.ids == [tokenizer.encode(text) for text in texts]


@pytest.mark.slow
def test_tokens_of_real_chats(any_file, realdata):
    lines = []
    for path in sorted(realdata.rglob("*.txt"))[:40]:
        lines += path.read_text(encoding="utf-8", errors="ignore").splitlines()[:400]
    texts = [line for line in lines if line][:5000]
    assert len(texts) > 1000
    seen = llamacpp.observe(any_file, [], 1, texts)
    differing = [t for t, ids in zip(texts, seen.ids, strict=True) if ids != tokenizer.encode(t)]
    assert not differing


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF\x03\0\0\0" + b"\xff" * 64], ids=repr)
def test_damaged_files_are_one_line(content, tmp_path, complaint):
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    assert "llama.cpp failed" in complaint(llamacpp.observe, path, [[1]], 2)
    pytest.importorskip("cyllama")
    kind = gguf.K_QUANTS["q4_k_m"]
    assert "llama.cpp failed" in complaint(llamacpp.quantize, path, tmp_path / "y.gguf", kind)


def test_a_missing_quantizer_is_named(monkeypatch, complaint):
    monkeypatch.setattr(llamacpp, "find_spec", lambda name: None)
    monkeypatch.setattr(llamacpp.shutil, "which", lambda name: None)
    assert "pip install cyllama" in complaint(llamacpp.check_quantizer)


def test_llamacpps_own_program_comes_first(monkeypatch, tmp_path, complaint):
    program = tmp_path / "llama-quantize"
    program.write_text('#!/bin/sh\ncp "$1" "$2"; echo "$3" > "$2.kind"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (tmp_path / "a").write_text("x")
    llamacpp.quantize(tmp_path / "a", tmp_path / "b", gguf.K_QUANTS["q4_k_m"])
    assert (tmp_path / "b.kind").read_text() == "Q4_K_M\n"
    program.write_text("#!/bin/sh\necho 'error: no room' >&2; exit 1\n")
    kind = gguf.K_QUANTS["q6_k"]
    assert "no room" in complaint(llamacpp.quantize, tmp_path / "a", tmp_path / "b", kind)
