"""What no single key can say: relations between limits. Each rule is one small function yielding problems."""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import pairwise

from cstd._fast.wire import instruments_max
from cstd.config.override_checks import override_problems
from cstd.config.problems import Problem
from cstd.config.schema import Config
from cstd.units import BPS_PER_UNIT

LEVELS = ("warning", "critical", "emergency", "shutdown")
UNKNOWN_ABSENT_S_MIN = 75  # Kraken's REST may lag its engine by up to 60 s
CLEAN_S_MIN = 300  # systems 9.1
AUDIT_S_MIN = 5  # an audit takes about four seconds, and one book is audited at a time

FUTURES_BASES = {"BTC": "XBT"}  # products kept this name when instruments got theirs
_LEGACY_NAMES = {"XBT": "BTC", "XDG": "DOGE"}

Rule = Callable[[Config], Iterator[Problem]]


def _ascending(section: str, values: dict[str, int | Decimal]) -> Iterator[Problem]:
    names = list(values)
    for lower, upper in pairwise(names):
        if values[lower] >= values[upper]:
            yield Problem(key=f"{section}.{lower}", value=str(values[lower]), reason=f"must be below {upper}",
                          limit=f"less than {values[upper]}")


def levels(config: Config) -> Iterator[Problem]:
    """Warning < critical < emergency < shutdown, for day loss and for drawdown."""
    for kind in ("day_loss", "drawdown"):
        yield from _ascending("risk", {f"{kind}_{level}_bps": getattr(config.risk, f"{kind}_{level}_bps")
                                       for level in LEVELS})


def caps(config: Config) -> Iterator[Problem]:
    """One position fits into its cluster, and a cluster into the whole exposure."""
    risk = config.risk
    pairs = (("position_bps_max", "cluster_bps_max"), ("cluster_bps_max", "exposure_bps_max"))
    for inner, outer in pairs:
        if getattr(risk, inner) > getattr(risk, outer):
            yield Problem(key=f"risk.{inner}", value=str(getattr(risk, inner)), limit=f"at most {getattr(risk, outer)}",
                          reason=f"must not exceed {outer}")


def correlation(config: Config) -> Iterator[Problem]:
    """A link does not end where it would begin."""
    risk = config.risk
    if risk.correlation_min and risk.correlation_leave > risk.correlation_min:
        yield Problem(key="risk.correlation_leave", value=str(risk.correlation_leave), limit=f"at most {risk.correlation_min}",
                      reason="must not exceed correlation_min: a link would end where it begins")


def loss_amount(config: Config) -> Iterator[Problem]:
    """The absolute day loss bites no later than the shutdown level does."""
    shutdown = config.account.capital * config.risk.day_loss_shutdown_bps / BPS_PER_UNIT
    if config.risk.day_loss_max > shutdown:
        yield Problem(key="risk.day_loss_max", value=str(config.risk.day_loss_max), limit=f"at most {shutdown:f}",
                      reason="must not exceed day_loss_shutdown_bps of account.capital")


def evidence(config: Config) -> Iterator[Problem]:
    """A quote stops being current before its instrument counts as silent."""
    if config.risk.evidence_s >= config.risk.silence_s:
        yield Problem(key="risk.evidence_s", value=str(config.risk.evidence_s), reason="must be below silence_s",
                      limit=f"less than {config.risk.silence_s}")


def collars(config: Config) -> Iterator[Problem]:
    """Collar steps rise, and the key says at which of them urgent exits begin: the second, where there are two."""
    exits = config.exits
    steps = exits.collar_steps_bps
    if not 1 <= len(steps) <= 8:
        yield Problem(key="exits.collar_steps_bps", value=str(steps), reason="has the wrong length", limit="1 to 8 steps")
    if any(low >= high for low, high in pairwise(steps)):
        yield Problem(key="exits.collar_steps_bps", value=str(steps), reason="steps must rise", limit="each above the one before",
                      suggestion=f"for example {sorted(set(steps))}")
    elif steps and exits.collar_urgent_bps != steps[:2][-1]:
        yield Problem(key="exits.collar_urgent_bps", value=str(exits.collar_urgent_bps), limit=str(steps[:2][-1]),
                      reason="is not the second of collar_steps_bps, at which urgent exits begin")
    if steps and exits.blind_collar_bps < max(steps):
        yield Problem(key="exits.blind_collar_bps", value=str(exits.blind_collar_bps), limit=f"at least {max(steps)}",
                      reason="must reach as far as the last collar step: a blind exit must not be the timid one")


def stops(config: Config) -> Iterator[Problem]:
    """The stop that waits for an ATR has one beside it that does not."""
    exits = config.exits
    if exits.stop_atr_multiple and not exits.stop_bps:
        yield Problem(key="exits.stop_atr_multiple", value=str(exits.stop_atr_multiple), limit="0 while stop_bps is 0",
                      reason="would be the only stop, and there is none of it before the ATR is ready",
                      suggestion="set exits.stop_bps as well")


def absence(config: Config) -> Iterator[Problem]:
    """Away from the practice exchange an unseen order is not called absent before REST has caught up."""
    if config.mode != "practice" and config.venue.unknown_absent_s < UNKNOWN_ABSENT_S_MIN:
        yield Problem(key="venue.unknown_absent_s", value=str(config.venue.unknown_absent_s),
                      limit=f"at least {UNKNOWN_ABSENT_S_MIN} in {config.mode}",
                      reason="Kraken's REST may lag its engine by 60 s")


def conditions(config: Config) -> Iterator[Problem]:
    """Away from the practice exchange a level of conditions stays for five clean minutes at least."""
    if config.mode != "practice" and config.conditions.clean_s < CLEAN_S_MIN:
        yield Problem(key="conditions.clean_s", value=str(config.conditions.clean_s),
                      limit=f"at least {CLEAN_S_MIN} in {config.mode}", reason="a venue that fails comes and goes")


def instruments(config: Config) -> Iterator[Problem]:
    """Known spelling, no doubles, quoted in the account currency."""
    names = config.instruments.names
    if not 1 <= len(names) <= instruments_max:
        yield Problem(key="instruments.names", value=str(len(names)), reason="wrong number of instruments",
                      limit=f"1 to {instruments_max}")
    seen: set[str] = set()
    for index, name in enumerate(names):
        key = f"instruments.names[{index}]"
        base, _, quote = name.partition("/")
        if name in seen:
            yield Problem(key=key, value=name, reason="is listed twice", limit="each instrument once", suggestion="remove one")
        seen.add(name)
        if base in _LEGACY_NAMES:
            yield Problem(key=key, value=name, reason="is the old name", limit="Kraken's names of today",
                          suggestion=f"write {_LEGACY_NAMES[base]}/{quote}")
        if base == quote:
            yield Problem(key=key, value=name, reason="is the account currency against itself", limit="another base",
                          suggestion="remove it")
        if quote != config.account.currency:
            yield Problem(key=key, value=name, limit=f".../{config.account.currency}",
                          reason="is not quoted in account.currency, and conversion between currencies is not built yet")


def adoption(config: Config) -> Iterator[Problem]:
    """What is adopted has an instrument that can sell it, and is named once."""
    asked, names = config.portfolio.adopt, config.instruments.names
    assets = list(dict.fromkeys(name.partition("/")[0] for name in names))
    seen: dict[str, str] = {}
    for index, entry in enumerate(asked if isinstance(asked, list) else ()):
        key, asset = f"portfolio.adopt[{index}]", entry.partition("/")[0]
        if asset == config.account.currency:
            yield Problem(key=key, value=entry, reason="is the account currency: cash is allocated by account.capital",
                          limit="a coin of instruments.names", suggestion="remove it")
        elif entry not in names and entry not in assets:
            now = _LEGACY_NAMES.get(asset, asset)
            near = difflib.get_close_matches(now, assets, n=1)
            yield Problem(key=key, value=entry, limit=", ".join(assets), suggestion=f"did you mean {near[0]}?" if near else
                          "add its instrument to instruments.names, or remove it",
                          reason="has no instrument in instruments.names: nothing could value it or sell it")
        elif asset in seen:
            yield Problem(key=key, value=entry, reason=f"is listed twice, as {seen[asset]} before", limit="each asset once",
                          suggestion="remove one")
        seen.setdefault(asset, entry)


def audits(config: Config) -> Iterator[Problem]:
    """One book is audited at a time, so the interval has room for all of them."""
    section = config.instruments
    least_s = AUDIT_S_MIN * len(section.names)
    if section.audit_interval_s < least_s:
        yield Problem(key="instruments.audit_interval_s", value=str(section.audit_interval_s), limit=f"at least {least_s}",
                      reason=f"is too short for {len(section.names)} books, one after the other")


def strategy(config: Config) -> Iterator[Problem]:
    """Rehearsal has no opinion about a market: it is for practice (and replay) alone, and fits into the limits."""
    rehearsal, own = config.strategy.rehearsal, config.strategy.own
    if config.strategy.name == "own" and own is None:
        yield Problem(key="strategy.own", reason="required key is missing: it has no default", limit="a folder, as dir",
                      suggestion="add [strategy.own] with the dir that `cstd strategy build` made")
    if config.strategy.name == "ladder":
        yield from _ladder(config)
        return  # `cstd live-check` stands in for the strategy of the other files, whose tables do not count
    if config.strategy.name != "own" and own is not None:
        yield Problem(key="strategy.own.dir", value=own.dir, limit='strategy.name = "own"', suggestion="remove the table",
                      reason=f"names a strategy, and strategy.name = {config.strategy.name!r} would be asked")
    if config.strategy.name == "ensemble":
        yield from _ensemble(config)
    if config.mode != "practice" and (config.strategy.name == "rehearsal" or rehearsal is not None):
        named = config.strategy.name == "rehearsal"
        yield Problem(key="strategy.name" if named else "strategy.rehearsal", value="rehearsal", limit="practice",
                      reason=f"the rehearsal strategy trades without an opinion; {config.mode} refuses to load it",
                      suggestion='name = "ensemble", or "own" (docs/strategies.md)' if named else "remove the table")
    elif config.strategy.name == "rehearsal" and rehearsal is None:
        yield Problem(key="strategy.rehearsal", reason="required key is missing: it has no default",
                      suggestion="add [strategy.rehearsal]")
    if rehearsal is None:
        return
    yield from _fits_gates(config, "rehearsal", ("size_frac", rehearsal.size_frac), rehearsal.lifetime_s)


def _ensemble(config: Config) -> Iterator[Problem]:
    """What is opened passes the gates at its largest, and is not left by the score that opened it."""
    found = config.strategy.ensemble
    if found is None:
        yield Problem(key="strategy.ensemble", reason="required key is missing: it has no default",
                      suggestion="add [strategy.ensemble]: docs/ensemble.md has it")
        return
    if found.probability_exit > found.probability_min:
        yield Problem(key="strategy.ensemble.probability_exit", value=str(found.probability_exit),
                      limit=f"at most {found.probability_min}",
                      reason="must not exceed probability_min: what opens would be left at once")
    if config.drift is None:
        yield Problem(key="drift", reason="required key is missing: it has no default",
                      suggestion="add [drift] with watch_size_frac: docs/drift.md has it")
    if found.members_min == 1:
        yield Problem(key="strategy.ensemble.members_min", value="1", limit="0 for all of them, or at least 2",
                      reason="one member is no ensemble")
    yield from _fits_gates(config, "ensemble", ("size_frac_max", found.size_frac_max), found.lifetime_s)


def _fits_gates(config: Config, name: str, size: tuple[str, Decimal], lifetime_s: Decimal) -> Iterator[Problem]:
    """What a strategy wishes for at its largest (key and share of equity) passes unreduced, for as long as it asks."""
    key, frac = size
    if frac * BPS_PER_UNIT > config.risk.position_bps_max:
        limit = Decimal(config.risk.position_bps_max) / BPS_PER_UNIT
        yield Problem(key=f"strategy.{name}.{key}", value=str(frac), limit=f"at most {limit:f}",
                      reason="must not exceed risk.position_bps_max: every intent would be reduced")
    if lifetime_s > config.policy.lifetime_s_max:
        yield Problem(key=f"strategy.{name}.lifetime_s", value=str(lifetime_s),
                      reason="must not exceed policy.lifetime_s_max: every intent would be refused",
                      limit=f"at most {config.policy.lifetime_s_max}")


def _ladder(config: Config) -> Iterator[Problem]:
    ladder = config.strategy.ladder
    if ladder is None:
        yield Problem(key="strategy.ladder", reason="required key is missing: it has no default",
                      suggestion="`cstd live-check` writes this table; a strategy of your own is in docs/strategies.md")
    elif ladder.instrument not in config.instruments.names:
        yield Problem(key="strategy.ladder.instrument", value=ladder.instrument, limit=", ".join(config.instruments.names),
                      reason="is not among instruments.names")


def slippage(config: Config) -> Iterator[Problem]:
    """The markout allowance leaves room for a cost inside the exit budget."""
    policy = config.policy
    if policy.markout_allowance_bps >= policy.exit_cost_bps_max:
        yield Problem(key="policy.markout_allowance_bps", value=str(policy.markout_allowance_bps),
                      reason="leaves nothing of exit_cost_bps_max", limit=f"less than {policy.exit_cost_bps_max}")


def churn(config: Config) -> Iterator[Problem]:
    """A fill inside the turnover limit must be possible at the largest position."""
    policy = config.policy
    if policy.turnover_equity_multiple_max * BPS_PER_UNIT < config.risk.position_bps_max:
        yield Problem(key="policy.turnover_equity_multiple_max", value=str(policy.turnover_equity_multiple_max),
                      reason="is below one largest position", limit=f"at least {config.risk.position_bps_max} bps of equity")


def journal(config: Config) -> Iterator[Problem]:
    """The ring wraps by a mask, and the lag that halts is longer than the interval that makes it."""
    section = config.journal
    if section.ring_bytes & (section.ring_bytes - 1):
        yield Problem(key="journal.ring_bytes", value=str(section.ring_bytes), reason="is no power of two",
                      limit="a power of two", suggestion=f"for example {1 << section.ring_bytes.bit_length() - 1}")
    if section.sync_lag_ms_max < section.sync_interval_ms * 2:
        yield Problem(key="journal.sync_lag_ms_max", value=str(section.sync_lag_ms_max),
                      reason="must be at least twice sync_interval_ms", limit=f"at least {section.sync_interval_ms * 2}")


def listeners(config: Config) -> Iterator[Problem]:
    """An address and a port that exist, none of them twice, the practice exchange's included."""
    seen: set[tuple[str, int]] = set()
    practice = config.practice
    names = practice.__struct_fields__ if practice is not None else ()
    taken = {port: f"practice.{name}" for name in names if (port := getattr(practice, name))}
    for index, address in enumerate([config.status.listen, *config.status.extra_listen]):
        key = "status.listen" if index == 0 else f"status.extra_listen[{index - 1}]"
        named, _, digits = address.rpartition(":")
        host, port = "127.0.0.1" if named == "localhost" else named.strip("[]"), int(digits)
        if port > 65_535:
            yield Problem(key=key, value=address, reason="there is no such port", limit="0 to 65535")
        if not _is_address(host):
            yield Problem(key=key, value=address, reason="there is no such address",
                          limit="127.0.0.1 to 127.255.255.254, or [::1]")
        if port and (host, port) in seen:
            yield Problem(key=key, value=address, reason="is listened on twice", limit="each address and port once",
                          suggestion="remove one")
        if host == "127.0.0.1" and port in taken:
            yield Problem(key=key, value=address, reason=f"is also {taken[port]}", limit="each address and port once",
                          suggestion="use 0 for any free one")
        seen.add((host, port))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def clock(config: Config) -> Iterator[Problem]:
    """An order's deadline is longer than the clocks may be apart, or it would be over before it began."""
    if config.risk.clock_offset_ms_max >= config.policy.deadline_ms:
        yield Problem(key="risk.clock_offset_ms_max", value=str(config.risk.clock_offset_ms_max),
                      reason="must be below policy.deadline_ms: a deadline would be over when the order comes",
                      limit=f"less than {config.policy.deadline_ms}")


def cpus(config: Config) -> Iterator[Problem]:
    """No CPU twice. Whether the host has them is asked where the daemon starts: a journal replays on any host."""
    listed = config.process.cpus
    for index, cpu in enumerate(listed):
        if cpu in listed[:index]:
            yield Problem(key=f"process.cpus[{index}]", value=str(cpu), reason="is listed twice", limit="each CPU once",
                          suggestion="remove one")


def practice_section(config: Config) -> Iterator[Problem]:
    """The practice exchange's ports mean nothing in paper and live: whoever wrote them expects otherwise."""
    if config.mode != "practice" and config.practice is not None:
        yield Problem(key="practice", reason=f"is for mode practice only; {config.mode} never talks to the practice exchange",
                      suggestion="remove [practice]")
    if config.practice is not None:
        ports = [port for port in (config.practice.rest_port, config.practice.ws_public_port,
                                   config.practice.ws_private_port, config.practice.ws_futures_port) if port]
        if len(set(ports)) != len(ports):
            yield Problem(key="practice", value=str(ports), reason="two servers cannot share a port", limit="each port once",
                          suggestion="use 0 for any free one")


def scorer(config: Config) -> Iterator[Problem]:
    """A scorer that runs has a model, and its scores live longer than the next ones take."""
    found = config.scorer
    if found is None:
        return
    if found.enabled and not found.name:
        yield Problem(key="scorer.name", reason="a scorer that is enabled needs the name of a model",
                      suggestion="cstd models list shows which there are")
    if found.age_s_max <= found.interval_s:
        yield Problem(key="scorer.age_s_max", value=str(found.age_s_max), reason="must be above interval_s",
                      limit=f"more than {found.interval_s}")


def simulated_venue(config: Config) -> Iterator[Problem]:
    """The simulated venue is paper's alone, and it can answer nothing from a market that has not been received yet."""
    venue = config.simulated_venue
    if venue is None:
        return
    if config.mode != "paper":
        yield Problem(key="simulated_venue", reason=f"is for mode paper only; the venue of {config.mode} is none of ours to set",
                      suggestion="remove [simulated_venue]")
    if venue.order_back_ns < venue.feed_ns:
        yield Problem(key="simulated_venue.order_back_ns", value=str(venue.order_back_ns), limit=f"at least {venue.feed_ns}",
                      reason="must not be below feed_ns: an answer would come before the market that it is made of")
    tiers = venue.fee_tiers
    if tiers and not (all(len(row) == 3 for row in tiers) and tiers[0][0] == 0 and tiers == sorted(tiers)
                      and all(bps <= BPS_PER_UNIT for _, *fees in tiers for bps in fees)):
        yield Problem(key="simulated_venue.fee_tiers", value=str(tiers), suggestion="[[0, 25, 40], [10000, 20, 35]]",
                      reason="must be rows of a volume and two fees in basis points, from volume 0 up")


def futures(config: Config) -> Iterator[Problem]:
    """A product is the perpetual of its instrument: the index of another would be a wrong price that looks right."""
    if config.futures is None:
        return
    if not config.futures.names:
        yield Problem(key="futures.names", reason="names no product", suggestion='write "BTC/USD" = "PF_XBTUSD", or no [futures]')
    for name, product in config.futures.names.items():
        base, _, quote = name.partition("/")
        pair = f"{FUTURES_BASES.get(base, base)}{quote}"
        if not (base and quote):
            yield Problem(key=f"futures.names.{name}", value=product, reason="belongs to no instrument",
                          limit="BASE/QUOTE such as BTC/USD")
        elif product[3:] != pair:
            yield Problem(key=f"futures.names.{name}", value=product, limit=f"PF_{pair} or PI_{pair}",
                          reason="is a product of another base or quote: its index is no price of this instrument")


def overrides(config: Config) -> Iterator[Problem]:
    """Limits of single instruments are none looser than the general ones, and contradict nothing."""
    yield from override_problems(config, (evidence, strategy, slippage, churn))


RULES: tuple[Rule, ...] = (levels, caps, correlation, loss_amount, evidence, collars, stops, absence, conditions, instruments,
                           adoption, audits, strategy, slippage, churn, journal, listeners, clock, cpus, practice_section, scorer,
                           simulated_venue, futures, overrides)


def cross_check(config: Config) -> list[Problem]:
    """Return every broken relation."""
    return [problem for rule in RULES for problem in rule(config)]
