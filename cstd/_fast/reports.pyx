"""Scan the hot frames of the private socket in place: what the venue says of our orders and balances.

Purpose: take the fields of `executions`, `balances`, replies to order requests and heartbeats apart without a JSON tree.
Takes: a borrowed pointer and a length. Gives: a status code and rows of spans into the frame, in preallocated structs;
`deliver` then makes the values that the handler's messages have, each once, and calls the handler.
Owns: its rows; one writer, the engine that owns it.
Invariants: for any frame the rows are exactly what the tolerant decoder (venue/messages.py) reads, or the status is
SCAN_SLOW. Nothing is allocated by `scan`, every read is bounded by `end`, a key is read once per row.

The venue sends the fields of one message in changing orders and leaves out what has not changed, so keys are looked up in
a table instead of being expected in a row. What the table does not have is SCAN_SLOW: an unknown or repeated key, a null,
an escape, a byte that is not printable ASCII, an exponent, more than 18 digits, a number as text, a space, an empty text,
a time that is not plain UTC. Keys that nobody reads are in the table too, and only their values' shapes are checked.

Why this way: a fill should reach positions and gates as directly as a book update reaches the book; the decoder's dict
of a row cost more than everything that the row then changes.
"""
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from cstd._fast.codes cimport SCAN_BALANCES, SCAN_EXECUTIONS, SCAN_HEARTBEAT, SCAN_REPLY, SCAN_SLOW
from cstd._fast.wire cimport parse_time_ns

from decimal import Decimal

cdef extern from "scan.h" nogil:
    const char *literal "cstd_literal"(const char *p, const char *end, const char *text, size_t n)

cdef extern from "check.h" nogil:
    void cstd_check(bint holds, const char *what)

cdef enum:
    DIGITS_MAX = 18
    FIELD_TEXT = 0
    FIELD_DECIMAL = 1       # not negative
    FIELD_SIGNED = 2
    FIELD_INTEGER = 3
    FIELD_TIME = 4
    FIELD_FLAG = 5
    FIELD_FEES = 6
    FIELD_RESULT = 7

cdef enum:
    NOT_KEPT = -1           # the slot of a field whose shape is checked and that nobody reads

# Slots of an executions row, in the order of messages.ExecutionReport as far as they are text or numbers.
cdef enum:
    EXEC_TYPE = 0
    ORDER_ID = 1
    CL_ORD_ID = 2
    EXEC_ID = 3
    TRADE_ID = 4
    ORDER_STATUS = 5
    SYMBOL = 6
    SIDE = 7
    ORDER_TYPE = 8
    ORDER_QTY = 9
    LIMIT_PRICE = 10
    LAST_QTY = 11
    LAST_PRICE = 12
    COST = 13
    CUM_QTY = 14
    CUM_COST = 15
    AVG_PRICE = 16
    REASON = 17
    CANCEL_REASON = 18
    LIQUIDITY_IND = 19
    TIME_IN_FORCE = 20
    POST_ONLY = 21
    ORDER_USERREF = 22
    RATE_COUNTER = 23

# Slots of a balances row.
cdef enum:
    ASSET = 0
    BALANCE = 1
    ENTRY_KIND = 2
    AMOUNT = 3
    FEE = 4
    LEDGER_ID = 5
    REF_ID = 6
    WALLET_TYPE = 7
    WALLET_ID = 8

# Slots of a reply and of its result.
cdef enum:
    METHOD = 0
    REQ_ID = 1
    SUCCESS = 2
    ERROR = 3
    RESULT_ORDER_ID = 0
    RESULT_CL_ORD_ID = 1
    RESULT_AMEND_ID = 2
    RESULT_USERREF = 3

EXECUTION_KEYS = (
    (b"exec_type", FIELD_TEXT, EXEC_TYPE), (b"order_id", FIELD_TEXT, ORDER_ID), (b"cl_ord_id", FIELD_TEXT, CL_ORD_ID),
    (b"exec_id", FIELD_TEXT, EXEC_ID), (b"trade_id", FIELD_INTEGER, TRADE_ID),
    (b"order_status", FIELD_TEXT, ORDER_STATUS), (b"symbol", FIELD_TEXT, SYMBOL), (b"side", FIELD_TEXT, SIDE),
    (b"order_type", FIELD_TEXT, ORDER_TYPE), (b"order_qty", FIELD_DECIMAL, ORDER_QTY),
    (b"limit_price", FIELD_DECIMAL, LIMIT_PRICE), (b"last_qty", FIELD_DECIMAL, LAST_QTY),
    (b"last_price", FIELD_DECIMAL, LAST_PRICE), (b"cost", FIELD_DECIMAL, COST), (b"cum_qty", FIELD_DECIMAL, CUM_QTY),
    (b"cum_cost", FIELD_DECIMAL, CUM_COST), (b"avg_price", FIELD_DECIMAL, AVG_PRICE), (b"reason", FIELD_TEXT, REASON),
    (b"cancel_reason", FIELD_TEXT, CANCEL_REASON), (b"liquidity_ind", FIELD_TEXT, LIQUIDITY_IND),
    (b"time_in_force", FIELD_TEXT, TIME_IN_FORCE), (b"post_only", FIELD_FLAG, POST_ONLY),
    (b"order_userref", FIELD_INTEGER, ORDER_USERREF), (b"ratecounter", FIELD_DECIMAL, RATE_COUNTER),
    (b"timestamp", FIELD_TIME, 0), (b"expire_time", FIELD_TIME, 1), (b"fees", FIELD_FEES, NOT_KEPT),
    (b"limit_price_type", FIELD_TEXT, NOT_KEPT), (b"fee_ccy_pref", FIELD_TEXT, NOT_KEPT),
    (b"fee_usd_equiv", FIELD_SIGNED, NOT_KEPT), (b"stop_price", FIELD_DECIMAL, NOT_KEPT),
    (b"display_qty", FIELD_DECIMAL, NOT_KEPT), (b"display_qty_remain", FIELD_DECIMAL, NOT_KEPT),
    (b"cash_order_qty", FIELD_DECIMAL, NOT_KEPT), (b"effective_time", FIELD_TEXT, NOT_KEPT),
    (b"position_status", FIELD_TEXT, NOT_KEPT), (b"ord_ref_id", FIELD_TEXT, NOT_KEPT),
    (b"ext_ord_id", FIELD_TEXT, NOT_KEPT), (b"ext_exec_id", FIELD_TEXT, NOT_KEPT),
    (b"sender_sub_id", FIELD_TEXT, NOT_KEPT), (b"user", FIELD_TEXT, NOT_KEPT), (b"amended", FIELD_FLAG, NOT_KEPT),
    (b"reduce_only", FIELD_FLAG, NOT_KEPT), (b"margin", FIELD_FLAG, NOT_KEPT),
    (b"margin_borrow", FIELD_FLAG, NOT_KEPT), (b"no_mpp", FIELD_FLAG, NOT_KEPT),
    (b"liquidated", FIELD_FLAG, NOT_KEPT),
)
# The other spelling of the rate counter. They share a slot, so a row that has both is SCAN_SLOW.
OTHER_RATE_COUNTER = (b"ratecount", FIELD_DECIMAL, RATE_COUNTER)
BALANCE_KEYS = (
    (b"asset", FIELD_TEXT, ASSET), (b"balance", FIELD_SIGNED, BALANCE), (b"type", FIELD_TEXT, ENTRY_KIND),
    (b"amount", FIELD_SIGNED, AMOUNT), (b"fee", FIELD_SIGNED, FEE), (b"ledger_id", FIELD_TEXT, LEDGER_ID),
    (b"ref_id", FIELD_TEXT, REF_ID), (b"wallet_type", FIELD_TEXT, WALLET_TYPE), (b"wallet_id", FIELD_TEXT, WALLET_ID),
    (b"timestamp", FIELD_TIME, 0), (b"subtype", FIELD_TEXT, NOT_KEPT), (b"category", FIELD_TEXT, NOT_KEPT),
    (b"asset_class", FIELD_TEXT, NOT_KEPT),
)
REPLY_KEYS = (
    (b"method", FIELD_TEXT, METHOD), (b"req_id", FIELD_INTEGER, REQ_ID), (b"success", FIELD_FLAG, SUCCESS),
    (b"error", FIELD_TEXT, ERROR), (b"time_in", FIELD_TIME, 0), (b"time_out", FIELD_TIME, 1),
    (b"result", FIELD_RESULT, NOT_KEPT),
)
RESULT_KEYS = (
    (b"order_id", FIELD_TEXT, RESULT_ORDER_ID), (b"cl_ord_id", FIELD_TEXT, RESULT_CL_ORD_ID),
    (b"amend_id", FIELD_TEXT, RESULT_AMEND_ID), (b"order_userref", FIELD_INTEGER, RESULT_USERREF),
)


cdef inline const char *text_at(const char *p, const char *end, Span *to) noexcept nogil:
    """Scan a quoted text of printable ASCII without escapes, not empty."""
    cdef const char *start
    cdef unsigned char c
    if p >= end or p[0] != c'"':
        return NULL
    p += 1
    start = p
    while p < end:
        c = <unsigned char>p[0]
        if c == c'"':
            if p == start:
                return NULL
            to.at = start
            to.n = <int>(p - start)
            return p + 1
        if c < 32 or c > 126 or c == c'\\':
            return NULL
        p += 1
    return NULL


cdef inline const char *digits_end(const char *p, const char *end) noexcept nogil:
    while p < end and <unsigned char>(p[0] - 48) <= 9:
        p += 1
    return p


cdef inline const char *number_at(const char *p, const char *end, bint sign, bint point, Span *to) noexcept nogil:
    """Scan a plain JSON number: no exponent, no needless zero in front, at most 18 digits. What follows ends it or not."""
    cdef const char *start = p
    cdef const char *whole
    cdef const char *after
    if sign and p < end and p[0] == c'-':
        p += 1
    whole = p
    p = digits_end(p, end)
    if p == whole or (p - whole > 1 and whole[0] == c'0'):
        return NULL
    if whole != start and (p >= end or p[0] != c'.'):
        return NULL         # the decoder's -0 is the integer 0, which has no sign
    if point and p < end and p[0] == c'.':
        after = digits_end(p + 1, end)
        if after == p + 1:
            return NULL
        p = after
    if p - whole > DIGITS_MAX:
        return NULL
    to.at = start
    to.n = <int>(p - start)
    return p


cdef inline const char *time_at(const char *p, const char *end, int64_t *to) noexcept nogil:
    """Scan a quoted RFC 3339 UTC time after 1970."""
    cdef const char *after = NULL
    p = literal(p, end, b'"', 1)
    if p == NULL:
        return NULL
    to[0] = parse_time_ns(p, end, &after)
    return literal(after, end, b'"', 1) if to[0] > 0 else NULL


cdef inline const char *flag_at(const char *p, const char *end, Span *to) noexcept nogil:
    """Scan true or false; the span's length tells them apart."""
    cdef const char *after = literal(p, end, b'true', 4)
    if after == NULL:
        after = literal(p, end, b'false', 5)
    if after != NULL:
        to.at = p
        to.n = <int>(after - p)
    return after


cdef const char *fees_at(const char *p, const char *end, WireRow *row) noexcept nogil:
    """Scan `[{"asset":…,"qty":…},…]`, at most FEES_MAX."""
    cdef int n = 0
    p = literal(p, end, b'[', 1)
    if p == NULL or p >= end:
        return NULL
    if p[0] == c']':
        row.fee_count = 0
        return p + 1
    while n < FEES_MAX:
        p = literal(p, end, b'{"asset":', 9)
        if p == NULL:
            return NULL
        p = literal(text_at(p, end, &row.fees[n].asset), end, b',"qty":', 7)
        if p == NULL:
            return NULL
        p = literal(number_at(p, end, True, True, &row.fees[n].qty), end, b'}', 1)
        n += 1
        if p == NULL or p >= end:
            return NULL
        if p[0] == c']':
            row.fee_count = n
            return p + 1
        if p[0] != c',':
            return NULL
        p += 1
    return NULL


cdef int fill_table(KeyTable *table, keys) except -1:
    """Enter keys (name, kind, slot) by the length of their names; each has a bit of its own."""
    cdef int length, at
    cdef bytes name
    memset(table, 0, sizeof(KeyTable))
    for bit, (name, kind, slot) in enumerate(keys):
        length = len(name)
        at = table.count[length] if length < KEY_MAX else KEYS_PER_LENGTH
        if at >= KEYS_PER_LENGTH or bit >= 64 or slot >= VALUES_MAX:
            raise ValueError(f"key {name!r} does not fit the table")
        memcpy(table.keys[length][at].name, <const char *>name, length)
        table.keys[length][at].kind = kind
        table.keys[length][at].slot = slot
        table.keys[length][at].bit = <uint64_t>1 << <int>bit
        table.count[length] += 1
    return 0


cdef inline const Key *find_key(const KeyTable *table, const char *name, int n) noexcept nogil:
    cdef int i
    if n <= 0 or n >= KEY_MAX:
        return NULL
    for i in range(table.count[n]):
        if memcmp(table.keys[n][i].name, name, n) == 0:
            return &table.keys[n][i]
    return NULL


cdef class ReportScanner:
    """Scanner of one private socket. Rows are valid until the next call and as long as the frame they point into."""

    def __cinit__(self):
        self.rows = <WireRow *>calloc(ROWS_MAX, sizeof(WireRow))
        if self.rows == NULL:
            raise MemoryError("report rows")
        fill_table(&self.executions, (*EXECUTION_KEYS, OTHER_RATE_COUNTER))
        fill_table(&self.balances, BALANCE_KEYS)
        fill_table(&self.reply, REPLY_KEYS)
        fill_table(&self.reply_result, RESULT_KEYS)

    def __dealloc__(self):
        free(self.rows)

    cdef const char *_value(self, const char *p, const char *end, const Key *key, WireRow *row) noexcept nogil:
        """Scan one value by its key's kind; NULL where its shape is another."""
        cdef Span unused
        cdef Span *to = &unused
        if key.slot != NOT_KEPT and key.kind != FIELD_TIME:
            cstd_check(key.slot < VALUES_MAX, b"a report's field has a slot")
            to = &row.value[key.slot]
            if to.at != NULL:
                return NULL     # two spellings of one field
        if key.kind == FIELD_TEXT:
            return text_at(p, end, to)
        if key.kind == FIELD_DECIMAL or key.kind == FIELD_SIGNED:
            return number_at(p, end, key.kind == FIELD_SIGNED, True, to)
        if key.kind == FIELD_INTEGER:
            return number_at(p, end, False, False, to)
        if key.kind == FIELD_TIME:
            return time_at(p, end, &row.time_ns[key.slot])
        if key.kind == FIELD_FLAG:
            return flag_at(p, end, to)
        if key.kind == FIELD_FEES:
            return fees_at(p, end, row)
        return self._object(literal(p, end, b'{', 1), end, &self.reply_result, &self.result)

    cdef const char *_object(self, const char *p, const char *end, const KeyTable *table, WireRow *row) noexcept nogil:
        """Scan the fields of one object; p stands after its brace. Bounded: no key comes twice."""
        cdef const char *name
        cdef const Key *key
        memset(row, 0, sizeof(WireRow))
        row.fee_count = -1
        while p != NULL:
            p = literal(p, end, b'"', 1)
            if p == NULL:
                return NULL
            name = p
            while p < end and p - name < KEY_MAX and p[0] != c'"':
                p += 1
            if end - p < 3 or p[0] != c'"' or p[1] != c':':
                return NULL
            key = find_key(table, name, <int>(p - name))
            if key == NULL or row.seen & key.bit:
                return NULL
            row.seen |= key.bit
            p = self._value(p + 2, end, key, row)
            if p == NULL or p >= end:
                return NULL
            if p[0] == c'}':
                return p + 1
            if p[0] != c',':
                return NULL
            p += 1
        return NULL

    cdef const char *_rows(self, const char *p, const char *end, const KeyTable *table) noexcept nogil:
        """Scan the elements of `data`; p stands after the bracket. At most ROWS_MAX."""
        self.row_count = 0
        if p == NULL or p >= end:
            return NULL
        if p[0] == c']':
            return p + 1
        while self.row_count < ROWS_MAX:
            p = self._object(literal(p, end, b'{', 1), end, table, &self.rows[self.row_count])
            if p == NULL or p >= end:
                return NULL
            self.row_count += 1
            if p[0] == c']':
                return p + 1
            if p[0] != c',':
                return NULL
            p += 1
        return NULL

    cdef int _sequenced(self, const char *p, const char *end, const KeyTable *table, int status) noexcept nogil:
        """Scan from the value of `type` on. The first field of either table must be in every row: it is required."""
        cdef int i
        cdef const char *first = literal(p, end, b'update","data":[', 16)
        self.snapshot = first == NULL
        if first == NULL:
            first = literal(p, end, b'snapshot","data":[', 18)
        p = literal(self._rows(first, end, table), end, b',"sequence":', 12)
        if p == NULL:
            return SCAN_SLOW
        p = number_at(p, end, False, False, &self.sequence)
        if literal(p, end, b'}', 1) != end:
            return SCAN_SLOW
        for i in range(self.row_count):
            if self.rows[i].value[0].at == NULL or (status == SCAN_BALANCES and self.rows[i].value[BALANCE].at == NULL):
                return SCAN_SLOW
        return status

    cdef int _reply(self, const char *p, const char *end) noexcept nogil:
        """Scan a reply to add_order, amend_order or cancel_order from its first key on."""
        cdef Span method
        memset(&self.result, 0, sizeof(WireRow))
        if self._object(p, end, &self.reply, &self.rows[0]) != end:
            return SCAN_SLOW
        method = self.rows[0].value[METHOD]
        if ((method.n == 9 and memcmp(method.at, b"add_order", 9) == 0)
                or (method.n == 11 and memcmp(method.at, b"amend_order", 11) == 0)
                or (method.n == 12 and memcmp(method.at, b"cancel_order", 12) == 0)):
            return SCAN_REPLY
        return SCAN_SLOW

    cdef int scan(self, const char *data, size_t n) noexcept nogil:
        """Scan one frame; returns a ScanStatus. SCAN_SLOW: not exactly known, nothing is said about its validity."""
        cdef const char *end = data + n
        cdef const char *p
        cdef const char *named = literal(data, end, b'{"channel":"', 12)
        if named == NULL:
            return self._reply(literal(data, end, b'{', 1), end)
        p = literal(named, end, b'executions","type":"', 20)
        if p != NULL:
            return self._sequenced(p, end, &self.executions, SCAN_EXECUTIONS)
        p = literal(named, end, b'balances","type":"', 18)
        if p != NULL:
            return self._sequenced(p, end, &self.balances, SCAN_BALANCES)
        return SCAN_HEARTBEAT if literal(named, end, b'heartbeat"}', 11) == end else SCAN_SLOW

    # From spans to values.

    cdef object deliver(self, int status, object handler, int64_t mono_ns, int64_t wall_ns):
        """Call the handler with the values of the frame scanned last, while it is still there."""
        cdef int i
        if status == SCAN_EXECUTIONS:
            handler.on_executions(int(text_of(&self.sequence)), bool(self.snapshot),
                                  [execution_of(&self.rows[i]) for i in range(self.row_count)], mono_ns, wall_ns)
        elif status == SCAN_BALANCES:
            handler.on_balances(int(text_of(&self.sequence)), bool(self.snapshot),
                                [balance_of(&self.rows[i]) for i in range(self.row_count)], mono_ns, wall_ns)
        elif status == SCAN_REPLY:
            handler.on_order_reply(reply_of(&self.rows[0], &self.result), mono_ns, wall_ns)

    def scan_bytes(self, bytes frame, handler):
        """Scan a frame from a buffer that ends where it does and deliver it, as the engine would; for tests and tools.

        Returns the ScanStatus; the handler is not called for a heartbeat, nor for SCAN_SLOW.
        """
        cdef size_t n = len(frame)
        cdef char *copy = <char *>malloc(n if n else 1)
        cdef int status
        if copy == NULL:
            raise MemoryError("frame")
        try:
            memcpy(copy, <const char *>frame, n)
            status = self.scan(copy, n)
            self.deliver(status, handler, 0, 0)
            return status
        finally:
            free(copy)


cdef inline object text_of(const Span *span):
    return PyUnicode_DecodeASCII(span.at, span.n, NULL) if span.at != NULL else None


cdef inline object decimal_of(const Span *span):
    return Decimal(PyUnicode_DecodeASCII(span.at, span.n, NULL)) if span.at != NULL else None


cdef inline object int_of(const Span *span):
    return int(PyUnicode_DecodeASCII(span.at, span.n, NULL)) if span.at != NULL else None


cdef inline object flag_of(const Span *span):
    return span.n == 4 if span.at != NULL else None


cdef inline object time_of(int64_t time_ns):
    return time_ns if time_ns else None


cdef object fees_of(const WireRow *row):
    cdef int i
    if row.fee_count < 0:
        return None
    return tuple([(text_of(&row.fees[i].asset), decimal_of(&row.fees[i].qty)) for i in range(row.fee_count)])


cdef tuple execution_of(const WireRow *row):
    """The fields of messages.ExecutionReport, in its order."""
    reason = text_of(&row.value[REASON])
    return (
        text_of(&row.value[EXEC_TYPE]), time_of(row.time_ns[0]), text_of(&row.value[ORDER_ID]),
        text_of(&row.value[CL_ORD_ID]), text_of(&row.value[EXEC_ID]), int_of(&row.value[TRADE_ID]),
        text_of(&row.value[ORDER_STATUS]), text_of(&row.value[SYMBOL]), text_of(&row.value[SIDE]),
        text_of(&row.value[ORDER_TYPE]), decimal_of(&row.value[ORDER_QTY]), decimal_of(&row.value[LIMIT_PRICE]),
        decimal_of(&row.value[LAST_QTY]), decimal_of(&row.value[LAST_PRICE]), decimal_of(&row.value[COST]),
        fees_of(row), decimal_of(&row.value[CUM_QTY]), decimal_of(&row.value[CUM_COST]),
        decimal_of(&row.value[AVG_PRICE]), reason if reason is not None else text_of(&row.value[CANCEL_REASON]),
        text_of(&row.value[LIQUIDITY_IND]), text_of(&row.value[TIME_IN_FORCE]), time_of(row.time_ns[1]),
        flag_of(&row.value[POST_ONLY]), int_of(&row.value[ORDER_USERREF]), decimal_of(&row.value[RATE_COUNTER]),
    )


cdef tuple balance_of(const WireRow *row):
    """The fields of messages.BalanceEntry, in its order; rows with wallets are not scanned here."""
    return (
        text_of(&row.value[ASSET]), decimal_of(&row.value[BALANCE]), None, text_of(&row.value[ENTRY_KIND]),
        decimal_of(&row.value[AMOUNT]), decimal_of(&row.value[FEE]), text_of(&row.value[LEDGER_ID]),
        text_of(&row.value[REF_ID]), text_of(&row.value[WALLET_TYPE]), text_of(&row.value[WALLET_ID]),
        time_of(row.time_ns[0]),
    )


cdef tuple reply_of(const WireRow *row, const WireRow *result):
    """The first fields of messages.Ack, in its order: req_id, method, success, result, error, warnings, times."""
    values = None
    if result.seen:
        values = {
            "order_id": text_of(&result.value[RESULT_ORDER_ID]), "cl_ord_id": text_of(&result.value[RESULT_CL_ORD_ID]),
            "amend_id": text_of(&result.value[RESULT_AMEND_ID]), "order_userref": int_of(&result.value[RESULT_USERREF]),
        }
        values = {name: value for name, value in values.items() if value is not None}
    error = text_of(&row.value[ERROR])
    return (int_of(&row.value[REQ_ID]), text_of(&row.value[METHOD]), flag_of(&row.value[SUCCESS]) is True, values,
            error if error is not None else "", (), time_of(row.time_ns[0]), time_of(row.time_ns[1]))
