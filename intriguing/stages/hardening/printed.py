"""Hardening as text for a terminal: a table of the variants, and a line per claim."""

from textwrap import fill

from intriguing.results import Run
from intriguing.stages.hardening.outcome import in_words
from intriguing.stages.hardening.outcome.summary import ModelSummary, summaries
from intriguing.stats.findings import counted

_LINE = "{:<14} {:>6} {:>7} {:>15} {:>17} {:>7} {:>6}"
_SOON = "{:<14} {:>32} {:>32}"
_WIDTH = 80


def printed(run: Run) -> str:
    """Every model's variants and claims; "" where nothing was hardened."""
    return "\n\n".join(_model(model) for model in summaries(run))


def _model(model: ModelSummary) -> str:
    lines = [
        f"{model.model} on {model.dataset}: errors on {model.images:,} images ({model.split});",
        "means over seeds, with half of the 95 % interval",
        _LINE.format("variant", "epochs", "train %", "error %", "distortion", "fooled", "CPU-s"),
    ]
    for v in model.variants:
        fooled = "–" if v.fooled is None else f"{100 * v.fooled[0]:.0f} %"
        spreads = in_words.spread(v.error, 100, 2), in_words.spread(v.distortion, 1, 4)
        lines.append(
            _LINE.format(v.name[:14], v.epochs, f"{100 * v.train_error:.2f}", *spreads, fooled, f"{v.cpu_seconds:.0f}")
        )
    noise = (
        f"{counted(len(model.seeds), 'seed')} of every variant. An error of the baseline has a binomial standard "
        f"deviation of {100 * model.test_noise:.2f} points on these images."
    )
    lines += [fill(noise, _WIDTH), *_convergence(model)]
    for claim in model.claims:
        value, interval = in_words.value(claim)
        chance = in_words.noise(claim, model.images)
        noted = [interval] if chance == "–" else [interval, f"noise of the test set {chance}"]
        figures = f" ({'; '.join(noted)})" if interval else ""
        said = [f"{claim['measure']}: {value}{figures}", claim["remark"]]
        lines += ["", fill(f"{claim['sentence']}.", _WIDTH)]
        lines += [fill(one, _WIDTH, initial_indent="  ", subsequent_indent="    ") for one in said if one]
    return "\n".join(lines)


def _convergence(model: ModelSummary) -> list[str]:
    """How soon each variant reaches the goal and a coarse error."""
    goals = [f"until {100 * reached.goal:.2f} %" for reached in model.variants[0].reached]
    lines = ["", _SOON.format("variant", *goals)]
    lines += [_SOON.format(v.name[:14], *map(in_words.reached, v.reached)) for v in model.variants]
    return [*lines, fill(in_words.SCHEDULE, _WIDTH)]
