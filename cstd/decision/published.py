"""Published rules on controls of automated trading whose purpose a gate serves, named by article or section title.

RTS 6 is the Commission Delegated Regulation (EU) 2017/589; SEC 15c3-5 the Market Access Rule of the United States; FIA the
Futures Industry Association's best practices for automated trading risk controls. No legal opinion, and no claim that one of
them applies to anybody. Where a title alone is known to the writers, no paragraph is named.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, or the part of one that has a purpose of its own.

    Attributes:
        source: whose it is. part: its article, or its section's title. asks: what it is for, in one line.
        beside: what else than the gates serves it: words, and the document or module that has it, from the top of the repository.
    """

    source: str
    part: str
    asks: str
    beside: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The rule as tables name it."""
        return f"{self.source} {self.part}"


KILL = Rule(
    "RTS 6", "Art. 12, kill functionality", "cancel all unexecuted orders at once, as an emergency measure",
    (("the kill switch cancels at the venue and proves it", "cstd/orders/kill_proof.py"),))
PRE_TRADE = Rule("RTS 6", "Art. 15, pre-trade controls", "no order is entered that is outside what was set for it")
COLLARS = Rule("RTS 6", "Art. 15(1)(a), price collars", "orders outside set price parameters are blocked or canceled")
VALUE = Rule("RTS 6", "Art. 15(1)(b), maximum order value", "orders of an uncommonly large value are kept out")
VOLUME = Rule("RTS 6", "Art. 15(1)(c), maximum order volume", "orders of an uncommonly large size are kept out")
MESSAGES = Rule(
    "RTS 6", "Art. 15(1)(d), maximum messages limit", "no excessive number of messages to a venue",
    (("the venue's own rate counter is kept, with a reserve for exits and cancels", "docs/orders.md"),))
THROTTLE = Rule(
    "RTS 6", "Art. 15, repeated automated execution throttle",
    "after a set number of executions the strategy is switched off until a designated person switches it on")
CREDIT = Rule("RTS 6", "Art. 15, market and credit limits", "limits by capital, and by what may be at risk")
MONITORING = Rule(
    "RTS 6", "Art. 16, real-time monitoring", "signs of disorderly trading are seen at once, and acted upon",
    (("alerts with runbooks", "docs/runbooks.md"), ("escalation levels by conditions", "docs/levels.md")))
POST_TRADE = Rule(
    "RTS 6", "Art. 17, post-trade controls",
    "what was traded is assessed continuously, by effective exposure; where a control triggers, trading is adjusted or shut "
    "down; own records agree with the venue's",
    (("orders, trades and balances are reconciled with the venue", "cstd/orders/reconcile.py"),
     ("a day's statement against the venue's books", "docs/statement.md"),
     ("what executions cost, with markouts", "docs/execution.md"),
     ("loss and drawdown latch levels, and at last the kill switch", "docs/levels.md")))
SEC_CAPITAL = Rule("SEC 15c3-5", "(c)(1)(i), credit or capital thresholds", "no order beyond thresholds that were set beforehand")
SEC_ERRONEOUS = Rule(
    "SEC 15c3-5", "(c)(1)(ii), erroneous orders", "orders outside price or size parameters, and duplicates, are rejected")
FIA_SIZE = Rule("FIA", "maximum order size", "no single order is larger than was set")
FIA_POSITION = Rule("FIA", "maximum intraday position", "positions, working orders counted, stay within what was set")
FIA_PRICE = Rule("FIA", "price tolerance", "no order's price is too far from the market")
FIA_REPEATED = Rule("FIA", "repeated automated execution limits", "a loop that repeats itself is stopped until somebody looks")
FIA_THROTTLE = Rule("FIA", "message throttles", "no more orders in a span of time than was set")
FIA_DATA = Rule("FIA", "market data reasonability", "prices that may be wrong or old are not acted upon")
FIA_KILL = Rule("FIA", "kill switch", "all orders canceled and new ones kept out, by one action",
                (("`cstd kill`, and the venue's cancel-all-after as a dead man's switch", "docs/orders.md"),))
FIA_DISCONNECT = Rule(
    "FIA", "cancel on disconnect", "no working order outlives the connection that watches it",
    (("the venue's cancel-all-after is armed while an order rests", "docs/orders.md"),))
FIA_POST_TRADE = Rule(
    "FIA", "post-trade analysis", "what was executed is looked at, and limits follow from it",
    (("what executions cost, with markouts", "docs/execution.md"), ("the account's value in units", "docs/performance.md")))

RULES = (KILL, PRE_TRADE, COLLARS, VALUE, VOLUME, MESSAGES, THROTTLE, CREDIT, MONITORING, POST_TRADE, SEC_CAPITAL, SEC_ERRONEOUS,
         FIA_SIZE, FIA_POSITION, FIA_PRICE, FIA_REPEATED, FIA_THROTTLE, FIA_DATA, FIA_KILL, FIA_DISCONNECT, FIA_POST_TRADE)
