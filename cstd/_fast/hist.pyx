"""Latency histograms of the compiled path.

Eight buckets per power of two from 16 ns to beyond an hour, one int64 each, bumped in place. The factor from cycles to
nanoseconds is measured outside and set once; the engine itself reads no clock.
"""
from libc.stdint cimport int64_t
from libc.string cimport memset

import numpy as np


# Names of the stages in order of their numbers (hist.pxd).
STAGES = ("frame", "decision", "order", "send", "scan", "book", "features", "gates", "sent")


cdef class Histograms:
    """Counts per stage and bucket. One writer: the engine."""

    def __cinit__(self, double ns_per_cycle=0.4):
        memset(self.counts, 0, sizeof(self.counts))
        memset(self.sums_ns, 0, sizeof(self.sums_ns))
        self.ns_per_cycle = ns_per_cycle

    def set_scale(self, double ns_per_cycle):
        """Set the measured length of a cycle in ns."""
        if not 0.01 < ns_per_cycle < 100.0:
            raise ValueError(f"ns per cycle out of range: {ns_per_cycle}")
        self.ns_per_cycle = ns_per_cycle

    def reset(self):
        """Forget all observations (the bench does, after warm-up)."""
        memset(self.counts, 0, sizeof(self.counts))
        memset(self.sums_ns, 0, sizeof(self.sums_ns))

    def stage(self, int stage):
        """Copy of one stage's buckets, int64 array of shape (256,)."""
        if not 0 <= stage < STAGE_COUNT:
            raise IndexError(stage)
        return np.asarray(<int64_t[:BUCKETS]>self.counts[stage]).copy()

    def sum_ns(self, int stage):
        """Sum of all observations of one stage in ns."""
        if not 0 <= stage < STAGE_COUNT:
            raise IndexError(stage)
        return self.sums_ns[stage]


def read_cycles():
    """The cycle counter now; for calibration against a clock."""
    return stamp()


def bucket_edges_ns():
    """Upper edge of each bucket in ns, int64 array of shape (256,)."""
    edges = list(range(1, 17))
    for index in range(16, BUCKETS):
        top = 4 + (index - 16) // 8
        part = (index - 16) % 8
        edges.append((8 + part + 1) << (top - 3))
    return np.asarray(edges, dtype=np.int64)


def quantile_ns(counts, double q):
    """Upper edge in ns of the bucket that holds quantile q of counts; 0 without observations."""
    total = int(counts.sum())
    if total == 0:
        return 0
    at = int(np.searchsorted(np.cumsum(counts), q * total))
    return int(bucket_edges_ns()[min(at, BUCKETS - 1)])
