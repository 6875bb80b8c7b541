"""What was run, on what, and how it went."""

import json

from intriguing.report.section import Context, Row, Section, render
from intriguing.report.text import count, number, percent, plural

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
       count(*) filter (status <> 'misclassified') as tried
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
        example=next((name for name in there if name != "activations"), None),
        stored="activations" in there,
        tables=context.query(" union all ".join(_ROWS.format(name) for name in there)) if there else [],
    )
    return Section("overview", "What was run", html)


def headline(context: Context) -> list[tuple[str, str]]:
    """The figures at the top of the page, as (figure, what it is)."""
    run = context.run
    models = run.table("models", columns=["dataset"])["dataset"]
    figures = [_figure(len(models), "model")] if len(models) else []
    embeddings = run.table("word_vectors", columns=["seed"]).num_rows
    if embeddings:
        figures.append(_figure(embeddings, "word embedding"))
    if len(models.unique()) > 1:
        figures.append((count(len(models.unique())), "data sets"))
    total = context.query(_TOTALS)[0]
    if total["searches"]:
        figures.append(_figure(total["searches"], "search", " for blind spots"))
    if total["tried"]:
        needless = total["searches"] - total["tried"]
        left_out = f", {count(needless)} left out whose image needed no change" if needless else ""
        figures.append((f"{percent(total['found'] / total['tried'])} %", f"of searches succeeded{left_out}"))
    for key, (row, *_) in context.grouped(context.query(_TYPICAL), "target_rule")[:1]:
        rule = {"every": "nearest of every wrong class"}.get(key["target_rule"], key["target_rule"])
        figures.append((number(row["median"]), f"median distortion, {rule}, pixels in [0, 1]"))
    directions = context.query(_DIRECTIONS)[0]["n"]
    if directions:
        figures.append(_figure(directions, "direction", " looked at"))
    done = run.table("tasks", columns=["seconds"]).num_rows
    if done < run.tasks:
        figures.append((f"{count(done)} / {count(run.tasks)}", "tasks done: the run is not finished"))
    return figures


def _figure(n: int, noun: str, more: str = "") -> tuple[str, str]:
    return count(n), plural(n, noun).removeprefix(f"{count(n)} ") + more


def _is(row: Row, key: Row) -> bool:
    return all(row[name] == value for name, value in key.items())
