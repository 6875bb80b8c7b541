"""The counts of a run as metrics of Ray."""

from intriguing.engine.pools.on_ray import metrics
from intriguing.engine.pools.on_ray.metrics import Metrics
from intriguing.engine.progress.progress import Snapshot


class Gauge:
    """A gauge of Ray, without Ray."""

    made = ()

    def __init__(self, name, tag_keys):
        self.name, self.tag_keys, self.values = name, tag_keys, []
        type(self).made = (*self.made, self)

    def set_default_tags(self, tags):
        self.tags = tags

    def set(self, value):
        self.values.append(value)


def test_every_count_has_a_gauge_of_its_name_with_the_run_as_its_tag(monkeypatch):
    monkeypatch.setattr(metrics, "Gauge", Gauge)
    monkeypatch.setattr(Gauge, "made", ())
    shown = Metrics("mine")
    shown.report(Snapshot(3, 20, 2, 1, {}, None, blocked=4), workers=5)
    shown.report(Snapshot(6, 20, 1, 1, {}, None, blocked=4), workers=2)
    assert {gauge.name: gauge.values for gauge in Gauge.made} == {
        "intriguing_tasks_done": [3, 6],
        "intriguing_tasks_total": [20, 20],
        "intriguing_tasks_running": [2, 1],
        "intriguing_tasks_failed": [1, 1],
        "intriguing_tasks_blocked": [4, 4],
        "intriguing_workers": [5, 2],
    }
    assert all(gauge.tag_keys == ("run",) and gauge.tags == {"run": "mine"} for gauge in Gauge.made)
