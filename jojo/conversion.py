"""What convert.py does: a model into another format, proven there before it takes its place.

    code = convert(config, command)      # config: ConvertConfig

The export is written beside its target and asked what the model is asked; only when both answer
the same is it renamed. So a target is never half-written, never wrong, and what stood there before
an export that failed still stands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from jojo import checkpoint, inference, nanogpt, pretrained
from jojo.chatml import template_named
from jojo.command import say
from jojo.config import ConvertConfig
from jojo.export import card, gguf, hf, llamacpp, ollama, peft, proof, push
from jojo.export.folder import must_be_free, whole_folder
from jojo.files import must_have_room, scratch_file, whole_file, write_text
from jojo.pretrained import Base
from jojo.weights import hash_of

OTHER_FORMATS = (".bin", ".ckpt", ".onnx", ".pth", ".safetensors", ".zip")


def convert(config: ConvertConfig, command: str) -> int:
    """Write `config.outfile`, prove it, and do what is to be done with it; ValueError otherwise."""
    return Conversion(config, command).run()


class Conversion:
    """One export. Everything that can be refused is looked at before the work begins."""

    def __init__(self, config: ConvertConfig, command: str):
        self.config, self.command = config, command
        self.path, self.suffix = config.outfile, config.outfile.suffix
        self.checks: list[proof.Check] = []
        self._check_place()
        if self.suffix == ".gguf":
            self.kind = gguf.type_of(self.path, config.type)
            if self.kind in gguf.K_QUANTS:
                llamacpp.check_quantizer()
        if config.create is not None:
            ollama.check(config.create, self.modelfile)
        if config.push is not None:
            push.check(config.push)
        self.found = self._open()
        self.model, self.facts = self.found.model, self.found.facts
        if config.template is not None:
            self.facts = {**self.facts, "template": config.template}
        self.template = template_named(self.facts["template"]).name

    @property
    def modelfile(self) -> Path:
        return self.path.parent / "Modelfile"

    def _check_place(self) -> None:
        path, overwrite = self.path, self.config.overwrite
        if self.suffix in OTHER_FORMATS:
            raise ValueError(f"{path}: name a file NAME.gguf or NAME.pt, or a folder")
        if file := next((p for p in path.parents if p.is_file()), None):
            raise ValueError(f"{path} cannot be written: {file} is a file, choose another place")
        if self.suffix not in (".gguf", ".pt"):
            must_be_free(path, overwrite)
            return
        targets = [path, self.modelfile] if self.config.ollama else [path]
        for target in targets:
            if target.is_dir():
                raise ValueError(f"{target} is a folder: choose another --outfile")
            if target.exists() and not overwrite:
                raise ValueError(f"{target} is there already: add --overwrite, or choose another")

    def _open(self) -> Base:
        """The source; with --adapter its base and, apart from it, the adapter."""
        source, path = self.config.source, Path(self.config.source).expanduser()
        if path.is_file() and path.suffix != ".gguf" and nanogpt.is_one(checkpoint.read(path)):
            model, facts = nanogpt.open_checkpoint(path, self.config.template)
            return Base(model, facts, hash_of(model), source)
        found = pretrained.open_base(source, "cpu", self.config.base)
        return found if self.config.adapter else pretrained.merged(found, source)

    def run(self) -> int:
        shape = f"{self.model.config.arch}, {self.model.n_params() / 1e6:.1f} M parameters"
        say(f"{self.config.source}: {shape}, template {self.template}")
        kinds = {".gguf": self._gguf, ".pt": self._checkpoint}
        kinds.get(self.suffix, self._adapter if self.config.adapter else self._folder)()
        for line in self._what_next():
            say(line)
        if self.config.create is not None:
            ollama.create(self.config.create, self.modelfile)
        if self.config.push is not None:
            say(f"uploaded to {self._push()}")
        return 0

    def _prove(self, ask: Callable[[], Sequence[proof.Check]]) -> None:
        if not self.config.no_verify:
            self.checks += ask()
            proof.demand(self.checks)

    # ---------------------------------------------------------------- formats

    def _folder(self) -> None:
        must_have_room(self.path, 4 * self.model.n_params() + (8 << 20))
        with whole_folder(self.path, self.config.overwrite) as folder:
            hf.write(self.model, folder, self.template, self.facts)
            self._prove(lambda: proof.in_transformers(self.model, self.template, folder))
            names = sorted(p.name for p in folder.glob("*.safetensors"))
            write_text(folder / push.CARD, self._card(names))

    def _adapter(self) -> None:
        with whole_folder(self.path, self.config.overwrite) as folder:
            peft.write(self.found, folder)
            self._prove(lambda: peft.prove(self.found, folder))
            usage = peft.usage(self.found, self.config.push or self.path.name)
            self.model = pretrained.merged(self.found, self.config.source).model
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
        return proof.in_llamacpp(self.model, self.template, path, self.kind)

    def _checkpoint(self) -> None:
        must_have_room(self.path, 4 * self.model.n_params() + (1 << 20))
        content = inference.content_of(self.model, {"command": self.command} | self.facts)
        with whole_file(self.path) as path:
            checkpoint.save(path, content)
            self._prove(lambda: proof.of_checkpoint(self.model, path, self._source_folder()))

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
        if self.suffix == ".gguf":
            how = "llama-cli -m" if template_named(self.template).is_chat else "llama-completion -m"
            lines = [
                f"wrote {self.path}, {self.path.stat().st_size / 1e6:,.1f} MB; {how} {self.path}"
            ]
            if self.config.ollama:
                name = self.config.create or ollama.name_of(self.path)
                lines += [f"wrote {self.modelfile}; run", *ollama.commands(self.modelfile, name)]
            return lines
        if self.config.adapter:
            return [f"wrote {self.path}; its README.md says how to load it"]
        return [f"wrote {self.path}; python gen.py {self.path} --interactive"]

    def _push(self) -> str:
        files = [self.path] if self.suffix == ".gguf" else self.path
        if self.config.ollama:
            files.append(self.modelfile)
        text = self._card([p.name for p in files]) if self.suffix == ".gguf" else None
        return push.push(files, self.config.push, not self.config.public, text)
