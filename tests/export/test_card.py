"""The model card: what it tells of a model, what it keeps to itself, and that nothing breaks it."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard, constants

from jojo.chat.config import SamplingOptions
from jojo.chat.sampling import generate
from jojo.command import parse
from jojo.data.bins import DatasetWriter, manifest_path, open_dataset
from jojo.data.own.recipe import RECIPE as OWN
from jojo.export.card import OPENINGS, SAMPLE_TOKENS, card, licence_of
from jojo.export.hf_folder import save_folder
from jojo.export.proof import Check
from jojo.export.publish import command_of
from jojo.models import checkpoint, hf, pretrained, provenance
from jojo.text.template import encode_batch, encode_prompt, render
from jojo.train.config import TrainConfig
from jojo.train.run import given, train
from tokenizer import decode

FOLDER = ["config.json", "model.safetensors", "tokenizer.json"]
NC = "CC BY-NC-SA 4.0 (non-commercial, share alike)"
PERSONAL = ("Bob", "Anna", "WhatsApp", "mum", "home", "secret")


@pytest.fixture
def small(tiny_model):
    """Models that are quick to ask."""
    return lambda **changes: tiny_model(**({"n_layer": 1, "n_embd": 16, "n_inner": 16} | changes))


def written(model, facts, files=FOLDER, data_dir=Path("nowhere"), name="chat", source="m/c.pt"):
    """The card of a model, which the hub's own reader must understand."""
    text = card(model, {"template": "chatml", **facts}, name, source, files, data_dir)
    found = ModelCard(text)
    assert found.data.pipeline_tag == "text-generation"
    assert found.text.lstrip().startswith("# ")
    assert not [line for line in text.splitlines() if line != line.rstrip()]
    return text, found.data


def section(text: str, title: str) -> str:
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def data(licence: str = "MIT", **more) -> dict:
    sizes = {"tokens": {"train": 12345, "val": 67}, "conversations": {"train": 89, "val": 5}}
    known = {"name": "talks", "licence": licence, "sources": ["https://x.org/a"], **sizes}
    return {"data": known | {"sha256": {"train": "aa11", "val": "bb22"}} | more, "made_from": []}


# ---------------------------------------------------------------- what it tells


def test_the_card_of_a_chat_model(small):
    metrics = {"loss": 1.25, "val_loss": 1.5, "best_val_loss": float("inf")}
    facts = data(languages={"en": 0.97, "no": 0.2, "de": 0.01}) | {
        "metrics": metrics,
        "step": 5000,
        "train_config": {"loss_on": "assistant"},
        "script": "train.py",
        "settings": {"dataset": "talks", "max_iters": 5000, "compile": False},
    }
    model = small(tie_embeddings=False)
    text, meta = written(model, facts, source="models/chat5000.pt")
    assert (meta.license, meta.library_name, meta.base_model) == ("mit", "transformers", None)
    assert meta.tags == ["jojo", "conversational"]
    assert meta.language == ["en", "no"]
    figures = section(text, "Figures")
    for expected in (
        f"| parameters | {model.n_params():,}, of which {50304 * 16:,} embed tokens",
        "| layers | 1, 16 wide |",
        "| context | 64 tokens |",
        "| steps trained | 5,000 |",
        "| training loss | 1.2500 |",
        "| validation loss | 1.5000 |",
        "| perplexity | 4.48 a token |",
        "| loss is of | what the assistant says |",
        "| precision | float32 |",
    ):
        assert expected in figures
    assert "lowest of the run" not in figures  # none yet
    assert "12,345 tokens in 89 conversations, sha256 `aa11`" in section(text, "Data")
    assert "from `https://x.org/a`" in section(text, "Data")
    made = section(text, "How it was made")
    assert "Exported from `chat5000.pt`" in made
    assert "python train.py --dataset talks --max_iters 5000 --no_compile\n" in made
    quoted = section(text, "Template").partition("```\n")[2].partition("\n```")[0]
    said = [{"role": "user", "content": OPENINGS[0]}]
    assert json.loads(quoted).startswith(render(said).removesuffix("<|endoftext|>"))
    assert "split_special_tokens=True" in section(text, "Limits")


def test_the_samples_are_what_the_model_says(small):
    model = small()
    samples = section(written(model, {})[0], "Samples")
    prompt = encode_prompt([{"role": "user", "content": OPENINGS[1]}])
    options = SamplingOptions(temp=0.0, max_tokens=SAMPLE_TOKENS)
    drawn = generate(model, prompt, options, torch.Generator(), banned=[50258])
    first = decode([ids[0] for ids in drawn][:3])
    assert f"> {OPENINGS[1]}\n{first[:8]}" in samples
    assert samples.count("\n> ") == 3
    assert samples == section(written(model, {})[0], "Samples")


@pytest.mark.parametrize("template", ["person", "speaker", "text"])
def test_the_other_templates(template, small):
    text, meta = written(small(arch="gpt2"), {"template": template} | data())
    assert ("conversational" in meta.tags) == (template != "text")
    assert ("Once upon a time" in section(text, "Use")) == (template == "text")
    assert "split_special_tokens" not in text
    assert "(and are the head, too)" in text
    assert "GPT-2's shape" in text


def test_the_card_of_a_gguf_file(small):
    text, meta = written(small(), data(), ["my chat.q4_k_m.gguf", "Modelfile"], name="My Chat!")
    assert meta.library_name is None
    assert meta.tags == ["jojo", "conversational", "gguf"]
    assert "| precision | q4_k_m |" in text
    use = section(text, "Use")
    assert "llama-server -m 'my chat.q4_k_m.gguf' --jinja" in use
    assert "ollama create my-chat.q4_k_m -f Modelfile\nollama run my-chat.q4_k_m" in use
    assert "transformers" not in use
    plain, _ = written(small(), {"template": "text"}, ["story.gguf"])
    assert "llama-completion -m story.gguf" in plain
    assert "ollama" not in plain
    assert "| precision |" not in plain  # nothing tells it


def test_the_card_of_an_adapter(small):
    below = [{"source": "openai-community/gpt2"}]
    facts = data() | {"made_from": below}
    files = ["adapter_config.json", "adapter_model.safetensors", "tokenizer.json"]
    _, meta = written(small(), facts, files)
    assert (meta.library_name, meta.base_model) == ("peft", "openai-community/gpt2")
    assert (meta.license, meta.tags[-1]) == ("mit", "lora")
    facts = {"template": "chatml", **facts}
    text = card(small(), facts, "c", "c.pt", files, Path(), usage="Ask Bob.")
    assert section(text, "Use") == "\nAsk Bob.\n"


def test_what_was_checked_is_shown(small):
    checks = [Check("transformers 5", "logits", "max abs 1e-06", True)]
    text = card(small(), {"template": "text"}, "c", "c.pt", FOLDER, Path(), checks)
    assert "transformers 5  logits" in section(text, "Checked")
    assert "Not compared" in section(written(small(), {})[0], "Checked")


def test_a_model_of_the_hub_that_was_not_trained_here(small):
    for source in ("gpt2", "openai-community/gpt2"):
        text, meta = written(small(), {"template": "text"}, source=source)
        assert (meta.base_model, meta.license) == ("openai-community/gpt2", "mit")
        assert "`openai-community/gpt2` as it is, converted with Jojo" in text
    assert licence_of({"template": "text"}, Path(), "gpt2") == "mit"
    _, meta = written(small(), {"template": "text"}, source="somebody/model")
    assert (meta.base_model, meta.license) == ("somebody/model", "unknown")
    _, meta = written(small(), {"template": "text"}, source="models/chat.pt")
    assert meta.base_model is None


def test_datasets_of_the_hub_are_named(small):
    urls = [
        "https://huggingface.co/datasets/A/one",
        "https://huggingface.co/datasets/b/2/resolve/x",
    ]
    rest = ["generated from data/chitchat.toml", "https://x.org/c/d", "f.txt sha256:00"]
    assert written(small(), data(sources=urls + rest))[1].datasets == ["A/one", "b/2"]
    assert written(small(), data(sources=rest))[1].datasets is None
    for read in ("downloaded from b/2", f"downloaded from {urls[1]}"):
        assert written(small(), data(sources=[*urls, read]))[1].datasets == ["b/2"]


# ---------------------------------------------------------------- licences


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (["MIT"], "mit"),
        ([NC], "cc-by-nc-sa-4.0"),
        (["MIT + " + NC, "Apache-2.0"], "cc-by-nc-sa-4.0"),
        (["CDLA-Sharing-1.0", "MIT"], "cdla-sharing-1.0"),
        (["Unlicense (public domain)"], "unlicense"),
        (["CC BY-SA 3.0 (Wiktionary, the API); WordNet 3.0 licence (--source x)"], "cc-by-sa-3.0"),
        (["MIT + none stated"], None),
        (["none stated by its authors; ParlAI, which hands it out, is MIT"], None),
        (["none stated by those who wrote it (the collection calls itself Apache-2.0)"], None),
        ([OWN.licence, "MIT"], None),
        ([OWN.licence, NC], "cc-by-nc-sa-4.0"),
        (["CC BY-NC 4.0 (non-commercial)", "CC BY-SA 4.0"], "cc-by-nc-4.0"),
        (["WordNet 3.0 licence"], None),
        (["My licence: \n- no"], None),
        ([""], None),
    ],
)
def test_the_strictest_licence_counts(stated, expected, small):
    first, *rest = stated
    facts = data(first) | {
        "made_from": [{"source": f"{i}.pt"} | data(x) for i, x in enumerate(rest)]
    }
    assert licence_of(facts, Path()) == expected
    text, meta = written(small(), facts)
    assert meta.license == (expected or "unknown")
    assert ("ask whoever made the model" in section(text, "Licence")) == (expected is None)


def test_every_licence_of_our_datasets_is_understood():
    from jojo.data.public.origins import PUBLIC_DATASETS

    unknown = {n for n, d in PUBLIC_DATASETS.items() if provenance.strictest([d.licence]) is None}
    assert unknown == {n for n, d in PUBLIC_DATASETS.items() if d.licence.startswith("none stated")}


def test_a_base_nobody_knows_leaves_the_licence_open():
    assert licence_of(data() | {"made_from": [{"source": "other/model"}]}, Path()) is None
    assert licence_of(data() | {"made_from": [{"source": "distilbert/distilgpt2"}]}, Path()) == (
        "apache-2.0"
    )
    older = {"data": data()["data"], "command": "python train.py --init_from x.pt"}
    assert licence_of(older, Path()) is None
    assert licence_of(older | {"command": "python train.py"}, Path()) == "mit"


# ---------------------------------------------------------------- what it keeps to itself


def own_dataset(folder: Path, licence: str = OWN.licence, sources: tuple = ()) -> Path:
    """A dataset as jojo/data/own/recipe.py notes it."""
    messages = [{"role": "user", "content": "Hi!"}, {"role": "assistant", "content": "Hello!"}]
    with DatasetWriter(folder, "mum-chats", template="chatml") as writer:
        for i in range(60):
            writer.add("val" if i % 10 == 0 else "train", encode_batch([messages])[0])
        writer.commit(
            licence=licence,
            sources=["WhatsApp Chat with Bob.zip sha256:00ff", "folder Anna", *sources],
            notes={"options": {"me": "Bob", "system": "secret"}, "first": {"empty": "Bob.zip"}},
        )
    return folder


SMALL = {"preset": "tiny", "n_layer": 1, "n_head": 1, "n_embd": 16, "n_inner": 16, "block_size": 32}
RUN = {"batch_size": 2, "max_iters": 2, "compile": False, "eval_tokens": 64, "sample_interval": 0}


def trained(data_dir: Path, out_dir: Path, dataset: str, **changes) -> Path:
    changes = {"dataset": dataset, "data_dir": data_dir, "out_dir": out_dir, **RUN, **changes}
    config = TrainConfig(**changes)
    assert train(config, "train.py") == 0
    return out_dir / f"{config.run}2.pt"


def test_own_files_are_not_named(tmp_path, capsys):
    data_dir = own_dataset(tmp_path / "home" / "Bob" / "data")
    where = tmp_path / "home" / "m"
    named = {"me": "Bob", "data_path": (Path("WhatsApp Chat with Bob.zip"), Path("Anna"))}
    path = trained(data_dir, where, "mum-chats", run_name="Bobs-bot", **named, **SMALL)
    model, facts = pretrained.load_model(str(path))
    text, meta = written(model, facts, data_dir=data_dir, source=str(path), name="bot")
    save_folder(model, tmp_path / "bot", "chatml", facts)
    config = (tmp_path / "bot" / "config.json").read_text()
    assert facts["data"]["sha256"]["train"] in config
    for published in (text, config):
        hidden = (*PERSONAL, str(tmp_path), str(Path.home()))
        assert not [word for word in hidden if word in published]
    told = section(text, "Data")
    assert "the author's own files" in told
    assert "- from `a file sha256:00ff`\n- from `a folder`" in told
    assert "share it only if those who wrote them agree" in text
    assert meta.license == "unknown"
    made = section(text, "How it was made")
    assert "Exported from a checkpoint," in made
    assert "names and files in it are left out" in made
    assert "\npython train.py --n_layer 1 " in made
    assert " --max_iters 2 " in made
    facts |= {"command": "python train.py --dataset mum-chats", "script": None}  # an older one
    assert "train.py" not in written(model, facts, source=str(path))[0]


def test_own_files_below_a_public_dataset_are_not_named(tiny_dataset, tmp_path):
    data_dir, base = own_dataset(tiny_dataset()), tmp_path / "m"
    first = trained(data_dir, base, "mum-chats", run_name="Bob", **SMALL)
    second = trained(data_dir, base, "tiny", init_from=str(first), run_name="after-Bob")
    model, facts = pretrained.load_model(str(second))
    save_folder(model, tmp_path / "bot", "chatml", facts)
    text, _ = written(model, facts, source=str(second))
    for published in (text, (tmp_path / "bot" / "config.json").read_text()):
        assert "made up" in published  # the data that is public
        assert not [word for word in PERSONAL if word in published]
    assert "What a checkpoint learned from: the author's own files" in text
    below = hf.facts(tmp_path / "bot")["made_from"]
    assert below == [facts["made_from"][0] | {"source": "a checkpoint"}]
    again, _ = written(model, hf.facts(tmp_path / "bot"), source=str(tmp_path / "bot"))
    assert section(again, "Data") == section(text, "Data")


def test_public_names_are_kept(tiny_dataset, tmp_path):
    path = trained(tiny_dataset(), tmp_path, "tiny", run_name="wee", **SMALL)
    model, facts = pretrained.load_model(str(path))
    save_folder(model, tmp_path / "out", "chatml", facts)
    assert {"run": "wee", "dataset": "tiny"}.items() <= hf.facts(tmp_path / "out").items()
    made = section(written(model, facts, source=str(path))[0], "How it was made")
    assert "`wee2.pt`" in made
    assert "python train.py --dataset tiny --run_name wee --n_layer" in made


def test_names_of_data_that_is_not_known_are_kept_back(tiny_dataset, small, tmp_path):
    data_dir = tiny_dataset()
    known = {"dataset": "tiny", "data_hash": open_dataset("tiny", data_dir).manifest.hash}
    gone = {"dataset": "Anna", "data_hash": "0a-0b", "run": "Anna"}
    gone["command"] = "python train.py --dataset Anna --seed 5"
    below = gone | {"made_from": [gone | {"source": "Anna5.pt"}]}
    for number, facts in enumerate((gone, below, {"dataset": "Anna", "run": "Anna"})):
        save_folder(small(), tmp_path / f"out{number}", "chatml", facts)
        text, _ = written(small(), facts, data_dir=data_dir, source="models/Anna5.pt")
        assert "Anna" not in text + (tmp_path / f"out{number}" / "config.json").read_text()
    assert "--seed 5" not in written(small(), gone)[0]
    known["command"] = "python train.py --dataset tiny"
    text, _ = written(small(), known, data_dir=data_dir, source="models/tiny5.pt")
    assert "Exported from `tiny5.pt`" in text
    assert "--dataset tiny" in text


def test_own_files_in_a_mixture_are_not_named(tmp_path):
    url = "https://huggingface.co/datasets/A/b"
    mixed = ("chats-of-Bob 0123456789abcdef-0123456789abcdef", url, "downloaded from A/b")
    folder = own_dataset(tmp_path, f"MIT + {OWN.licence}", mixed)
    told = provenance.of_data(open_dataset("mum-chats", folder).manifest)
    assert told["sources"][2:] == ["a dataset 0123456789abcdef-0123456789abcdef", *mixed[1:]]
    assert not [word for word in PERSONAL if word in json.dumps(told)]


SETTINGS = {
    "dataset": "talks",
    "data_path": ["WhatsApp Chat with Bob.zip"],
    "me": "Anna",
    "template": "speaker",
    "data_dir": "/home/bob/data",
    "out_dir": "C:\\bob",
    "run_name": "Bobs-bot",
    "resume": True,
    "overwrite": True,
    "init_from": "/home/bob/base.pt",
    "tie_embeddings": True,
    "lora_rank": 4,
    "max_iters": 9,
    "learning_rate": 0.5,
    "compile": False,
    "tensorboard": True,
    "system": "You are Bob",
    "of_another_version": "/home/bob",
    "model": 5,
}
NUMBERS = "--tie_embeddings True --lora_rank 4 --max_iters 9 --learning_rate 0.5 --no_compile"


@pytest.mark.parametrize(
    ("is_private", "expected"),
    [
        (True, f"--template speaker {NUMBERS} --tensorboard --model 5"),
        (
            False,
            "--dataset talks --template speaker --run_name Bobs-bot --init_from base.pt "
            f"{NUMBERS} --tensorboard --model 5",
        ),
    ],
)
def test_the_command_is_made_of_settings_without_people_and_folders(is_private, expected):
    facts = {"script": "train.py", "settings": SETTINGS, "command": "python old.py"}
    assert command_of(facts, is_private) == f"python train.py {expected}"


def test_the_command_shown_is_the_one_that_was_given(tmp_path):
    given_flags = ("--dataset", "chat", "--max_iters", "9", "--no_compile", "--tie_embeddings")
    given_flags += ("True", "--lora_targets", "q,v", "--init_from", "gpt2", "--lora_rank", "4")
    given_flags = tuple(f for f in given_flags if f not in ("--tie_embeddings", "True"))
    for flags in (given_flags, ("--tie_embeddings", "False", "--arch", "gpt2", "--seed", "3")):
        config = parse(TrainConfig, list(flags), None)
        facts = {"script": "train.py", "settings": given(config)}
        again = shlex.split(command_of(facts, is_private=False))
        assert again[:2] == ["python", "train.py"]
        found = parse(TrainConfig, again[2:], None)
        base = "openai-community/gpt2" if config.base else None  # its name on the hub
        assert found == replace(config, init_from=base)


@pytest.mark.parametrize(
    "folder",
    [
        *("/home/bob/x.pt", "~/my.toml", "../../bob/x.pt", "'C:\\Users\\bob'", "C:/bob"),
        *("file:///home/bob/y.pt", "home/bob/z.pt", "q,/srv/bob/y", "..", "~bob"),
    ],
)
def test_an_older_command_is_shown_whole_or_not_at_all(folder):
    line = "python train.py config/laptop.toml --device cuda:1 --init_from openai-community/gpt2"
    assert command_of({"command": line}, is_private=False) == line
    assert command_of({"command": line}, is_private=True) == ""
    for flag in (f"--out_dir {folder}", f"--out_dir={folder}"):
        assert command_of({"command": f"{line} {flag}"}, is_private=False) == ""


# ---------------------------------------------------------------- what a checkpoint keeps


def test_a_checkpoint_tells_what_it_was_made_from(tiny_dataset, tmp_path, capsys):
    data_dir, out = tiny_dataset(), tmp_path / "m"
    first = trained(data_dir, out, "tiny", **SMALL)
    content = checkpoint.load(first)
    manifest = open_dataset("tiny", data_dir).manifest
    assert content["data"] == provenance.of_data(manifest)
    assert content["data"]["sha256"] == manifest.sha256
    assert content["made_from"] == []

    own_dataset(data_dir)
    second = trained(data_dir, out, "mum-chats", init_from=str(first), run_name="b", lora_rank=2)
    stage = {"source": "tiny2.pt", "data": content["data"]}
    assert checkpoint.load(second)["made_from"] == [stage]

    third = trained(
        data_dir, out, "tiny", init_from=str(second), run_name="c", lora_rank=2, lora_merge=True
    )
    adapter = {"source": "b2.pt", "data": checkpoint.load(second)["data"]}
    assert checkpoint.load(third)["made_from"] == [adapter, stage]
    assert str(tmp_path) not in str(checkpoint.load(third)["made_from"])

    model, facts = pretrained.load_model(str(third))
    text, _ = written(model, facts, source=str(third))
    assert "a checkpoint, trained further with Jojo" in text
    told = section(text, "Data")
    own, public = (f"What a checkpoint learned from: {x}" for x in ("the author's own", "`tiny`"))
    assert told.index(own) < told.index(public)
    fourth = trained(data_dir, out, "tiny", init_from=str(first), run_name="d")
    model, facts = pretrained.load_model(str(fourth))
    assert "`tiny2.pt`, trained further with Jojo" in written(model, facts)[0]


def test_a_killed_run_tells_the_same(tiny_dataset, tmp_path, monkeypatch):
    from runs import interrupted_at

    data_dir, whole, parts = tiny_dataset(), tmp_path / "whole", tmp_path / "parts"
    base = trained(data_dir, tmp_path, "tiny", run_name="base", **SMALL)
    wanted = trained(data_dir, whole, "tiny", init_from=str(base))
    known = {"dataset": "tiny", "data_dir": data_dir, "out_dir": parts, "init_from": str(base)}
    config = TrainConfig(**known, **RUN, resume=True, resume_seconds=0.0)
    interrupted_at(1, monkeypatch, config)
    assert train(config, "") == 0
    a, b = (checkpoint.load(path) for path in (wanted, parts / "tiny2.pt"))
    assert (a["data"], a["made_from"]) == (b["data"], b["made_from"])


def test_older_checkpoints_find_their_manifest(tiny_dataset, tmp_path, small):
    data_dir = tiny_dataset()
    manifest = open_dataset("tiny", data_dir).manifest
    facts = {"dataset": "tiny", "data_hash": manifest.hash}
    told = section(written(small(), facts, data_dir=data_dir)[0], "Data")
    assert "- from `made up`" in told
    digests = manifest.hash.split("-")
    for changes in ({"data_hash": "-".join(digests[::-1])}, {"dataset": "gone"}):
        told = section(written(small(), facts | changes, data_dir=data_dir)[0], "Data")
        assert "learned from: not known; licence: not known" in told
        assert all(digest in told for digest in digests)
        assert "made up" not in told
    manifest_path("tiny", data_dir).write_text("[]")
    assert digests[0] in section(written(small(), facts, data_dir=data_dir)[0], "Data")


def test_nothing_held_out_is_not_called_validation(small):
    facts = {"metrics": {"val_loss": 1.0}, "dataset": "x", "data_hash": "aa-aa"}
    text, _ = written(small(), facts)
    assert "| loss on the training data (nothing is held out) | 1.0000 |" in text
    assert "validation" not in text


def test_a_base_that_is_a_folder_or_of_the_hub(small, tmp_path, monkeypatch):
    facts = data() | {"dataset": "talks", "made_from": "?"}
    save_folder(small(), tmp_path / "chat", "chatml", facts)
    stage = {"source": "chat", "data": facts["data"]}
    assert provenance.made_from(str(tmp_path / "chat")) == [stage]
    assert provenance.made_from("a/b") == [{"source": "a/b"}]  # and nothing is downloaded
    cache = tmp_path / "cache" / "models--ada--tsuki"
    facts = data() | {"made_from": [stage]}
    save_folder(small(), cache / "snapshots" / "0a", "chatml", facts)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("0a")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache.parent))
    assert provenance.made_from("ada/tsuki") == [stage | {"source": "ada/tsuki"}, stage]
    path = tmp_path / "old.pt"  # an adapter of an older version
    base = {"source": "/home/bob/base.pt", "hash": "0"}
    checkpoint.save(path, checkpoint.model_content(small(), template="text") | {"base": base})
    assert provenance.made_from(str(path)) == [{"source": "old.pt"}, {"source": "base.pt"}]


# ---------------------------------------------------------------- that nothing breaks it

ODD = (
    'a"b: #c\n---\nlicense: mit',
    "```\n</code></pre><script>alert(1)</script>",
    "![x](http://x) | & *b* `` ` ``",
    "- [x]: {a, b} 'é' \u202e \x07 \udcff",
    "no",
    "",
)


@pytest.mark.parametrize("odd", ODD)
def test_odd_texts_stay_texts(odd, small):
    facts = data(odd, name=odd, sources=[odd], languages={odd: 1.0}, sha256={odd: odd})
    facts |= {"script": "train.py", "settings": {odd: odd, "dataset": odd}}
    facts["made_from"] = [{"source": odd} | data(odd)]
    for files in (FOLDER, [f"{odd}.gguf", "Modelfile"], ["adapter_config.json", odd]):
        text, meta = written(small(), facts, files, name=odd or "x", source=odd)
        assert meta.license == "unknown"
        assert set(meta.to_dict()) <= {
            "license",
            "pipeline_tag",
            "library_name",
            "tags",
            "language",
        }
        outside = re.sub(r"(?ms)^(```+)\w*$.*?^\1$", "", text)
        outside = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", outside)
        assert "<script" not in outside
        assert "![x](" not in outside
        assert [t[3:] for t in re.findall("(?m)^## .*$", outside)] == [
            *("Use", "Samples", "Figures", "Data", "How it was made"),
            *("Checked", "Template", "Limits", "Licence"),
        ]
        text.encode()


def test_replies_cannot_close_their_block(small, monkeypatch):
    from jojo.export import card as module

    monkeypatch.setattr(module, "_reply", lambda *_: "a\n````\n# b\x1b[0m\r\n<b>")
    samples = section(written(small(), {})[0], "Samples")
    assert samples.count("\n`````\n") == 2
    assert "\x1b" not in samples
    assert "\r" not in samples


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {
            "data": {},
            "made_from": 5,
            "metrics": [],
            "step": "x",
            "command": 7,
            "script": ["train.py"],
            "train_config": None,
        },
        {"data": {"sources": 5, "tokens": [1], "sha256": {"train": 1}, "licence": 3, "name": 4}},
        {"made_from": [5, {}, {"source": 3, "data": 3}], "metrics": {"val_loss": "1"}},
        {
            "metrics": {"loss": float("nan"), "val_loss": 10**400, "best_val_loss": True},
            "step": 1e99,
        },
        {"script": "train.py", "settings": {3: "x", "init_from": 3, "run_name": [4]}},
        {"dataset": "../x", "data_hash": "?", "base": {}},
        {"dataset": 4, "data_hash": 3, "base": {"source": None}},
    ],
)
def test_facts_may_be_missing_or_of_any_kind(facts, small, tmp_path):
    text, meta = written(small(), facts, data_dir=tmp_path)
    assert meta.license == "unknown"
    assert "loss" not in section(text, "Figures")


def test_models_that_cannot_speak(small):
    samples = section(written(small(vocab_size=211), {"template": "text"})[0], "Samples")
    assert "None: its vocabulary has 211 rows" in samples
    broken = small()
    broken.lm_head.weight.data.fill_(float("nan"))
    assert "None: the model's logits are not numbers." in written(broken, {})[0]
    assert "None: the prompt has" in written(small(block_size=8), {})[0]


# ---------------------------------------------------------------- that what it says works


@pytest.mark.slow
@pytest.mark.parametrize("template", ["chatml", "person", "text"])
def test_the_code_of_the_card_runs(template, small, tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    model = small(block_size=128)
    save_folder(model, tmp_path / "chat", template)
    text, _ = written(model, {"template": template})
    code = section(text, "Use").partition("```python\n")[2].partition("\n```")[0]
    monkeypatch.chdir(tmp_path)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, "card", "exec"), {})
    assert len(out.getvalue()) > 20
