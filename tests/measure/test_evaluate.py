"""jojo/measure/evaluate.py: the validation loss, and the score of replies."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from jojo import device
from jojo.chat.config import SamplingOptions
from jojo.chat.sampling import Reply
from jojo.data import bins
from jojo.data.chitchat.table import load_table
from jojo.data.chitchat.talk import held_out_prompts
from jojo.measure import evaluate
from jojo.measure.evaluate import score_replies
from jojo.train.validation import Validation, target_weights


@pytest.fixture
def machine():
    return device.choose("cpu", "float32")


@pytest.fixture
def val_ids(tiny_dataset):
    return bins.open_dataset("tiny", tiny_dataset()).ids["val"]


def test_the_loss_is_the_mean_over_the_targets_that_count(val_ids, tiny_model, machine):
    model = tiny_model()
    model.train()
    validation = Validation(val_ids, "chatml", 64, 640, batch_size=3)
    for loss_on in ("all", "assistant"):
        weigh = partial(target_weights, template="chatml", loss_on=loss_on)
        found = validation.loss(model, machine, weigh)
        windows = validation.windows
        logits = model.eval()(windows[:, :-1])
        nll = F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten(), reduction="none")
        weights = weigh(windows).flatten()
        assert found == pytest.approx(((nll * weights).sum() / weights.sum()).item(), rel=1e-5)
        model.train()
    assert model.training


def test_the_windows_are_always_the_same_and_may_be_shorter_than_a_block(val_ids):
    one, two = (Validation(val_ids, "chatml", 64, 640, 3).windows for _ in range(2))
    assert torch.equal(one, two)
    assert Validation(val_ids, "chatml", 64, 64, 3).windows.shape == (1, 65)
    assert Validation(val_ids[:40], "chatml", 64, 640, 3).windows.shape == (1, 40)


def test_a_random_model_carries_no_intent(tiny_model):
    prompts = held_out_prompts(1, 12)
    model = tiny_model(block_size=256)
    score = score_replies(model, prompts, SamplingOptions(max_tokens=8), seed=1)
    assert score.prompts == 12
    assert score.right_intent == 0
    assert len(score.wrong) == 12
    assert {"intent", "prompt", "reply"} == set(score.wrong[0])


def test_the_tables_own_replies_score_full(tiny_model, monkeypatch):
    table = load_table()
    prompts = [p for p in held_out_prompts(1, 90) if not table.intents[p.intent].told_slots]
    assert len(prompts) > 40
    turns = iter(prompts)

    def answer(self):
        self.last = Reply([1], "", ended=True)
        yield table.intents[next(turns).intent].reply[0][0]

    monkeypatch.setattr(evaluate.Chat, "answer", answer)
    score = score_replies(tiny_model(), prompts, SamplingOptions(), seed=1)
    assert score.ended == 1
    assert score.right_intent > 0.95
