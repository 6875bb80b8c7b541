"""The [words] section of the spec: corpora, existing vectors, training and judges."""

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from intriguing.basics.folders.files import expanded
from intriguing.errors import SpecError, unknown_name
from intriguing.stages.common.section import Name, Section

SAMPLE = "wikipedia-sample"
EMBEDDED = "embedded"


class CorpusSpec(Section):
    """A text, under a name of the user's choice."""

    source: str = Field(default=EMBEDDED, min_length=1)
    """embedded (the Wikipedia sample inside gensim), the path of a text file (plain, gzip, bzip2 or xz), or gensim:NAME
    of gensim.downloader. INTRIGUING_CORPUS stands in for every embedded one."""
    layout: Literal["auto", "text8", "lines"] = "auto"
    """text8: one endless line; lines: a sentence per line; auto looks."""
    encoding: str = "utf-8"
    """The text's encoding."""
    undecodable: Literal["error", "replace"] = "error"
    """What happens to bytes that are not of the encoding: an error, or their words are dropped and counted."""
    lowercase: bool = False
    """Whether the text is turned into lower case."""
    sentence_words: int = Field(default=10_000, ge=1, le=10_000)
    """Longer sentences are cut."""
    seeds: list[int] | None = Field(default=None, min_length=1)
    """Training seeds for this corpus; by default those of [words]."""
    held_out: list[int] | None = Field(default=None, min_length=1)
    """The folds that judges read, of this corpus; by default those of [words]."""
    training: dict[str, Any] = {}
    """Arguments of the training for this corpus, over those of [words]."""
    judging: dict[str, Any] = {}
    """Arguments of the judges for this corpus, over those of [words]."""

    @property
    def reading(self) -> dict[str, Any]:
        """How the text is read: what decides what comes out, besides its bytes."""
        return self.model_dump(include={"layout", "encoding", "undecodable", "lowercase", "sentence_words"})


class VectorsSpec(Section):
    """Existing vectors, under a name of the user's choice, to be judged on a corpus."""

    source: str = Field(min_length=1)
    """The path of a file (plain or compressed), or gensim:NAME of gensim.downloader."""
    corpus: str | None = None
    """The corpus whose words count and whose held-out fold judges; by default the only one."""
    form: Literal["auto", "word2vec", "word2vec-binary", "glove", "gensim"] = "auto"
    """word2vec text or binary, GloVe text, gensim KeyedVectors; auto looks."""
    encoding: str = "utf-8"
    """The words' encoding."""
    trust_pickle: bool = False
    """Whether a KeyedVectors file may be read: it is a pickle, and reading it runs the code in it."""
    limit: int | None = Field(default=None, ge=1)
    """Read the first so many vectors."""

    @property
    def reading(self) -> dict[str, Any]:
        """How the file is read."""
        return self.model_dump(include={"form", "encoding", "trust_pickle", "limit"})


class WordsSpec(Section):
    """The unit question on word vectors: do single axes gather words that belong together?"""

    corpora: dict[Name, CorpusSpec] = Field(default={SAMPLE: CorpusSpec()}, min_length=1)
    """Corpora by name; by default the Wikipedia sample inside gensim."""
    vectors: dict[Name, VectorsSpec] = {}
    """Existing vectors by name."""
    folds: int = Field(default=2, ge=2, le=100)
    """The text is cut into so many contiguous folds: one is held out for the judges, the others train the vectors."""
    held_out: list[int] | None = Field(default=None, min_length=1)
    """The folds that are held out, one after the other (from 0); by default every one."""
    seeds: list[int] = Field(default=[0], min_length=1)
    """Training seeds, one embedding each per held-out fold."""
    conditions: list[Literal["raw", "l2", "centred"]] = Field(default=["raw", "l2", "centred"], min_length=1)
    """What is done to the vectors: nothing, unit length, or mean and leading components removed."""
    window: int = Field(default=10, ge=2, le=256)
    """The judges count words that stand within so many words."""
    judged_count: int = Field(default=5, ge=1)
    """Words that occur less often in the held-out text are not judged."""
    training: dict[str, Any] = {}
    """Arguments of gensim's Word2Vec, such as `vector_size`, `window`, `min_count`, `epochs`, `sg`, `workers`."""
    judging: dict[str, Any] = {}
    """How much the judges do: `rotations`, `deals`, `subsamples`, `most_words`, `row_words`, ..."""

    @model_validator(mode="after")
    def _agree(self) -> "WordsSpec":
        _distinct(self.seeds, "seeds")
        _distinct(self.conditions, "conditions")
        self._check_folds(self.held_out, "held_out")
        for name, corpus in self.corpora.items():
            self._check_folds(corpus.held_out, f"corpora.{name}.held_out")
            _distinct(corpus.seeds or [], f"corpora.{name}.seeds")
        for name, vectors in self.vectors.items():
            if name in self.corpora:
                raise ValueError(f"vectors.{name}: a corpus has the same name; tables tell them apart by it")
            if vectors.corpus is None and len(self.corpora) > 1:
                raise ValueError(f"vectors.{name}.corpus: name one of {', '.join(self.corpora)}")
            if vectors.corpus is not None and vectors.corpus not in self.corpora:
                raise ValueError(f"vectors.{name}.corpus: {unknown_name('corpus', vectors.corpus, self.corpora)}")
        return self

    def _check_folds(self, folds: list[int] | None, key: str) -> None:
        _distinct(folds or [], key)
        for fold in folds or ():
            if not 0 <= fold < self.folds:
                raise ValueError(
                    f"{key}: there is no fold {fold}; with folds = {self.folds} they are 0 to {self.folds - 1}"
                )

    def held_out_of(self, corpus: str) -> list[int]:
        """The folds of `corpus` that are held out."""
        return self.corpora[corpus].held_out or self.held_out or list(range(self.folds))

    def seeds_of(self, corpus: str) -> list[int]:
        """The training seeds of `corpus`."""
        return self.corpora[corpus].seeds or self.seeds

    def training_of(self, corpus: str) -> dict[str, Any]:
        """The arguments of the training on `corpus`."""
        return self.training | self.corpora[corpus].training

    def judging_of(self, corpus: str, seed: int) -> dict[str, Any]:
        """The arguments of the judges of `corpus`; `seed` is the spec's."""
        return {"seed": seed} | self.judging | self.corpora[corpus].judging

    def corpus_of(self, vectors: str) -> str:
        """The corpus that the existing `vectors` are judged on."""
        return self.vectors[vectors].corpus or next(iter(self.corpora))

    def with_corpus(self, path: str) -> "WordsSpec":
        """The section with the text at `path` in place of the embedded sample, under its file's name and with the
        settings of the section itself.

        Raises:
            SpecError: a corpus has that name already.
        """
        name = Path(path).name.partition(".")[0] or path
        embedded = [n for n, corpus in self.corpora.items() if corpus.source == EMBEDDED]
        if not embedded:
            return self
        if name in self.corpora and name not in embedded:
            raise SpecError(f"words.corpora.{name} is there already: the corpus {path} would get the same name.")
        corpora = {
            name if n in embedded else n: CorpusSpec(source=path) if n in embedded else c
            for n, c in self.corpora.items()
        }
        body = self.model_dump() | {"corpora": {n: c.model_dump() for n, c in corpora.items()}}
        for vectors in body["vectors"].values():
            vectors["corpus"] = name if vectors["corpus"] in embedded else vectors["corpus"]
        return type(self).model_validate(body)


def absolute(source: str) -> str:
    """`source` for a process that runs in another folder: a path from the root, any other source as it is."""
    if source in ("", EMBEDDED) or source.startswith("gensim:"):
        return source
    return os.path.realpath(expanded(source))


def _distinct(values: list[Any], key: str) -> None:
    repeated = sorted({str(v) for v in values if values.count(v) > 1})
    if repeated:
        raise ValueError(f"{key}: {', '.join(repeated)} stands there twice")
