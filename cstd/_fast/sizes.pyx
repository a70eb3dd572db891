"""What the engine allocates, by part, from the very types and constants that it allocates with.

A type's basic size is the size of its struct, with every array that is part of it. What a type allocates beside itself is
given by the module that does (book.side_bytes) or by the constant that it shares with this one.
"""
from libc.stdint cimport int8_t, int64_t, uint64_t

from cstd._fast.book cimport BOOK_TOKENS_BYTES, side_bytes
from cstd._fast.correlation cimport MEMBER_WORDS, MEMBERS_KEPT
from cstd._fast.features cimport FEATURE_COUNT, VALID_WORDS, FeatureState
from cstd._fast.gates cimport DecisionRow, Limits
from cstd._fast.client_ids cimport IDS_BITS_START
from cstd._fast.gateway cimport DECISIONS_KEPT
from cstd._fast.recorder cimport PENDING_BYTES
from cstd._fast.slot cimport AGENT_STATE_WORDS, AGENTS_MAX, EventWindow
from cstd._fast.wire cimport LEVELS_MAX, NAME_TABLE, TRADES_MAX, NameSlot, WireLevel, WireTrade

from cstd._fast.bars import BarSeries
from cstd._fast.book import Book
from cstd._fast.core import Core
from cstd._fast.correlation import Correlations, pair_bytes
from cstd._fast.hist import Histograms
from cstd._fast.indicators import BarIndicators
from cstd._fast.orders import OrderTable
from cstd._fast.recorder import Recorder
from cstd._fast.slot import InstrumentSlot
from cstd._fast.wire import Scanner

INTERVALS = 3


def slot_bytes(int depth):
    """Bytes that one instrument takes at a book depth, by part."""
    parts = {
        "books": Book.__basicsize__ + 2 * side_bytes(depth) + BOOK_TOKENS_BYTES,
        "bars": BarSeries.__basicsize__,
        "indicators": INTERVALS * BarIndicators.__basicsize__,
        "feature rows": sizeof(FeatureState) + FEATURE_COUNT * sizeof(double)
                        + VALID_WORDS * sizeof(uint64_t),
        "agents": AGENTS_MAX * ((AGENT_STATE_WORDS + 2) * sizeof(double) + sizeof(int8_t) + sizeof(int64_t)),
        "openings of the hour": sizeof(EventWindow),
        "limits": sizeof(Limits),
    }
    inside = sum(parts[name] for name in ("feature rows", "agents", "openings of the hour", "limits"))
    parts["instrument"] = InstrumentSlot.__basicsize__ - inside
    return parts


def correlation_bytes(count, on):
    """Bytes that the correlations of so many instruments take; they grow with the square of their number while on."""
    links = count * MEMBER_WORDS * sizeof(uint64_t) + MEMBERS_KEPT * ((count + 63) // 64) * sizeof(uint64_t)
    return Correlations.__basicsize__ + links + (count * (count - 1) // 2 * pair_bytes() if on else 0)


def engine_bytes():
    """Bytes that the engine takes whatever the instruments are, by part; the table of ids doubles as it fills."""
    return {
        "order table": OrderTable.__basicsize__,
        "client order ids": sizeof(uint64_t) << IDS_BITS_START,
        "decision rows": DECISIONS_KEPT * sizeof(DecisionRow),
        "scanner": Scanner.__basicsize__ + 2 * LEVELS_MAX * sizeof(WireLevel) + TRADES_MAX * sizeof(WireTrade)
                   + NAME_TABLE * sizeof(NameSlot),
        "digest buffer": Recorder.__basicsize__ + PENDING_BYTES,
        "engine": Core.__basicsize__ + Histograms.__basicsize__,
    }
