"""Whether the keys of a table are unique."""


def duplicates(table, key):
    """How many rows of `table` repeat the `key` of an earlier row (0: the key is unique)."""
    columns = list(key)
    return table.num_rows - table.select(columns).group_by(columns).aggregate([]).num_rows
