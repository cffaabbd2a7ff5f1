"""GGUF files: what stands in them, and what cannot."""

from __future__ import annotations

import errno
from pathlib import Path

import gguf as package
import pytest
import torch
from shapes import GGUF_SHAPES, slow_after

from jojo.export import gguf
from jojo.files import must_have_room
from jojo.text.dialects import JINJA
from tokenizer import ENDOFTEXT, IM_END, IM_START, N_TOKENS

pytest.importorskip("xllamacpp")


def fields(path: Path) -> dict:
    reader = gguf.Reader(path)
    return {name: field.contents() for name, field in reader.fields.items()}


# what stands in the file


def test_tokens_template_and_ends_are_inside(written_gguf):
    _, path = written_gguf()
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("template", "eos", "eot"),
    [("person", ENDOFTEXT, 198), ("speaker", ENDOFTEXT, 198), ("text", ENDOFTEXT, None)],
)
def test_ends_of_other_templates(template, eos, eot, written_gguf):
    found = fields(written_gguf(template=template)[1])
    assert found["tokenizer.ggml.eos_token_id"] == eos
    assert found.get("tokenizer.ggml.eot_token_id") == eot
    assert found.get("tokenizer.chat_template") == JINJA.get(template)


@pytest.mark.parametrize("shape", slow_after(1, GGUF_SHAPES))
def test_float32_weights_are_ours_without_the_padding(shape, written_gguf):
    model, path = written_gguf(**GGUF_SHAPES[shape])
    there = {t.name: torch.tensor(t.data) for t in gguf.Reader(path).tensors}
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


# what goes wrong


def test_rows_that_cannot_be_packed_are_named(tiny_config, complaint):
    whole = {"vocab_size": 50304, "n_embd": 256}
    narrow = tiny_config(**whole, n_inner=704)
    line = complaint(gguf.check, narrow, "q4_k_m")
    assert "blk.0.ffn_down.weight has rows of 704" in line
    assert "`type` q8_0" in line
    line = complaint(gguf.check, tiny_config(**whole, n_inner=48), "q8_0")
    assert "rows of 48" in line
    assert "`type` f16" in line
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
    assert "`type` bf16" in complaint(gguf.write, model, path, "f16", "chatml", {})
    gguf.write(model, path, "bf16", "chatml", {})


def test_a_full_disk_is_known_before(tmp_path):
    with pytest.raises(OSError, match=r"x\.gguf \(1,000,000,000,000 MB") as error:
        must_have_room(tmp_path / "new" / "x.gguf", 10**18)
    assert error.value.errno == errno.ENOSPC
