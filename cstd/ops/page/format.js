// How numbers, money, durations and words are written on the page. Loaded before app.js.
"use strict";

/* exported decimals, grouped, money, trimmed, number, count, clock, duration, words, bps, percent */

function decimals(raw, precision) {
  // Exact below 2^53; a larger quantity (90 million at 8 decimals) would lose its last digits on the screen alone.
  const negative = raw < 0;
  const digits = String(Math.abs(raw)).padStart(precision + 1, "0");
  const whole = digits.slice(0, digits.length - precision).replace(/\B(?=(\d{3})+$)/g, "\u202f");
  return (negative ? "−" : "") + whole + (precision ? "." + digits.slice(-precision) : "");
}

function grouped(text) {
  if (text === null || text === undefined) return "–";
  const [whole, fraction] = String(text).split(".");
  return whole.replace("-", "−").replace(/\B(?=(\d{3})+$)/g, "\u202f") + (fraction === undefined ? "" : "." + fraction);
}

function money(text) {
  // Money is shown to the cent, amounts below one to a hundredth of that; the exact text is in the API.
  if (text === null || text === undefined) return "–";
  if (!/^-?\d+(\.\d+)?$/.test(text)) return grouped(text);
  const value = Number(text);
  return grouped(value !== 0 && Math.abs(value) < 1 ? value.toFixed(4).replace(/^-(0\.0+)$/, "$1") : value.toFixed(2));
}

function trimmed(text) {
  if (text === null || text === undefined) return "–";
  return grouped(String(text).includes(".") ? String(text).replace(/0+$/, "").replace(/\.$/, "") : text);
}

function number(value) {
  if (value === null || value === undefined || value === "") return "–";
  const parsed = Number(value);
  if (!Number.isFinite(parsed)) return String(value);
  if (Math.abs(parsed) >= 1e6) return `${Number((parsed / 1e6).toPrecision(4))} M`;
  if (Number.isInteger(parsed)) return grouped(parsed);
  const digits = Math.abs(parsed) >= 1000 ? 0 : Math.abs(parsed) >= 1 ? 2 : 4;
  return grouped(String(Number(parsed.toFixed(digits))));
}

function duration(ns) {
  if (ns === null || ns === undefined) return "–";
  if (ns < 1e3) return `${ns.toFixed(0)} ns`;
  if (ns < 1e6) return `${(ns / 1e3).toPrecision(3)} µs`;
  if (ns < 1e9) return `${(ns / 1e6).toPrecision(3)} ms`;
  if (ns < 120e9) return `${(ns / 1e9).toFixed(1)} s`;
  return ns < 7200e9 ? `${(ns / 60e9).toFixed(0)} min` : `${(ns / 3600e9).toFixed(1)} h`;
}

function count(value) {
  return value === null || value === undefined ? "–" : grouped(value);
}

function bps(text) {
  return text === null || text === undefined ? "–" : grouped(Number(text).toFixed(2).replace(/^-(0\.00)$/, "$1"));
}

function percent(text) {
  return text === null || text === undefined ? "–" : `${(Number(text) * 100).toFixed(1)} %`;
}

function clock(ns) {
  return ns ? new Date(ns / 1e6).toISOString().slice(11, 19) : "–";
}

const words = (text) => String(text ?? "–").replaceAll("_", " ");
