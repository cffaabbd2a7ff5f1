"""GGUF files: what stands in them, and that llama.cpp makes of them what our model does."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import gguf as package
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tokenizer
from jojo.chat.config import SamplingOptions
from jojo.chat.sampling import generate
from jojo.export import gguf, llamacpp, proof, proof_gguf
from jojo.files import must_have_room
from jojo.text.dialects import JINJA
from jojo.text.template import template_named
from model import GPT, GPTConfig
from tokenizer import ENDOFTEXT, IM_END, IM_START, N_TOKENS

pytest.importorskip("xllamacpp")

SHAPES = {
    "jojo": {},
    "jojo, tied": {"tie_embeddings": True},
    "jojo, grouped": {"n_kv_head": 2, "head_dim": 12, "rope_theta": 5e5, "norm_eps": 1e-5},
    "gpt2": {"arch": "gpt2"},
    "gpt2, untied": {"arch": "gpt2", "tie_embeddings": False, "n_inner": 64},
}
PACKABLE = {"n_layer": 1, "n_embd": 256, "n_inner": 256, "tie_embeddings": True}


@pytest.fixture
def written(tiny_model, tmp_path):
    """(a model, its file) of a shape and a type."""

    def write(kind: str = "f32", template: str = "chatml", **shape) -> tuple[GPT, Path]:
        model = tiny_model(vocab_size=50304, **shape)
        gguf.check(model.config, kind)
        path = tmp_path / f"model.{kind}.gguf"
        gguf.write(model, path, kind, template, {"name": "model", "license": "mit"})
        return model, path

    return write


def fields(path: Path) -> dict:
    reader = package.GGUFReader(path)
    return {name: field.contents() for name, field in reader.fields.items()}


# what stands in the file


def test_tokens_template_and_ends_are_inside(written):
    _, path = written()
    found = fields(path)
    assert found["general.architecture"] == "qwen3"
    assert found["general.name"] == "model"
    assert found["general.license"] == "mit"
    tokens, kinds = found["tokenizer.ggml.tokens"], found["tokenizer.ggml.token_type"]
    assert len(tokens) == len(kinds) == N_TOKENS
    assert (tokens[IM_END], tokens[IM_START]) == ("<|im_end|>", "<|im_start|>")
    control = [i for i, kind in enumerate(kinds) if kind == package.TokenType.CONTROL]
    assert control == [ENDOFTEXT, IM_END, IM_START]
    assert len(found["tokenizer.ggml.merges"]) == 50000
    assert found["tokenizer.ggml.pre"] == "gpt-2"
    assert found["tokenizer.ggml.eos_token_id"] == found["tokenizer.ggml.eot_token_id"] == IM_END
    assert found["tokenizer.ggml.add_bos_token"] is False
    assert found["tokenizer.chat_template"] == JINJA["chatml"]


@pytest.mark.parametrize(
    ("template", "eos", "eot"),
    [("person", ENDOFTEXT, 198), ("speaker", ENDOFTEXT, 198), ("text", ENDOFTEXT, None)],
)
def test_ends_of_other_templates(template, eos, eot, written):
    found = fields(written(template=template)[1])
    assert found["tokenizer.ggml.eos_token_id"] == eos
    assert found.get("tokenizer.ggml.eot_token_id") == eot
    assert found.get("tokenizer.chat_template") == JINJA.get(template)


@pytest.mark.parametrize("shape", SHAPES)
def test_float32_weights_are_ours_without_the_padding(shape, written):
    model, path = written(**SHAPES[shape])
    there = {t.name: torch.tensor(t.data) for t in package.GGUFReader(path).tensors}
    ours = dict(model.state_dict())
    if model.config.tie_embeddings:
        del ours["lm_head.weight"]
    renamed = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm"}
    renamed |= {"lm_head": "output", "h": "blk", "ln_1": "attn_norm", "ln_2": "ffn_norm"}
    renamed |= {f"{x}_proj": f"attn_{x}" for x in "qkv"} | {"o_proj": "attn_output"}
    renamed |= {f"{x}_norm": f"attn_{x}_norm" for x in "qk"}
    renamed |= {f"{x}_proj": f"ffn_{x}" for x in ("gate", "up", "down")}
    expected = {}
    for name, tensor in ours.items():
        parts = [renamed.get(part, part) for part in name.split(".") if part not in ("attn", "mlp")]
        expected[".".join(parts)] = tensor[:N_TOKENS] if name[:2] in ("wt", "lm") else tensor
    for block in [n for n in expected if ".attn_q." in n and model.config.arch == "gpt2"]:
        parts = [expected.pop(block.replace("attn_q", f"attn_{x}")) for x in "qkv"]
        expected[block.replace("attn_q", "attn_qkv")] = torch.cat(parts)
    assert there.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in there.items())


def test_types_by_the_name_of_the_file():
    for name, kind in {
        "tsuki-finetuned.q4_k_m.gguf": "q4_k_m",
        "Chat-Q8_0.gguf": "q8_0",
        "chat.bf16.gguf": "bf16",
        "chat.gguf": "f16",
        "chat-2.5.gguf": "f16",
        "q8_0.gguf": "q8_0",
        "models/faq4.gguf": "f16",
    }.items():
        assert gguf.type_of(Path(name), None) == kind, name
    assert gguf.type_of(Path("chat.gguf"), "Q6_K") == "q6_k"
    assert gguf.type_of(Path("release-q2.gguf"), "f16") == "f16"


# the same in llama.cpp


@pytest.mark.parametrize("shape", SHAPES)
def test_llamacpp_says_what_we_say(shape, written):
    model, path = written(**SHAPES[shape])
    checks = proof_gguf.in_llamacpp(model, "chatml", path, "f32")
    assert len(checks) == 7
    assert all(check.passed for check in checks), proof.table(checks)


@pytest.mark.parametrize("template", ["speaker", "text"])
def test_other_templates_in_llamacpp(template, written):
    model, path = written(template=template)
    checks = proof_gguf.in_llamacpp(model, template, path, "f32")
    assert all(check.passed for check in checks), proof.table(checks)


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
def test_greedy_continuations_of_a_hundred_prompts(shape, written):
    model, path = written(**SHAPES[shape], block_size=128)
    rng = random.Random(0)
    prompts = [[rng.randrange(N_TOKENS) for _ in range(rng.randint(1, 60))] for _ in range(100)]
    seen = llamacpp.observe(path, prompts, 64, n_threads=1)
    ends = template_named("chatml").end_ids
    ours = [greedy(model, prompt, 64, ends) for prompt in prompts]
    equal = sum(c.ids == ids for c, ids in zip(seen.continuations, ours, strict=True))
    assert equal >= 95, equal


@pytest.mark.parametrize("kind", ["bf16", "q8_0"])
def test_smaller_types(kind, written):
    model, path = written(kind, n_inner=64)
    checks = proof_gguf.in_llamacpp(model, "chatml", path, kind)
    assert all(check.passed is not False for check in checks), proof.table(checks)
    assert path.stat().st_size < gguf.size_bytes(model.config, kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["q2_k", "q4_k_m", "q6_k"])
def test_k_quants_by_llamacpps_quantizer(kind, written, tmp_path):
    pytest.importorskip("cyllama")
    model, plain = written(**PACKABLE)
    gguf.check(model.config, kind)
    packed = tmp_path / "packed.gguf"
    llamacpp.quantize(plain, packed, gguf.K_QUANTS[kind])
    assert fields(packed)["general.file_type"] == gguf.K_QUANTS[kind]
    assert packed.stat().st_size < gguf.size_bytes(model.config, kind)
    names = {c.what: c for c in proof_gguf.in_llamacpp(model, "chatml", packed, kind)}
    assert names["token ids"].passed
    assert names["chat template"].passed
    assert names["weights"].passed, names["weights"]
    with torch.no_grad():
        model.h[0].mlp.up_proj.weight.copy_(model.h[0].mlp.gate_proj.weight)
    broken = proof_gguf.weights(model, package.GGUFReader(packed), kind)
    assert broken.passed is False


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


# the proof itself


@pytest.mark.parametrize("kind", ["f32", "q8_0"])
def test_a_wrong_number_is_found_out(kind, written):
    model, path = written(kind, n_inner=64)
    with torch.no_grad():
        model.h[1].mlp.up_proj.weight *= 1.05
    check = proof_gguf.weights(model, package.GGUFReader(path), kind)
    assert check.passed is False
    assert "blk.1.ffn_up.weight" in check.result


@pytest.mark.parametrize(
    "change", [{"rope_theta": 10100.0}, {"norm_eps": 1e-5}, {"block_size": 32}], ids=str
)
def test_a_wrong_setting_is_found_out(change, written, tiny_config):
    model, path = written()
    model.config = tiny_config(vocab_size=50304, **change)
    assert proof_gguf.settings(model, "chatml", package.GGUFReader(path)).passed is False


def test_wrong_stops_are_found_out(written):
    model, path = written(template="person")
    assert proof_gguf.settings(model, "person", package.GGUFReader(path)).passed
    assert proof_gguf.settings(model, "chatml", package.GGUFReader(path)).passed is False


# what goes wrong


def test_rows_that_cannot_be_packed_are_named(tiny_config, complaint):
    whole = {"vocab_size": 50304, "n_embd": 256}
    narrow = tiny_config(**whole, n_inner=704)
    line = complaint(gguf.check, narrow, "q4_k_m")
    assert "blk.0.ffn_down.weight has rows of 704" in line
    assert "--type q8_0" in line
    line = complaint(gguf.check, tiny_config(**whole, n_inner=48), "q8_0")
    assert "rows of 48" in line
    assert "--type f16" in line
    gguf.check(tiny_config(**whole, n_inner=512), "q4_k_m")


def test_what_gguf_cannot_express_is_named(tiny_config, complaint):
    line = complaint(gguf.check, tiny_config(arch="gpt2", gelu="exact", vocab_size=50304), "f16")
    assert "gelu" in line
    assert "Hugging Face" in line


def test_unknown_types_are_listed(complaint):
    line = complaint(gguf.type_of, Path("chat.gguf"), "q9")
    assert "'q9'" in line
    assert "q8_0" in line
    assert "q5_0" in complaint(gguf.type_of, Path("chat.q5_0.gguf"), None)
    assert "leave out one" in complaint(gguf.type_of, Path("chat.q8_0.gguf"), "f16")


def test_numbers_too_large_for_half_precision(tiny_model, tmp_path, complaint):
    model = tiny_model(vocab_size=50304)
    with torch.no_grad():
        model.h[0].mlp.up_proj.weight[0, 0] = 1e6
    path = tmp_path / "x.gguf"
    assert "--type bf16" in complaint(gguf.write, model, path, "f16", "chatml", {})
    gguf.write(model, path, "bf16", "chatml", {})


def test_a_full_disk_is_known_before(tmp_path):
    with pytest.raises(OSError, match=r"x\.gguf \(1,000,000,000,000 MB") as error:
        must_have_room(tmp_path / "new" / "x.gguf", 10**18)
    assert error.value.errno == errno.ENOSPC


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
