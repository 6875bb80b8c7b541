"""What makes results the same everywhere is told, and where machines differ in it."""

from intriguing.engine.sameness import difference, sources_hash, what_runs_here


def test_what_differs_between_machines_is_named():
    ours = what_runs_here()
    assert difference(ours, ours) == ""
    assert sources_hash() in ours["intriguing"]
    theirs = ours | {"torch": "1.0", "intriguing": "0.1.0 (sources 000000000000)"}
    package, torch = (f"this driver {ours[name]}" for name in ("intriguing", "torch"))
    assert difference(theirs, ours) == f"intriguing 0.1.0 (sources 000000000000), {package}; torch 1.0, {torch}"
    assert "numpy missing" in difference({k: v for k, v in ours.items() if k != "numpy"}, ours)
