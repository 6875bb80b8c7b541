"""What was run, on what, and how it went."""

import json
from typing import Any

from intriguing.report.section import Context, Section, render
from intriguing.report.text import count, number, percent

_SEARCHES = """
select dataset, model, model_seed, count(*) as searches, count(*) filter (status = 'found') as found,
       avg(distortion) filter (status = 'found') as distortion
from distortions group by all"""
_DATASETS = """
select dataset, count(*) as images, count(distinct label) as classes,
       string_agg(distinct split, ' and ' order by split desc) as splits
from examples group by dataset order by dataset"""


def section(context: Context) -> Section | None:
    """Data sets, models with their errors and searches, and the spec."""
    run = context.run
    searched = {_key(r): r for r in run.sql(_SEARCHES).to_dict("records")}
    trained = {_key(r): r for r in run.table("models").to_pylist()}
    datasets = run.sql(_DATASETS).to_dict("records")
    order = {name: place for place, (name, _) in enumerate(run.models())}
    keys = sorted({*searched, *trained}, key=lambda k: (k[0], order.get(k[1], len(order)), *k))
    rows = [{"name": k[1], "dataset": k[0], "seed": k[2], **_model(trained.get(k)), **_searches(searched.get(k))} for k in keys]
    return Section(
        "overview",
        "What was run",
        render(
            "overview.html",
            datasets=datasets,
            rows=rows,
            several=len({k[0] for k in keys}) > 1,
            seeds=len({k[2] for k in keys}) > 1,
            searched=bool(searched),
            spec=json.dumps(run.spec, indent=2, ensure_ascii=False, default=str),
            path=run.path,
            tables=[(name, count(_rows(context, name))) for name in run.tables()],
        ),
    )


def headline(context: Context) -> list[tuple[str, str]]:
    """The figures at the top of the page, as (figure, what it is)."""
    run = context.run
    models, datasets = run.table("models").num_rows, len(run.sql("select distinct dataset from models"))
    figures = [(count(models), "trained model" if models == 1 else "trained models")]
    if datasets > 1:
        figures.append((count(datasets), "data sets"))
    searches = run.sql(
        "select count(*) as n, count(*) filter (status = 'found') as found, "
        "median(distortion) filter (status = 'found') as typical, "
        "count(*) filter (status <> 'misclassified') as tried from distortions"
    ).iloc[0]
    if searches.n:
        figures.append((count(searches.n), "search for a blind spot" if searches.n == 1 else "searches for blind spots"))
    if searches.tried:
        figures.append((f"{percent(searches.found / searches.tried)} %", "of the rightly classified were fooled"))
    if searches.found:
        figures.append((number(searches.typical), "median distortion, pixels in [0, 1]"))
    directions = run.sql("select count(*) as n from (select distinct dataset, model, model_seed, layer, basis, rotation_seed, direction from topk)").n[0]
    if directions:
        figures.append((count(directions), "directions looked at"))
    done = run.table("tasks", columns=["seconds"]).num_rows
    if run.tasks and done < run.tasks:
        figures.append((f"{count(done)} / {count(run.tasks)}", "tasks done: the run is not finished"))
    return figures


def _key(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["dataset"], row["model"], row["model_seed"]


def _model(row: dict[str, Any] | None) -> dict[str, Any]:
    names = ("parameters", "train_error", "test_error", "weights_hash")
    return {name: None if row is None else row[name] for name in names}


def _searches(row: dict[str, Any] | None) -> dict[str, Any]:
    return {name: None if row is None else row[name] for name in ("searches", "found", "distortion")}


def _rows(context: Context, name: str) -> int:
    return int(context.run.sql(f"select count(*) as n from {name}").n[0])

