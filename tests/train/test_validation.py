"""The validation loss: a mean over the targets that count, on windows that stay."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from jojo import device
from jojo.data import bins
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
