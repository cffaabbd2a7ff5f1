"""Settings of convert.py."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jojo.chat.config import BaseOption
from jojo.data.contract import DataFolder


@dataclass(kw_only=True)
class ConvertConfig(BaseOption):
    source: Annotated[str, tyro.conf.Positional]
    """A checkpoint or an adapter of train.py, a Hugging Face folder, a name of the hub, or a
    checkpoint of nanoGPT or the first Jojo."""
    outfile: Path
    """NAME.gguf: for llama.cpp and Ollama. NAME.pt: a checkpoint of ours. Else a folder for Hugging
    Face."""
    type: str | None = None
    """Of a GGUF file: f32, f16, bf16, q8_0, or (pip install cyllama) q6_k, q5_k_m, q4_k_m, q3_k_m,
    q2_k and more; by default what its name ends in, as chat.q4_k_m.gguf does, else f16."""
    template: Literal["chatml", "person", "speaker", "text"] | None = None
    """How the model talks; by default as its source says, else it goes on with plain text."""
    adapter: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Write an adapter as a PEFT folder instead of merging it into its base."""
    ollama: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Also write a Modelfile beside the GGUF file."""
    system: str | None = None
    """System message of the Modelfile: a persona."""
    create: str | None = None
    """Make the model of this name in Ollama; implies --ollama."""
    push: str | None = None
    """OWNER/NAME: upload to huggingface.co when the proof has passed; private."""
    public: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """With --push: for everybody to see."""
    no_verify: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Leave out the proof that the export does what the model does."""
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Replace what stands at --outfile."""
    data_dir: Path = DataFolder.data_dir
    """Where datasets are: their licences stand in the model card."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.outfile = Path(os.path.expanduser(self.outfile))
        if self.create is not None:
            self.ollama = True
        suffix = self.outfile.suffix.lower()
        gguf = suffix == ".gguf"
        if not gguf and (flag := "type" if self.type else "ollama" if self.ollama else None):
            raise ValueError(f"`{flag}` is for GGUF files: `outfile` NAME.gguf")
        if self.adapter and suffix in (".gguf", ".pt"):
            raise ValueError("`adapter` writes a folder of PEFT: `outfile` NAME")
        if self.system is not None and not self.ollama:
            raise ValueError("`system` stands in Ollama's Modelfile: add `ollama`")
        if self.public and self.push is None:
            raise ValueError("`public` is for `push` OWNER/NAME: add that")
        if self.push is not None and suffix == ".pt":
            raise ValueError("`push` uploads what others can open: `outfile` NAME or NAME.gguf")
