// Panels of what is true beside the trading: limits that are not the configuration's, and alerts that fire.
"use strict";

/* global setText, byId, paintTable, number, clock, words, money, grouped: app.js, format.js */
/* exported paintLimits, paintAlerts, paintOpportunities */

const LIMIT_SOURCES = { operator: "a command", reload: "a reload", override: "the instrument's own", rules: "the venue's rules" };
const ALERT_STATES = {
  none: ["not asked", "quiet"], unknown: ["unknown", "bad"], unwatched: ["unwatched", "bad"],
};

function paintLimits(limits) {
  const changed = limits.filter((row) => row.source === "operator" || row.source === "reload" || row.instrument);
  setText("limits-count", `${changed.length} of ${limits.length} differ from the configuration in general`);
  paintTable("limits", [
    ["Limit", (l) => words(l.name)], ["Instrument", (l) => l.instrument ?? "all"], ["Holds", (l) => `${number(l.value)} ${l.unit}`, "num"],
    ["Configured", (l) => number(l.configured), "num"], ["By", (l) => LIMIT_SOURCES[l.source] ?? l.source],
    ["Since", (l) => (l.set_wall_ns ? clock(l.set_wall_ns) : "–"), "num"], ["Why", (l) => l.reason ?? "–"],
  ], changed, "Every limit is the configuration's.");
}

function paintAlerts(seen) {
  const firing = seen.alerts.filter((alert) => !alert.acknowledged_by);
  const worst = firing.some((alert) => alert.severity === "critical") ? "bad" : "warn";
  const [text, className] = ALERT_STATES[seen.state] ?? (firing.length ? [`${firing.length} firing`, worst] : ["none", "good"]);
  setText("alerts-state", text, className);
  byId("alerts-state").title = seen.reason ?? "";
  setText("alerts-count", seen.answered_wall_ns ? `as of ${clock(seen.answered_wall_ns)}` : "");
  const said = seen.state === "known" ? "Nothing fires." : seen.reason ?? "";
  setText("alerts-reason", seen.state === "known" || !seen.alerts.length ? "" : seen.reason ?? "");
  paintTable("alerts", [
    ["Alert", (a) => a.alert], ["Severity", (a) => a.severity || "–", (a) => (a.severity === "critical" ? "bad" : "warn")],
    ["Since", (a) => a.since.replace("T", " ").slice(0, 19)], ["In hand", (a) => a.acknowledged_by ?? "nobody", (a) => (a.acknowledged_by ? "good" : "warn")],
    ["What", (a) => a.summary], ["Runbook", (a) => a.runbook || "–"],
  ], seen.alerts, said);
}

const STANDING_CLASSES = { tradable: "good", refused: "warn", abstains: "quiet", no_score: "quiet" };

function netReturn(text) {
  return text === null ? "–" : `${grouped((Number(text) * 100).toFixed(2))} %`;
}

/* No figure without its interval: what a model says of a return is no promise. */
function paintOpportunities(rows) {
  const wanted = byId("filter-horizon").value || (rows.find((row) => row.strategy_horizon) ?? { horizon: "4h" }).horizon;
  const shown = rows.filter((row) => row.horizon === wanted);
  const scored = shown.filter((row) => row.expected !== null).length;
  setText("opportunities-count", `net return over ${wanted}: ${scored ? `${scored} with a score; expected is the middle of the interval, nothing is promised` : "no score that may be used"}`);
  paintTable("opportunities", [
    ["Instrument", (o) => o.instrument], ["Standing", (o) => words(o.standing), (o) => STANDING_CLASSES[o.standing] ?? "quiet"],
    ["Expected", (o) => netReturn(o.expected), "num"],
    ["90 % interval", (o) => (o.expected === null ? "–" : `${netReturn(o.lower)} to ${netReturn(o.upper)}`), "num"],
    ["Probability", (o) => number(o.probability), "num"], ["Risk", (o) => o.risk ?? "not known"],
    ["Up to", (o) => (o.standing === "tradable" ? `${money(o.up_to)} ${o.currency}` : "–"), "num"],
    ["Refused by", (o) => words(o.refused_by)], ["Why", (o) => o.reasons.join("; ")],
  ], shown, "No instrument.");
}
