"""Names and bounds that forecasts share with their figures and sentences, which load nothing else of them."""

#: The recommended method, kriging of margins.
KRIGING = "km"

#: How figures and sentences call the methods.
LABELS = {
    KRIGING: "kriging of margins",
    "last": "last value",
    "mean3": "mean of the last three",
    "linear": "line",
    "logit": "logit line",
    "power_error": "power law of the error",
    "log_accuracy": "power law of −log accuracy",
    "log_accuracy_norm": "the same above chance",
    "logit2": "logit plane in N and D",
    "power2": "power law of the error in N and D",
    "power_loss": "power law with a floor",
    "two_step": "loss, then sigmoid",
    "two_step_linear": "loss, then line",
    "p_choices_step": "p_choices, then line",
    "mean_kriging": "kriging of the mean",
    "choice_lines": "a line per choice",
    "clusters": "difficulty clusters",
}

#: Methods that forecast every item.
ITEM_METHODS = (KRIGING, "last", "last3", "p_choices", "transitions")

#: Bins of horizons, with their upper ends in decades; ``x30`` is the last one, and has its own end.
BINS = {"x1.5": 0.34, "x3": 0.74, "x10": 1.23, "x30": 1.8}

#: Below this movement the items of a benchmark have no common movement to speak of.
MOVING = 5.0
