"""What the stages share: what a stage and a section are, what plans hold, parameters of tasks, what a worker loads, and
a first call of users' code in a process of its own.
"""
