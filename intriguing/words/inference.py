"""From statistics to tests: the table `word_tests`, and the verdict in a sentence.

Each embedding is tested by itself. With several folds and seeds there is also a pooled test, in rows of seed -1 and
fold -1: the mean of the statistic over the embeddings, against the means over one random rotation of each. If no basis
is special, every embedding's natural basis is one more random rotation, so the pooled test is as exact as the single
ones, and finds smaller effects. Holm's correction runs over statistic x condition, within the tests of one control and
of one embedding, or of the pool.

The negative control deals the vectors out to words at random, several times. Averaged over all deals a statistic would
be the same in every basis (each list is as likely to hold any words as any other), so no basis can mean more, and two
things alone can make axes stand out: chance, and axes whose lists share more words, or fewer, than those of rotations,
which spreads their statistic more, or less, from deal to deal. Two figures tell them apart. ``permuted_words`` tests
the mean over the deals; natural basis and rotations share every deal, so its p-value is as exact as the others. That is
also its limit: an exact test at 5 % raises a false alarm in one sound run out of twenty however many deals it averages.
``single_deals`` therefore counts in how many deals, each taken alone with Holm's correction over statistic x condition,
anything is found: the rate of false alarms itself, against the 5 % that the tests claim. One deal, as an early version
had, can tell an error rate of 5 % from one of 50 % only by luck.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from scipy import stats

from intriguing import tables
from intriguing.errors import InputError
from intriguing.units.rotation import RotationTest, corrected
from intriguing.units.rotation import judge as rotation_judge
from intriguing.words.judges import CHANCE, METRICS
from intriguing.words.statistics import Statistics

POOLED = -1
LEVEL = 0.05
_BASES = ("trained", "varimax", "pca", "gaussian")


def word_tests(statistics: Sequence[Statistics]) -> pa.Table:
    """The table `word_tests` of any number of embeddings and conditions of one or more corpora.

    Controls: ``trained`` (the natural basis), ``varimax``, ``pca`` and ``gaussian`` (other bases of the same vectors),
    ``permuted_words`` (the mean over the deals of words), all against random rotations; ``single_deals``: in how many
    deals anything is found, against 5 %, by the exact binomial (condition ``all``, metric ``any``, `rotations` is 0,
    `n` counts deals); ``chance``: intruders found in the natural basis against 1/6, by the exact binomial (`rotations`
    is 0, `n` counts lists); ``count_matched``: NPMI of the natural basis's rows against random words of the same counts
    (`rotations` counts draws).

    Raises `InputError` for nothing, for a repeated (corpus, seed, fold, condition), and for pools of unlike nulls.
    """
    keys = [(s.corpus, s.seed, s.fold, s.condition) for s in statistics]
    if not keys or len(set(keys)) < len(keys):
        raise InputError(f"{len(keys)} statistics of {len(set(keys))} (corpus, seed, fold, condition): give each once.")
    groups: dict[tuple[str, str], list[Statistics]] = defaultdict(list)
    for s in statistics:
        groups[s.corpus, s.condition].append(s)
    everything = list(statistics) + [pooled(group) for group in groups.values() if len(group) > 1]
    families: dict[tuple[str, int, int, str], list[tuple[str, RotationTest]]] = defaultdict(list)
    for s in everything:
        for control, test in _tests_of(s):
            families[s.corpus, s.seed, s.fold, control].append((s.condition, test))
    embeddings: dict[tuple[str, int, int], list[Statistics]] = defaultdict(list)
    for s in everything:
        embeddings[s.corpus, s.seed, s.fold].append(s)
    for key, members in embeddings.items():
        deals = min(_deals(s) for s in members)
        alarms = sum(any_difference(members, number) for number in range(deals))
        families[*key, "single_deals"].append(("all", binomial_test("any", alarms, deals, LEVEL)))
    rows = []
    for (corpus, seed, fold, control), members in families.items():
        adjusted = corrected([test for _, test in members])
        for (condition, _), test in zip(members, adjusted, strict=True):
            keyed = {"corpus": corpus, "seed": seed, "fold": fold, "condition": condition, "control": control}
            rows.append(keyed | test.row())
    names = tables.WORD_TESTS.schema.names
    return tables.WORD_TESTS.build({name: [row[name] for row in rows] for name in names})


def pooled(group: Sequence[Statistics]) -> Statistics:
    """The statistics of several embeddings of one corpus under one condition, averaged, as seed -1 and fold -1.

    Rotation b of the pool is rotation b of every embedding; they were drawn independently. Embeddings share words, so
    the standard error is their mean one and does not shrink with their number. Raises `InputError` when the nulls have
    different lengths.
    """
    first = group[0]
    lengths = {len(values) for s in group for values in s.null.values()}
    if max(len(lengths), len({len(s.matched_null) for s in group}), len({_deals(s) for s in group})) > 1:
        raise InputError(
            f"Nulls of {sorted(lengths)} rotations cannot be pooled: use one number of rotations, deals and draws."
        )

    def average(values: Iterable[float | np.ndarray]) -> np.ndarray:
        return np.mean(np.array(list(values)), axis=0)

    return replace(
        first,
        seed=POOLED,
        fold=POOLED,
        words=round(float(average(s.words for s in group))),
        left_out=round(float(average(s.left_out for s in group))),
        lines=sum(s.lines for s in group),
        measured={
            c: {m: float(average(s.measured[c][m] for s in group)) for m in by} for c, by in first.measured.items()
        },
        null={m: average(s.null[m] for s in group) for m in first.null},
        dealt={m: average(s.dealt[m] for s in group) for m in first.dealt},
        spread={m: float(average(s.spread[m] for s in group)) for m in first.spread},
        intruders_found={m: sum(s.intruders_found[m] for s in group) for m in first.intruders_found},
        matched_npmi=float(average(s.matched_npmi for s in group)),
        matched_null=average(s.matched_null for s in group),
    )


def _tests_of(s: Statistics) -> Iterable[tuple[str, RotationTest]]:
    for control in _BASES:
        for metric in METRICS:
            spread = s.spread.get(metric)
            yield control, rotation_judge(metric, s.measured[control][metric], s.null[metric], spread, s.words)
    for metric in METRICS:
        # The standard error is that of the vectors' own words.
        axes, *rotated = s.dealt[metric].mean(axis=0)
        yield "permuted_words", rotation_judge(metric, float(axes), np.array(rotated), None, s.words)
    for metric, found in sorted(s.intruders_found.items()):
        yield "chance", binomial_test(metric, found, s.lines, CHANCE)
    yield "count_matched", rotation_judge("npmi", s.matched_npmi, s.matched_null, None, s.words)


def _deals(s: Statistics) -> int:
    return min(len(values) for values in s.dealt.values())


def any_difference(members: Sequence[Statistics], deal: int) -> bool:
    """Whether any test of the conditions `members` of one embedding finds axes to differ under this `deal` of the
    words, after Holm's correction over all of them.
    """
    tests = [
        rotation_judge(metric, float(s.dealt[metric][deal, 0]), s.dealt[metric][deal, 1:], None, s.words)
        for s in members
        for metric in METRICS
    ]
    return any(test.p_holm is not None and test.p_holm <= LEVEL for test in corrected(tests))


def binomial_test(metric: str, found: int, trials: int, p: float) -> RotationTest:
    """The exact binomial test of `found` in `trials` against chance, `p`, as a row of `word_tests`.

    The interval is Clopper and Pearson's. Lists of one basis share words, so for intruders (`p` 1/6) the binomial takes
    them for more independent than they are; the rotation test does not.
    """
    test = stats.binom
    p_high, p_low = float(test.sf(found - 1, trials, p)), float(test.cdf(found, trials, p))
    sd = float(np.sqrt(p * (1 - p) / trials))
    interval = stats.binomtest(found, trials, p).proportion_ci(0.95, "exact")
    # The smallest number of finds that is significant, and the share of finds that reaches it with 80 % power.
    needed = int(test.isf(LEVEL / 2, trials, p)) + 1
    share = float(stats.beta.ppf(0.8, needed, trials - needed + 1)) if needed <= trials else None
    return RotationTest(
        metric=metric,
        alpha=0.0,
        natural=found / trials,
        null_mean=p,
        null_sd=sd,
        low=float(interval.low) - p,
        high=float(interval.high) - p,
        rotations=0,
        p_high=p_high,
        p_low=p_low,
        p_two=min(1.0, 2 * min(p_high, p_low)),
        effect=(found / trials - p) / sd,
        detectable_effect=None if share is None else (share - p) / sd,
        n=trials,
    )


def verdict(tests: pa.Table, corpus: str | None = None) -> str:
    """What the tests of one corpus say, in a few plain sentences: pooled rows where there are any.

    Raises `InputError` when the table holds several corpora and none is named, or none of that name.
    """
    names = sorted(set(tests["corpus"].to_pylist()))
    if corpus is None and len(names) != 1:
        raise InputError(f"These tests are of {len(names)} corpora ({', '.join(names)}): name one.")
    rows = [r for r in tests.to_pylist() if r["corpus"] == (corpus or names[0])]
    if not rows:
        raise InputError(f"There are no tests of {corpus!r}, only of {', '.join(names)}.")
    embeddings = {(r["seed"], r["fold"]) for r in rows if r["seed"] != POOLED}
    if any(r["seed"] == POOLED for r in rows):
        rows = [r for r in rows if r["seed"] == POOLED]
    by = {c: [r for r in rows if r["control"] == c and r["p_two"] is not None] for c in (*_BASES, "permuted_words")}
    axes = by["trained"]
    if not axes:
        return "Nothing could be tested: the judges gave no figures."
    positive = [r for r in by["varimax"] if r["p_holm"] <= LEVEL and r["natural"] > r["null_mean"]]
    negative = [r for r in by["permuted_words"] if r["p_holm"] <= LEVEL]
    words = [_finding(axes, len(embeddings))]
    alarms = next((r for r in rows if r["control"] == "single_deals"), None)
    words.append(
        f"The controls: axes made meaningful on purpose (varimax) beat rotations in {len(positive)} of "
        f"{len(by['varimax'])} tests; with words dealt out at random, axes differ in {len(negative)} of "
        f"{len(by['permuted_words'])}{'' if alarms is None else _rate(alarms)}."
    )
    least = 2 / (axes[0]["rotations"] + 1) * len(axes)
    if least > LEVEL:
        enough = int(np.ceil(2 * len(axes) / LEVEL))
        words.append(
            f"With {axes[0]['rotations']} rotations no corrected p-value can fall below {min(1.0, least):.2g}: "
            f"nothing follows. Use at least {enough}."
        )
    elif not positive:
        words.append("As not even varimax axes are told from rotations, these tests have no power: nothing follows.")
    if negative:
        words.append("As random words differ too, something else than meaning is measured: nothing follows.")
    elif alarms is not None and alarms["p_high"] <= LEVEL:
        words.append(
            f"That is more than the {LEVEL:.0%} that these tests claim (p = {alarms['p_high']:.2g}): nothing follows."
        )
    return " ".join(words)


def _rate(alarms: dict) -> str:
    deals = alarms["n"]
    return (
        f" (the mean of {deals} deals), and in any test of {round(alarms['natural'] * deals)} of {deals} single deals"
    )


def _finding(axes: list[dict], embeddings: int) -> str:
    found = [r for r in axes if r["p_holm"] <= LEVEL]
    basis = f"{len(axes)} tests ({len({r['metric'] for r in axes})} judges x {len({r['condition'] for r in axes})} "
    basis += (
        f"conditions; {embeddings} embedding{'s, pooled' if embeddings > 1 else ''}; {axes[0]['rotations']} rotations)"
    )
    if found:
        named = ", ".join(
            f"{'more' if r['natural'] > r['null_mean'] else 'less'} by {r['metric']} of {r['condition']} vectors "
            f"({'' if r['effect'] is None else format(r['effect'], '+.1f') + ' sd, '}p = {r['p_holm']:.3g})"
            for r in sorted(found, key=lambda r: r["p_holm"])
        )
        return f"Single axes of the word vectors differ from random rotations in {len(found)} of {basis}: {named}."
    known = [r for r in axes if r["effect"] is not None]
    if not known:
        return f"Single axes of the word vectors do not differ from random rotations in any of {basis}."
    largest = max(known, key=lambda r: abs(r["effect"]))
    power = [r["detectable_effect"] for r in known if r["detectable_effect"] is not None]
    reach = f"; effects of {max(power):.1f} sd and more would be found with 80 % power before it" if power else ""
    return (
        f"Single axes of the word vectors mean neither more nor less than random rotations of them in any of {basis}: "
        f"the largest effect is {largest['effect']:+.1f} sd ({largest['metric']}, {largest['condition']}, "
        f"p = {largest['p_holm']:.2g} after Holm{reach})."
    )
