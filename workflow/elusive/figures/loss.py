"""Validation loss of the checkpoints of which it is known against training compute."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotnine as p9

from elusive.errors import ElusiveError
from elusive.figures import style
from elusive.figures.data import PathLike, read_extra
from elusive.figures.save import Outputs, save_figure


def plot(checkpoints: pd.DataFrame) -> p9.ggplot:
    """Draw loss against FLOPs, both logarithmic: one line a model, coloured by its number of parameters."""
    return (
        p9.ggplot(checkpoints, p9.aes("flops", "validation_loss", color="parameters", group="model"))
        + p9.geom_line(size=0.6)
        + p9.geom_point(size=1.4, stroke=0)
        + style.compute_scale()
        + p9.scale_y_log10(labels=lambda breaks: [f"{value:g}" for value in breaks])
        + style.parameter_scale(checkpoints["parameters"])
        + p9.labs(x="training FLOPs (6·N·D)", y="validation loss (nats per token)", color="parameters")
        + style.theme(style.COLUMN_WIDTH + 0.8, 2.8)
    )


def caption_text(checkpoints: pd.DataFrame) -> str:
    """What the loss figure shows, with its numbers."""
    ordered = checkpoints.sort_values("flops")
    first, last = ordered.iloc[0], ordered.iloc[-1]
    x, y = np.log10(checkpoints["flops"]), np.log10(checkpoints["validation_loss"])
    varies = x.nunique() > 1 and y.nunique() > 1
    models = checkpoints["model"].nunique()
    return (
        "Validation loss against compute.\n\n"
        "Horizontal axis: training FLOPs, 6·N·D with N all parameters and D tokens; vertical axis: validation loss in "
        f"nats per token, both logarithmic. One line is one model, darker with more parameters; "
        f"{style.count(models, 'model')}, {style.count(len(checkpoints), 'checkpoint')}.\n\n"
        f"What to see: the loss is {first['validation_loss']:.2f} nats at {style.format_power(first['flops'])} FLOPs"
        + (
            f" and {last['validation_loss']:.2f} at {style.format_power(last['flops'])}; the correlation of log loss "
            f"with log FLOPs over all checkpoints is {style.format_number(np.corrcoef(x, y)[0, 1], 3)}."
            if varies
            else "."
        )
    )


def write_loss(*, checkpoints: PathLike, outputs: Outputs) -> None:
    """Draw and describe the losses in the table ``checkpoints``; ``outputs``: where to write.

    Raises :class:`ElusiveError` when no checkpoint has a loss: only models that the workflow trained have one.
    """
    frame = read_extra(checkpoints, ["model", "parameters", "flops", "validation_loss"])
    frame = frame[frame["validation_loss"].notna() & (frame["flops"] > 0)]
    if frame.empty:
        raise ElusiveError(f"{checkpoints}: no checkpoint has a validation loss; only a ladder's have one")
    save_figure(plot(frame), caption_text(frame), outputs)
