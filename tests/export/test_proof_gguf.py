"""The proof of GGUF files: right ones pass, wrong ones are found out."""

from __future__ import annotations

import pytest
import torch
from shapes import GGUF_SHAPES, slow_after

from jojo.export import gguf, llamacpp, proof, proof_gguf

pytest.importorskip("xllamacpp")


PACKABLE = {"n_layer": 1, "n_embd": 256, "n_inner": 256, "tie_embeddings": True}


@pytest.mark.parametrize("shape", slow_after(1, GGUF_SHAPES))
def test_llamacpp_says_what_we_say(shape, written_gguf):
    model, path = written_gguf(**GGUF_SHAPES[shape])
    checks = proof_gguf.in_llamacpp(model, "chatml", path, "f32")
    assert len(checks) == 7
    assert all(check.passed for check in checks), proof.table(checks)


@pytest.mark.slow
@pytest.mark.parametrize("template", ["speaker", "text"])
def test_other_templates_in_llamacpp(template, written_gguf):
    model, path = written_gguf(template=template)
    checks = proof_gguf.in_llamacpp(model, template, path, "f32")
    assert all(check.passed for check in checks), proof.table(checks)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bf16", "q8_0"])
def test_smaller_types(kind, written_gguf):
    model, path = written_gguf(kind, n_inner=64)
    checks = proof_gguf.in_llamacpp(model, "chatml", path, kind)
    assert all(check.passed is not False for check in checks), proof.table(checks)
    assert path.stat().st_size < gguf.size_bytes(model.config, kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["q2_k", "q4_k_m", "q6_k"])
def test_k_quants_by_llamacpps_quantizer(kind, written_gguf, tmp_path):
    pytest.importorskip("cyllama")
    model, plain = written_gguf(**PACKABLE)
    gguf.check(model.config, kind)
    packed = tmp_path / "packed.gguf"
    llamacpp.quantize(plain, packed, gguf.K_QUANTS[kind])
    assert gguf.Reader(packed).fields["general.file_type"].contents() == gguf.K_QUANTS[kind]
    assert packed.stat().st_size < gguf.size_bytes(model.config, kind)
    names = {c.what: c for c in proof_gguf.in_llamacpp(model, "chatml", packed, kind)}
    assert names["token ids"].passed
    assert names["chat template"].passed
    assert names["weights"].passed, names["weights"]
    with torch.no_grad():
        model.h[0].mlp.up_proj.weight.copy_(model.h[0].mlp.gate_proj.weight)
    broken = proof_gguf.weights(model, gguf.Reader(packed), kind)
    assert broken.passed is False


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["f32", "q8_0"])
def test_a_wrong_number_is_found_out(kind, written_gguf):
    model, path = written_gguf(kind, n_inner=64)
    with torch.no_grad():
        model.h[1].mlp.up_proj.weight *= 1.05
    check = proof_gguf.weights(model, gguf.Reader(path), kind)
    assert check.passed is False
    assert "blk.1.ffn_up.weight" in check.result


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [{"rope_theta": 10100.0}, {"norm_eps": 1e-5}, {"block_size": 32}], ids=str
)
def test_a_wrong_setting_is_found_out(change, written_gguf, tiny_config):
    model, path = written_gguf()
    model.config = tiny_config(vocab_size=50304, **change)
    assert proof_gguf.settings(model, "chatml", gguf.Reader(path)).passed is False


def test_wrong_stops_are_found_out(written_gguf):
    model, path = written_gguf(template="person")
    assert proof_gguf.settings(model, "person", gguf.Reader(path)).passed
    assert proof_gguf.settings(model, "chatml", gguf.Reader(path)).passed is False
