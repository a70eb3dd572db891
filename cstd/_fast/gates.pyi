from collections.abc import Sequence
from enum import IntEnum

import numpy as np

class Gate(IntEnum):
    GATE_NONE = 0
    GATE_IDEMPOTENCY = 1
    GATE_SPREAD = 2
    GATE_DEPTH = 3
    GATE_VOLUME = 4
    GATE_SLIPPAGE = 5
    GATE_TIME_IN_FORCE = 6
    GATE_PRICE = 7
    GATE_KILL_SWITCH = 11
    GATE_DATA_GAP = 12
    GATE_DAY_LOSS = 13
    GATE_DRAWDOWN = 14
    GATE_POSITION_COUNT = 15
    GATE_TOTAL_EXPOSURE = 16
    GATE_POSITION_SIZE = 17
    GATE_CORRELATION = 18
    GATE_MANAGED_BOUND = 20

class Why(IntEnum):
    WHY_PASSED = 0
    WHY_OVER_LIMIT = 1
    WHY_BAD_INPUT = 2
    WHY_OVERFLOW = 3
    WHY_NO_BOOK = 4
    WHY_WARMING_UP = 5
    WHY_ID_SEEN = 6
    WHY_UNKNOWN_PENDING = 7
    WHY_DUPLICATE = 8
    WHY_INSTRUMENT_RATE = 9
    WHY_MINUTE_RATE = 10
    WHY_TURNOVER = 11
    WHY_LOSING_STREAK = 12
    WHY_DEPTH_FLOOR = 13
    WHY_ORDER_SHARE = 14
    WHY_BOOK_TOO_THIN = 15
    WHY_SLIPPAGE_DAY = 16
    WHY_SLIPPAGE_P95 = 17
    WHY_NOT_POST_ONLY = 18
    WHY_WRONG_TIF = 19
    WHY_DEADLINE = 20
    WHY_LIFETIME = 21
    WHY_OFF_TICK = 22
    WHY_OFF_LOT = 23
    WHY_BELOW_MINIMUM = 25
    WHY_CROSSING = 26
    WHY_REFERENCE = 27
    WHY_NO_REFERENCE = 28
    WHY_COLLAR = 29
    WHY_KILLED = 30
    WHY_PAUSED = 31
    WHY_NOT_READY = 32
    WHY_HALTED = 33
    WHY_PARITY_HALT = 34
    WHY_LEVEL = 35
    WHY_BOOK_UNVERIFIED = 36
    WHY_BOOK_FAULT = 37
    WHY_STALE = 38
    WHY_SILENT = 39
    WHY_VENUE_STATE = 40
    WHY_INSTRUMENT_STATE = 41
    WHY_PRIVATE_STREAM = 42
    WHY_CONVERSION = 43
    WHY_CLOCK = 44
    WHY_LOSS_AMOUNT = 45
    WHY_LONG_ONLY = 46
    WHY_TOO_SMALL = 47
    WHY_ABOVE_MANAGED = 48
    WHY_COUNT = 49

class EscalationLevel(IntEnum):
    LEVEL_NORMAL = 0
    LEVEL_WARNING = 1
    LEVEL_CRITICAL = 2
    LEVEL_EMERGENCY = 3
    LEVEL_SHUTDOWN = 4

LIMITS_DTYPE: np.dtype
GATE_INPUT_DTYPE: np.dtype
DECISION_DTYPE: np.dtype
price_raw_max: int
qty_raw_max: int

def gate_input(**fields: object) -> np.ndarray: ...
def evaluate_rows(
    inputs: np.ndarray,
    limits: np.ndarray,
    bids: Sequence[Sequence[int]],
    asks: Sequence[Sequence[int]],
    *,
    reduce: bool = True,
) -> np.ndarray: ...
