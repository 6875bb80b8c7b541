"""The stages of a plan, one module each: plain functions from a spec to tasks."""
