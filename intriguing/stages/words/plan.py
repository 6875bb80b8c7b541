"""The follow-up study: section 3's question, asked of word vectors. Folds and seeds run side by side.

Fold f is what the judges read; the vectors are trained on all other folds, and the independent embedding that judges
them on fold f alone. With two folds the embeddings judge each other. Existing vectors are judged once, on the first
held-out fold: judged on several they would still be one embedding, and a pool would count them twice.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from intriguing.engine.task import Output, Resource, Task
from intriguing.sweep import functions
from intriguing.sweep.facts import TextFacts
from intriguing.sweep.spec import Spec
from intriguing.sweep.stages.common import part_of
from intriguing.sweep.words_spec import WordsSpec

_LOADER = "intriguing.sweep.tasks.words:source_file"
_DIMENSION = 100  # gensim's, for estimates


@dataclass(frozen=True)
class _Study:
    """A spec's words section, with what tasks of one corpus share."""

    spec: Spec
    words: WordsSpec
    corpus: str
    facts: TextFacts

    @property
    def place(self) -> str:
        """The corpus's part of a task's name."""
        return f"words/{part_of(self.corpus)}"

    @property
    def text(self) -> Output:
        """The encoded text."""
        return Output(f"{self.place}/text", "corpus")

    @property
    def cut(self) -> dict[str, int]:
        """How the text is cut into folds."""
        return {"folds": self.words.folds, "fold_seed": self.spec.seed}

    def vectors(self, parts: list[int], seed: int) -> Output:
        """The vectors trained on the folds `parts`."""
        return Output(f"{self.place}/vectors/{seed}/{'+'.join(map(str, parts))}", "vectors")

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
    def place(self) -> str:
        """The embedding's part of a task's name."""
        return f"words/{part_of(self.name)}/judged/{self.seed}/{self.fold}"

    @property
    def keys(self) -> dict[str, str | int]:
        """The columns that name it in a table."""
        return {"corpus": self.name, "seed": self.seed, "fold": self.fold}


def words(spec: Spec, texts: Mapping[str, TextFacts]) -> Iterator[Task]:
    """Train on every corpus, judge every embedding under every condition, and test."""
    if spec.words is None:
        return
    for corpus in spec.words.corpora:
        study = _Study(spec, spec.words, corpus, texts[corpus])
        yield _encode(study)
        yield from _train(study)
        existing = [name for name in spec.words.vectors if spec.words.corpus_of(name) == corpus]
        for name in (None, *existing):
            embeddings = list(_existing(study, name) if name else _trained(study))
            yield from _prepare(study, embeddings, texts[name] if name else None)
            yield from _judge(study, embeddings)


def _encode(study: _Study) -> Task:
    return Task(
        study.text.task,
        functions.ENCODE_TEXT,
        {"corpus": study.corpus, "reading": study.words.corpora[study.corpus].reading},
        resources={"text": _file(study.facts)},
    )


def _train(study: _Study) -> Iterator[Task]:
    needed = [parts for fold in study.words.held_out_of(study.corpus) for parts in (study.rest(fold), [fold])]
    distinct = [parts for i, parts in enumerate(needed) if parts not in needed[:i]]
    for seed in study.words.seeds_of(study.corpus):
        for parts in distinct:
            yield Task(
                study.vectors(parts, seed).task,
                functions.TRAIN_WORDS,
                {"parts": parts, **study.cut, "seed": seed, "training": study.training}
                | {"threads": study.spec.compute.threads},
                {"corpus": study.text},
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
                Output(f"{study.place}/counts/{fold}", "counts"),
                study.vectors([fold], seed),
                dimension,
            )


def _existing(study: _Study, name: str) -> Iterator[_Embedding]:
    fold, seed = study.words.held_out_of(study.corpus)[0], study.words.seeds_of(study.corpus)[0]
    place = f"words/{part_of(name)}"
    yield _Embedding(
        name,
        seed,
        fold,
        Output(f"{place}/vectors", "vectors"),
        Output(f"{place}/counts", "counts"),
        study.vectors([fold], seed),
        _DIMENSION,
    )


def _prepare(study: _Study, embeddings: list[_Embedding], file: TextFacts | None) -> Iterator[Task]:
    """Read existing vectors (those of `file`), and count in every held-out fold."""
    name = embeddings[0].name
    if file is not None:
        yield Task(
            embeddings[0].vectors.task,
            functions.READ_VECTORS,
            {"reading": study.words.vectors[name].reading},
            {"corpus": study.text},
            {"vectors": _file(file)},
        )
    for counts, fold in dict.fromkeys((e.counts, e.fold) for e in embeddings):
        yield Task(
            counts.task,
            functions.COUNT_WORDS,
            {"fold": fold, **study.cut, "window": study.words.window, "judged_count": study.words.judged_count}
            | {"training_min_count": int(study.training.get("min_count", 5)), "existing": file is not None},
            {"corpus": study.text} | ({"vectors": embeddings[0].vectors} if file is not None else {}),
        )


def _judge(study: _Study, embeddings: list[_Embedding]) -> Iterator[Task]:
    """Describe and judge the embeddings of one name, and test them together."""
    judging = study.words.judging_of(study.corpus, study.spec.seed)
    statistics = []
    for made in embeddings:
        yield Task(
            f"{made.place}/description",
            functions.DESCRIBE_WORDS,
            made.keys,
            {"corpus": study.text, "vectors": made.vectors, "counts": made.counts},
            publish={"word_vectors": "word_vectors", "word_norms": "word_norms"},
            rows={"word_vectors": 1},
        )
        for condition in study.words.conditions:
            task = f"{made.place}/{condition}"
            statistics.append(Output(task, "statistics"))
            yield Task(
                task,
                functions.JUDGE_WORDS,
                {**made.keys, "condition": condition, "judging": judging, "threads": study.spec.compute.threads},
                {"vectors": made.vectors, "counts": made.counts, "independent": made.independent},
                publish={"word_rows": "word_rows"},
                noun="word judgements",
                rows={"word_rows": 2 * made.dimension * 5},
            )
    yield Task(
        f"words/{part_of(embeddings[0].name)}/tests",
        functions.TEST_WORDS,
        {"corpus": embeddings[0].name},
        {"statistics": statistics},
        publish={"word_tests": "word_tests", "word_verdicts": "word_verdicts"},
        rows={"word_verdicts": 1},
    )


def _file(facts: TextFacts) -> Resource:
    return Resource(_LOADER, {"sha256": facts.content_hash}, location={"source": facts.source})
