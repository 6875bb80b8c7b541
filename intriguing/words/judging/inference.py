"""From statistics to tests: the table `word_tests`, and the outcome in sentences.

Each embedding has its own tests. With several folds and seeds there is also a pooled test, in rows with seed -1 and
fold -1: the mean statistic over the embeddings is compared with the means over one random rotation of each. If no basis
is special, the natural basis of every embedding is like one more random rotation. So the pooled test is exact as well,
and it detects smaller effects. Holm's correction covers statistic x condition, within one control and one embedding or
pool.

The negative control assigns the vectors to words at random ("deals" them), several times, and tests each deal in the
same way as the vectors themselves. It measures how often the tests give a false alarm. A single deal cannot show this,
nor can the mean over deals: its p-value is exact, so one correct run in twenty is significant for any number of deals.
Averaged over deals all bases have the same score, so there is no bias to detect. But the lists of axes may share more
words than those of rotations; then their statistic varies more from deal to deal. The rate of deals with a significant
difference, compared with the nominal 5 %, shows both. A deal is significant by the rule used for the axes themselves,
with Holm's correction. Of 5 deals two alarms are too many (p = 0.023), one is not (p = 0.23).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from intriguing import tables
from intriguing.errors import InputError
from intriguing.stats.binomial import compare_with_chance
from intriguing.stats.comparison import compare_with_draws
from intriguing.stats.findings import LEVEL, counted, least_rotations, significant
from intriguing.stats.signs import signed
from intriguing.tables.words import METRICS
from intriguing.units.rotation import RotationTest, corrected
from intriguing.words.judging.judges import CHANCE
from intriguing.words.judging.statistics import Statistics

POOLED = -1
_BASES = ("trained", "varimax", "pca", "gaussian")


def word_tests(statistics: Sequence[Statistics]) -> pa.Table:
    """The table `word_tests` of any number of embeddings and conditions of one or more corpora.

    Controls: ``trained`` (the natural basis), ``varimax``, ``pca`` and ``gaussian`` (other bases of the same vectors),
    all against random rotations; ``permuted_words``: in how many deals of the words the test of the natural basis has
    p_two <= 5 % (condition ``all``, metric ``any``: in how many it has so for any statistic and condition after Holm's
    correction over them), against 5 %, by the exact binomial (`n` counts deals); ``chance``: intruders found in the
    natural basis against 1/6, by the exact binomial (`rotations` is 0, `n` counts lists); ``count_matched``: NPMI of
    the natural basis's rows against random words of the same counts (`rotations` counts draws).

    Raises: `InputError` for nothing, for a repeated (corpus, seed, fold, condition), and for pools of unlike nulls.
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
        families[*key, "permuted_words"].append(("all", _false_alarms("any", alarms, deals, members[0])))
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

    Rotation b of the pool is rotation b of every embedding; these are independent, and so are the deals. Two embeddings
    that judge each other still have independent axes, because a judge uses only inner products of its vectors, which a
    rotation does not change, and all embeddings start from different random vectors. Embeddings share words, so the
    standard error of the pool is the mean of theirs and does not get smaller with their number.

    Raises: `InputError` if the nulls have different lengths.
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
            comparison = compare_with_draws(s.measured[control][metric], s.null[metric], spread)
            yield control, RotationTest.of(metric, comparison, s.words)
    for metric in METRICS:
        p_values = [_of_deal(s, metric, number).p_two for number in range(_deals(s))]
        yield "permuted_words", _false_alarms(metric, sum(map(significant, p_values)), len(p_values), s)
    for metric, count in sorted(s.intruders_found.items()):
        # Lists of one basis share words, so the binomial takes them for more independent than they are; the rotation
        # test does not.
        yield "chance", RotationTest.of(metric, compare_with_chance(count, s.lines, CHANCE), s.lines)
    yield "count_matched", RotationTest.of("npmi", compare_with_draws(s.matched_npmi, s.matched_null), s.words)


def _deals(s: Statistics) -> int:
    return min(len(values) for values in s.dealt.values())


def any_difference(members: Sequence[Statistics], deal: int) -> bool:
    """Whether any test of one embedding is significant under a `deal` of the words, after Holm's correction over all
    conditions (`members`).
    """
    tests = [_of_deal(s, metric, deal) for s in members for metric in METRICS]
    return any(significant(test.p_holm) for test in corrected(tests))


def _of_deal(s: Statistics, metric: str, deal: int) -> RotationTest:
    axes, *rotated = s.dealt[metric][deal].tolist()
    return RotationTest.of(metric, compare_with_draws(axes, np.array(rotated)), s.words)


def _false_alarms(metric: str, alarms: int, deals: int, s: Statistics) -> RotationTest:
    comparison = compare_with_chance(alarms, deals, LEVEL)
    return RotationTest.of(metric, replace(comparison, rotations=len(next(iter(s.null.values())))), deals)


def verdict(tests: pa.Table, corpus: str | None = None) -> str:
    """The outcome of the tests of one corpus in a few sentences, from the pooled rows if there are any.

    Raises: `InputError` if the table has several corpora and `corpus` is None, or no corpus of that name.
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
    by = {c: [r for r in rows if r["control"] == c and r["p_two"] is not None] for c in _BASES}
    axes = by["trained"]
    if not axes:
        return "Nothing could be tested: the judges gave no figures."
    positive = [r for r in by["varimax"] if significant(r["p_holm"]) and r["natural"] > r["null_mean"]]
    dealt = next(r for r in rows if r["control"] == "permuted_words" and r["metric"] == "any")
    sentences = [_differences(axes, len(embeddings))]
    tests_won = f"{len(positive)} of {counted(len(by['varimax']), 'test')}"
    beaten = tests_won if by["varimax"] else "no test: none was made"
    sentences.append(
        f"The controls: axes made meaningful on purpose (varimax) beat rotations in {beaten}; with words dealt out at "
        f"random, axes differ in any test in {round(dealt['natural'] * dealt['n'])} of {counted(dealt['n'], 'deal')}."
    )
    rotations, enough = axes[0]["rotations"], least_rotations(len(axes))
    if rotations < enough:
        sentences.append(
            f"With {rotations} rotations no corrected p-value can fall below "
            f"{min(1.0, 2 / (rotations + 1) * len(axes)):.2g}: "
            f"nothing follows. Use at least {enough}."
        )
    elif by["varimax"] and not positive:
        sentences.append(
            "As not even varimax axes are told from rotations, these tests have no power: nothing follows."
        )
    if significant(dealt["p_high"]):
        sentences.append(
            f"As random words differ more often than the {LEVEL:.0%} that the tests claim (p = {dealt['p_high']:.2g}), "
            "something else than meaning is measured: nothing follows."
        )
    return " ".join(sentences)


def _differences(axes: list[dict], embeddings: int) -> str:
    """A sentence: in which of the tests `axes` the natural basis differs from rotations."""
    different = [r for r in axes if significant(r["p_holm"])]
    metrics, conditions = (len({r[key] for r in axes}) for key in ("metric", "condition"))
    missing = metrics * conditions - len(axes)
    basis = (
        f"{counted(len(axes), 'test')} ({counted(metrics, 'judge')} x {counted(conditions, 'condition')}"
        f"{f', {missing} without figures' if missing else ''}; {counted(embeddings, 'embedding')}"
        f"{', pooled' if embeddings > 1 else ''}; {counted(axes[0]['rotations'], 'rotation')})"
    )
    if different:
        named = ", ".join(
            f"{'more' if r['natural'] > r['null_mean'] else 'less'} by {r['metric']} of {r['condition']} vectors "
            f"({'' if r['effect'] is None else format(r['effect'], '+.1f') + ' sd, '}p = {r['p_holm']:.3g})"
            for r in sorted(different, key=lambda r: r["p_holm"])
        )
        return f"Single axes of the word vectors differ from random rotations in {len(different)} of {basis}: {named}."
    with_effect = [r for r in axes if r["effect"] is not None]
    if not with_effect:
        return f"In none of {basis} do single axes of the word vectors differ from random rotations of them."
    largest = max(with_effect, key=lambda r: abs(r["effect"]))
    power = [r["detectable_effect"] for r in with_effect if r["detectable_effect"] is not None]
    reach = f"; effects of {max(power):.1f} sd and more would be found with 80 % power before it" if power else ""
    return (
        f"In none of {basis} do single axes of the word vectors mean more or less than random rotations of them: "
        f"the largest effect is {signed(largest['effect'], '.1f')} sd ({largest['metric']}, {largest['condition']}, "
        f"p = {largest['p_holm']:.2g} after Holm{reach})."
    )
