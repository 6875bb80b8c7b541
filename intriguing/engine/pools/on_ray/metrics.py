"""The counts of a run as metrics of Ray, which Prometheus reads."""

from ray.util.metrics import Gauge

from intriguing.engine.progress.progress import Snapshot


class Metrics:
    """The gauges ``intriguing_NAME``, each with the run's name as its tag `run`; made when first reported."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._gauges: dict[str, Gauge] = {}

    def report(self, snapshot: Snapshot, workers: int) -> None:
        """Set the gauges to these counts."""
        numbers = {
            "tasks_done": snapshot.tasks_done,
            "tasks_total": snapshot.tasks_total,
            "tasks_running": snapshot.running,
            "tasks_failed": snapshot.failed,
            "tasks_blocked": snapshot.blocked,
            "workers": workers,
        }
        for name, number in numbers.items():
            if name not in self._gauges:
                self._gauges[name] = Gauge(f"intriguing_{name}", tag_keys=("run",))
                self._gauges[name].set_default_tags({"run": self._run})
            self._gauges[name].set(number)
