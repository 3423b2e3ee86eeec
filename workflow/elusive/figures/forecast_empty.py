"""What is drawn where there is nothing to draw: a family with too few checkpoints still has its figures."""

from __future__ import annotations

import pandas as pd
import plotnine as p9

from elusive.figures import style

#: What such a figure, and its caption, say.
NO_BACKTESTS = "too few checkpoints for backtests that roll by compute"
NO_LAW = "too few checkpoints for a law"


def nothing(text: str) -> p9.ggplot:
    """An empty figure that says why."""
    frame = pd.DataFrame({"x": [0.5], "y": [0.5], "label": [text]})
    return (
        p9.ggplot(frame, p9.aes("x", "y", label="label"))
        + p9.geom_text(size=8, color="#555555")
        + p9.scale_x_continuous(limits=(0, 1), breaks=[])
        + p9.scale_y_continuous(limits=(0, 1), breaks=[])
        + p9.labs(x="", y="")
        + style.theme(style.PAGE_WIDTH, 1.2)
    )
