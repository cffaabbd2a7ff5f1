"""bench.py gen: every program runs, and chooses the tokens that we choose."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from jojo.export.hf_folder import as_transformers
from jojo.files import ROOT
from jojo.measure import generation
from jojo.measure.config import BenchConfig
from jojo.measure.generation import OURS, random_model, wanted_programs
from jojo.models import checkpoint


@pytest.fixture
def bench_gen(tiny_model, tmp_path, monkeypatch):
    """Measures a tiny chat model; all but llama.cpp in this process, which is quicker."""
    monkeypatch.setattr(generation, "apart", lambda function, *arguments: function(*arguments))

    def measure(against: str | None, tokens: int = 12, **changes) -> dict:
        path, model = tmp_path / "tiny.pt", tiny_model(**changes)
        checkpoint.save(path, checkpoint.model_content(model, template="chatml"))
        options = {"checkpoint": str(path), "against": against, "tokens": tokens, "repeats": 1}
        return generation.measure(BenchConfig(what="gen", **options))

    return measure


def rates(measured: dict) -> dict[str, float]:
    return {name: run["tokens_per_second"] for name, run in measured["results"].items()}


def test_generation_is_measured_beside_itself_uncached(bench_gen):
    found = rates(bench_gen("uncached"))
    assert {"gen.py float32", "uncached float32"} <= set(found)
    assert min(found.values()) > 0


def test_generation_is_measured_beside_transformers(bench_gen):
    pytest.importorskip("transformers")
    measured = bench_gen("transformers")
    assert {"transformers float32", "transformers bfloat16"} <= set(rates(measured))
    assert measured["same_tokens"] == {"transformers float32": 12}


def test_generation_is_measured_beside_llama_cpp(bench_gen, capsys):
    pytest.importorskip("xllamacpp")
    measured = bench_gen("llama.cpp")  # rows of 48, which q8_0 cannot pack
    theirs = {n: run for n, run in measured["results"].items() if n.startswith("llama.cpp")}
    assert set(theirs) == {"llama.cpp f32", "llama.cpp f16"}
    assert min(run["tokens_per_second"] for run in theirs.values()) > 0
    assert min(run["peak_memory_bytes"] for run in theirs.values()) > 1 << 20
    assert measured["same_tokens"] == {"llama.cpp f32": 12}
    said = capsys.readouterr().err
    assert "llama.cpp q8_0 left out: q8_0 packs 32 numbers" in said
    assert "llama.cpp f32 chose the tokens of gen.py float32: all 12" in said


def test_no_more_is_generated_than_the_context_holds(bench_gen, capsys):
    measured = bench_gen("uncached", tokens=512)  # of 64
    assert 0 < measured["tokens"] < 64
    assert "512 tokens after a prompt of" in capsys.readouterr().err


def test_what_cannot_run_a_model_is_left_out_or_refused(bench_gen, complaint, capsys):
    pytest.importorskip("transformers")
    pytest.importorskip("xllamacpp")
    for against in ("transformers", "llama.cpp"):
        why = complaint(bench_gen, against, vocab_size=300)
        assert why.startswith(f"`against` {against}: the model has 300 rows")
    assert "tanh" in complaint(bench_gen, "llama.cpp", arch="gpt2", gelu="exact")
    assert set(rates(bench_gen(None, vocab_size=300))) >= {OURS, "uncached float32"}
    assert "transformers, llama.cpp left out: the model has 300 rows" in capsys.readouterr().err


def test_unknown_and_missing_programs_are_named(complaint, monkeypatch, capsys):
    for against in ("lama.cpp", "", "transformers,"):
        assert "none of uncached, transformers, llama.cpp" in complaint(wanted_programs, against)
    monkeypatch.setattr(generation, "find_spec", lambda name: None if name == "xllamacpp" else True)
    assert complaint(wanted_programs, "llama.cpp").endswith("pip install xllamacpp")
    assert wanted_programs(None) == ["uncached", "transformers"]
    assert "pip install xllamacpp" in capsys.readouterr().err
    assert wanted_programs("transformers, uncached") == ["transformers", "uncached"]


def test_the_process_that_measures_stays_small():
    """What it holds would count as held by llama.cpp, too."""
    code = "import sys, jojo.measure.generation; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@torch.inference_mode()
def test_the_model_that_transformers_runs_is_the_same():
    model = random_model("tiny")
    ids = torch.arange(100, 116)[None]
    theirs = as_transformers(model)
    torch.testing.assert_close(theirs(ids).logits, model(ids), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_the_command_compares_with_every_program():
    pytest.importorskip("transformers")
    pytest.importorskip("xllamacpp")
    flags = ["--preset", "tiny", "--tokens", "8", "--repeats", "1", "--json"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench.py"), "gen", *flags],
        capture_output=True,
        text=True,
        check=True,
    )
    measured = json.loads(done.stdout)
    assert measured["ours"]["peak_memory_bytes"] > 0
    for name in ("uncached float32", "transformers bfloat16", "llama.cpp q8_0"):
        assert measured["ratios"][name] > 0
        assert f"times {name}" in done.stderr
    assert set(measured["ratios_float32"]) == {"transformers float32", "llama.cpp f32"}
