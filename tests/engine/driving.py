"""Plans that are driven to their end in this process, by any pool."""

from intriguing.engine.driver import Driver, Limits, write_plan
from intriguing.engine.examination import examine
from intriguing.engine.pools.inline import InlinePool
from intriguing.engine.storage.lock import locked


def execute(plan, run, make_pool=None, listen=lambda snapshot: None, **limits):
    found = examine(plan, run)
    with locked(run):
        write_plan(run, plan, {"name": "toy"})
        pool = make_pool or (lambda: InlinePool(run))
        return Driver(plan, run, found, pool, Limits(**limits), listen).run(lambda task: f"again {task}")


def ray_pool(run, workers=2):
    from intriguing.engine.pools.on_ray import RayPool

    return lambda: RayPool(run, workers)
