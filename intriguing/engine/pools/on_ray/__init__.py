"""Running on Ray. No other package imports ray."""

from intriguing.engine.pools.on_ray.pool import RayPool

__all__ = ["RayPool"]
