"""What was run, on what, and how it went."""

import json

from intriguing.report.section import Context, Row, Section, render
from intriguing.report.text import count, number, percent

_SEARCHES = """
select dataset, model, model_seed, target_rule, grade, count(*) as searches,
       count(*) filter (status = 'found') as found, avg(distortion) filter (status = 'found') as distortion
from distortions group by all"""
_DATASETS = """
select dataset, count(*) as images, count(distinct label) as classes,
       string_agg(distinct split, ' and ' order by split desc) as splits
from examples group by dataset order by dataset"""
_TOTALS = """
select count(*) as searches, count(*) filter (status = 'found') as found,
       count(*) filter (status in ('found', 'not_found')) as tried,
       count(*) filter (status not in ('found', 'not_found', 'misclassified')) as unsearched
from distortions"""
_TYPICAL = """
select target_rule, median(distortion) as median from distortions where status = 'found' group by all"""
_DIRECTIONS = """
select count(*) as n
from (select distinct dataset, model, model_seed, layer, basis, rotation_seed, direction from topk)"""
_ROWS = "select '{0}' as name, count(*) as rows from {0}"
_MODEL = ("parameters", "train_error", "test_error")


def section(context: Context) -> Section | None:
    """Data sets, models with their errors and searches, and the spec."""
    run = context.run
    searches = context.query(_SEARCHES)
    kinds = [key for key, _ in context.grouped(searches, "target_rule", "grade")]
    rows: list[Row] = []
    for key, parts in context.grouped([*run.table("models").to_pylist(), *searches], "dataset", "model", "model_seed"):
        known = {name: value for part in parts for name, value in part.items()}
        done = [part for part in parts if "searches" in part]
        means = [next((p["distortion"] for p in done if _is(p, kind)), None) for kind in kinds]
        counts = {name: sum(part[name] for part in done) for name in ("searches", "found")}
        rows.append(key | {name: known.get(name) for name in _MODEL} | counts | {"distortions": means})
    grades = len({kind["grade"] for kind in kinds}) > 1
    columns = [kind["target_rule"] + (f", {kind['grade']}" if grades else "") for kind in kinds]
    there = run.tables()
    html = render(
        "overview.html",
        datasets=context.query(_DATASETS),
        rows=rows,
        several=len({row["dataset"] for row in rows}) > 1,
        seeds=len({row["model_seed"] for row in rows}) > 1,
        columns=columns,
        spec=json.dumps(run.spec, indent=2, ensure_ascii=False, default=str),
        path=run.path,
        tables=context.query(" union all ".join(_ROWS.format(name) for name in there)) if there else [],
    )
    return Section("overview", "What was run", html)


def headline(context: Context) -> list[tuple[str, str]]:
    """The figures at the top of the page, as (figure, what it is)."""
    run = context.run
    models = run.table("models", columns=["dataset"])["dataset"]
    figures = [(count(len(models)), "trained model" if len(models) == 1 else "trained models")] if len(models) else []
    embeddings = run.table("word_vectors", columns=["seed"]).num_rows
    if embeddings:
        figures.append((count(embeddings), "word embedding" if embeddings == 1 else "word embeddings"))
    if len(models.unique()) > 1:
        figures.append((count(len(models.unique())), "data sets"))
    total = context.query(_TOTALS)[0]
    if total["searches"]:
        figures.append((count(total["searches"]), "searches for blind spots"))
    if total["unsearched"]:
        figures.append((count(total["unsearched"]), "of them could not be searched: no sign of robustness"))
    if total["tried"]:
        figures.append(
            (f"{percent(total['found'] / total['tried'])} %", "of searches on rightly classified images succeeded")
        )
    for key, (row, *_) in context.grouped(context.query(_TYPICAL), "target_rule")[:1]:
        figures.append((number(row["median"]), f"median distortion, {key['target_rule']}, pixels in [0, 1]"))
    directions = context.query(_DIRECTIONS)[0]["n"]
    if directions:
        figures.append((count(directions), "directions looked at"))
    done = run.table("tasks", columns=["seconds"]).num_rows
    if done < run.tasks:
        figures.append((f"{count(done)} / {count(run.tasks)}", "tasks done: the run is not finished"))
    return figures


def _is(row: Row, key: Row) -> bool:
    return all(row[name] == value for name, value in key.items())
