"""LoRA: what learns and what does not, and that merged adapters say the same."""

from __future__ import annotations

import copy

import pytest
import torch
from shapes import SHAPES

from jojo.models import lora
from jojo.models.lora import LoRA, LoRALinear
from jojo.train.loss import cross_entropy
from tokenizer import IM_END, N_TOKENS

HOW = LoRA(4, 8.0, 0.0, ("q", "k", "v", "o"))
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())


def windows(seed: int = 0) -> torch.Tensor:
    """Ids (4, 25) among which are the ChatML tokens."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(50256, (4, 25), generator=generator)
    ids[:, ::6], ids[:, 1::6] = IM_END, IM_END + 1
    return ids


def loss_of(model, ids) -> torch.Tensor:
    h = model.hidden(ids[:, :-1])
    return cross_entropy(h, model.lm_head, ids[:, 1:], torch.ones(ids[:, 1:].shape)) / 96


def trained(model, steps: int = 5):
    """A few AdamW steps on one batch, in place."""
    learned = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=0.01, weight_decay=0.1)
    for _ in range(steps):
        loss_of(model, windows()).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def plain(model) -> dict[str, torch.Tensor]:
    return {n: t.clone() for n, t in model.state_dict().items()}


@every_shape
def test_it_starts_at_the_base_model(shape, tiny_model):
    model = tiny_model(**shape)
    before = model(windows())
    lora.adapt(model, HOW)
    torch.testing.assert_close(model(windows()), before, rtol=0, atol=0)


@every_shape
def test_only_adapters_and_the_two_token_rows_change(shape, tiny_model):
    model = tiny_model(**shape)
    before = plain(model)
    lora.adapt(model, HOW)
    names = {n for n, p in model.named_parameters() if p.requires_grad}
    rows = {"wte.rows"} if model.config.tie_embeddings else {"wte.rows", "lm_head.rows"}
    adapters = {n for n in names if n.endswith(("lora_A", "lora_B"))}
    assert names == rows | adapters
    assert len(adapters) == 2 * 4 * model.config.n_layer
    first = loss_of(model, windows()).item()
    trained(model)
    assert loss_of(model, windows()).item() < first - 0.1
    for module in model.modules():
        if isinstance(module, LoRALinear):
            assert module.lora_B.abs().max() > 0
    lora.merge(model)
    after = plain(model)
    assert after.keys() == before.keys()
    for name, tensor in before.items():
        if name in ("wte.weight", "lm_head.weight"):
            changed = (tensor != after[name]).any(-1).nonzero().flatten().tolist()
            assert changed == [IM_END, IM_END + 1], name
        elif any(f".{t}_proj.weight" in name for t in HOW.targets):
            assert not torch.equal(tensor, after[name]), name
        else:
            assert torch.equal(tensor, after[name]), name


@every_shape
def test_the_gradients_are_those_of_the_plain_loss(shape, tiny_model):
    """Against autograd through all logits of a model whose rows are no view."""
    model = tiny_model(**shape)
    lora.adapt(model, HOW)
    trained(model, 2)
    ids = windows(1)
    loss_of(model, ids).backward()
    mine = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
    W = {n: getattr(model, n).weight.detach().clone() for n in ("wte", "lm_head")}
    rows = {n: getattr(model, n).rows.detach().clone().requires_grad_() for n in W}
    if model.config.tie_embeddings:
        rows["lm_head"] = rows["wte"]
    whole = {n: torch.cat((W[n][:IM_END], rows[n], W[n][N_TOKENS:])) for n in W}
    model.zero_grad()
    model.wte.forward = lambda ids: torch.nn.functional.embedding(ids, whole["wte"])
    logits = model.hidden(ids[:, :-1]) @ whole["lm_head"].t()
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
    for name, gradient in mine.items():
        part, _, kind = name.rpartition(".")
        theirs = rows[part].grad if kind == "rows" else model.get_parameter(name).grad
        torch.testing.assert_close(gradient, theirs, rtol=1e-3, atol=1e-6)


@every_shape
def test_merged_and_unmerged_logits_agree(shape, tiny_model):
    model = tiny_model(**shape)
    lora.adapt(model, LoRA(4, 8.0, 0.0, ("all",)))
    trained(model)
    unmerged = model(windows(2))
    state = lora.merged_state(model)
    lora.merge(model)
    assert (model(windows(2)) - unmerged).abs().max() <= 1e-4
    assert state.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(state[name], tensor), name
    assert (model.lm_head.weight is model.wte.weight) == model.config.tie_embeddings


def test_adapters_travel_by_name(tiny_model):
    model, other = tiny_model(), tiny_model()
    lora.adapt(model, HOW)
    state = lora.adapter_state(trained(model))
    assert sum(t.numel() * 4 for t in state.values()) < 30_000  # the model: 13 MB
    lora.adapt(other, HOW)
    lora.load_adapter_state(other, state)
    assert torch.equal(model(windows()), other(windows()))
    assert torch.equal(other.lm_head.weight[IM_END:N_TOKENS], state["lm_head.rows"])


def test_adapters_of_another_shape_are_refused(tiny_model, complaint):
    model, other = tiny_model(), tiny_model()
    lora.adapt(model, HOW)
    lora.adapt(other, LoRA(2, 8.0, 0.0, HOW.targets))
    said = complaint(lora.load_adapter_state, other, lora.adapter_state(model))
    assert "of another shape" in said


def test_a_target_that_matches_nothing_is_named(tiny_model, complaint):
    said = complaint(lora.adapt, tiny_model(), LoRA(4, 8.0, 0.0, ("q", "query")))
    assert "'query' matches nothing" in said
    assert "q, k, v, o, gate, up, down, or all" in said
    said = complaint(lora.adapt, tiny_model(arch="gpt2"), LoRA(4, 8.0, 0.0, ("gate_proj",)))
    assert "'gate' matches nothing" in said


def test_dropout_falls_on_the_adapters_alone(tiny_model):
    model = tiny_model()
    lora.adapt(model, LoRA(4, 8.0, 0.5, HOW.targets))
    trained(model.train())
    torch.manual_seed(0)
    one, two = model(windows()), model(windows())
    assert not torch.equal(one, two)
    model.eval()
    assert torch.equal(model(windows()), model(windows()))


def test_the_rows_keep_their_place_in_the_matrix(tiny_model):
    """They are a view of it: also after a deep copy of the state and back."""
    model = tiny_model(arch="gpt2")
    lora.adapt(model, HOW)
    saved = copy.deepcopy(lora.adapter_state(model))
    trained(model)
    assert not torch.equal(model.wte.rows, saved["wte.rows"])
    lora.load_adapter_state(model, saved)
    assert torch.equal(model.lm_head.weight[IM_END:N_TOKENS], saved["wte.rows"])


def test_four_bits_need_a_gpu(tiny_model, complaint):
    said = complaint(lora.hold_in_4bit, tiny_model(), torch.device("cpu"))
    assert "`load_in_4bit` needs a CUDA GPU, this run is on cpu" in said


def test_four_bits_need_bitsandbytes(tiny_model, complaint, monkeypatch):
    monkeypatch.setattr(lora, "find_spec", lambda name: None)
    said = complaint(lora.hold_in_4bit, tiny_model(), torch.device("cuda"))
    assert "pip install bitsandbytes" in said


def test_four_bit_projections_carry_adapters(tiny_model):
    """On bitsandbytes' CPU backend, where it is installed; QLoRA itself asks for a GPU."""
    pytest.importorskip("bitsandbytes")
    model = tiny_model(n_embd=128, n_inner=192, n_head=4)
    before = model(windows())
    lora.quantize(model, torch.device("cpu"))
    assert (model(windows()) - before).std() < 0.5 * before.std()
    lora.adapt(model, HOW)
    assert model.h[0].attn.q_proj.base.weight.dtype == torch.uint8
    first = loss_of(model, windows()).item()
    assert loss_of(trained(model), windows()).item() < first


def test_frozen_projections_in_bfloat16_give_the_same_gradients(tiny_model):
    """Autocast would round them to bfloat16 anyway."""
    results = []
    for held in (False, True):
        model = tiny_model(arch="gpt2")
        torch.manual_seed(0)
        lora.adapt(model, HOW)
        if held:
            lora.hold_in(model, torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16):
            loss_of(model, windows()).backward()
        results.append([p.grad for p in model.parameters() if p.requires_grad])
    assert model.h[0].mlp.up_proj.weight.dtype == torch.bfloat16
    assert model.wte.weight.dtype == torch.float32
    for one, two in zip(*results, strict=True):
        assert torch.equal(one, two)
