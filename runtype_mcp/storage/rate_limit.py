"""How fast one caller may go: a bucket of requests that refills steadily, as one number (GCRA)."""

from __future__ import annotations


def admit(full_at: float | None, now: float, limit: int, window: float) -> tuple[float, float]:
    """Count one more request, if it is within the limit.

    Args:
        full_at: when the bucket is full again, in unix seconds; None if it is full.
        now: unix seconds.
        limit: how many requests the bucket holds.
        window: the seconds in which an empty bucket fills.

    Returns:
        The new `full_at`, and 0.0; or the old one, and the seconds after which the request would be admitted.
    """
    each = window / limit
    # A clock that was set back must not keep anybody out for longer than the window.
    full_at = max(now, min(full_at or now, now + window))
    wait = full_at + each - (now + window)
    return (full_at, wait) if wait > min(each / 2, 0.001) else (full_at + each, 0.0)  # rounding adds up to less
