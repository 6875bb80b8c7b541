"""What is run: the spec that a user writes, the plan that it becomes, and the tasks that the plan is made of."""

from intriguing.sweep.runner import execute, prepare, run
from intriguing.sweep.spec import Spec, load_spec, spec_names

__all__ = ["Spec", "execute", "load_spec", "prepare", "run", "spec_names"]
