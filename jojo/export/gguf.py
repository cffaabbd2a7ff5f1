"""A model as one GGUF file, for llama.cpp and what is built on it: Ollama, LM Studio, jan.

    write(model, Path("chat.q8_0.gguf"), "q8_0", "chatml", {"name": "chat"})

Written with the `gguf` package of llama.cpp: our arch jojo is its qwen3, gpt2 is gpt2. The
vocabulary ends at its last token: rows of the embedding that only pad it are left out. Types that
`gguf` cannot write are made by llama.cpp's own quantizer (llamacpp.py) from a float32 file.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import errno
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import torch

from jojo.models import hf
from jojo.models.hf_tokenizer import gpt2_json
from jojo.text.dialects import JINJA
from jojo.text.template import template_named
from model import GPT, GPTConfig
from tokenizer import ENDOFTEXT, N_TOKENS, SPECIAL_TOKENS

Numbers = gguf.GGMLQuantizationType
FileType = gguf.LlamaFileType
WRITTEN = {  # type -> (of matrices, of the file)
    "f32": (Numbers.F32, FileType.ALL_F32),
    "f16": (Numbers.F16, FileType.MOSTLY_F16),
    "bf16": (Numbers.BF16, FileType.MOSTLY_BF16),
    "q8_0": (Numbers.Q8_0, FileType.MOSTLY_Q8_0),
}
K_QUANTS = {  # by llama.cpp's quantizer, which chooses per tensor
    "q2_k": FileType.MOSTLY_Q2_K,
    "q3_k_s": FileType.MOSTLY_Q3_K_S,
    "q3_k_m": FileType.MOSTLY_Q3_K_M,
    "q3_k_l": FileType.MOSTLY_Q3_K_L,
    "q4_k_s": FileType.MOSTLY_Q4_K_S,
    "q4_k_m": FileType.MOSTLY_Q4_K_M,
    "q5_k_s": FileType.MOSTLY_Q5_K_S,
    "q5_k_m": FileType.MOSTLY_Q5_K_M,
    "q6_k": FileType.MOSTLY_Q6_K,
}
TYPES = (*WRITTEN, *K_QUANTS)
DEFAULT_TYPE = "f16"
BLOCK = {"q8_0": 32, **dict.fromkeys(K_QUANTS, 256)}  # numbers of a row that share their scales
BITS = {"f32": 32, "f16": 16, "bf16": 16, "q8_0": 8.5} | {name: 8.0 for name in K_QUANTS}  # at most
PADDED = ("wte.weight", "lm_head.weight")  # more rows than tokens
ARCH = {"jojo": gguf.MODEL_ARCH.QWEN3, "gpt2": gguf.MODEL_ARCH.GPT2}
CHARACTERISTIC = re.compile(r"(?i)(?:[.\-_]|^)(i?q\d\w*|f16|f32|f64|bf16|fp16|fp32|mxfp4)$")


def type_of(path: Path, wanted: str | None) -> str:
    """The type that `--type` or else the name of the file asks for, as chat.q4_k_m.gguf does."""
    found = CHARACTERISTIC.search(path.stem)
    named = found[1].lower() if found else None
    wanted = wanted.lower() if wanted else None
    if wanted and named in TYPES and wanted != named:
        raise ValueError(f"{path.name} names the type {named}, `type` {wanted}: leave out one")
    chosen = wanted or named or DEFAULT_TYPE
    if chosen not in TYPES:
        raise ValueError(f"unknown quantization {chosen!r}: there are {', '.join(TYPES)}")
    return chosen


def check(config: GPTConfig, kind: str) -> None:
    """ValueError where a model of this shape cannot be such a file."""
    if config.gelu != "tanh":
        raise ValueError(
            "gelu 'exact': GGUF's gpt2 has only the tanh form; export a Hugging Face folder "
            "(`outfile` NAME), which can express it"
        )
    rows = {name: shape[-1] for name, shape, packed, _ in _tensors(config) if packed}
    for name, row in rows.items():
        if row % BLOCK.get(kind, 1):
            other = "f16" if any(row % BLOCK["q8_0"] for row in rows.values()) else "q8_0"
            raise ValueError(
                f"{kind} packs {BLOCK[kind]} numbers of a row together, and {name} has rows of "
                f"{row}: choose `type` {other}"
            )


def size_bytes(config: GPTConfig, kind: str) -> int:
    """About how large the file gets, rather more than less."""
    with torch.device("meta"):
        n_params = GPT(config).n_params()
    return int(n_params * BITS[kind] / 8) + (4 << 20)


def write(model: GPT, path: Path, kind: str, template: str, about: dict[str, str]) -> None:
    """Write `model` (a plain GPT) to `path` as a type of WRITTEN. `about`: keys of `general.`."""
    matrices, of_file = WRITTEN[kind]
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[ARCH[model.config.arch]])
    try:
        for name, value in about.items():
            writer.add_string(f"general.{name}", value)
        _add_shape(writer, model.config)
        writer.add_file_type(of_file)
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        _add_tokenizer(writer, template)
        tensors = [
            (name, shape, matrices if packed else Numbers.F32, piece)
            for name, shape, packed, piece in _tensors(model.config)
        ]
        for name, shape, numbers, _ in tensors:
            size = math.prod(gguf.quant_shape_to_byte_shape(shape, numbers))
            writer.add_tensor_info(name, shape, np.dtype(np.float32), size, numbers)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        state = model.state_dict()
        for name, shape, numbers, piece in tensors:  # one at a time is held in memory
            writer.write_tensor_data(_packed(state, name, shape, numbers, piece))
    except OSError as error:
        if error.errno is None:  # what numpy makes of a full disk
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
        raise
    finally:
        writer.close()


def tensors(model: GPT) -> Iterator[tuple[str, np.ndarray]]:
    """(their name, ours as float32), in the order of the file."""
    state = model.state_dict()
    for name, shape, _, piece in _tensors(model.config):
        yield name, _rows(state, shape, piece)


def _rows(state: dict, shape: tuple, piece: hf.Piece) -> np.ndarray:
    tensor = piece.to_theirs(state)
    tensor = tensor.T if piece.transposed else tensor
    return np.ascontiguousarray(tensor[: shape[0]].numpy())


def _tensors(config: GPTConfig) -> Iterator[tuple[str, tuple[int, ...], bool, hf.Piece]]:
    """(name, shape (rows, numbers of a row), whether it is packed, where it comes from)."""
    names = gguf.get_tensor_name_map(ARCH[config.arch], config.n_layer)
    for piece in hf.pieces_of(config):
        name = names.get_name(hf.full_name(piece, config), (".weight", ".bias"))
        assert name is not None, piece
        shape = piece.shape[::-1] if piece.transposed else piece.shape
        if piece.ours[0] in PADDED:
            shape = (N_TOKENS, *shape[1:])
        # as llama.cpp has it: vectors and learned positions stay float32
        yield name, shape, len(shape) > 1 and piece.ours[0] != "wpe.weight", piece


def _packed(state: dict, name: str, shape: tuple, numbers: Numbers, piece: hf.Piece) -> np.ndarray:
    rows = _rows(state, shape, piece)
    if numbers == Numbers.F16 and np.abs(rows).max(initial=0) > np.finfo(np.float16).max:
        raise ValueError(f"{name} has numbers too large for f16: choose `type` bf16 or f32")
    return gguf.quants.quantize(rows, numbers)


def _add_shape(writer: gguf.GGUFWriter, config: GPTConfig) -> None:
    writer.add_context_length(config.block_size)
    writer.add_embedding_length(config.n_embd)
    writer.add_block_count(config.n_layer)
    writer.add_feed_forward_length(config.n_inner)
    writer.add_head_count(config.n_head)
    writer.add_vocab_size(N_TOKENS)
    if config.arch == "gpt2":
        writer.add_layer_norm_eps(config.norm_eps)
        return
    writer.add_head_count_kv(config.n_kv_head)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_rope_freq_base(config.rope_theta)


def _add_tokenizer(writer: gguf.GGUFWriter, template: str) -> None:
    """GPT-2's BPE, our special tokens, what ends a reply, and the chat template."""
    how, bpe = template_named(template), gpt2_json()["model"]
    tokens = [""] * N_TOKENS
    for token, i in {**bpe["vocab"], **SPECIAL_TOKENS}.items():
        tokens[i] = token
    special = set(SPECIAL_TOKENS.values())
    kinds = gguf.TokenType
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(
        [kinds.CONTROL if i in special else kinds.NORMAL for i in range(N_TOKENS)]
    )
    writer.add_token_merges(bpe["merges"])
    writer.add_bos_token_id(ENDOFTEXT)
    writer.add_pad_token_id(ENDOFTEXT)
    writer.add_eos_token_id(how.special_end)
    if how.is_chat:
        writer.add_eot_token_id(how.end_ids[0])
        writer.add_chat_template(JINJA[template])
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)


class Reader(gguf.GGUFReader):
    """The package's reader over a plain array: slices of a memory map take three times as long."""

    @property
    def data(self) -> np.ndarray:
        return self._data

    @data.setter
    def data(self, mapped: np.memmap) -> None:
        self._data = mapped.view(np.ndarray)
