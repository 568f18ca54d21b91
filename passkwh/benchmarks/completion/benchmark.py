"""The completion benchmarks: what a model is given to complete, and how its completions are scored."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from passkwh.benchmarks import selection
from passkwh.benchmarks.base import Candidate, Score, Task
from passkwh.benchmarks.completion.cut import (
    Cut,
    TokenEnds,
    cut_fraction,
    cut_line,
    cut_start,
    first_words,
    keep_last,
    line_end,
    word_ends,
)
from passkwh.benchmarks.completion.data import EOL, Files, Lines, open_data
from passkwh.benchmarks.completion.forced import corpus_accuracy, score_forced
from passkwh.benchmarks.completion.pool import Pair, score_pairs
from passkwh.benchmarks.options import Options
from passkwh.errors import MissingExtra, UsageError
from passkwh.prompts import Request
from passkwh.records import BenchmarkInfo, Option, Sample, content_hash

LIBRARIES = ("codebleu", "rapidfuzz", "rouge_score", "sacrebleu", "tree_sitter_java", "tree_sitter_python")
FILES = 1000
"""Files of the test split that are run when no limit is given (GREEN-CODE)."""
QUALITY = (
    "bleu", "rouge1", "rouge2", "rougeL", "rougeLsum", "chrf",
    "codebleu", "codebleu_ngram", "codebleu_weighted_ngram", "codebleu_syntax", "codebleu_dataflow",
    "exact_match", "codexglue_exact_match", "codexglue_edit_similarity",
)  # fmt: skip
WORD_TOKENS = 4
"""Model tokens allowed for each word where words are counted: a word of code seldom has more."""
LINE_TOKENS = 100
CONTEXTS = {"line": 1024 - LINE_TOKENS, "token": 1024}
"""CodeXGLUE's: the model's 1,024 positions, in the line-level task less 100 for the answer."""


class CompletionOptions(Options):
    """Options of a completion benchmark, with GREEN-CODE's values."""

    task: Literal["completion", "line", "token"] = "completion"
    """``completion``: the next ``new_tokens`` tokens (GREEN-CODE). ``line``: to the end of the line, ``token``: every
    token of a file by teacher forcing (both CodeXGLUE)."""
    data: str = "embedded"
    """``embedded`` samples (a first run needs no network), the corpus from the ``hub``, or a file or folder in
    CodeXGLUE's form."""
    split: Literal["train", "dev", "test"] = "test"
    tokens: Literal["model", "words"] = "model"
    """``model``: contexts and references are counted in the model's own tokens (GREEN-CODE). ``words``: in the words of
    CodeXGLUE's form, so that every model gets the same texts."""
    fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of a file's tokens that is context."""
    max_context: Annotated[int, Field(ge=1)] = 512
    """Most tokens of context; a longer one loses its end (completion) or its beginning (line)."""
    new_tokens: Annotated[int, Field(ge=1)] = 15
    """Tokens to predict, and length of the reference."""
    seed: int = 0
    """Where the line task cuts whole files."""

    @model_validator(mode="before")
    @classmethod
    def _context_of_task(cls, given: dict[str, Any]) -> dict[str, Any]:
        context = CONTEXTS.get(given.get("task", ""))
        return {"max_context": str(context), **given} if context else given

    @model_validator(mode="after")
    def _token_task_reads_tokens(self) -> Self:
        if self.task == "token" and self.tokens == "words":
            raise ValueError("task=token reads a file in the model's tokens: leave tokens=words out")
        return self


class CompletionBenchmark:
    """Completion of source files in one language; a subclass names the corpus.

    Raises:
        UsageError: bad options or data. MissingExtra: the metrics' libraries are not installed.
    """

    name: ClassVar[str]
    language: ClassVar[str]
    version: ClassVar[str] = "1"

    def __init__(self, options: dict[str, Option], limit: int | None, task_ids: Sequence[str] = ()) -> None:
        if any(importlib.util.find_spec(library) is None for library in LIBRARIES):
            raise MissingExtra(f"benchmark {self.name}", "completion")
        self._options = CompletionOptions.parse(self.name, options)
        self._task_ids = task_ids
        self._limit = limit or (None if task_ids else FILES)
        self._source = open_data(self._options.data, self.language, self._options.split)
        self._counts = "words"
        self._cut(word_ends)

    def cut_by(self, token_ends: TokenEnds) -> CompletionBenchmark:
        """The same benchmark with its tasks cut in a model's own tokens, as GREEN-CODE cuts them; unchanged where words
        are wanted. Until this is called, and for an endpoint that tells no tokens, tasks are cut by words, and ``info``
        says so.
        """
        if self._options.tokens == "words":
            return self
        bound = object.__new__(type(self))
        bound.__dict__.update(self.__dict__)
        bound._counts = "model"
        bound._cut(token_ends)
        return bound

    def _cut(self, token_ends: TokenEnds) -> None:
        self._skipped = 0
        self._token_ends = token_ends
        cuts = selection.chosen(self.name, self._cuts(self._source, token_ends), self._task_ids, self._limit)
        if not cuts:
            raise UsageError(
                f"{self._source.description} has no file long enough for benchmark {self.name}: "
                f"{self._skipped or 'no'} files are there; give other data, or a smaller new_tokens"
            )
        self._cuts_by_task = cuts
        self.tasks: Sequence[Task] = tuple(Task(task_id, self._request(cut)) for task_id, cut in cuts.items())
        self.info = self._describe()

    def _cuts(self, source: Files | Lines, token_ends: TokenEnds) -> Iterator[tuple[str, Cut]]:
        options = self._options
        if isinstance(source, Lines):
            if options.task != "line":
                raise UsageError(f"{source.description} holds line-level samples: add the option task=line")
            for example in source.read():
                yield self._task_id(example.index), self._shortened(Cut(example.context, example.truth), token_ends)
            return
        for file in source.read():
            if options.task == "line":
                cut = cut_line(file.text, self.language, Random(f"{options.seed}/{file.index}"))
                cut = self._shortened(cut, token_ends) if cut else None
            elif options.task == "token":
                cut = cut_start(file.text, token_ends(file.text), options.max_context)
            else:
                ends = token_ends(file.text)
                cut = cut_fraction(file.text, ends, options.fraction, options.max_context, options.new_tokens)
            if cut is None:
                self._skipped += 1
            else:
                yield self._task_id(file.index), cut

    def _task_id(self, index: int) -> str:
        return f"{self.name}/{self._options.split}/{index}"

    def _shortened(self, cut: Cut, token_ends: TokenEnds) -> Cut:
        context = keep_last(cut.context, token_ends(cut.context), self._options.max_context)
        return replace(cut, context=context)

    def _request(self, cut: Cut) -> Request:
        # CodeXGLUE ends a Java line with a token that belongs to it, so generation cannot stop before it.
        stop = (EOL, "\n") if self._options.task == "line" and self.language == "python" else ()
        forced = self._options.task == "token"
        return Request(text=cut.context, instruction=cut.context, stop=stop, raw=True, forced=forced)

    def _describe(self) -> BenchmarkInfo:
        """Name, options with what tokens are counted in, source, and hash over contexts and references."""
        options = self._options
        shown: dict[str, Option] = {"task": options.task, "split": options.split, "tokens": self._counts}
        shown |= {"max_context": options.max_context}
        if options.task == "completion":
            shown |= {"fraction": options.fraction, "new_tokens": options.new_tokens}
        elif options.task == "line" and isinstance(self._source, Files):
            shown |= {"seed": options.seed}
        contents = [[task_id, cut.context, cut.reference] for task_id, cut in self._cuts_by_task.items()]
        return BenchmarkInfo(
            name=self.name,
            version=self.version,
            options=shown,
            source=self._source.description,
            sha256=content_hash(contents),
            tasks=len(self.tasks),
        )

    @property
    def default_max_new_tokens(self) -> int:
        """GREEN-CODE's 15, or CodeXGLUE's 100 for a line; more where words are wanted, which a model splits."""
        if self._options.task == "line":
            return LINE_TOKENS
        if self._options.task == "token":
            return 1  # nothing is generated
        return self._options.new_tokens * (WORD_TOKENS if self._options.tokens == "words" else 1)

    @property
    def quality(self) -> tuple[str, ...]:
        """Every metric but the distance, of which less is better."""
        return ("token_accuracy",) if self._options.task == "token" else QUALITY

    def score(self, candidates: Sequence[Candidate]) -> Iterator[Score]:
        """Every metric of every candidate, on all cores, after generation."""
        if self._options.task == "token":
            answers = [(c.key, self._cuts_by_task[c.task_id].context, c.text) for c in candidates]
            yield from score_forced(answers, self._token_ends)
            return
        yield from score_pairs([self._pair(c.key, c.task_id, c.text) for c in candidates], self.language)

    def summarise(self, samples: Sequence[Sample]) -> dict[str, float]:
        """Corpus metrics over the scored samples, and how many files were passed over."""
        scored = [sample for sample in samples if sample.scores]
        if self._options.task == "token":
            return corpus_accuracy([sample.scores for sample in scored]) | {"files_skipped": float(self._skipped)}
        from passkwh.benchmarks.completion.metrics import corpus_metrics

        pairs = [self._pair(sample.key, sample.task_id, sample.text) for sample in scored]
        metrics = corpus_metrics(
            [pair.reference for pair in pairs],
            [pair.prediction for pair in pairs],
            [sample.scores for sample in scored],
            self.language,
        )
        return metrics | {"files_skipped": float(self._skipped)}

    def _pair(self, key: str, task_id: str, text: str) -> Pair:
        """A completion as it is compared: cut to a line, or to the words that were asked for."""
        if self._options.task == "line":
            text = line_end(text, self.language)
        elif self._counts == "words":
            text = first_words(text, self._options.new_tokens)
        return Pair(key, self._cuts_by_task[task_id].reference, text)


class Py150(CompletionBenchmark):
    """PY150 (Raychev et al., OOPSLA 2016) as CodeXGLUE prepares it: Python files from GitHub."""

    name = "py150"
    language = "python"


class JavaCorpus(CompletionBenchmark):
    """The GitHub Java Corpus (Allamanis and Sutton, MSR 2013) as CodeXGLUE prepares it."""

    name = "javacorpus"
    language = "java"
