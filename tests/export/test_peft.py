"""Adapters as PEFT folders: real PEFT on the exported base says what our merged model says."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from shapes import SHAPES

from jojo.export import peft
from jojo.export.hf_folder import as_transformers, save_folder
from jojo.models import checkpoint, lora, pretrained
from jojo.models.lora import LoRA
from jojo.models.pretrained import Base
from jojo.models.weights import grow, hash_of
from tokenizer import IM_END, IM_START

transformers = pytest.importorskip("transformers")
theirs = pytest.importorskip("peft")

TARGETS = (("q", "v"), ("o",), ("down",), ("k", "up"), ("all",))


@pytest.fixture
def adapter_of(tiny_model):
    """An opened adapter whose every number counts, on a tiny base."""

    def build(targets=("all",), source="/home/somebody/models/chat5000.pt", **shape) -> Base:
        base, how = tiny_model(**shape), LoRA(4, 6.0, 0.1, targets)
        model = copy.deepcopy(base)
        lora.adapt(model, how)
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for p in model.parameters():
                if p.requires_grad:
                    p.copy_(torch.randn(p.shape, generator=generator) * 0.3)
        found = {"source": source, "hash": hash_of(base)}
        content = checkpoint.model_content(model, template="chatml", base=found)
        return Base(base, {"template": "chatml"}, found["hash"], source, content)

    return build


def written(found, folder):
    folder.mkdir()
    peft.write(found, folder, "chatml")
    return folder


def merged(found):
    return pretrained.merged(replace(found, model=copy.deepcopy(found.model)), "it").model


def prove(found, folder):
    return peft.prove(peft.there(found), merged(found), "chatml", folder)


def ids():
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(50256, (3, 20), generator=generator)
    ids[:, ::6], ids[:, 1::6] = IM_END, IM_START
    return ids


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_peft_on_the_exported_base_gives_our_logits(shape, adapter_of, tmp_path):
    found = adapter_of(**shape)
    save_folder(found.model, tmp_path / "base", "text")
    folder = written(found, tmp_path / "adapter")
    base = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    without = base(ids()).logits
    model = theirs.PeftModel.from_pretrained(base, folder)
    ours = merged(found)(ids())
    assert (ours - without).abs().max() > 0.1
    assert (model(ids()).logits - ours).abs().max() <= 1e-4
    assert (model.merge_and_unload()(ids()).logits - ours).abs().max() <= 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("targets", TARGETS, ids=",".join)
@pytest.mark.parametrize("arch", ["jojo", "gpt2"])
def test_any_choice_of_targets_is_proven(arch, targets, adapter_of, tmp_path):
    found = adapter_of(targets, arch=arch)
    before = hash_of(found.model)
    checks = prove(found, written(found, tmp_path / "adapter"))
    assert [c.passed for c in checks] == [True, True], checks
    assert "(limit 1.0e-04)" in checks[0].result
    assert hash_of(found.model) == before


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_the_files_are_what_peft_would_write(shape, adapter_of, tmp_path):
    """The same names and numbers as PEFT saves after it has read them."""
    folder = written(adapter_of(**shape), tmp_path / "adapter")
    base = as_transformers(adapter_of(**shape).model)
    model = theirs.PeftModel.from_pretrained(base, folder)
    expected = theirs.get_peft_model_state_dict(model, save_embedding_layers=False)
    tensors = load_file(folder / "adapter_model.safetensors")
    assert tensors.keys() == expected.keys()
    for name, tensor in tensors.items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, expected[name]), name


def test_only_the_wanted_modules_get_adapters(adapter_of, tmp_path):
    found = adapter_of(("o",), arch="gpt2")
    folder = written(found, tmp_path / "adapter")
    model = theirs.PeftModel.from_pretrained(as_transformers(found.model), folder)
    adapted = {n.split(".lora_A")[0] for n, _ in model.named_modules() if ".lora_A." in n}
    assert adapted == {f"base_model.model.transformer.h.{i}.attn.c_proj" for i in range(2)}


def alter(folder, name_part, change):
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    name = next(n for n in tensors if name_part in n)
    tensors[name] = change(tensors[name])
    save_file({n: t.contiguous() for n, t in tensors.items() if t is not None}, path)


@pytest.mark.parametrize("name_part", ["lora_A", "lora_B", "lm_head", "embed_tokens"])
def test_an_altered_tensor_is_found_out(name_part, adapter_of, tmp_path):
    found = adapter_of()
    folder = written(found, tmp_path / "adapter")
    alter(folder, name_part, lambda t: t * 1.1)
    assert [c.passed for c in prove(found, folder)] == [False, False]


def test_a_missing_tensor_is_found_out(adapter_of, tmp_path):
    found = adapter_of(("q", "v"))
    folder = written(found, tmp_path / "adapter")
    alter(folder, "lora_B", lambda t: None)
    with pytest.warns(UserWarning, match="missing adapter keys"):
        assert [c.passed for c in prove(found, folder)] == [False, False]


def test_another_scale_is_found_out(adapter_of, tmp_path):
    found = adapter_of(arch="gpt2")
    folder = written(found, tmp_path / "adapter")
    path = folder / "adapter_config.json"
    raw = json.loads(path.read_text())
    path.write_text(json.dumps(raw | {"alpha_pattern": {}}))
    assert [c.passed for c in prove(found, folder)] == [False, False]


def test_a_folder_that_does_not_load_is_found_out(adapter_of, tmp_path):
    found = adapter_of()
    folder = written(found, tmp_path / "adapter")
    alter(folder, "lora_A", lambda t: t[:2])
    (check,) = prove(found, folder)
    assert check.passed is False
    assert "size mismatch" in check.result
    assert "\n" not in check.result


def test_without_peft_the_proof_is_skipped(adapter_of, tmp_path, monkeypatch):
    found = adapter_of()
    folder = written(found, tmp_path / "adapter")
    monkeypatch.setattr(peft, "find_spec", lambda name: None if name == "peft" else True)
    (check,) = prove(found, folder)
    assert (check.passed, check.result) == (None, "skipped: pip install peft")
    monkeypatch.undo()
    monkeypatch.setattr(peft.metadata, "version", lambda name: "0.17.1")
    (check,) = prove(found, folder)
    assert (check.passed, check.result) == (None, "skipped: pip install --upgrade peft")


def test_what_is_no_adapter_is_refused(adapter_of, tmp_path, complaint):
    plain = replace(adapter_of(), adapter=None)
    line = complaint(peft.write, plain, tmp_path, "chatml")
    assert line.endswith("is not an adapter: leave out `adapter`")
    assert not any(tmp_path.iterdir())


def test_a_spoiled_adapter_is_refused(adapter_of, tmp_path, complaint):
    found = adapter_of()
    del found.adapter["adapter"]["h.1.attn.q_proj.lora_B"]
    assert "h.1.attn.q_proj.lora_B" in complaint(peft.write, found, tmp_path, "chatml")
    assert not any(tmp_path.iterdir())


def run_usage(text):
    """What the Python part of a usage defines."""
    code, names = text.split("```python\n")[1].split("```")[0], {}
    exec(code, names)
    return names


@pytest.mark.parametrize("arch", ["jojo", "gpt2"])
def test_the_usage_runs_as_written(arch, adapter_of, tmp_path, monkeypatch):
    found = adapter_of(arch=arch)
    monkeypatch.chdir(tmp_path)
    written(found, tmp_path / "adapter")
    text = peft.usage(found, "adapter")
    assert "python convert.py BASE.pt --outfile base\n" in text
    save_folder(found.model, tmp_path / "base", "text")
    said = run_usage(text)
    expected = merged(found)(ids())
    assert (said["model"](ids()).logits - expected).abs().max() <= 1e-4
    assert said["model"].generation_config.eos_token_id == IM_END
    turns = [{"role": "user", "content": "hello"}]
    prompt = said["tokenizer"].apply_chat_template(turns, tokenize=False)
    assert prompt.startswith("<|im_start|>user\nhello")
    alone = theirs.AutoPeftModelForCausalLM.from_pretrained("adapter")
    assert (alone(ids()).logits - expected).abs().max() <= 1e-4


def test_the_usage_tells_which_base(adapter_of, tiny_model):
    model = tiny_model(arch="gpt2", vocab_size=50257)
    digest = hash_of(model)
    grow(model)
    hub = replace(adapter_of(arch="gpt2", source="openai-community/gpt2"), model=model, hash=digest)
    text = peft.usage(hub)
    assert "python convert.py openai-community/gpt2 --outfile base\n" in text
    assert 'from_pretrained("base")' in text
    assert "rows for the ChatML tokens" in text
    grown = adapter_of(source="somebody/chat")  # all its rows are on the hub
    assert "convert.py" not in peft.usage(grown)
    assert 'AutoModelForCausalLM.from_pretrained("somebody/chat")' in peft.usage(grown)
    assert "somebody" not in peft.usage(adapter_of(source="/home/somebody/my chats/old chat"))


def test_no_path_of_this_machine_is_published(adapter_of, tmp_path):
    for source in ("/home/somebody/models/chat5000.pt", "/home/somebody/models/chat5000"):
        found = adapter_of(source=source)
        folder = written(found, tmp_path / source.rpartition("/")[2])
        raw = json.loads((folder / "adapter_config.json").read_text())
        assert raw["base_model_name_or_path"] == "base"
        for text in (peft.usage(found), (folder / "adapter_config.json").read_text()):
            assert "somebody" not in text


def test_an_adapter_on_an_adapter(tiny_model, tmp_path):
    """Opened from files: the PEFT folder belongs on the lower adapter, merged."""
    base, how = tiny_model(arch="gpt2"), LoRA(2, 4.0, 0.0, ("q", "o"))
    checkpoint.save(tmp_path / "base.pt", checkpoint.model_content(base, template="text"))
    for name, below in (("lower.pt", "base.pt"), ("upper.pt", "lower.pt")):
        found = pretrained.merged(pretrained.open_base(tmp_path / below), str(tmp_path / below))
        lora.adapt(found.model, how)
        with torch.no_grad():
            for p in found.model.parameters():
                if p.requires_grad:
                    p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(3)))
        named = {"source": found.source, "hash": found.hash}
        content = checkpoint.model_content(found.model, template="chatml", base=named)
        checkpoint.save(tmp_path / name, content)
    lower, upper = (pretrained.open_base(tmp_path / f"{n}.pt") for n in ("lower", "upper"))
    folder = written(upper, tmp_path / "adapter")
    assert [c.passed for c in prove(upper, folder)] == [True, True]
    text = peft.usage(upper)
    assert "python convert.py BASE.pt --outfile base\n" in text
    assert "an adapter itself" in text
    assert "an adapter itself" not in peft.usage(lower)
