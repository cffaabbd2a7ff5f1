"""What convert.py does: a model into another format, proven there before it takes its place.

    code = convert(config)      # config: ConvertConfig

The export is written beside its target and asked what the model is asked; only when both answer
the same is it renamed. So a target is never half-written, never wrong, and what stood there before
an export that failed still stands.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from jojo.command import say
from jojo.export import (
    card,
    gguf,
    llamacpp,
    ollama,
    peft,
    proof,
    proof_gguf,
    push,
)
from jojo.export.config import ConvertConfig
from jojo.export.folder import must_be_free, whole_folder
from jojo.export.hf_folder import write
from jojo.export.proof_transformers import in_transformers, of_checkpoint
from jojo.export.save import content_of
from jojo.files import must_have_room, scratch_file, whole_file, write_text
from jojo.models import checkpoint, nanogpt, pretrained
from jojo.models.names import CHECKPOINT, ENDINGS, GGUF, check_name
from jojo.models.pretrained import Base
from jojo.models.weights import hash_of
from jojo.text.template import template_named
from tokenizer import N_TOKENS

WRITTEN = {CHECKPOINT, GGUF}  # else a folder


def convert(config: ConvertConfig) -> int:
    """Write `config.outfile`, prove it, create and push it if asked; ValueError if that fails."""
    return Conversion(config).run()


class Conversion:
    """One export. Whatever can be refused is refused before the work begins."""

    def __init__(self, config: ConvertConfig):
        self.config = config
        self.path, self.suffix = config.outfile, config.outfile.suffix.lower()
        self.checks: list[proof.Check] = []
        self._check_place()
        if self.suffix == GGUF:
            self.kind = gguf.type_of(self.path, config.type)
            if self.kind in gguf.K_QUANTS:
                llamacpp.check_quantizer()
        if config.create is not None:
            ollama.check(config.create, self.modelfile)
        if config.push is not None:
            push.check(config.push)
        self.found = self._open()
        told = self.found.adapter or self.found.facts
        pretrained.check_not_base(self.path, config.source, told, config.base)
        self._take(self.found)
        self._check_model()

    def _take(self, found: Base) -> None:
        self.model, self.facts = found.model, found.facts
        if self.config.template is not None:
            self.facts = {**self.facts, "template": self.config.template}
        self.template = template_named(self.facts["template"]).name

    def _check_model(self) -> None:
        source, n = self.config.source, self.model.config.vocab_size
        if not all(p.isfinite().all() for p in self.model.parameters()):
            raise ValueError(
                f"{source} holds weights that are not numbers: its training diverged; choose an "
                "earlier checkpoint"
            )
        if n < N_TOKENS and self.suffix != CHECKPOINT:
            raise ValueError(
                f"{source} has {n:,} tokens, its vocabulary {N_TOKENS:,}: nothing else could read "
                "or write text with it"
            )

    @property
    def modelfile(self) -> Path:
        return self.path.parent / "Modelfile"

    def _check_place(self) -> None:
        path, overwrite = self.path, self.config.overwrite
        if path.exists() and path.resolve() == Path(self.config.source).expanduser().resolve():
            raise ValueError(f"{path} is the model to be converted: choose another `outfile`")
        if self.suffix in ENDINGS.keys() - WRITTEN:
            raise ValueError(f"{path}: name a file NAME.gguf or NAME.pt, or a folder")
        if file := next((p for p in path.parents if p.is_file()), None):
            raise ValueError(f"{path} cannot be written: {file} is a file, choose another place")
        if self.suffix not in WRITTEN:
            must_be_free(path, overwrite)
            return
        targets = [path, self.modelfile] if self.config.ollama else [path]
        for target in targets:
            if target.is_dir():
                raise ValueError(f"{target} is a folder: choose another `outfile`")
            if target.exists() and not overwrite:
                raise ValueError(f"{target} is there already: add `overwrite`, or choose another")
        if self.config.ollama and self.modelfile.exists() and not ollama.is_ours(self.modelfile):
            raise ValueError(f"{self.modelfile} was not written by Jojo: choose another folder")

    def _open(self) -> Base:
        """The source; with --adapter its base and, apart from it, the adapter."""
        source, path = self.config.source, Path(self.config.source).expanduser()
        check_name(source)
        if path.is_file() and checkpoint.is_older(checkpoint.read(path)):
            if self.config.base is not None:
                raise ValueError(f"{source} is not an adapter and has no base: leave out `base`")
            model, facts = nanogpt.open_checkpoint(path, self.config.template)
            return Base(model, facts, hash_of(model), source)
        found = pretrained.open_base(source, "cpu", self.config.base)
        return found if self.config.adapter else pretrained.merged(found, source)

    def run(self) -> int:
        shape = f"{self.model.config.arch}, {self.model.n_params() / 1e6:.1f} M parameters"
        say(f"{self.config.source}: {shape}, template {self.template}")
        kinds = {GGUF: self._gguf, CHECKPOINT: self._checkpoint}
        kinds.get(self.suffix, self._adapter if self.config.adapter else self._folder)()
        for line in self._what_next():
            say(line)
        if self.config.create is not None:
            ollama.create(self.config.create, self.modelfile)
        if self.config.push is not None:
            say(f"uploaded to {self._push()}")
        if self.config.create is not None:
            ollama.talk(self.config.create)
        return 0

    def _prove(self, ask: Callable[[], Sequence[proof.Check]]) -> None:
        if not self.config.no_verify:
            self.checks += ask()
            proof.demand(self.checks)

    # ---------------------------------------------------------------- formats

    def _folder(self) -> None:
        must_have_room(self.path, 4 * self.model.n_params() + (8 << 20))
        with whole_folder(self.path, self.config.overwrite) as folder:
            write(self.model, folder, self.template, self.facts)
            self._prove(lambda: in_transformers(self.model, self.template, folder))
            names = sorted(p.name for p in folder.glob("*.safetensors"))
            write_text(folder / push.CARD, self._card(names))

    def _adapter(self) -> None:
        with whole_folder(self.path, self.config.overwrite) as folder:
            usage = peft.usage(self.found, self.config.push or self.path.name)
            peft.write(self.found, folder, self.template)
            base = None if self.config.no_verify else peft.there(self.found)
            self._take(pretrained.merged(self.found, self.config.source))
            self._prove(lambda: peft.prove(base, self.model, self.template, folder))
            write_text(folder / push.CARD, self._card([peft.WEIGHTS], usage))

    def _gguf(self) -> None:
        gguf.check(self.model.config, self.kind)
        size = gguf.size_bytes(self.model.config, self.kind)
        about = {"name": self.path.stem}
        if licence := card.licence_of(self.facts, self.config.data_dir, self.config.source):
            about["license"] = licence
        whole = {"template": self.template, "about": about}
        text = self._modelfile() if self.config.ollama else None
        if self.kind in gguf.K_QUANTS:
            must_have_room(self.path, size + gguf.size_bytes(self.model.config, "f32"))
            with scratch_file(self.path.with_suffix(".f32.gguf")) as plain:
                gguf.write(self.model, plain, "f32", **whole)
                with whole_file(self.path) as packed:
                    llamacpp.quantize(plain, packed, gguf.K_QUANTS[self.kind])
                    self._prove(lambda: self._in_llamacpp(packed))
        else:
            must_have_room(self.path, size)
            with whole_file(self.path) as path:
                gguf.write(self.model, path, self.kind, **whole)
                self._prove(lambda: self._in_llamacpp(path))
        if text is not None:
            write_text(self.modelfile, text)

    def _in_llamacpp(self, path: Path) -> list[proof.Check]:
        return proof_gguf.in_llamacpp(self.model, self.template, path, self.kind)

    def _checkpoint(self) -> None:
        must_have_room(self.path, 4 * self.model.n_params() + (1 << 20))
        content = content_of(self.model, self.facts)
        with whole_file(self.path) as path:
            checkpoint.save(path, content)
            self._prove(lambda: of_checkpoint(self.model, path, self._source_folder()))

    def _source_folder(self) -> Path | None:
        """The Hugging Face folder that was read, if it was one."""
        path = Path(self.config.source).expanduser()
        return None if path.is_file() else pretrained.folder_of(self.config.source)[0]

    # ---------------------------------------------------------------- around it

    def _card(self, files: Sequence[str], usage: str | None = None) -> str:
        name = (self.config.push or self.path.name).split("/")[-1]
        source, data_dir = self.config.source, self.config.data_dir
        return card.card(self.model, self.facts, name, source, files, data_dir, self.checks, usage)

    def _modelfile(self) -> str:
        return ollama.modelfile(self.path, self.template, self.model.config, self.config.system)

    def _what_next(self) -> list[str]:
        """What was written, and the command to use it."""
        path = shlex.quote(str(self.path))
        if self.config.adapter:
            return [f"wrote {path}; its README.md says how to load it"]
        if self.suffix != GGUF:
            return [f"wrote {path}; python gen.py {path} --interactive"]
        lines = [f"wrote {path}, {self.path.stat().st_size / 1e6:,.1f} MB; llama-cli -m {path}"]
        if self.config.ollama:
            lines.append(f"wrote {shlex.quote(str(self.modelfile))}")
        if self.config.ollama and self.config.create is None:
            lines += ollama.commands(self.modelfile, ollama.name_of(self.path))
        return lines

    def _push(self) -> str:
        files = [self.path] if self.suffix == GGUF else self.path
        if self.config.ollama:
            files.append(self.modelfile)
        text = self._card([p.name for p in files]) if self.suffix == GGUF else None
        return push.push(files, self.config.push, not self.config.public, text)
