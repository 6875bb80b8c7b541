"""What a run says about hardening, a sentence per claim."""

from intriguing.report.parts import Context
from intriguing.report.verdicts import Verdict
from intriguing.stages.hardening.outcome import in_words
from intriguing.stages.hardening.outcome.summary import summaries
from intriguing.stats.findings import counted


def verdicts(context: Context) -> list[Verdict]:
    """The answer to each claim, for each model that was hardened."""
    models = summaries(context.run)
    said = []
    for model in models:
        for claim in model.claims:
            where = f" ({model.model} on {model.dataset})" if len(models) > 1 else ""
            value, interval = in_words.value(claim)
            p = "" if claim["p"] is None else f"; Holm's p = {claim['p']:.2g}"
            over = f"{interval}{p}; {counted(claim['seeds'], 'seed')}" if interval else claim["remark"]
            said.append(
                Verdict(f"{claim['sentence']}{where}.", claim["measure"], value, over, "hardening", claim["refuted_by"])
            )
    return said
