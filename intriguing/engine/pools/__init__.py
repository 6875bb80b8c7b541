"""Pools of workers: in this process, or on Ray; the machines behind them, and why a worker is gone."""
