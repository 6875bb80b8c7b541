"""How tasks run: the driver and its schedule, the pools of workers, the store of what is finished. It
knows no science.
"""
