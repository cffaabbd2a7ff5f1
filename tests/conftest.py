"""What several test files share: tiny models, a tiny dataset, the way to real data."""

from __future__ import annotations

import os
import random
from pathlib import Path

import hypothesis
import pytest
import torch
from shapes import TINY

from jojo.data.bins import DatasetWriter
from jojo.text.template import Message, encode_batch
from model import GPT, GPTConfig

hypothesis.settings.register_profile(
    "jojo", deadline=None, max_examples=60, derandomize=True, database=None
)
hypothesis.settings.load_profile("jojo")

WORDS = ("hello", "cat", "dog", "sun", "rain", "tea", "music", "book", "walk", "sleep", "blue")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small products are fastest, and the same every time, on one thread."""
    torch.set_num_threads(1)


@pytest.fixture
def tiny_config():
    """A small GPTConfig; keyword arguments change single fields."""
    return lambda **changes: GPTConfig(**(TINY | changes))


@pytest.fixture
def tiny_model(tiny_config):
    """A small model with random weights everywhere, so that its logits differ from each other."""

    def build(seed: int = 0, **changes) -> GPT:
        model = GPT(tiny_config(**changes)).eval()
        randomize(model, seed)
        return model

    return build


@torch.no_grad()
def randomize(model: GPT, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        noise = torch.randn(p.shape, generator=generator)
        p.copy_(noise * p.size(-1) ** -0.5 if p.dim() > 1 else 1 + 0.1 * noise)


def chat_messages(rng: random.Random) -> list[Message]:
    """Two to six short turns of random words, the user first."""

    def words() -> str:
        return " ".join(rng.choices(WORDS, k=rng.randint(2, 12)))

    roles = ("user", "assistant") * rng.randint(1, 3)
    return [{"role": role, "content": words()} for role in roles]


@pytest.fixture
def tiny_dataset(tmp_path):
    """Writes a prepared dataset of random chats; returns the folder it is in."""

    def write(name: str = "tiny", template: str = "chatml", conversations: int = 120) -> Path:
        rng = random.Random(0)
        with DatasetWriter(tmp_path / "data", name, template=template) as writer:
            for i in range(conversations):
                messages = chat_messages(rng)
                if template == "text":
                    messages = messages[1:2]
                ids = encode_batch([messages], template)[0]
                writer.add("val" if i % 10 == 0 else "train", ids)
            writer.commit(licence="none", sources=["made up"], records_in=conversations)
        return tmp_path / "data"

    return write


@pytest.fixture
def saved_folder(tiny_model, tmp_path):
    """Writes a tiny model as a folder; keyword arguments change its shape."""

    def write(name: str = "saved", template: str = "chatml", **shape) -> Path:
        from jojo.export.hf_folder import save_folder

        save_folder(tiny_model(**shape), tmp_path / name, template)
        return tmp_path / name

    return write


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real data pieces that JOJO_REALDATA names."""
    folder = os.environ.get("JOJO_REALDATA")
    if not folder:
        pytest.skip("JOJO_REALDATA is unset: it names the folder with the real data pieces")
    return Path(folder)


@pytest.fixture
def complaint():
    """Calls something that must raise a ValueError; returns its message, which is one line."""

    def call(function, *args, **kwargs) -> str:
        with pytest.raises(ValueError, match=r"\S") as caught:
            function(*args, **kwargs)
        message = str(caught.value)
        assert "\n" not in message
        return message

    return call
