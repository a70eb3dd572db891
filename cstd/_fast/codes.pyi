"""Types of the shared enums, see codes.pxd."""

from enum import IntEnum

class Side(IntEnum):
    SELL = -1
    BUY = 1

class IntentKind(IntEnum):
    OPENING = 0
    EXIT = 1

class Verdict(IntEnum):
    REFUSE = 0
    APPROVE = 1
    REDUCE = 2

class TimeInForce(IntEnum):
    GTC = 0
    GTD = 1
    IOC = 2

class BookState(IntEnum):
    BOOK_EMPTY = 0
    BOOK_UNVERIFIED = 1
    BOOK_VERIFIED = 2

class BookFault(IntEnum):
    FAULT_NONE = 0
    FAULT_NO_SNAPSHOT = 1
    FAULT_CHECKSUM = 2
    FAULT_CROSSED = 3
    FAULT_EMPTY_SIDE = 4
    FAULT_EXCESS_DIGITS = 5
    FAULT_PRECISION_UNKNOWN = 6
    FAULT_NON_FINITE = 7
    FAULT_TIME_BACKWARDS = 8
    FAULT_GAP = 9
    FAULT_SILENT = 10
    FAULT_VENUE_STATE = 11
    FAULT_COLLAR = 12
    FAULT_NO_CHECKSUM = 13
    FAULT_MALFORMED = 14
    FAULT_LINK_DOWN = 15
    FAULT_AUDIT = 16
    FAULT_COUNT = 17

class ScanStatus(IntEnum):
    SCAN_BOOK = 0
    SCAN_TRADE = 1
    SCAN_HEARTBEAT = 2
    SCAN_TICKER = 3
    SCAN_SLOW = 4
    SCAN_UNKNOWN_INSTRUMENT = 5
    SCAN_UNUSED = 6
    SCAN_EXECUTIONS = 7
    SCAN_BALANCES = 8
    SCAN_REPLY = 9

class Link(IntEnum):
    LINK_PUBLIC = 0
    LINK_PRIVATE = 1
    LINK_FUTURES = 2

class EventKind(IntEnum):
    EVENT_BOOT = 1
    EVENT_FRAME = 2
    EVENT_BATCH_END = 3
    EVENT_TIMER = 4
    EVENT_COMMAND = 5
    EVENT_REST_REPLY = 6
    EVENT_LINK = 7
    EVENT_STOP = 8
    EVENT_SCORES = 9
    OUT_DECISION = 64
    OUT_ORDER_FRAME = 65
    OUT_LEDGER = 66
    OUT_STATE = 67
    OUT_ORDER_STATE = 68
    OUT_CONTROL = 69
    OUT_REST = 70
    OUT_PASS = 71
    OUT_APPROVAL = 72

class OrderState(IntEnum):
    ORDER_FREE = 0
    ORDER_INTENDED = 1
    ORDER_SENT = 2
    ORDER_ACKNOWLEDGED = 3
    ORDER_OPEN = 4
    ORDER_PARTIAL = 5
    ORDER_CANCEL_PENDING = 6
    ORDER_FILLED = 7
    ORDER_CANCELED = 8
    ORDER_REJECTED = 9
    ORDER_EXPIRED = 10
    ORDER_UNKNOWN = 11
    ORDER_STATE_COUNT = 12

class OrderAction(IntEnum):
    ACTION_ADD = 1
    ACTION_AMEND = 2
    ACTION_CANCEL = 3
    ACTION_CANCEL_ALL = 4
    ACTION_CANCEL_REST = 5
    ACTION_EXIT_REST = 6

class ExitReason(IntEnum):
    EXIT_UNTOLD = 0
    EXIT_STOP = 1
    EXIT_TARGET = 2
    EXIT_TIME = 3
    EXIT_FLIP = 4
    EXIT_FLATTEN = 5
    EXIT_ESCALATION = 6
    EXIT_QUOTE = 7

class ApprovalState(IntEnum):
    APPROVAL_NONE = 0
    APPROVAL_WAITS = 1
    APPROVAL_GIVEN = 2
    APPROVAL_SENT = 3
    APPROVAL_REFUSED = 4
    APPROVAL_DECLINED = 5
    APPROVAL_EXPIRED = 6
    APPROVAL_DROPPED = 7
    APPROVAL_NO_ROOM = 8

class ApprovalDrop(IntEnum):
    DROP_NONE = 0
    DROP_PAUSE = 1
    DROP_KILL = 2
    DROP_HALT = 3
    DROP_STOP = 4
    DROP_LEVEL = 5
    DROP_START = 6
    DROP_LEAVING = 7
    DROP_FLATTEN = 8
    DROP_DIGITS = 9
    DROP_STRATEGY = 10

class OrderEvent(IntEnum):
    ON_SEND = 0
    ON_ACK = 1
    ON_PENDING = 2
    ON_NEW = 3
    ON_PART = 4
    ON_FULL = 5
    ON_CANCELED = 6
    ON_EXPIRED = 7
    ON_REJECT = 8
    ON_CANCEL_SENT = 9
    ON_CANCEL_REFUSED = 10
    ON_SILENT = 11
    ON_FOUND_OPEN = 12
    ON_FOUND_PART = 13
    ON_ABSENT = 14
    ON_GONE = 15
    ORDER_EVENT_COUNT = 16

class TradingState(IntEnum):
    TRADING_READY = 0
    TRADING_PAUSED = 1
    TRADING_NOT_READY = 2
    TRADING_HALTED = 3
    TRADING_PARITY_HALT = 4
