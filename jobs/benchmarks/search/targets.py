"""The figures that the search is held to, each beside what was reached."""

from collections.abc import Callable

Row = dict
Cells = dict[tuple[int, str, str], dict[str, Row]]
THREE = ("FC10", "FC100-100-10", "CNN")
MODES = ("targeted", "untargeted")


def table(rows: list[Row]) -> list[str]:
    """A line per target: what was asked, what was reached on each set, and whether all of it holds."""
    cells: Cells = {}
    for row in rows:
        cells.setdefault((row["set"], row["model"], row["mode"]), {})[row["method"]] = row
    sets = sorted({s for s, _, _ in cells})
    header = [f"set {s}" for s in sets]
    lines = ["| target | " + " | ".join(header) + " | held |", "|---|" + "---|" * (len(sets) + 1)]
    for name, asked, keys, measure in _targets():
        reached, held = [], True
        for s in sets:
            methods = [cells.get((s, *key)) for key in keys]
            if any(m is None for m in methods):
                reached.append("not run")
                continue
            try:
                text, good = measure([m for m in methods if m is not None])
            except (KeyError, ValueError):
                text, good = "not run", False
            reached.append(text)
            held &= good
        verdict = "not run" if set(reached) == {"not run"} else "yes" if held else "no"
        lines.append(f"| {name}: {asked} | " + " | ".join(reached) + f" | {verdict} |")
    return lines


def _quality(limits: dict[str, float], method: str = "best") -> Callable[[list[Row]], tuple[str, bool]]:
    def measure(methods: list[Row]) -> tuple[str, bool]:
        row = methods[0][method]
        return ", ".join(f"{k} {row[k]:.4f}" for k in limits), all(row[k] <= v + 5e-5 for k, v in limits.items())

    return measure


def _success(methods: list[Row]) -> tuple[str, bool]:
    values = [m["best"]["success"] for m in methods]
    outside = any(m["best"]["outside_box"] for m in methods)
    return f"{min(values):.1f} %" + (", left the box" if outside else ""), min(values) == 100 and not outside


def _peer_mean(methods: list[Row]) -> tuple[str, bool]:
    ours = methods[0]["best"]["mean"]
    peers = {
        k: r["mean"]
        for k, r in methods[0].items()
        if k not in ("best", "fast", "faithful", "exact") and _whole(r, methods)
    }
    name = min(peers, key=lambda k: peers[k])
    return f"{ours:.4f}, {name} {peers[name]:.4f}", ours <= peers[name] + 1e-4


def _whole(row: Row, methods: list[Row]) -> bool:
    return row["images"] == methods[0]["best"]["images"]


def _peers_best(methods: list[Row]) -> tuple[str, bool]:
    ours, theirs = methods[0]["best"]["mean"], methods[0]["best"]["peers_best_mean"]
    return f"{ours / theirs:.4f} x", ours <= 1.001 * theirs


def _speed(peer: str, factor: float, method: str = "best") -> Callable[[list[Row]], tuple[str, bool]]:
    def measure(methods: list[Row]) -> tuple[str, bool]:
        ours, theirs = methods[0][method]["per_second"], methods[0][peer]["per_second"]
        return f"{ours / theirs:.2f} x ({ours:.0f} / {theirs:.0f})", ours >= factor * theirs

    return measure


def _fast(methods: list[Row]) -> tuple[str, bool]:
    ours, theirs = methods[0]["fast"], methods[0]["DDN-100"]
    text = ", ".join(f"{k} {ours[k]:.4f} / {theirs[k]:.4f}" for k in ("median", "p95", "mean"))
    return text, all(ours[k] <= theirs[k] for k in ("median", "p95", "mean"))


def _faithful(last: str) -> Callable[[list[Row]], tuple[str, bool]]:
    def measure(methods: list[Row]) -> tuple[str, bool]:
        row = methods[0]["faithful"]
        median, tail = row["scipy_median"], row[f"scipy_{last}"]
        return f"median {median:.4f}, {last} {tail:.4f}", median <= 1.005 and tail <= 1.02

    return measure


def _targets() -> list[tuple[str, str, list[tuple[str, str]], Callable]]:
    six = [(m, mode) for m in THREE for mode in MODES]
    hard = [(m, mode) for m in ("CNN adversarially trained", "softmax low confidence") for mode in MODES]
    targets: list[tuple[str, str, list[tuple[str, str]], Callable]] = [
        ("success, six cells", "100 %, inside the box", six, _success),
        ("success, adversarially trained CNN and low-confidence softmax", "100 %", hard, _success),
    ]
    for model in ("FC10", "softmax low confidence"):
        targets += [
            (
                f"{model} {mode}, exact off, over the optimum",
                "median <= 1.0005, p95 <= 1.002, max <= 1.01",
                [(model, mode)],
                _quality({"median": 1.0005, "p95": 1.002, "max": 1.01}),
            )
            for mode in MODES
        ]
    for model in ("FC100-100-10", "CNN"):
        targets += [
            (f"{model} targeted, over the best of all", "median <= 1.001, p95 <= 1.005", [(model, "targeted")],
             _quality({"median": 1.001, "p95": 1.005})),
            (f"{model} untargeted, over the best of all", "median <= 1.001, p95 <= 1.01", [(model, "untargeted")],
             _quality({"median": 1.001, "p95": 1.01})),
            (f"{model} untargeted, mean over the peers' best per image", "<= 1.001 x", [(model, "untargeted")],
             _peers_best),
        ]  # fmt: skip
    targets += [
        (f"{m} {mode}, mean", "no worse than the best single peer", [(m, mode)], _peer_mean) for m, mode in hard
    ]
    targets += [
        (f"speed, {m} targeted", ">= 1.5 x BB-100", [(m, "targeted")], _speed("BB-100", 1.5))
        for m in (*THREE, *dict(hard))
    ]
    targets += [
        ("speed, CNN targeted", ">= 5 x PDGD-500", [("CNN", "targeted")], _speed("PDGD-500", 5)),
        ("speed, CNN untargeted", ">= 3 x DDN-1000", [("CNN", "untargeted")], _speed("DDN-1000", 3)),
        (
            "speed, FC100-100-10 untargeted",
            ">= 1.5 x DDN-1000",
            [("FC100-100-10", "untargeted")],
            _speed("DDN-1000", 1.5),
        ),
    ]
    for m, mode in six:
        targets.append((f"fast, {m} {mode}", "median, p95, mean no worse than DDN-100", [(m, mode)], _fast))
    targets += [
        (f"fast, CNN {mode}", ">= 1.3 x DDN-100's speed", [("CNN", mode)], _speed("DDN-100", 1.3, "fast"))
        for mode in MODES
    ]
    for m, mode in six:
        last = "max" if m == "FC10" else "p95"
        targets.append((f"faithful, {m} {mode}, over the SciPy loop", f"median <= 1.005, {last} <= 1.02", [(m, mode)],
                        _faithful(last)))  # fmt: skip
        targets.append((f"faithful, {m} {mode}", ">= 30 x the SciPy loop's speed", [(m, mode)],
                        _speed("SciPy loop", 30, "faithful")))  # fmt: skip
    return targets
