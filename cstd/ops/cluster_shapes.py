"""Shapes of what moves together, as control and sight show it; see cstd.ops.view."""

from __future__ import annotations

from typing import TypedDict


class Cluster(TypedDict):
    """Instruments with exposure that are linked with each other, or over others with exposure."""

    instruments: list[str]
    exposure: str  # positions + openings on their way, in account currency
    exposure_bps: float | None  # of equity


class CorrelationPair(TypedDict):
    """What is measured of two instruments."""

    instrument: str
    other: str
    correlation: float | None  # of five-minute returns, shrunk toward 1; None while there are too few
    returns: int
    ready: bool
    linked: bool  # gate 18 counts them together


class Clusters(TypedDict):
    """What moves together; docs/clusters.md."""

    measured: bool  # else everything is one cluster
    correlation_min: float
    correlation_leave: float
    returns_min: int
    instruments: int
    pairs_apart: int  # of all pairs of instruments, those that are not linked
    clusters: list[Cluster]  # the largest first
    pairs: list[CorrelationPair]  # of the first instruments with exposure, or of the one asked for
