"""pretrained.py: names, the hub's cache, checkpoints and adapters; the grown vocabulary."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants, errors

from jojo.export import hf_folder
from jojo.export.hf_folder import save_folder
from jojo.files import ROOT
from jojo.models import checkpoint, hub, lora, pretrained, weights
from jojo.models.hub import INDEX
from jojo.models.names import NAMES, check_name
from model import GPT
from tokenizer import IM_END, N_TOKENS

GPT2 = "openai-community/gpt2"
HOW = lora.LoRA(2, 4.0, 0.1, ("q", "up"))


@pytest.fixture(autouse=True)
def no_hub(monkeypatch, tmp_path):
    """An empty cache and a hub that does not answer; what is asked of it fails the test."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "hub_answers", lambda: False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)


@pytest.fixture
def folder(tiny_model, tmp_path) -> Path:
    """A GPT-2 in a Hugging Face folder, as the hub has it: 50,257 rows, no template."""
    save_folder(tiny_model(arch="gpt2", vocab_size=50257), tmp_path / "gpt2-tiny", "text")
    return tmp_path / "gpt2-tiny"


@pytest.fixture
def adapted(tiny_model, tmp_path):
    """Saves an adapter of a base as train.py does; returns its path and the merged model."""

    def write(base: str | Path, name: str = "adapter.pt", seed: int = 0) -> tuple[Path, GPT]:
        opened = pretrained.merged(pretrained.open_base(base), str(base))
        model, source = opened.model, {"source": opened.source, "hash": opened.hash}
        torch.manual_seed(seed)
        lora.adapt(model, HOW)
        for p in model.parameters():
            if p.requires_grad:
                p.data.add_(torch.randn_like(p) * 0.1)
        content = checkpoint.model_content(model, template="chatml", base=source, step=7)
        checkpoint.save(tmp_path / name, content)
        lora.merge(model)
        return tmp_path / name, model

    return write


@pytest.fixture
def plain(tiny_model, tmp_path) -> Path:
    """A whole checkpoint."""
    content = checkpoint.model_content(tiny_model(), template="chatml", step=3, dataset="tiny")
    checkpoint.save(tmp_path / "base3.pt", content)
    return tmp_path / "base3.pt"


def same(a: GPT, b: GPT) -> bool:
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# names


@pytest.mark.parametrize(
    ("name", "hub_id"),
    [
        ("gpt2-small (124M)", GPT2),
        ("gpt2", GPT2),
        ("gpt2-medium (355M)", "openai-community/gpt2-medium"),
        ("gpt2-large (774M)", "openai-community/gpt2-large"),
        ("gpt2-xl (1558M)", "openai-community/gpt2-xl"),
        ("distilgpt2", "distilbert/distilgpt2"),
    ],
)
def test_the_guides_names(name, hub_id):
    assert NAMES[name] == hub_id
    check_name(name)


def test_names_that_may_be_models(folder, plain, monkeypatch):
    monkeypatch.chdir(folder.parent)
    for source in ("Qwen/Qwen3-0.6B", GPT2, folder, "gpt2-tiny", "./gpt2-tiny", plain, "base3.pt"):
        check_name(source)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("gpt3", "unknown model 'gpt3' (did you mean gpt2?): give gpt2, "),
        ("gpt2-small (125M)", "did you mean gpt2-small (124M)?"),
        ("some model", "unknown model 'some model': give gpt2, gpt2-medium"),
        ("a/b/c", "unknown model 'a/b/c'"),
        ("", "the name of the model is empty"),
        ("  ", "the name of the model is empty"),
        ("models/none.pt", "model models/none.pt does not exist"),
        ("nowhere/none.safetensors", "does not exist"),
        ("/nowhere/at/all", "model /nowhere/at/all does not exist"),
        ("./none", "does not exist"),
        ("~nobody/x y", "does not exist"),
        ("jojo/none", "jojo/none does not exist; give gpt2"),
        ("gpt2\n", "unknown model 'gpt2\\n'"),
        ("\0", "unknown model '\\x00'"),
        ("https://huggingface.co/openai-community/gpt2", "unknown model"),
    ],
)
def test_what_can_be_no_model(source, said, complaint, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert said in complaint(check_name, source)
    assert said in complaint(pretrained.open_base, source)
    assert said in complaint(pretrained.load_model, source)


def test_unknown_names_are_answered_with_all_there_are(complaint):
    message = complaint(check_name, "bloom")
    for name in NAMES:
        assert name in message
    assert "a folder with one, or a checkpoint" in message


def test_a_slip_in_a_checkpoints_name(plain, complaint, monkeypatch):
    monkeypatch.chdir(plain.parent)
    said = "does not exist: there is"
    assert f"{said} base3.pt, did you mean that?" in complaint(check_name, "./base4.pt")
    assert f"{said} {plain}, did" in complaint(check_name, str(plain)[:-3])
    assert complaint(check_name, "zzz.pt").endswith(f"{said} base3.pt")
    (plain.parent / "models").mkdir()
    assert "make chat" in complaint(check_name, "models/base3.pt")
    plain.rename("models/base3.pt")
    assert f"{said} models/base3.pt" in complaint(check_name, "models/base3")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "model.gguf"])
def test_single_files_of_other_programs(name, tmp_path, complaint):
    (tmp_path / name).write_bytes(b"x")
    assert "the folder with config.json" in complaint(pretrained.load_model, tmp_path / name)


def test_checking_a_name_is_quick():
    code = (
        "import sys; from jojo.models import names; names.check_name('gpt2')\n"
        "assert not {'torch', 'numpy', 'huggingface_hub', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


# the hub


def cache_of(hub_id: str, commit: str = "abc") -> Path:
    """The place of a hub model in the cache, as huggingface_hub lays it out."""
    home = Path(constants.HF_HUB_CACHE) / f"models--{hub_id.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(commit)
    (home / "snapshots" / commit).mkdir(parents=True)
    return home / "snapshots" / commit


@pytest.fixture
def answering(monkeypatch, folder):
    """A hub that has `folder` as gpt2; its requests are noted, `error` is raised if it is set."""

    class Hub:
        requests: list
        error: Exception | None

    def snapshot_download(hub_id, allow_patterns, ignore_patterns):
        Hub.requests.append((hub_id, allow_patterns, ignore_patterns))
        if Hub.error:
            raise Hub.error
        place = cache_of(hub_id)
        shutil.copytree(folder, place, dirs_exist_ok=True)
        return str(place)

    Hub.requests, Hub.error = [], None
    monkeypatch.setattr(hub, "hub_answers", lambda: True)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return Hub


def test_a_model_is_fetched_once_and_never_pickled(answering, capsys):
    base = pretrained.open_base("gpt2-small (124M)")
    assert base.source == GPT2
    assert base.facts["template"] == "text"
    assert "downloading openai-community/gpt2" in capsys.readouterr().err
    ((hub_id, allowed, ignored),) = answering.requests
    assert hub_id == GPT2
    wanted = huggingface_hub.utils.filter_repo_objects(
        [
            *("config.json", "model.safetensors", "model-00001-of-00002.safetensors"),
            *("model.safetensors.index.json", "tokenizer.json", "vocab.json", "README.md"),
            *("pytorch_model.bin", "onnx/decoder_model.onnx", "onnx/config.json", "merges.txt"),
            *("rust_model.ot", "tf_model.h5", "flax_model.msgpack", "tokenizer_config.json"),
        ],
        allow_patterns=allowed,
        ignore_patterns=ignored,
    )
    assert list(wanted) == [
        *("config.json", "model.safetensors", "model-00001-of-00002.safetensors"),
        *("model.safetensors.index.json", "tokenizer.json", "vocab.json", "tokenizer_config.json"),
    ]
    again = pretrained.open_base("gpt2")
    assert len(answering.requests) == 1
    assert again.hash == base.hash
    assert same(again.model, base.model)


@pytest.mark.parametrize("offline", [True, False])
def test_a_cached_model_opens_without_network(offline, folder, monkeypatch):
    shutil.copytree(folder, cache_of("owner/small"), dirs_exist_ok=True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    assert pretrained.open_base("owner/small").hash == pretrained.open_base(folder).hash


def test_an_unreachable_hub_says_how_to_use_a_folder(complaint, monkeypatch):
    message = complaint(pretrained.open_base, "gpt2-xl")
    assert "openai-community/gpt2-xl is not on this machine" in message
    assert "https://huggingface.co cannot be reached" in message
    assert "into a folder, and give its path" in message
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in complaint(pretrained.open_base, "gpt2-xl")


def test_half_a_download_is_none(answering, folder, complaint, monkeypatch):
    place = cache_of(GPT2)
    shutil.copy(folder / "config.json", place)
    monkeypatch.setattr(hub, "hub_answers", lambda: False)
    assert "not on this machine" in complaint(pretrained.open_base, "gpt2")
    (place / INDEX).write_text('{"weight_map": {"a": "model-1.safetensors"}}')
    assert "not on this machine" in complaint(pretrained.open_base, "gpt2")


def answer(status: int):
    """What the hub's client holds while it raises; its kind changed between its versions."""
    return type("Response", (), {"status_code": status, "headers": {}, "request": None})()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (errors.RepositoryNotFoundError("404", response=answer(404)), "has no model some/model"),
        (errors.GatedRepoError("403", response=answer(403)), "wants its terms accepted"),
        (ConnectionError("reset\nby peer"), "could not be downloaded (ConnectionError: reset by"),
        (errors.LocalEntryNotFoundError("gone"), "run it again to go on where it stopped"),
    ],
    ids=["missing", "gated", "broken", "gone"],
)
def test_what_the_hub_answers_becomes_one_line(error, said, answering, complaint):
    answering.error = error
    assert said in complaint(pretrained.open_base, "some/model")


def test_a_full_disk_is_not_blamed_on_the_hub(answering):
    answering.error = OSError(28, "No space left on device", "/cache")
    with pytest.raises(OSError, match="No space left"):
        pretrained.open_base("some/model")


def test_a_folder_of_the_same_name_counts_before_the_hub(folder, monkeypatch, complaint):
    monkeypatch.chdir(folder.parent)
    Path("gpt2").mkdir()
    assert "not on this machine" in complaint(pretrained.open_base, "gpt2")  # no model in it
    shutil.copytree(folder, "gpt2", dirs_exist_ok=True)
    base = pretrained.open_base("gpt2")
    assert base.source == str(folder.parent / "gpt2")


# the vocabulary


@pytest.mark.parametrize("tied", [True, False])
def test_new_rows_are_the_mean_of_the_old_ones(tied, tiny_model, tmp_path):
    small = tiny_model(arch="gpt2", vocab_size=50257, tie_embeddings=tied)
    save_folder(small, tmp_path / "small", "text")
    model = pretrained.open_base(tmp_path / "small").model
    assert model.config.vocab_size == 50304
    assert (model.lm_head.weight is model.wte.weight) is tied
    for old, new in ((small.wte, model.wte), (small.lm_head, model.lm_head)):
        assert new.weight.shape == (50304, 32)
        assert torch.equal(new.weight[:50257], old.weight)
        away = new.weight[50257:] - old.weight.mean(0)
        assert 0 < away.abs().max() < 0.1 * old.weight.std()
        assert len(new.weight[50257:].unique(dim=0)) == 47
    again = pretrained.open_base(tmp_path / "small").model
    assert same(model, again)


@torch.inference_mode()
def test_new_rows_take_no_probability(tiny_model):
    model = tiny_model(arch="gpt2", vocab_size=50257)
    model.ln_f.bias.fill_(2.0)
    model.wte.weight -= 1.0  # as in GPT-2, every logit lies far below 0
    ids = torch.randint(50257, (1, 40), generator=torch.Generator().manual_seed(0))
    assert model(ids).max() < -10
    weights.grow(model)
    probabilities = model(ids).softmax(-1)
    assert probabilities[..., 50257:].sum(-1).max() < 47 / 50257 * 1.5
    model.wte.weight[50257:] = 0
    assert model(ids).softmax(-1)[..., 50257:].sum(-1).min() > 0.99  # what zeros would do


def test_a_grown_model_learns_and_is_saved_as_any_other(folder, tmp_path):
    base = pretrained.open_base(folder)
    assert all(p.requires_grad for p in base.model.parameters())
    assert not base.model.training
    base.model(torch.tensor([[IM_END, N_TOKENS - 1]])).sum().backward()
    checkpoint.save(tmp_path / "a.pt", checkpoint.model_content(base.model, template="chatml"))
    again, facts = pretrained.load_model(tmp_path / "a.pt")
    assert same(again, base.model)
    assert facts["template"] == "chatml"


def test_a_whole_vocabulary_stays_as_it_is(tiny_model, plain):
    base = pretrained.open_base(plain)
    assert same(base.model, tiny_model())
    assert (base.facts["step"], base.facts["dataset"]) == (3, "tiny")
    assert base.source == str(plain)


def test_a_checkpoint_with_a_vocabulary_of_its_own_stays_as_it_is(tiny_model, tmp_path):
    content = checkpoint.model_content(tiny_model(vocab_size=211), template="chatml")
    checkpoint.save(tmp_path / "a.pt", content)
    assert pretrained.open_base(tmp_path / "a.pt").model.config.vocab_size == 211


def test_the_hash_is_of_the_weights_alone(folder, tiny_model, tmp_path, monkeypatch):
    first = pretrained.open_base(folder)
    monkeypatch.setattr(hf_folder, "MAX_SHARD_BYTES", 1000)
    small = tiny_model(arch="gpt2", vocab_size=50257)
    save_folder(small, tmp_path / "shards", "chatml")
    assert pretrained.open_base(tmp_path / "shards").hash == first.hash
    small.ln_f.bias.data[3] += 1e-6
    save_folder(small, tmp_path / "other", "text")
    assert pretrained.open_base(tmp_path / "other").hash != first.hash


# adapters


def test_an_adapter_comes_beside_its_base(plain, adapted):
    path, _ = adapted(plain)
    base = pretrained.open_base(path)
    assert same(base.model, pretrained.open_base(plain).model)
    assert base.source == str(plain)
    assert base.hash == pretrained.open_base(plain).hash
    assert base.adapter["step"] == 7
    assert base.facts["template"] == "chatml"


@pytest.mark.parametrize("kind", ["checkpoint", "folder"])
@torch.inference_mode()
def test_a_loaded_adapter_is_merged_in(kind, plain, folder, adapted):
    path, merged = adapted(plain if kind == "checkpoint" else folder)
    model, facts = pretrained.load_model(path)
    assert same(model, merged)
    assert not model.training
    assert all(p.requires_grad for p in model.parameters())
    assert (facts["template"], facts["step"]) == ("chatml", 7)
    assert "adapter" not in facts
    assert not same(model, pretrained.load_model(facts["base"]["source"])[0])
    ids = torch.tensor([[1, IM_END, 2]])
    torch.testing.assert_close(model(ids), merged(ids))


def test_an_adapter_of_a_hub_model_finds_it_in_the_cache(answering, adapted):
    path, merged = adapted("gpt2")
    content = checkpoint.load(path)
    assert content["base"]["source"] == GPT2
    model, _ = pretrained.load_model(path)
    assert same(model, merged)
    assert len(answering.requests) == 1


def test_an_adapter_on_an_adapter(plain, adapted, tmp_path):
    first, _ = adapted(plain)
    second, merged = adapted(first, "second.pt", seed=1)
    assert checkpoint.load(second)["base"]["source"] == str(first)
    model, _ = pretrained.load_model(second)
    assert same(model, merged)
    base = pretrained.open_base(second)
    assert same(base.model, pretrained.load_model(first)[0])
    third, merged = adapted(second, "third.pt", seed=2)
    assert same(pretrained.load_model(third)[0], merged)


def test_a_base_that_moved(plain, adapted, tmp_path, complaint):
    path, merged = adapted(plain)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    plain.rename(elsewhere / plain.name)
    message = complaint(pretrained.load_model, path)
    assert f"needs its base {plain}" in message
    assert "put base3.pt beside the adapter, or name it with --base" in message
    assert same(pretrained.load_model(path, base=elsewhere / plain.name)[0], merged)
    path.rename(elsewhere / "moved.pt")
    assert same(pretrained.load_model(elsewhere / "moved.pt")[0], merged)


def test_an_adapter_of_another_base(plain, adapted, tiny_model, tmp_path, complaint):
    path, _ = adapted(plain)
    content = checkpoint.model_content(tiny_model(seed=1), template="chatml")
    checkpoint.save(tmp_path / "other.pt", content)
    for function in (pretrained.load_model, pretrained.open_base):
        message = complaint(function, path, base=str(tmp_path / "other.pt"))
        assert f"adapter {path} was trained on another base" in message
        assert "--base" in message
    os.replace(tmp_path / "other.pt", plain)  # the base was trained anew under its name
    assert "was trained on another base" in complaint(pretrained.load_model, path)


def test_an_adapter_that_took_the_place_of_its_base(plain, adapted, complaint):
    path, _ = adapted(plain)
    os.replace(path, plain)
    assert "an adapter stands there now" in complaint(pretrained.load_model, plain)


def test_base_is_for_adapters_alone(plain, folder, complaint):
    for source in (plain, folder, "gpt2"):
        assert "leave out --base" in complaint(pretrained.load_model, source, base=str(plain))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content.pop("base"),
        lambda content: content.update(base="x"),
        lambda content: content.pop("template"),
        lambda content: content.pop("lora"),
        lambda content: content.update(lora={**asdict(HOW), "rank": 3}),
        lambda content: content.update(lora={**asdict(HOW), "targets": ["nothing"]}),
        lambda content: content.update(lora={**asdict(HOW), "targets": ["q"]}),
        lambda content: content.update(adapter={}),
        lambda content: content.update(adapter=3),
    ],
    ids=range(9),
)
def test_a_spoiled_adapter_is_one_line(spoil, plain, adapted, complaint):
    path, _ = adapted(plain)
    content = dict(checkpoint.load(path, mmap=False))
    spoil(content)
    checkpoint.save(path, content)
    assert str(path) in complaint(pretrained.load_model, path)


def test_what_is_no_checkpoint(tmp_path, complaint):
    (tmp_path / "a.pt").write_bytes(b"nothing")
    assert "is no checkpoint" in complaint(pretrained.load_model, tmp_path / "a.pt")
    assert "no config.json" in complaint(pretrained.load_model, tmp_path)
