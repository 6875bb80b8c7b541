from itertools import combinations

import numpy as np
import pytest

from intriguing.errors import DataError
from intriguing.randomness import generator
from intriguing.tables.words import METRICS
from intriguing.words.embeddings.vectors import WordVectors
from intriguing.words.judging import judges
from intriguing.words.judging.judges import build_panel, draw_intruders, score
from intriguing.words.text.cooccurrence import npmi
from tests.words.planted import PER_TOPIC, TOPICS, WORDS, topic_counts, topic_vectors


@pytest.fixture(scope="module")
def known():
    return build_panel(topic_vectors(), topic_counts(), topic_vectors(seed=1))


def test_the_panel_lines_up_words_rows_and_counts(known):
    vectors, counts = topic_vectors(), topic_counts()
    at = {w: i for i, w in enumerate(counts.words)}
    assert [vectors.words[r] for r in known.rows] == list(known.words)
    assert known.counts.tolist() == [counts.occurrences[at[w]] for w in known.words]
    assert (np.diff(known.counts) <= 0).all()
    assert np.allclose(np.linalg.norm(known.unit, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("dense", [0, 17, 4096])
def test_the_panels_npmi_is_that_of_the_counts(monkeypatch, dense):
    monkeypatch.setattr(judges, "_DENSE", dense)
    counts = topic_counts(sentences=400)
    few = build_panel(topic_vectors(), counts, topic_vectors(seed=1))
    rng = generator(0, "test pairs")
    first = rng.integers(len(few.words), size=(50, 9))
    second = (first + rng.integers(1, len(few.words), size=first.shape)) % len(few.words)
    at = np.array([counts.words.index(w) for w in few.words])
    assert np.allclose(few.npmi(first, second), npmi(counts, at[first], at[second]), atol=1e-6)


def test_the_expected_npmi_is_the_mean_over_all_pairs_of_two_strata(known):
    for a, b in combinations(range(known.expected.shape[0]), 2):
        first, second = np.meshgrid(np.flatnonzero(known.stratum == a), np.flatnonzero(known.stratum == b))
        assert known.expected[a, b] == known.expected[b, a] == pytest.approx(known.npmi(first, second).mean())
    members = np.flatnonzero(known.stratum == 0)
    i, j = np.triu_indices(len(members), 1)
    assert known.expected[0, 0] == pytest.approx(known.npmi(members[i], members[j]).mean())


def lines_of(known, topics):
    by_topic = {t: [i for i, w in enumerate(known.words) if w.startswith(f"t{t}w")] for t in range(TOPICS)}
    top = np.array([by_topic[t][:20] for t in topics])
    intruders = np.array([[by_topic[(t + 3) % TOPICS][5] for t in topics]])
    return top, intruders


def test_metrics_follow_their_definitions(known):
    top, intruders = lines_of(known, [0, 3])
    found = score(known, top, intruders, np.zeros((1, 2, 6)))
    for line in range(2):
        words, intruder = top[line], intruders[0, line]
        coherence = [
            np.mean([known.npmi(np.array(i), np.array(j)) for i, j in combinations(words[:k], 2)])
            for k in (5, 10, 15, 20)
        ]
        assert found["npmi"][line] == pytest.approx(np.mean(coherence))
        unit = known.unit.astype(float)
        assert found["cosine"][line] == pytest.approx(
            np.mean([unit[i] @ unit[j] for i, j in combinations(words[:10], 2)]), abs=1e-6
        )
        five = words[:5]
        within = np.mean([np.linalg.norm(unit[i] - unit[j]) for i, j in combinations(five, 2)])
        across = np.mean([np.linalg.norm(unit[i] - unit[intruder]) for i in five])
        assert found["dist_ratio"][line] == pytest.approx(across / within, rel=1e-5)
        six = [*five, intruder]
        near = [np.mean([known.npmi(np.array(i), np.array(j)) for j in six if j != i]) for i in six]
        alike = [np.mean([unit[i] @ unit[j] for j in six if j != i]) for i in six]
        assert found["intrusion_npmi"][line] == float(np.argmin(near) == 5)
        assert found["intrusion_cosine"][line] == float(np.argmin(alike) == 5)


def test_matched_npmi_is_near_zero_for_random_words_and_high_for_topics(known):
    rng = generator(0, "test random lines")
    random = np.array([rng.permutation(len(known.words))[:20] for _ in range(400)])
    none = np.zeros((1, 400), int)
    assert abs(score(known, random, none, np.zeros((1, 400, 6)))["npmi_matched"].mean()) < 0.01
    top, intruders = lines_of(known, range(TOPICS))
    assert score(known, top, intruders, np.zeros((1, TOPICS, 6)))["npmi_matched"].min() > 0.2


def test_topics_beat_the_intruder_and_random_words_do_not(known):
    top, intruders = lines_of(known, range(TOPICS))
    tie = np.zeros((1, TOPICS, 6))
    topical = score(known, top, intruders, tie)
    assert topical["intrusion_cosine"].mean() > 0.8 and topical["dist_ratio"].min() > 1.2
    rng = generator(0, "test chance")
    six = np.array([rng.permutation(len(known.words))[:21] for _ in range(1200)])
    chance = score(known, six[:, :20], six[None, :, 20], rng.random((1, 1200, 6)))
    for metric in ("intrusion_npmi", "intrusion_cosine"):
        assert abs(chance[metric].mean() - 1 / 6) < 5 * np.sqrt(5 / 36 / 1200)


def test_equally_unlike_words_are_told_apart_by_the_drawn_numbers_alone():
    likeness, foreign = np.zeros((600, 5, 5)), np.zeros((1, 600, 5))
    found = judges.intruder_found(likeness, foreign, generator(0, "test ties").random((1, 600, 6)))
    assert abs(found.mean() - 1 / 6) < 0.08


def test_lines_are_scored_alike_alone_and_together(known):
    top, intruders = lines_of(known, range(TOPICS))
    tie = generator(0, "test alone").random((1, TOPICS, 6))
    together = score(known, top, intruders, tie)
    for line in range(TOPICS):
        alone = score(known, top[line : line + 1], intruders[:, line : line + 1], tie[:, line : line + 1])
        assert all(alone[m][0] == together[m][line] for m in METRICS)


def test_intruders_lie_in_the_bottom_half_and_in_the_top_tenth_elsewhere():
    scores = generator(0, "test scores").standard_normal((500, 12)).astype(np.float32)
    found = draw_intruders(scores, generator(1, "test intruders"), 7)
    assert found.shape == (7, 24)
    middle, high, low = np.median(scores, axis=0), np.sort(scores, axis=0)[450], np.sort(scores, axis=0)[49]
    for draw in found:
        for m in range(12):
            upper, lower = scores[draw[m]], scores[draw[12 + m]]
            assert upper[m] <= middle[m] and lower[m] >= middle[m]
            for word in (upper, lower):
                extreme = (word >= high) | (word <= low)
                assert np.delete(extreme, m).any()


def test_intruders_are_spread_over_the_words():
    scores = generator(0, "test spread").standard_normal((500, 12)).astype(np.float32)
    found = draw_intruders(scores, generator(1, "test spread"), 50)
    assert len(set(found.ravel().tolist())) > 350


def test_a_single_direction_takes_intruders_from_its_other_end():
    scores = np.arange(100, dtype=np.float32)[:, None]
    upper, lower = draw_intruders(scores, generator(0, "test one"), 1)[0]
    assert upper < 10 and lower >= 90


def test_words_that_the_judges_miss_are_left_out_and_counted():
    full = topic_vectors(seed=1)
    half = full.take(np.arange(20 * PER_TOPIC))
    fewer = build_panel(topic_vectors(), topic_counts(), half)
    assert len(fewer.words) == 20 * PER_TOPIC and fewer.left_out == 12 * PER_TOPIC
    assert len(build_panel(topic_vectors(), topic_counts(), full, most=250).words) == 250


def test_a_word_list_that_misses_the_judges_is_an_error():
    strangers = WordVectors(
        tuple(f"x{i}" for i in range(len(WORDS))), topic_vectors().vectors, np.ones(len(WORDS), int)
    )
    with pytest.raises(DataError, match="0 of 768 words are known"):
        build_panel(strangers, topic_counts(), topic_vectors(seed=1))
