"""The follow-up study: section 3's question, asked of word vectors. Folds and seeds run side by side.

Fold f is what the judges read; the vectors are trained on all other folds, and the independent embedding that judges
them on fold f alone. With two folds the embeddings judge each other. Existing vectors are judged once, on the first
held-out fold: judged on several they would still be one embedding, and a pool would count them twice.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from intriguing.engine.task import Output, Resource, Task
from intriguing.stages.common.planned import part_of
from intriguing.stages.common.stage import Sweep
from intriguing.stages.words import functions
from intriguing.stages.words.functions import Folds
from intriguing.stages.words.inspection import TextFile
from intriguing.stages.words.spec import WordsSpec
from intriguing.stats.findings import least_rotations
from intriguing.tables.words import METRICS, EmbeddingKey

log = logging.getLogger(__name__)

_DIMENSION = 100  # gensim's, for estimates


@dataclass(frozen=True)
class _Study:
    """The section, with what tasks of one corpus share."""

    sweep: Sweep
    words: WordsSpec
    corpus: str
    file: TextFile

    @property
    def task_part(self) -> str:
        """The corpus's part of a task's name."""
        return f"words/{part_of(self.corpus)}"

    @property
    def text(self) -> Output:
        """The encoded text."""
        return Output(f"{self.task_part}/text", "corpus")

    @property
    def cut(self) -> Folds:
        """How the text is cut into folds."""
        return Folds(self.words.folds, self.sweep.seed)

    def vectors(self, parts: list[int], seed: int) -> Output:
        """The vectors trained on the folds `parts`."""
        return Output(f"{self.task_part}/vectors/{seed}/{'+'.join(map(str, parts))}", "vectors")

    def rest(self, fold: int) -> list[int]:
        """All folds but `fold`."""
        return [f for f in range(self.words.folds) if f != fold]

    @property
    def training(self) -> dict[str, Any]:
        """The arguments of the training."""
        return self.words.training_of(self.corpus)


@dataclass(frozen=True)
class _Embedding:
    """Vectors under judgement: what the tables call them, and the tasks that make what their judges need."""

    name: str
    seed: int
    fold: int
    vectors: Output
    counts: Output
    independent: Output
    dimension: int

    @property
    def task_part(self) -> str:
        """The embedding's part of a task's name."""
        return f"words/{part_of(self.name)}/judged/{self.seed}/{self.fold}"

    @property
    def key(self) -> EmbeddingKey:
        """The columns that name it in a table."""
        return EmbeddingKey(self.name, self.seed, self.fold)


def plan(section: WordsSpec, sweep: Sweep) -> Iterator[Task]:
    """Train on every corpus, judge every embedding under every condition, and test."""
    texts: dict[str, TextFile] = sweep.files
    for corpus in section.corpora:
        study = _Study(sweep, section, corpus, texts[corpus])
        _warn_of_few_rotations(study)
        yield _encode(study)
        yield from _train(study)
        existing = [name for name in section.vectors if section.corpus_of(name) == corpus]
        for name in (None, *existing):
            embeddings = list(_existing(study, name) if name else _trained(study))
            yield from _prepare(study, embeddings, texts[name] if name else None)
            yield from _judge(study, embeddings)


def _warn_of_few_rotations(study: _Study) -> None:
    """Say so before work when no test could ever be found: so many are corrected for, by so few rotations."""
    rotations = study.words.judging_of(study.corpus, study.sweep.seed).get("rotations")
    tests = len(METRICS) * len(study.words.conditions)
    needed = least_rotations(tests)
    if rotations is not None and rotations < needed:  # the default is enough
        log.warning(
            "words, %s: judging.rotations = %d: Holm's correction over %d tests cannot come below 5 %%. "
            "Ask for at least %d rotations%s.",
            study.corpus,
            rotations,
            tests,
            needed,
            ", or fewer conditions" if len(study.words.conditions) > 1 else "",
        )


def _encode(study: _Study) -> Task:
    return functions.ENCODE_TEXT.task(
        study.text.task,
        functions.EncodeTextParameters(study.corpus, study.words.corpora[study.corpus].reading),
        resources={"text": _file(study.file)},
    )


def _train(study: _Study) -> Iterator[Task]:
    needed = [parts for fold in study.words.held_out_of(study.corpus) for parts in (study.rest(fold), [fold])]
    distinct = [parts for i, parts in enumerate(needed) if parts not in needed[:i]]
    for seed in study.words.seeds_of(study.corpus):
        for parts in distinct:
            yield functions.TRAIN_WORDS.task(
                study.vectors(parts, seed).task,
                functions.TrainWordsParameters(parts, study.cut, seed, study.training, study.sweep.compute.threads),
                inputs={"corpus": study.text},
                noun="embeddings",
            )


def _trained(study: _Study) -> Iterator[_Embedding]:
    dimension = int(study.training.get("vector_size", _DIMENSION))
    for seed in study.words.seeds_of(study.corpus):
        for fold in study.words.held_out_of(study.corpus):
            yield _Embedding(
                study.corpus,
                seed,
                fold,
                study.vectors(study.rest(fold), seed),
                Output(f"{study.task_part}/counts/{fold}", "counts"),
                study.vectors([fold], seed),
                dimension,
            )


def _existing(study: _Study, name: str) -> Iterator[_Embedding]:
    fold, seed = study.words.held_out_of(study.corpus)[0], study.words.seeds_of(study.corpus)[0]
    part = f"words/{part_of(name)}"
    yield _Embedding(
        name,
        seed,
        fold,
        Output(f"{part}/vectors", "vectors"),
        Output(f"{part}/counts", "counts"),
        study.vectors([fold], seed),
        _DIMENSION,
    )


def _prepare(study: _Study, embeddings: list[_Embedding], file: TextFile | None) -> Iterator[Task]:
    """Read existing vectors (those of `file`), and count in every held-out fold."""
    name = embeddings[0].name
    if file is not None:
        yield functions.READ_VECTORS.task(
            embeddings[0].vectors.task,
            functions.ReadVectorsParameters(study.words.vectors[name].reading),
            inputs={"corpus": study.text},
            resources={"vectors": _file(file)},
        )
    for counts, fold in dict.fromkeys((e.counts, e.fold) for e in embeddings):
        yield functions.COUNT_WORDS.task(
            counts.task,
            functions.CountWordsParameters(
                fold=fold,
                cut=study.cut,
                window=study.words.window,
                judged_count=study.words.judged_count,
                training_min_count=int(study.training.get("min_count", 5)),
                existing=file is not None,
            ),
            inputs={"corpus": study.text} | ({"vectors": embeddings[0].vectors} if file is not None else {}),
        )


def _judge(study: _Study, embeddings: list[_Embedding]) -> Iterator[Task]:
    """Describe and judge the embeddings of one name, and test them together."""
    judging = study.words.judging_of(study.corpus, study.sweep.seed)
    statistics = []
    for embedding in embeddings:
        yield functions.DESCRIBE_WORDS.task(
            f"{embedding.task_part}/description",
            functions.DescribeWordsParameters(embedding.key),
            inputs={"corpus": study.text, "vectors": embedding.vectors, "counts": embedding.counts},
            publish={"word_vectors": "word_vectors", "word_norms": "word_norms"},
            rows={"word_vectors": 1},
        )
        for condition in study.words.conditions:
            task = f"{embedding.task_part}/{condition}"
            statistics.append(Output(task, "statistics"))
            inputs = {"vectors": embedding.vectors, "counts": embedding.counts, "independent": embedding.independent}
            yield functions.JUDGE_WORDS.task(
                task,
                functions.JudgeWordsParameters(embedding.key, condition, judging, study.sweep.compute.threads),
                inputs=inputs,
                publish={"word_rows": "word_rows"},
                noun="word judgements",
                rows={"word_rows": 2 * embedding.dimension * 5},
            )
    yield functions.TEST_WORDS.task(
        f"words/{part_of(embeddings[0].name)}/tests",
        functions.WordTestsParameters(embeddings[0].name),
        inputs={"statistics": statistics},
        publish={"word_tests": "word_tests", "word_verdicts": "word_verdicts"},
        rows={"word_verdicts": 1},
    )


def _file(file: TextFile) -> Resource:
    return Resource(functions.SOURCE_FILE, {"sha256": file.content_hash}, location={"source": file.source})
