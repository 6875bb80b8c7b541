"""How far a run is, how long the rest takes, and how that is shown."""
