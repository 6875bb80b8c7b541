"""What was run, on what, and how it went."""

import json

from intriguing.report.section import Context, Row, Section, render
from intriguing.report.text import count, number, percent

_SEARCHES = """
select dataset, model, model_seed, count(*) as searches, count(*) filter (status = 'found') as found,
       avg(distortion) filter (status = 'found') as distortion
from distortions group by all"""
_DATASETS = """
select dataset, count(*) as images, count(distinct label) as classes,
       string_agg(distinct split, ' and ' order by split desc) as splits
from examples group by dataset order by dataset"""
_TOTALS = """
select count(*) as searches, count(*) filter (status = 'found') as found,
       count(*) filter (status <> 'misclassified') as tried, median(distortion) filter (status = 'found') as typical
from distortions"""
_DIRECTIONS = """
select count(*) as n
from (select distinct dataset, model, model_seed, layer, basis, rotation_seed, direction from topk)"""
_ROWS = "select '{0}' as name, count(*) as rows from {0}"
_MODEL = ("parameters", "train_error", "test_error", "searches", "found", "distortion")


def section(context: Context) -> Section | None:
    """Data sets, models with their errors and searches, and the spec."""
    run = context.run
    every = [*run.table("models").to_pylist(), *context.query(_SEARCHES)]
    rows: list[Row] = []
    for key, parts in context.grouped(every, "dataset", "model", "model_seed"):
        known = {name: value for part in parts for name, value in part.items()}
        rows.append(key | {name: known.get(name) for name in _MODEL})
    there = run.tables()
    html = render(
        "overview.html",
        datasets=context.query(_DATASETS),
        rows=rows,
        several=len({row["dataset"] for row in rows}) > 1,
        seeds=len({row["model_seed"] for row in rows}) > 1,
        searched=any(row["searches"] for row in rows),
        spec=json.dumps(run.spec, indent=2, ensure_ascii=False, default=str),
        path=run.path,
        tables=context.query(" union all ".join(_ROWS.format(name) for name in there)) if there else [],
    )
    return Section("overview", "What was run", html)


def headline(context: Context) -> list[tuple[str, str]]:
    """The figures at the top of the page, as (figure, what it is)."""
    run = context.run
    models = run.table("models", columns=["dataset"])["dataset"]
    figures = [(count(len(models)), "trained model" if len(models) == 1 else "trained models")]
    if len(models.unique()) > 1:
        figures.append((count(len(models.unique())), "data sets"))
    total = context.query(_TOTALS)[0]
    if total["searches"]:
        figures.append((count(total["searches"]), "searches for blind spots"))
    if total["tried"]:
        figures.append(
            (f"{percent(total['found'] / total['tried'])} %", "of searches on rightly classified images succeeded")
        )
    if total["found"]:
        figures.append((number(total["typical"]), "median distortion, pixels in [0, 1]"))
    directions = context.query(_DIRECTIONS)[0]["n"]
    if directions:
        figures.append((count(directions), "directions looked at"))
    done = run.table("tasks", columns=["seconds"]).num_rows
    if done < run.tasks:
        figures.append((f"{count(done)} / {count(run.tasks)}", "tasks done: the run is not finished"))
    return figures
