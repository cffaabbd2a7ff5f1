"""What a run shows and records: one bar, <run>.jsonl, <run>.png, TensorBoard."""

from __future__ import annotations

import json
import time
from collections import deque

from tqdm import tqdm

from jojo.files import whole_file, write_text
from jojo.models.checkpoint import RunFiles

CURVE_SECONDS = 30.0  # least time between two drawings of the curves


class Progress:
    """Metrics of a run. Rows after `step` are forgotten, so a resumed run has each step once."""

    def __init__(self, files: RunFiles, step: int, max_iters: int, tensorboard: bool):
        self.files = files
        self.rows = [r for r in read_metrics(files) if r["step"] <= step]
        write_text(files.metrics, "".join(json.dumps(r) + "\n" for r in self.rows))
        self._log = open(files.metrics, "a", encoding="utf-8")  # noqa: SIM115
        self._bar = tqdm(total=max_iters, initial=step, unit="step", dynamic_ncols=True)
        self._speeds: deque[float] = deque(maxlen=20)  # tokens/s of the latest steps
        self._shown: dict[str, str] = {}
        self._drawn = time.monotonic()
        self._board = _tensorboard(files) if tensorboard else None

    def step(self, step: int, tokens: int, seconds: float, mfu_per_token: float | None, **metrics):
        """One optimizer step; `metrics` are plain numbers."""
        self._speeds.append(tokens / seconds)
        speed = sorted(self._speeds)[len(self._speeds) // 2]
        self._shown |= {"loss": f"{metrics['loss']:.3f}", "tok/s": f"{speed:,.0f}"}
        row = {"step": step, **metrics, "tokens_per_second": round(tokens / seconds, 1)}
        if mfu_per_token is not None:
            row["mfu"] = round(mfu_per_token * tokens / seconds, 4)
            self._shown["MFU"] = f"{100 * mfu_per_token * speed:.1f}%"
        self._record(row)
        self._bar.set_postfix(self._shown, refresh=False)
        self._bar.update()

    def validation(self, step: int, val_loss: float, elapsed_seconds: float) -> None:
        self._shown["val"] = f"{val_loss:.3f}"
        self._record({"step": step, "val_loss": val_loss, "seconds": round(elapsed_seconds, 2)})
        if time.monotonic() - self._drawn > CURVE_SECONDS:
            self.draw()

    def write(self, text: str) -> None:
        self._bar.write(text, file=self._bar.fp)

    def replan(self, max_iters: int) -> None:
        self._bar.total = max_iters

    def _record(self, row: dict) -> None:
        self.rows.append(row)
        self._log.write(json.dumps(row) + "\n")
        self._log.flush()
        if self._board:
            for name, value in row.items():
                if name != "step":
                    self._board.add_scalar(name, value, row["step"])

    def draw(self) -> None:
        """The loss curves so far, as <run>.png."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.subplots()
        for name, label, width in (("loss", "training", 0.8), ("val_loss", "validation", 2.0)):
            points = [(r["step"], r[name]) for r in self.rows if name in r]
            if points:
                axes.plot(*zip(*points, strict=True), label=label, linewidth=width)
        axes.set(xlabel="step", ylabel="loss (nats per token)", title=self.files.run_name)
        axes.grid(alpha=0.3)
        axes.legend()
        with whole_file(self.files.curves) as temporary:
            figure.savefig(temporary, format="png", dpi=110)
        self._drawn = time.monotonic()

    def close(self) -> None:
        self._bar.close()
        self._log.close()
        if self._board:
            self._board.close()


def read_metrics(files: RunFiles) -> list[dict]:
    """Rows of <run>.jsonl; a last line cut off by a kill is left out."""
    if not files.metrics.exists():
        return []
    lines = files.metrics.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _tensorboard(files: RunFiles):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError(
            "--tensorboard needs a package that is not installed: pip install tensorboard"
        ) from None
    return SummaryWriter(str(files.tensorboard))
