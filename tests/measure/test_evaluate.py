"""jojo/measure/evaluate.py: the validation loss, and the score of replies."""

from __future__ import annotations

from jojo.chat.config import SamplingOptions
from jojo.chat.engine import Reply
from jojo.data.chitchat.table import load_table
from jojo.data.chitchat.talk import held_out_prompts
from jojo.measure import evaluate
from jojo.measure.evaluate import score_replies


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
