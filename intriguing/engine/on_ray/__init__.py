"""Running on Ray. No other package imports ray."""

from intriguing.engine.on_ray.pool import RayPool

__all__ = ["RayPool"]
