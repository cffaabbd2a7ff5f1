"""nanogpt.py: what nanoGPT and the first Jojo saved computes here what it computed there."""

from __future__ import annotations

import os

import pytest
import torch
import torch.nn.functional as F

from jojo.export.hf_folder import save_folder
from jojo.models import checkpoint, hf_config
from jojo.models.nanogpt import open_checkpoint
from tokenizer import IM_END, IM_START

ARGS = {"n_layer": 2, "n_head": 4, "n_embd": 32, "block_size": 64, "bias": False}
ARGS |= {"vocab_size": 50304, "dropout": 0.1}
GPT2_TOKENS = 50257
HALVES = [torch.bfloat16, torch.float16]


def weights_of(args: dict, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights under nanoGPT's names, large enough for logits that differ."""
    C, biased = args["n_embd"], args.get("bias", True)
    shapes = {"wte.weight": (args.get("vocab_size", GPT2_TOKENS), C)}
    shapes["wpe.weight"] = (args["block_size"], C)
    linear = {"attn.c_attn": (3 * C, C), "attn.c_proj": (C, C)}
    linear |= {"mlp.c_fc": (4 * C, C), "mlp.c_proj": (C, 4 * C)}
    for i in range(args["n_layer"]):
        for name in ("ln_1", "ln_2"):
            shapes[f"h.{i}.{name}.weight"] = shapes[f"h.{i}.{name}.bias"] = (C,)
        for name, shape in linear.items():
            shapes[f"h.{i}.{name}.weight"], shapes[f"h.{i}.{name}.bias"] = shape, shape[:1]
    shapes["ln_f.weight"] = shapes["ln_f.bias"] = (C,)
    generator, state = torch.Generator().manual_seed(seed), {}
    for name, shape in shapes.items():
        if biased or not name.endswith(".bias"):
            noise = torch.randn(shape, generator=generator)
            scaled = noise * 1.5 * shape[-1] ** -0.5 if len(shape) > 1 else 1 + 0.3 * noise
            state[f"transformer.{name}"] = scaled
    return state | {"lm_head.weight": state["transformer.wte.weight"]}


def reference(state: dict[str, torch.Tensor], n_head: int, gelu: str, ids: torch.Tensor):
    """The logits (B, T, V) of such weights, written out."""
    bare = {name.removeprefix("transformer."): t.float() for name, t in state.items()}

    def linear(name: str, x):
        return F.linear(x, bare[f"{name}.weight"], bare.get(f"{name}.bias"))

    def norm(name: str, x):
        return F.layer_norm(x, x.shape[-1:], bare[f"{name}.weight"], bare.get(f"{name}.bias"), 1e-5)

    B, T = ids.shape
    x = bare["wte.weight"][ids] + bare["wpe.weight"][:T]
    after = torch.ones(T, T, dtype=torch.bool).triu(1)
    n_layer = sum(name.endswith("ln_1.weight") for name in bare)
    for i in range(n_layer):
        qkv = linear(f"h.{i}.attn.c_attn", norm(f"h.{i}.ln_1", x)).chunk(3, dim=-1)
        q, k, v = (part.view(B, T, n_head, -1).transpose(1, 2) for part in qkv)  # (B, H, T, D)
        scores = (q @ k.transpose(2, 3)) * q.size(-1) ** -0.5
        y = scores.masked_fill(after, float("-inf")).softmax(-1) @ v
        x = x + linear(f"h.{i}.attn.c_proj", y.transpose(1, 2).reshape(B, T, -1))
        inner = linear(f"h.{i}.mlp.c_fc", norm(f"h.{i}.ln_2", x))
        inner = F.gelu(inner, approximate="none" if gelu == "exact" else "tanh")
        x = x + linear(f"h.{i}.mlp.c_proj", inner)
    return F.linear(norm("ln_f", x), bare["lm_head.weight"])


def compiled(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"_orig_mod.{name}": tensor for name, tensor in state.items()}


# the layouts, with the keys that the programs write


def of_nanogpt(args: dict, state: dict) -> dict:
    config = {"dataset": "openwebtext", "wandb_run_name": "gpt2", "learning_rate": 6e-4}
    return {
        "model": state,
        "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 1e-3}]},
        "model_args": args,
        "iter_num": 2000,
        "best_val_loss": torch.tensor(3.25),
        "config": config,
    }


def of_old_jojo(args: dict, state: dict, dataset: str = "chat") -> dict:
    return {
        "model": state,
        "optimizer": {},
        "model_args": args,
        "config": {"dataset": "data", "dataset_name": dataset, "checkpoint_file": "models/x.pt"},
        "dataset": dataset,
        "epoch": 1,
        "epoch_iter": 7,
        "batch_counter": 4100,
        "timestamp": "2025-07-04 12:00:00.000000",
    }


def of_new_jojo(args: dict, state: dict, dataset: str = "chitchat") -> dict:
    config = {"model": args, "data": {"dataset_name": dataset}, "training": {"max_iters": None}}
    return {
        "model": state,
        "optimizer": {},
        "lr_scheduler": {"iter_num": 900},
        "epoch": 0,
        "batch_counter": 899,
        "global_iter_num": 900,
        "best_val_loss": 1.5,
        "worst_val_loss": float("inf"),
        "config": config,
        "metrics": {"val_loss": [(0, 1.75)], "val_loss_iter": [(800, 1.5), (900, 1.75)]},
        "metadata": {"pytorch_version": torch.__version__, "config": config, "git_commit": None},
    }


LAYOUTS = {"nanogpt": of_nanogpt, "old jojo": of_old_jojo, "new jojo": of_new_jojo}
every_layout = pytest.mark.parametrize("layout", LAYOUTS)


@pytest.fixture
def saved(tmp_path):
    """Writes a checkpoint in a layout; returns its path and its weights."""

    def write(layout: str = "nanogpt", prefix: bool = False, change=None, seed: int = 0, **args):
        args = {name: value for name, value in (ARGS | args).items() if value is not None}
        state = weights_of(args, seed)
        content = LAYOUTS[layout](args, compiled(state) if prefix else dict(state))
        if change is not None:
            change(content)
        torch.save(content, tmp_path / "ckpt.pt")
        return tmp_path / "ckpt.pt", state

    return write


def swapped(ids: torch.Tensor) -> torch.Tensor:
    """Our ids in the first Jojo's numbers, or back."""
    return torch.where((ids == 50257) | (ids == 50258), 50257 + 50258 - ids, ids)


def random_ids(top: int = 50259, length: int = 40) -> torch.Tensor:
    ids = torch.randint(top, (2, length), generator=torch.Generator().manual_seed(3))
    if top > 50258:
        ids[:, ::7], ids[:, 3::9] = 50257, 50258  # enough of them to count
    return ids


def greedy(logits_of, ids: torch.Tensor, new: int = 24) -> torch.Tensor:
    for _ in range(new):
        ids = torch.cat((ids, logits_of(ids)[:, -1:].argmax(-1)), dim=1)
    return ids[:, -new:]


# the same answers


@pytest.mark.parametrize("prefix", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@every_layout
@torch.inference_mode()
def test_logits_and_greedy_tokens_are_those_of_there(layout, bias, prefix, saved):
    path, state = saved(layout, prefix, bias=bias)
    model, _ = open_checkpoint(path)
    first_jojo, gelu = layout != "nanogpt", "exact" if layout == "nanogpt" else "tanh"
    translate = swapped if first_jojo else (lambda ids: ids)

    def there(ids):
        return reference(state, 4, gelu, translate(ids))

    order = translate(torch.arange(50304))  # column of theirs for each id of ours
    ids = random_ids()
    expected = there(ids)[..., order]
    assert expected.std() > 0.5  # the comparison is of something
    torch.testing.assert_close(model(ids), expected, atol=1e-5, rtol=0)
    tokens = greedy(lambda ids: there(ids)[..., order], ids[:, :10])
    assert torch.equal(greedy(model, ids[:, :10]), tokens)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not model.training
    assert model.lm_head.weight is model.wte.weight


@every_layout
def test_the_chatml_rows_change_places_where_the_numbers_differ(layout, saved):
    path, state = saved(layout)
    rows, theirs = open_checkpoint(path)[0].wte.weight, state["transformer.wte.weight"]
    first, second = (50257, 50258) if layout == "nanogpt" else (50258, 50257)
    assert torch.equal(rows[IM_END], theirs[first])
    assert torch.equal(rows[IM_START], theirs[second])
    assert torch.equal(rows[:GPT2_TOKENS], theirs[:GPT2_TOKENS])
    assert torch.equal(rows[50259:], theirs[50259:])


@torch.inference_mode()
def test_the_forms_of_gelu_are_told_apart(saved):
    ids = random_ids()
    path, state = saved()
    exact, tanh = (reference(state, 4, form, ids) for form in ("exact", "tanh"))
    assert (exact - tanh).abs().max() > 1e-4  # or this test would show nothing
    torch.testing.assert_close(open_checkpoint(path)[0](ids), exact, atol=1e-5, rtol=0)
    path, state = saved(bias=None)  # of before the setting: with biases, tanh
    tanh = reference(state, 4, "tanh", ids)
    torch.testing.assert_close(open_checkpoint(path)[0](ids), tanh, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_the_first_nanogpt_had_an_untied_head_and_told_no_vocabulary(saved):
    heads = torch.randn(GPT2_TOKENS, 32, generator=torch.Generator().manual_seed(5)) * 0.2

    def untie(content):
        content["model"]["lm_head.weight"] = heads
        for name in ("config", "best_val_loss"):
            del content[name]

    path, state = saved(change=untie, bias=None, vocab_size=None)
    model, facts = open_checkpoint(path)
    ids = random_ids(GPT2_TOKENS)
    expected = reference(state | {"lm_head.weight": heads}, 4, "tanh", ids)
    torch.testing.assert_close(model(ids)[..., :GPT2_TOKENS], expected, atol=1e-5, rtol=0)
    assert model.config.tie_embeddings is False
    assert facts == {"template": "text", "step": 2000}


@every_layout
@torch.inference_mode()
def test_gpt2s_own_vocabulary_grows_to_ours(layout, saved):
    path, state = saved(layout, vocab_size=GPT2_TOKENS, bias=True)
    model, _ = open_checkpoint(path)
    ids = random_ids(GPT2_TOKENS)
    gelu = "exact" if layout == "nanogpt" else "tanh"
    assert model.config.vocab_size == 50304
    expected = reference(state, 4, gelu, ids)
    torch.testing.assert_close(model(ids)[..., :GPT2_TOKENS], expected, atol=1e-5, rtol=0)
    assert torch.equal(
        greedy(model, ids[:, :9]), greedy(lambda i: reference(state, 4, gelu, i), ids[:, :9])
    )


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_weights_of_half_precision_become_float32(dtype, saved):
    def halve(content):
        content["model"] = {name: t.to(dtype) for name, t in content["model"].items()}

    path, state = saved(change=halve)
    model, _ = open_checkpoint(path)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert torch.equal(model.ln_f.weight, state["transformer.ln_f.weight"].to(dtype).float())


def test_attention_masks_are_no_weights(saved):
    def add_masks(content):
        for i in range(2):
            content["model"][f"transformer.h.{i}.attn.bias"] = torch.ones(1, 1, 64, 64).tril()

    path, _ = saved(change=add_masks)
    assert open_checkpoint(path)[0].config.n_layer == 2


@every_layout
@torch.inference_mode()
def test_as_one_of_ours_it_opens_as_any_other(layout, saved, tmp_path):
    model, facts = open_checkpoint(saved(layout)[0])
    checkpoint.save(tmp_path / "ours.pt", checkpoint.model_content(model, **facts))
    loaded, known = checkpoint.load_model(tmp_path / "ours.pt")
    assert loaded.config == model.config
    assert torch.equal(loaded(random_ids()), model(random_ids()))
    assert {name: known[name] for name in facts} == facts


@torch.inference_mode()
def test_the_exact_gelu_goes_to_transformers_and_back(saved, tmp_path):
    from transformers import AutoModelForCausalLM

    model, _ = open_checkpoint(saved()[0])
    save_folder(model, tmp_path / "out", "text")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32).eval()
    assert theirs.config.activation_function == "gelu"
    ids = random_ids()
    torch.testing.assert_close(theirs(ids).logits, model(ids), atol=1e-5, rtol=0)
    assert hf_config.read_config(tmp_path / "out") == model.config


# what is known beside the weights


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("nanogpt", {"template": "text", "dataset": "openwebtext", "step": 2000}),
        ("old jojo", {"template": "chatml", "dataset": "chat", "step": 4100}),
        ("new jojo", {"template": "chatml", "dataset": "chitchat", "step": 900}),
    ],
)
def test_the_facts_of_each_layout(layout, expected, saved, capsys):
    _, facts = open_checkpoint(saved(layout)[0])
    losses = facts.pop("metrics", {})
    assert facts == expected
    assert losses == {
        "nanogpt": {"val_loss": 3.25},
        "old jojo": {},
        "new jojo": {"val_loss": 1.75, "best_val_loss": 1.5},
    }.get(layout)
    assert capsys.readouterr().err == ""


def test_a_loss_of_another_step_or_of_no_measure_is_left_out(saved):
    def unmeasured(content):
        content.update(epoch=1, global_iter_num=950, best_val_loss=float("inf"))

    assert "metrics" not in open_checkpoint(saved("new jojo", change=unmeasured)[0])[1]
    odd = {"val_loss": [5], "val_loss_iter": "x"}
    path, _ = saved("new jojo", change=lambda c: c.update(metrics=odd, best_val_loss="low"))
    assert "metrics" not in open_checkpoint(path)[1]


def first_day(content: dict) -> None:
    """As the first Jojo's first version saved: the keys of nanoGPT, less one."""
    for name in ("dataset", "epoch", "epoch_iter", "batch_counter", "timestamp"):
        del content[name]
    content["iter_num"] = 5000
    content["config"] = {"dataset": "data", "checkpoint_file": "models/story5000.pt"}


def test_the_first_day_of_the_first_jojo(saved):
    model, facts = open_checkpoint(saved("old jojo", change=first_day)[0])
    assert facts == {"template": "text", "dataset": "story", "step": 5000}
    assert model.config.gelu == "tanh"


@pytest.mark.parametrize(
    ("dataset", "template"),
    [("story", "text"), ("dailydialog", "person"), ("knowledge", "chatml"), ("mine", "chatml")],
)
@pytest.mark.parametrize("layout", ["old jojo", "new jojo"])
def test_the_template_is_that_of_the_dataset(layout, dataset, template, saved, capsys):
    def name(content):
        if layout == "old jojo":
            content["dataset"] = dataset
        else:
            content["config"]["data"]["dataset_name"] = dataset

    path, _ = saved(layout, change=name)
    _, facts = open_checkpoint(path)
    assert (facts["template"], facts["dataset"]) == (template, dataset)
    said = capsys.readouterr().err
    assert ("--template" in said and "mine" in said) == (dataset == "mine")
    assert open_checkpoint(path, "speaker")[1]["template"] == "speaker"
    assert capsys.readouterr().err == ""


# what cannot be converted


def test_a_model_of_characters_is_refused(saved, complaint):
    message = complaint(open_checkpoint, saved(vocab_size=65)[0])
    assert "65 tokens" in message
    assert "single characters" in message


def test_a_vocabulary_larger_than_ours_is_refused(saved, complaint):
    assert "50,432 tokens" in complaint(open_checkpoint, saved(vocab_size=50432)[0])


FC = "transformer.h.1.mlp.c_fc.weight"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda c: c["model"].pop(FC), f"lack {FC}"),
        (lambda c: c["model"].pop("transformer.wte.weight"), "lack transformer.wte.weight"),
        (lambda c: c["model"].update({FC: torch.zeros(128, 31)}), f"{FC} is (128, 31)"),
        (lambda c: c["model"].update({FC: torch.zeros(3, dtype=torch.int8)}), FC),
        (lambda c: c["model"].update({FC: "x"}), FC),
        (lambda c: c["model"].update({"lm_head.weight": torch.zeros(9, 32)}), "lm_head.weight"),
        (lambda c: c["model"].update({"transformer.wpe.weight": torch.zeros(3)}), "wpe.weight"),
        (lambda c: c["model"].update({"transformer.rotary": torch.zeros(3)}), "transformer.rotary"),
        (lambda c: c.update(model={}), "'model'"),
        (lambda c: c.pop("model"), "'model'"),
        (lambda c: c.update(model_args=3), "model_args"),
        (lambda c: c["model_args"].update(n_layer=3), "n_layer is 3, by the weights it is 2"),
        (lambda c: c["model_args"].update(n_embd=64), "n_embd"),
        (lambda c: c["model_args"].update(block_size="64"), "block_size"),
        (lambda c: c["model_args"].update(vocab_size=None), "vocab_size"),
        (lambda c: c["model_args"].update(n_layer=10**12), "n_layer"),
        (lambda c: c["model_args"].update(n_head=5), "n_head 5"),
        (lambda c: c["model_args"].update(n_head=0), "n_head 0"),
        (lambda c: c["model_args"].pop("n_head"), "n_head is None"),
        (lambda c: c["model_args"].update(bias="no"), "bias is 'no'"),
        (lambda c: c["model_args"].update(bias=True), "ln_1.bias"),
    ],
    ids=range(21),
)
@pytest.mark.parametrize("prefix", [False, True])
def test_what_is_damaged_is_named(change, named, prefix, saved, complaint):
    def damage(content):
        change(content)
        if prefix:
            content["model"] = compiled(content.get("model", {}))

    path, _ = saved(change=damage)
    message = complaint(open_checkpoint, path)
    assert message.startswith(str(path))
    assert named in message


def test_an_unknown_template_is_refused_at_once(tmp_path, complaint):
    assert "klingon" in complaint(open_checkpoint, tmp_path / "none.pt", "klingon")


class Malicious:
    """Creates a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@every_layout
def test_what_could_run_code_is_not_opened(layout, saved, tmp_path, complaint):
    def hide(content):
        content["config"]["more"] = Malicious(tmp_path / "trap")

    path, _ = saved(layout, change=hide)
    assert "could run code" in complaint(open_checkpoint, path)
    assert not (tmp_path / "trap").exists()


def test_other_files_are_refused(saved, tiny_model, tmp_path, complaint):
    ours = tmp_path / "ours.pt"
    checkpoint.save(ours, checkpoint.model_content(tiny_model(vocab_size=97), template="text"))
    assert "no checkpoint of nanoGPT" in complaint(open_checkpoint, ours)
    torch.save([1], ours)
    assert "no checkpoint of nanoGPT" in complaint(open_checkpoint, ours)
    assert "does not exist" in complaint(open_checkpoint, tmp_path / "none.pt")


@every_layout
def test_used_unconverted_it_says_how_to_convert_it(layout, saved, complaint):
    path, _ = saved(layout)
    assert checkpoint.is_older(checkpoint.read(path))
    message = complaint(checkpoint.load_model, path)
    assert "nanoGPT or the first Jojo" in message
    assert f"python convert.py {path} --outfile models/ckpt-converted.pt" in message
