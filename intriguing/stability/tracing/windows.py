"""Which inputs of an axis each window of a pool reads."""


def pool_windows(n: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool) -> tuple:
    """The positions (inside the axis of length `n`) of every window of a pool, as torch counts them."""
    span = n + 2 * padding - dilation * (kernel - 1) - 1
    count = (-(-span // stride) if ceil else span // stride) + 1
    if ceil and (count - 1) * stride >= n + padding:
        # A last window that would start in the padding on the right is left out.
        count -= 1
    starts = [i * stride - padding for i in range(count)]
    return tuple(tuple(s + j * dilation for j in range(kernel) if 0 <= s + j * dilation < n) for s in starts)


def adaptive_windows(n: int, count: int) -> tuple:
    """The positions of every window of an adaptive pool: from floor(i n / count) to ceil((i + 1) n / count)."""
    return tuple(tuple(range(i * n // count, -(-(i + 1) * n // count))) for i in range(count))


def overlap(n: int, windows: tuple) -> int:
    """The largest number of windows that read one position."""
    counts = [0] * n
    for window in windows:
        for position in window:
            counts[position] += 1
    return max(counts, default=0)
