// Panels of what is true beside the trading: limits that are not the configuration's, and alerts that fire.
"use strict";

/* global setText, byId, paintTable, number, clock, words: app.js, format.js */
/* exported paintLimits, paintAlerts */

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
