"""What was run, on what, and how it went."""

import json

from intriguing.report.parts import Context, PagePart, Row, render

_SEARCHES = """
select dataset, model, model_seed, target_rule, grade, count(*) as searches,
       count(*) filter (status = 'found') as found, avg(distortion) filter (status = 'found') as distortion
from distortions group by all"""
_DATASETS = """
select dataset, count(*) as images, count(distinct label) as classes,
       string_agg(distinct split, ' and ' order by split desc) as splits
from examples group by dataset order by dataset"""
_ROWS = "select '{0}' as name, count(*) as rows from {0}"
_MODEL = ("parameters", "train_error", "test_error")


def part(context: Context) -> PagePart | None:
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
        "stages/run/page/overview.html",
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
    return PagePart("overview", "What was run", html)


def _is(row: Row, key: Row) -> bool:
    return all(row[name] == value for name, value in key.items())
