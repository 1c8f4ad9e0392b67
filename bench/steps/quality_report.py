"""What the trainings of `quality.py` show: a table for the guide, and a picture of the losses."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.documents import NOT_MEASURED, table
from bench.steps.narrow import ALL_FLOAT32, STORAGES
from bench.steps.quality import EVERY, TASKS, TORCH, Training

NAMES = {"digits": "perceptron", "transformer": "transformer"}


def _losses(trainings: list[Training], task: str, storage: str, part: str) -> np.ndarray:
    return np.array([getattr(t, part) for t in trainings if (t.task, t.storage) == (task, storage)])


def _cell(losses: np.ndarray, full: np.ndarray) -> str:
    """The mean and the range over seeds; marked if the mean is outside the range of float32."""
    if not losses.size:
        return "-"
    text = f"{losses.mean():.4f} ({losses.min():.4f} to {losses.max():.4f})"
    return text if full.min() <= losses.mean() <= full.max() else f"**{text}**"


def quality_table(trainings: list[Training]) -> str:
    if not trainings:
        return NOT_MEASURED
    columns = [(task, part) for task in TASKS for part in ("train", "test")]
    lines = []
    for storage in (*STORAGES, TORCH):
        stored = STORAGES.get(storage)
        name = [stored.buffers, stored.states] if stored else ["bfloat16, in torch", "bfloat16"]
        cells = [
            _cell(*(_losses(trainings, task, which, part) for which in (storage, ALL_FLOAT32)))
            for task, part in columns
        ]
        lines.append([*name, *cells])
    header = ["parameter, gradient", "states"]
    header += [f"{NAMES[task]}, {part}" for task, part in columns]
    return table(header, lines, left=2)


def plot_losses(trainings: list[Training], path: Path) -> None:
    """The transformer's losses, and how far each storage is from float32 in the mean over seeds."""
    from matplotlib.figure import Figure

    curves = {
        storage: np.array(
            [t.curve for t in trainings if (t.task, t.storage) == ("transformer", storage)]
        )
        for storage in (*STORAGES, TORCH)
    }
    full = curves[ALL_FLOAT32]
    steps = EVERY * np.arange(1, full.shape[1] + 1)
    figure = Figure(figsize=(7, 9), layout="constrained")
    above, below = figure.subplots(2, sharex=True)
    for storage, curve in curves.items():
        if not len(curve):
            continue
        style = {"color": "black", "linewidth": 2.5} if storage == TORCH else {}
        above.plot(steps, curve.mean(axis=0), label=storage, **style)
        below.plot(steps, curve.mean(axis=0) - full.mean(axis=0), label=storage, **style)
    spread = full - full.mean(axis=0)
    below.fill_between(
        steps, spread.min(axis=0), spread.max(axis=0), color="0.88", label="range of seeds, float32"
    )
    above.set(ylabel="training loss", title="A small transformer, Adam")
    below.set(ylabel="difference to float32", xlabel="step")
    figure.legend(*below.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    for axes in (above, below):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
