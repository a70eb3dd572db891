"""Shape of the enums shared by compiled code, agents and Python; one source, see codes.pyx."""

cpdef enum Side:
    SELL = -1
    BUY = 1

cpdef enum IntentKind:
    OPENING = 0
    EXIT = 1

cpdef enum Verdict:
    REFUSE = 0
    APPROVE = 1
    REDUCE = 2

cpdef enum TimeInForce:
    GTC = 0
    GTD = 1
    IOC = 2

cpdef enum BookState:
    BOOK_EMPTY = 0
    BOOK_UNVERIFIED = 1
    BOOK_VERIFIED = 2

cpdef enum BookFault:
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

cpdef enum ScanStatus:
    SCAN_BOOK = 0
    SCAN_TRADE = 1
    SCAN_HEARTBEAT = 2
    SCAN_TICKER = 3
    SCAN_SLOW = 4
    SCAN_UNKNOWN_INSTRUMENT = 5
    SCAN_UNUSED = 6         # known, and nothing in it is used: an update of the venue's own bars
    SCAN_EXECUTIONS = 7     # the private socket's, see reports.pyx
    SCAN_BALANCES = 8
    SCAN_REPLY = 9

cpdef enum Link:
    LINK_PUBLIC = 0
    LINK_PRIVATE = 1
    LINK_FUTURES = 2

cpdef enum EventKind:
    EVENT_BOOT = 1
    EVENT_FRAME = 2
    EVENT_BATCH_END = 3
    EVENT_TIMER = 4
    EVENT_COMMAND = 5
    EVENT_REST_REPLY = 6
    EVENT_LINK = 7
    EVENT_STOP = 8
    EVENT_SCORES = 9        # rows of the scorer process
    OUT_DECISION = 64
    OUT_ORDER_FRAME = 65
    OUT_LEDGER = 66
    OUT_STATE = 67
    OUT_ORDER_STATE = 68
    OUT_CONTROL = 69
    OUT_REST = 70
    OUT_PASS = 71
    OUT_APPROVAL = 72       # an opening that waited for an operator does so no more
    OUT_ADOPTION = 73       # coins of the user's became managed, or there were none to take up
    OUT_SIGNAL = 74         # what scores made the ensemble want of an instrument
    OUT_ANSWER = 75         # whether a command was taken, and why not

cpdef enum OrderState:
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

cpdef enum OrderAction:
    ACTION_ADD = 1
    ACTION_AMEND = 2
    ACTION_CANCEL = 3
    ACTION_CANCEL_ALL = 4
    ACTION_CANCEL_REST = 5      # a cancel that goes by REST: the private socket is down
    ACTION_EXIT_REST = 6        # an exit that does

# Why a position is left; journaled with the decision. The first three are the exit policy's, in order of precedence;
# EXIT_ESCALATION comes after them, and after the strategy's wish.
cpdef enum ExitReason:
    EXIT_UNTOLD = 0
    EXIT_STOP = 1
    EXIT_TARGET = 2
    EXIT_TIME = 3
    EXIT_FLIP = 4               # the strategy wants to be flat
    EXIT_FLATTEN = 5            # an operator does
    EXIT_ESCALATION = 6         # the level is Emergency or Shutdown
    EXIT_QUOTE = 7              # none: a sell that rests at a price of the strategy's

# What became of an opening that waits for an operator; journaled.
cpdef enum ApprovalState:
    APPROVAL_NONE = 0
    APPROVAL_WAITS = 1
    APPROVAL_GIVEN = 2          # an operator approved it: the next pass of its instrument judges it again
    APPROVAL_SENT = 3
    APPROVAL_REFUSED = 4        # by a gate, when it was judged again
    APPROVAL_DECLINED = 5
    APPROVAL_EXPIRED = 6
    APPROVAL_DROPPED = 7
    APPROVAL_NO_ROOM = 8        # as many waited as may

# Why one was dropped; journaled.
cpdef enum ApprovalDrop:
    DROP_NONE = 0
    DROP_PAUSE = 1
    DROP_KILL = 2
    DROP_HALT = 3
    DROP_STOP = 4
    DROP_LEVEL = 5              # an escalation level that leaves openings no size
    DROP_START = 6
    DROP_LEAVING = 7            # its instrument's position is being left
    DROP_FLATTEN = 8
    DROP_DIGITS = 9             # its instrument has other digits: what was shown is counted in the old ones
    DROP_STRATEGY = 10          # its strategy cancels it, or has failed so often that it opens nothing more

cpdef enum OrderEvent:
    ON_SEND = 0
    ON_ACK = 1
    ON_PENDING = 2
    ON_NEW = 3
    ON_PART = 4             # a trade, something is left
    ON_FULL = 5             # a trade or `filled`, nothing is left
    ON_CANCELED = 6
    ON_EXPIRED = 7
    ON_REJECT = 8
    ON_CANCEL_SENT = 9
    ON_CANCEL_REFUSED = 10
    ON_SILENT = 11          # no answer in time, or the link went down meanwhile
    ON_FOUND_OPEN = 12      # reconciliation saw it open
    ON_FOUND_PART = 13
    ON_ABSENT = 14          # all evidence of systems 10.2 agrees that it never was, or is gone
    ON_GONE = 15            # a cancel or amend said "unknown order"
    ORDER_EVENT_COUNT = 16

cpdef enum TradingState:
    TRADING_READY = 0
    TRADING_PAUSED = 1
    TRADING_NOT_READY = 2
    TRADING_HALTED = 3
    TRADING_PARITY_HALT = 4
