"""RateCounters: the venue's trading rate counter of each instrument, as the account's requests have used it up.

The counters themselves are in the compiled slots: the gateway charges what it sends there, and asks them before an opening or
amend, which wait at 80 % of the tier's threshold. Nothing else is ever held back by them: what is left is for exits, cancels,
a kill and the dead man's switch. Here is what is rare: the tier, the venue's own words, its refusals, and what the log says.

The venue's word raises a counter and never lowers it, since requests on their way are not in it. A cancel that the venue
refuses for its rate goes again once that many points must have decayed, then after twice as long.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from cstd.units import NS_PER_S
from cstd.venue.errors_table import RATE_LIMITED
from cstd.venue.rate import MICRO, TRADING_TIERS, TradingTier, cancel_cost, openings_limit_micro, points_to_micro, tier_told

if TYPE_CHECKING:
    from cstd._fast.core import Core

CANCEL_AGAIN_MAX_NS = 32 * NS_PER_S
FOREIGN_MAX = 1_024  # orders of other programs whose instrument is remembered: later reports of them do not name it
DOMAIN_LIMITED = RATE_LIMITED[1]


class RefusedCancel(msgspec.Struct):
    """A cancel that the venue refused for its rate: how often so far, which one it was, and when it goes again (0: it has)."""

    count: int
    cancel_mono_ns: int
    due_ns: int


class RateCounters:
    """One writer: the engine. Times are those of the event that is processed.

    Attributes:
        tier: whose threshold and decay are in force: the configured one until the venue has told its own.
        refused_count: requests that the venue refused for its rate.
        notes: where notes for the log are left.
    """

    def __init__(self, core: Core, notes: list[tuple[str, str, dict[str, Any]]]) -> None:
        self._core = core
        self.notes = notes
        self.tier = TRADING_TIERS["starter"]
        self.refused_count = 0
        self._refused: dict[str, RefusedCancel] = {}
        self._foreign: dict[str, int] = {}
        self._episodes = 0
        self._waiting: set[int] = set()

    # The tier.

    def boot(self, tier: str) -> None:
        """Begin a boot: the configured tier until the venue has told its own. What the counters show outlives it."""
        self._refused.clear()  # every cancel may go again after a boot
        for slot in self._core.slots:
            slot.rebase(self._core.mono_ns)
        self._tune(TRADING_TIERS[tier])

    def on_tier(self, rate_count_max: int) -> None:
        """Take the threshold that the venue told with the subscription."""
        tier = tier_told(rate_count_max, self.tier)
        if tier.name not in TRADING_TIERS:
            self.notes.append(("warning", "the venue told a rate threshold of no known tier", {"threshold": rate_count_max}))
        elif tier != self.tier:
            self.notes.append(("info", "rate tier", {"tier": tier.name, "before": self.tier.name}))
        self._tune(tier)

    def _tune(self, tier: TradingTier) -> None:
        self.tier = tier
        for slot in self._core.slots:
            slot.rate_tune(tier.threshold * MICRO, openings_limit_micro(tier), tier.decay_micro_per_s, self._core.mono_ns)

    # What the venue says.

    def on_word(self, order_id: str, number: int | None, points: Decimal) -> None:
        """Take the counter of a report about any order of the account; `number`: its instrument, None where it is not told."""
        if number is None:
            number = self._foreign.get(order_id)
        elif order_id and order_id not in self._foreign:
            self._foreign[order_id] = number
            if len(self._foreign) > FOREIGN_MAX:
                del self._foreign[next(iter(self._foreign))]
        if number is not None:
            self._core.slots[number].rate_raise(points_to_micro(points), self._core.mono_ns)

    def on_refused(self, number: int, error: str) -> bool:
        """Take a refusal of a request; False where it was not for the rate."""
        if not error.startswith(RATE_LIMITED):
            return False
        self.refused_count += 1
        # One of the account says nothing of which instrument is to blame.
        for slot in self._core.slots if error.startswith(DOMAIN_LIMITED) else [self._core.slots[number]]:
            slot.rate_raise(self.tier.threshold * MICRO, self._core.mono_ns)
        return True

    def on_cancel_refused(self, index: int, error: str) -> bool:
        """Take a refusal of a cancel; True where it was for the rate, so that it goes again by itself."""
        order = self._core.order(index)
        if not self.on_refused(order["instrument"], error):
            return False
        now_ns = self._core.mono_ns
        known = self._refused.get(order["cl_ord_id"])
        count = known.count + 1 if known is not None else 1
        points = cancel_cost(now_ns - max(order["sent_mono_ns"], order["amended_mono_ns"]))
        decayed_ns = max(NS_PER_S, -(-points * MICRO * NS_PER_S // self.tier.decay_micro_per_s))
        due_ns = now_ns + min(decayed_ns << min(count - 1, 5), CANCEL_AGAIN_MAX_NS)
        self._refused[order["cl_ord_id"]] = RefusedCancel(count, order["cancel_mono_ns"], due_ns)
        return True

    def cancel_waits(self, cl_ord_id: str) -> bool:
        """Whether a refused cancel of this order goes again by itself."""
        known = self._refused.get(cl_ord_id)
        return known is not None and known.due_ns > 0

    def charge_pairs(self) -> None:
        """Charge what is about the whole account, a cancel of all orders or its switch: a point for each pair with an order."""
        for number in sorted({self._core.order(index)["instrument"] for index in self._core.live_orders()}):
            self._core.slots[number].rate_charge(1, self._core.mono_ns)

    # Time.

    def on_timer(self) -> None:
        """Send again the cancels whose time has come, and say which instruments began or ended to wait."""
        for cl_ord_id, refused in list(self._refused.items()):
            index = self._core.find_order(cl_ord_id.encode())
            if index < 0:
                del self._refused[cl_ord_id]
            elif 0 < refused.due_ns <= self._core.mono_ns:
                refused.due_ns = 0
                self._cancel_again(index, refused)
        if self._core.rate_episodes != self._episodes:
            self._episodes = self._core.rate_episodes
            for number, slot in enumerate(self._core.slots):
                if slot.rate_episode and number not in self._waiting:
                    self._waiting.add(number)
                    self._note(number, "warning", "openings wait")
        for number in sorted(self._waiting):
            slot = self._core.slots[number]
            if 2 * slot.rate_micro(self._core.mono_ns) <= openings_limit_micro(self.tier):
                slot.rate_episode = False
                self._waiting.discard(number)
                self._note(number, "info", "openings go on")

    def _cancel_again(self, index: int, refused: RefusedCancel) -> None:
        order = self._core.order(index)
        if order["cancel_mono_ns"] == refused.cancel_mono_ns:  # none has gone since, for another reason
            self._core.retry_cancel(index)
            self._core.cancel_order(index, order["cancel_reason"])

    def _note(self, number: int, level: str, event: str) -> None:
        self.notes.append((level, event, {"instrument": self._core.slots[number].name.decode(), "reason": self.text(number)}))

    def text(self, number: int) -> str:
        """Where the counter of an instrument stands, in words."""
        points = self._core.slots[number].rate_micro(self._core.mono_ns) / MICRO
        return f"rate counter at {points:.1f} of {openings_limit_micro(self.tier) / MICRO:g}"

    def waits(self, number: int) -> str | None:
        """Why an opening of an instrument would wait now, None when it would not."""
        admitted = self._core.slots[number].rate_admits(1, self._core.mono_ns)
        return None if admitted else self.text(number)
