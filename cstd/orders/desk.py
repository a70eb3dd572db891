"""RiskDesk: marks, loss levels, kill, pause, flatten: everything above single orders that the gates read.

Marks follow from the ledger and the verified bids; levels follow from loss and drawdown and latch until an operator lowers
them; the kill switch latches and is proven at the venue. All of it is journaled as events, so recovery brings it back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from cstd._fast.codes import ApprovalDrop, IntentKind
from cstd.config import Config
from cstd.decision.conditions import Conditions
from cstd.decision.kill import TRADE_AGE_MAX_NS, KillSwitch
from cstd.decision.levels import NAMES as LEVEL_NAMES
from cstd.decision.levels import SHUTDOWN, LevelLatch, LossLimits, level_for
from cstd.decision.limits import correlation_rule, limits_in_force
from cstd.decision.operator_limits import OperatorLimits
from cstd.decision.two_steps import TwoSteps
from cstd.errors import OperatorError
from cstd.ledger.nav import MONEY_PRECISION, Nav, to_money_raw
from cstd.ledger.positions import Ledger
from cstd.orders.adoption import Adopted, Adoption
from cstd.orders.approvals import Approvals
from cstd.orders.exit_policy import ExitPolicy
from cstd.orders.times import rests
from cstd.orders.tracker import OrderTracker
from cstd.units import format_raw, from_raw
from cstd.venue.messages import BalancesMessage

if TYPE_CHECKING:
    from cstd._fast.core import Core


def _refused(message: str, suggestion: str) -> dict[str, Any]:
    return OperatorError(message, suggestion=suggestion).to_json()


class RiskDesk:
    """Risk figures and operator commands. One writer: the engine.

    Attributes:
        kill: the kill switch. levels: the level, latched by loss and raised by `conditions`.
        paused: openings are held by an operator.
        exits: when positions are left. approvals: openings that wait for an operator. adoption: coins of the user's to take up.
        limits: what operators made of the configured limits.
        evidence_max_ns: the shortest time any instrument's evidence lasts.
        halt_reason: why the process itself stopped openings (a journal that cannot keep up), until an operator resumes.
        parity_halt: whether that is because the journal recomputed gave other decisions.
        kill_shown_empty_ns: how long the venue took to show no opening of ours after the kill, or after the boot since then;
            None until a look at the venue has shown it. kill_count: kills so far, each with a proof of its own.
        rebase_count: how often an operator set the peak anew.
    """

    def __init__(self, core: Core, ledger: Ledger, nav: Nav, tracker: OrderTracker) -> None:
        self.core = core
        self.ledger = ledger
        self.nav = nav
        self.tracker = tracker
        self.paused = False
        self.halt_reason: str | None = None
        self.parity_halt = False
        self.balances: dict[str, Decimal] = {}
        self.quote = ""
        self.exclusive = False
        self.coins_known = False   # the private stream is followed, and what is managed is held there
        self.venue_closed = False  # the venue does not match: an exit could only be refused
        self.kill_shown_empty_ns: int | None = None
        self._kill_began_ns: int | None = None
        self.kill_count = 0
        self.rebase_count = 0
        self._rebasing = TwoSteps()
        self.limits = OperatorLimits()
        self.exits = ExitPolicy(tracker)
        self.approvals = Approvals(tracker)
        self.adoption = Adoption(tracker, self._adopt)
        self.evidence_max_ns = 0
        self._evidence_ns: dict[str, int] = {}
        self.kill: KillSwitch
        self.levels: LevelLatch
        self.conditions: Conditions

    def configure(self, cfg: Config) -> None:
        """Take limits at a boot; latches stay as they are."""
        self.quote = cfg.account.currency
        self.exclusive = cfg.account.exclusive
        if not hasattr(self, "kill"):
            self.kill = KillSwitch(cfg)
            self.levels = LevelLatch(cfg)
            self.conditions = Conditions(cfg)
        else:
            self.kill.configure(cfg)
            self.conditions.configure(cfg)
            self.levels.configure(cfg)
        self.limits.configure(cfg)
        self._apply_limits(self.limits.instruments)
        self.core.set_correlations(*correlation_rule(cfg))
        self.exits.configure(cfg)
        self.approvals.configure(cfg)
        self.adoption.configure(cfg)
        # What was proven before a boot was proven of the table of then, on the clock of then.
        self._kill_began_ns = self.kill_shown_empty_ns = None
        self._rebasing.withdraw()
        self.write()

    @property
    def killed(self) -> bool:
        """Whether the kill switch is latched."""
        return self.kill.latched

    @property
    def kill_reason(self) -> str | None:
        """Why it was latched, None while it is not."""
        return self.kill.reason if self.kill.latched else None

    @property
    def kill_unproven(self) -> bool:
        """Whether the switch is latched and no look-up has shown yet that the venue has no opening of ours."""
        return self.kill.latched and self.kill_shown_empty_ns is None

    @property
    def level_reason(self) -> str | None:
        """What holds the level in force, in words; None at Normal."""
        levels, asking = self.levels, ", ".join(self.conditions.asking)
        words = []
        if levels.code and levels.loss_level == levels.code:
            words.append("loss, until `cstd resume`")
        if levels.code and levels.conditions.level == levels.code:
            words.append(f"conditions: {asking}" if asking else "conditions, which are clear but not for long enough yet")
        return "; ".join(words) or None

    # Figures.

    def on_balances(self, message: BalancesMessage) -> None:
        """Take what the venue says the account holds in its main spot wallet."""
        for entry in message.entries:
            if message.snapshot:
                self.balances[entry.asset] = entry.spot_balance if entry.spot_balance is not None else entry.balance
            elif entry.wallet_type in (None, "spot") and entry.wallet_id in (None, "main"):
                self.balances[entry.asset] = entry.balance

    def on_timer(self, mono_ns: int, wall_ns: int, prove: Callable[[int], None]) -> None:
        """Follow a kill to its end, mark, move the levels.

        Args:
            mono_ns: monotonic time. wall_ns: wall time.
            prove: looks at the venue for openings of ours, at a monotonic time, while a kill is not proven.
        """
        self.kill.on_timer(mono_ns)
        if self.kill_unproven:
            self._follow_kill(mono_ns, prove)
        self.mark(wall_ns)
        self.levels.update(self.nav.day_loss_bps, self.nav.drawdown_bps, self.nav.day_loss)
        if self.kill.on_mark(self.nav.day_loss_bps, self.nav.drawdown_bps, mono_ns, self._market_agrees(wall_ns),
                             self.nav.day_loss):
            self._begin_kill(mono_ns, hold=False)
        self.write()
        self.approvals.on_timer(killed=self.kill.latched, level=self.levels.code)
        self.adoption.on_timer()

    def mark(self, wall_ns: int) -> None:
        """Value positions at the last verified bid and bring every figure the gates read up to date."""
        total = Decimal(0)
        for number in self.ledger.to_mark():
            position = self.ledger.positions[number]
            value = self._value(number)
            total += value
            self.core.set_position(number, position.qty_raw, to_money_raw(value), position.losing_round_trips)
            self.exits.watch(number, position, wall_ns)
        account = self.balances.get(self.quote)
        self.nav.mark(self.ledger.cash_flow, total, account + total if account is not None else None, wall_ns)
        core = self.core
        core.equity_acct_raw = max(self.nav.equity, 0)
        core.day_loss_bps = self.nav.day_loss_bps
        core.day_loss_acct_raw = self.nav.day_loss
        core.drawdown_bps = self.nav.drawdown_bps
        core.day_start_equity_acct_raw = self.nav.day_start - self.nav.contributed
        core.turnover_day_acct_raw = to_money_raw(self.ledger.turnover(wall_ns))
        core.slippage_day_acct_raw = self.tracker.slippage.day(wall_ns)
        core.slippage_p95_mbps, core.slippage_fills = self.tracker.slippage.p95(wall_ns)

    def _adopt(self, row: Adopted) -> None:
        """Book coins of the user's: what they add to the positions is a flow, to the last unit of a mark, and no profit."""
        before = to_money_raw(self._held_value())
        self.ledger.adopt(row.instrument, from_raw(row.qty_raw, row.qty_precision), row.price, row.cost, row.wall_ns,
                          self.core.slots[row.instrument].too_little)
        self.nav.take_flow(to_money_raw(self._held_value()) - before)
        self.mark(row.wall_ns)

    def _held_value(self) -> Decimal:
        """Value of all positions at the last verified bids."""
        return sum(map(self._value, self.ledger.held()), Decimal(0))

    def _value(self, number: int) -> Decimal:
        """Of one position; 0 while no bid of it was ever verified."""
        position, bid_raw = self.ledger.positions[number], self.core.slots[number].last_verified_bid_raw
        return position.value_at(bid_raw) if position.qty_raw > 0 and bid_raw > 0 else Decimal(0)

    def _market_agrees(self, wall_ns: int) -> bool:
        """Whether a mark may be believed: every book of what is held is verified, and no recent trade speaks against a kill.

        Where one printed above the bid, the loss must reach Shutdown at its price too. A trade from before the fall says nothing
        once it is old, and a market without trades has its book alone.
        """
        if self._held_unverified():
            return False
        nav = self.nav
        if level_for(nav.day_loss_bps, nav.drawdown_bps, self.kill.limits, nav.day_loss) < SHUTDOWN:
            return True
        printed = sum((self._printed_above(number, wall_ns) for number in self.ledger.held()), Decimal(0))
        loss, loss_bps, drawdown_bps = nav.losses(nav.nav + to_money_raw(printed))
        return level_for(loss_bps, drawdown_bps, self.kill.limits, loss) == SHUTDOWN

    def _printed_above(self, number: int, wall_ns: int) -> Decimal:
        """What a position is worth more at its last trade than at the bid; 0 where that is old or lower."""
        slot = self.core.slots[number]
        if abs(wall_ns - slot.last_trade_wall_ns) > TRADE_AGE_MAX_NS or slot.last_trade_raw <= slot.last_verified_bid_raw:
            return Decimal(0)
        return self.ledger.positions[number].value_at(slot.last_trade_raw) - self._value(number)

    def _held_unverified(self) -> list[int]:
        """What is held and valued at a bid that was verified once and is not now."""
        return [number for number in self.ledger.held() if self.core.slots[number].unverified_since_ns]

    def write(self) -> None:
        """Bring the latches that the gates read up to date; at once when the private stream comes or goes."""
        self.core.level = self.levels.code
        self.core.kill_latched = self.kill.latched
        # Before the coins are known, a sell could be one that is on its way already. Cash that differs holds no exit.
        known = self.coins_known or self.core.exits_by_rest
        self.core.hold_exits = (self.kill.latched and self.kill.hold) or not known or self.venue_closed
        self.core.shadow = self.kill.shadow

    def _apply_limits(self, names: Sequence[str]) -> None:
        """Give the gates of these instruments, the levels and the kill switch what holds now.

        Raises:
            ConfigError: a gate cannot hold one of the numbers; nothing is applied then.
        """
        in_force = self.limits.in_force()
        common = limits_in_force(in_force, "all instruments")
        rows = {name: limits_in_force(self.limits.in_force(name), name) if self.limits.differs(name) else common
                for name in names}
        for name, row in rows.items():
            self.core.set_limits(self.tracker.numbers[name], row)
            self._evidence_ns[name] = int(row["evidence_age_max_ns"])
        self.evidence_max_ns = min(self._evidence_ns.values())
        self.kill.limits = self.levels.limits = LossLimits.of(in_force)

    # Commands.

    def on_command(self, command: dict[str, Any], mono_ns: int, wall_ns: int) -> dict[str, Any]:
        """Apply one operator command and return what to tell its sender."""
        verb = command["verb"]
        args = command["args"]
        match verb:
            case "pause":
                self.paused = True
                return {"paused": True, "pulled": self.pull_openings(ApprovalDrop.DROP_PAUSE)}
            case "resume" if self.kill.latched:
                return {"error": "operator", "message": f"the kill switch is latched: {self.kill.reason}", "retryable": False,
                        "suggestion": "clear it first with `cstd kill --clear`"}
            case "resume":
                return self._resume()
            case "halt":
                self.halt_reason = args.get("reason") or "halted"
                self.parity_halt = bool(args.get("parity"))
                return {"halted": self.halt_reason, "pulled": self.pull_resting(ApprovalDrop.DROP_HALT)}
            case "kill":
                self.kill.latch(args.get("reason") or "operator", mono_ns, hold=bool(args.get("hold")))
                return {"kill": True, "pulled": self._begin_kill(mono_ns, hold=bool(args.get("hold")))}
            case "kill_clear":
                outcome = self.kill.clear(args.get("confirm") or "", mono_ns)
                self.write()
                return outcome
            case "flatten":
                self.paused = True  # or what was sold would be bought again in the next pass
                return {"paused": True, "pulled": self.pull_resting(ApprovalDrop.DROP_FLATTEN), "flattening": self._flatten()}
            case "approve" | "decline":
                return self.approvals.on_command(command)
            case "reload":  # on record with who asked; the limits that it tightens are commands of their own
                return {"reloaded": args.get("config_hash")}
            case "limits_rebase_peak":
                return self._rebase_peak(args, command.get("uid"), mono_ns, wall_ns)
            case "limits_set" | "limits_reset" | "limits_reload":
                return self._change_limit(command, wall_ns)
            case _:
                return {"error": "usage", "message": f"unknown command {verb!r}", "retryable": False, "suggestion": ""}

    def _resume(self) -> dict[str, Any]:
        """The operator acts: pause and halt end, streaks and what they switched off are forgotten, the level falls as far as loss
        allows.
        """
        self.paused = False
        self.halt_reason = None
        self.parity_halt = False
        self.ledger.forget_streaks()
        for slot in self.core.slots:
            slot.switched_off = False
            slot.flatten = slot.flatten and not slot.is_dust()  # what the venue does not take is no reason to wait
        return {"paused": False, "kill": False, "level": LEVEL_NAMES[self.levels.lower(0)]}

    def _change_limit(self, command: dict[str, Any], wall_ns: int) -> dict[str, Any]:
        """Set a limit, or take that back. Orders that rest are judged by it at their instrument's next pass."""
        args, verb, before = command["args"], command["verb"], self.limits.copy()
        try:
            row = self.limits.end(args) if verb == "limits_reset" else self.limits.change(
                args, command, wall_ns, by_reload=verb == "limits_reload")  # which no socket takes: the daemon's own
            self._apply_limits([row["instrument"]] if row["instrument"] else self.limits.instruments)
        except OperatorError as error:  # a number that no gate can hold included: then all is as it was
            self.limits.changes, self.limits.reloaded = before.changes, before.reloaded
            return error.to_json()
        for changed in (row, *row.get("ended", ())):
            self.tracker.notes.append(("warning", "limit", {
                "limit": changed["key"], "instrument": changed["instrument"] or "all", "before": changed["before"],
                "value": changed["value"], "configured": changed["configured"], "uid": command.get("uid"),
                "reason": args.get("reason") or ""}))
        return row

    def _rebase_peak(self, args: dict[str, Any], uid: int | None, mono_ns: int, wall_ns: int) -> dict[str, Any]:
        """Take one of the two steps that make the present value the peak, at any level, while nothing is opened anyway.

        It lifts gate 14 alone: a level that the drawdown latched stays until `resume`, a kill until it is cleared.
        """
        if not (self.paused or self.kill.latched):
            return _refused("neither paused nor killed: the peak is set anew only while nothing is opened", "`cstd pause` first")
        self.mark(wall_ns)
        if self.nav.nav <= 0:
            return _refused("the value is not above 0: no drawdown can be measured from it", "raise account.capital")
        word = f"rebase-{self.rebase_count + 1}"
        row = {"peak": format_raw(self.nav.peak, MONEY_PRECISION), "value": format_raw(self.nav.nav, MONEY_PRECISION),
               "currency": self.quote, "drawdown_bps": self.nav.drawdown_bps,
               "unverified": [self.limits.instruments[number] for number in self._held_unverified()]}
        if not args.get("confirm"):
            return {**row, "rebased": False, **self._rebasing.ask(word, mono_ns)}
        if why := self._rebasing.refusal(args["confirm"], word, mono_ns):
            return _refused(f"the peak stays: {why}", "ask again with `cstd limits rebase-peak`")
        self._rebasing.withdraw()
        self.rebase_count += 1
        self.nav.rebase_peak()
        self.mark(wall_ns)
        self.levels.update(self.nav.day_loss_bps, self.nav.drawdown_bps, self.nav.day_loss)
        self.tracker.notes.append(("warning", "peak rebased", {
            "before": row["peak"], "peak": row["value"], "currency": self.quote, "drawdown_bps": row["drawdown_bps"],
            "unverified": row["unverified"], "uid": uid, "reason": args.get("reason") or ""}))
        return {**row, "rebased": True}

    def _begin_kill(self, mono_ns: int, *, hold: bool) -> int:
        self._kill_began_ns = mono_ns
        self.kill_count += 1
        self.kill_shown_empty_ns = None
        self.approvals.drop(ApprovalDrop.DROP_KILL)
        pulled = self._pull(lambda order: hold or rests(order))
        if self.exclusive and pulled:
            # One frame that needs no id reaches what the table may have lost; only where the account is ours alone.
            self.core.cancel_all()
            self.tracker.rates.charge_pairs()
        self.tracker.want_reconcile = True
        self.tracker.notes.append(("error", "kill", {"reason": self.kill.reason, "pulled": pulled}))
        self.write()
        return pulled

    def _follow_kill(self, mono_ns: int, prove: Callable[[int], None]) -> None:
        """Cancel what is left and ask the venue until it shows none of ours.

        Our own table is no proof: an order that was lost with the journal's tail is in the venue's books alone.
        """
        if self._kill_began_ns is None:
            self._kill_began_ns = mono_ns
        if any(rests(self.core.order(i)) for i in self.core.live_orders()):
            self.pull_resting(ApprovalDrop.DROP_KILL)
            self.tracker.want_reconcile = True
        prove(mono_ns)

    def on_kill_proven(self, mono_ns: int) -> None:
        """The venue has shown that no opening of ours is left: report how long that took."""
        if self.kill_unproven and self._kill_began_ns is not None:
            self.kill_shown_empty_ns = mono_ns - self._kill_began_ns
            self.tracker.notes.append(("info", "kill: the venue shows no opening of ours",
                                       {"after_ms": self.kill_shown_empty_ns // 1_000_000}))

    def _flatten(self) -> list[int]:
        numbers = self.ledger.held()
        for number in numbers:
            self.core.slots[number].flatten = True
        return numbers

    def pull_openings(self, why: ApprovalDrop = ApprovalDrop.DROP_STOP) -> int:
        """Cancel every live opening and drop those that wait for an operator; returns how many cancels went out."""
        self.approvals.drop(why)
        return self._pull(lambda order: order["kind"] == IntentKind.OPENING)

    def pull_resting(self, why: ApprovalDrop = ApprovalDrop.DROP_STOP) -> int:
        """Cancel every order that rests, openings and sells, and drop those that wait; returns how many cancels went out."""
        self.approvals.drop(why)
        return self._pull(rests)

    def _pull(self, wanted: Any) -> int:
        count = 0
        for index in self.core.live_orders():
            if wanted(self.core.order(index)):
                count += bool(self.core.cancel_order(index, 0))
        return count
