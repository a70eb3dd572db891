// The live page. Data come over one websocket as the regions of the board that changed; nothing is ever sent back by it. One
// decision that is looked for by its id is asked for over HTTP; answers to what waits for an operator are sent by approvals.js.
// Text from the daemon only ever becomes text nodes, so no value can become markup.
"use strict";

/* global decimals, grouped, money, trimmed, number, count, clock, duration, words, bps, percent: format.js */
/* global paintLimits, paintAlerts: panels.js */
/* global paintApprovals: approvals.js */

const regions = {};
const dirty = new Set();
const equityLine = [];
const midLines = {};
const LINE_POINTS = 480;          // two minutes at four points a second
const RETRY_MS_MAX = 5000;
let chosen = null;                // key of the decision on display; null follows the newest
let held = null;                  // the list as it was when it was put on hold
let found = null;                 // what was looked for by its id: a decision, or why there is none; null shows the chosen one
let retryMs = 500;
let lastMessageMs = 0;
let board = { stale: true, age_ms: 0 };

const byId = (id) => document.getElementById(id);

function el(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined && text !== null) node.textContent = text;
  return node;
}

function setText(id, text, className) {
  const node = byId(id);
  if (node.textContent !== text) node.textContent = text;
  if (className !== undefined && node.className !== className) node.className = className;
}

function unitOf(gate) {
  // The gates' own table says "money" where an explained decision names the account currency.
  return gate.unit === "money" ? regions.equity?.currency ?? "" : gate.unit;
}

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// Connection -----------------------------------------------------------------------------------------------------

function connect() {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
  socket.addEventListener("open", () => { retryMs = 500; });
  socket.addEventListener("message", (event) => {
    const message = JSON.parse(event.data);
    board = message;
    lastMessageMs = performance.now();
    for (const [name, value] of Object.entries(message.regions)) {
      regions[name] = value;
      dirty.add(name);
    }
    remember();
    requestAnimationFrame(render);
  });
  socket.addEventListener("close", () => {
    lastMessageMs = 0;
    showBanner();
    setTimeout(connect, retryMs);
    retryMs = Math.min(retryMs * 2, RETRY_MS_MAX);
  });
}

function remember() {
  if (regions.equity && !board.stale) push(equityLine, Number(regions.equity.equity));
  for (const book of board.stale ? [] : regions.books ?? []) {
    if (book.bids.length && book.asks.length) {
      midLines[book.name] ??= [];
      push(midLines[book.name], (book.bids[0][0] + book.asks[0][0]) / 2);
    }
  }
}

function push(line, value) {
  line.push(value);
  if (line.length > LINE_POINTS) line.shift();
}

function showBanner() {
  const banner = byId("banner");
  const silent = !lastMessageMs || performance.now() - lastMessageMs > 3000;
  let text = "";
  if (silent) text = "Connection lost. What you see is old; trying again.";
  else if (board.stale) text = `The trading process has not published for ${duration(board.age_ms * 1e6)}. What you see is old.`;
  if (banner.textContent !== text) banner.textContent = text;
  banner.hidden = !text;
}

// Sections -------------------------------------------------------------------------------------------------------

const PAINTERS = {
  status: paintStatus, equity: paintEquity, latency: paintLatency, books: paintBooks, decisions: paintDecisions,
  positions: paintPositions, orders: paintOrders, fills: paintFills, gates: paintGates, instruments: paintQuality,
  execution: paintExecution, performance: () => paintEquity(regions.equity ?? {}), limits: paintLimits, alerts: paintAlerts, approvals: () => paintApprovals(),
  opportunities: paintOpportunities,
};

function render() {
  showBanner();
  for (const name of [...dirty]) {
    dirty.delete(name);
    PAINTERS[name]?.(regions[name]);
  }
}

function paintStatus(status) {
  if (!status.mode) return;
  setText("mode", status.mode.toUpperCase(), `badge mode ${status.mode}`);
  setText("strategy", status.strategy + (status.shadow ? " · shadow: decides, does not send" : ""));
  document.title = `${status.mode === "practice" ? "PRACTICE · " : ""}${status.state} · cstd`;
  const stateClass = status.ready ? "good" : ["halted", "killed"].includes(status.state) ? "bad" : "warn";
  setText("state", status.state, stateClass);
  byId("state").title = status.state_reason ?? "";
  setText("kill", status.kill ? `latched${status.kill_reason ? `: ${status.kill_reason}` : ""}` : "off", status.kill ? "bad" : "good");
  byId("level").title = status.level_reason ?? "";
  const asking = Object.entries(status.conditions ?? {}).filter(([, condition]) => condition.asks).map(([name]) => words(name));
  setText("level", status.level + (asking.length ? `: ${asking.join(", ")}` : ""), status.level === "normal" ? "good" : status.level === "warning" ? "warn" : "bad");
  for (const name of ["public", "private"]) {
    const link = status.links[name];
    if (!link) setText(`link-${name}`, "none", "quiet");
    else setText(`link-${name}`, link.up ? `up · ${duration(link.age_ns)}` : "down", link.up ? "good" : "bad");
  }
  const deadman = status.deadman;
  setText("deadman", deadman.armed ? `armed · ${number(deadman.remaining_s?.toFixed(0))} s` : "not armed", deadman.armed ? "good" : "quiet");
  const journal = status.journal;
  setText("journal", journal.error ?? `${count(journal.seq)} · ${duration(journal.lag_ms * 1e6)} behind`, journal.error ? "bad" : "");
  setText("digest", status.digest || "–");
  setText("uptime", `up ${duration(status.uptime_s * 1e9)} · event ${count(status.event_seq)}`);
  setText("versions", ` · cstd ${status.version} · configuration ${status.config_hash.slice(0, 12)}`);
}

function paintEquity(equity) {
  if (!equity.currency) return;
  setText("equity", money(equity.equity));
  setText("currency", equity.currency);
  const facts = [
    ["Realized", money(equity.realized_pnl)], ["Unrealized", money(equity.unrealized_pnl)], ["Fees", money(equity.fees)],
    ["Exposure", money(equity.exposure)], ["Day loss", `${number(equity.day_loss_bps)} bps`],
    ["Drawdown", `${number(equity.drawdown_bps)} bps`], ["Cash", money(equity.cash)], ["Peak", money(equity.peak)],
    ["Turnover today", money(equity.turnover_day)], ["Adopted", money(equity.adopted)],
    ["Value of a unit", unitValue(regions.performance?.performance)],
  ];
  byId("money-facts").replaceChildren(...facts.map(fact));
  drawLine(byId("equity-line"), equityLine, css("--accent"));
  byId("equity-line").setAttribute("aria-label", `Equity since this page was opened, now ${equity.equity} ${equity.currency}`);
}

// The account's, deposits and withdrawals left out, with what a unit gained between two looks about a day apart, or since the first.
function unitValue(change) {
  if (!change?.nav_per_unit) return "–";
  const span = change.to_wall_ns - change.from_wall_ns;
  if (change.return_bps === null || span === 0) return trimmed(change.nav_per_unit);
  return `${trimmed(change.nav_per_unit)} · ${number(change.return_bps)} bps in ${duration(span)}`;
}

function fact([name, value]) {
  const row = el("div");
  row.append(el("dt", "", name), el("dd", "", value));
  return row;
}

function fit(canvas) {
  // Backing pixels follow the layout and the screen, so that lines stay sharp.
  const ratio = devicePixelRatio || 1;
  const { width, height } = canvas.getBoundingClientRect();
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const draw = canvas.getContext("2d");
  draw.setTransform(ratio, 0, 0, ratio, 0, 0);
  draw.clearRect(0, 0, width, height);
  return { draw, width, height };
}

function drawLine(canvas, line, colour) {
  const { draw, width, height } = fit(canvas);
  if (line.length < 2) return;
  const low = Math.min(...line), high = Math.max(...line), span = high - low || 1;
  const x = (i) => 2 + (i / (line.length - 1)) * (width - 4);
  const y = (value) => height - 4 - ((value - low) / span) * (height - 8);
  draw.beginPath();
  line.forEach((value, i) => (i ? draw.lineTo(x(i), y(value)) : draw.moveTo(x(i), y(value))));
  draw.strokeStyle = colour;
  draw.lineWidth = 1.6;
  draw.lineJoin = "round";
  draw.stroke();
  draw.lineTo(x(line.length - 1), height);
  draw.lineTo(x(0), height);
  draw.globalAlpha = 0.1;
  draw.fillStyle = colour;
  draw.fill();
  draw.globalAlpha = 1;
}

const STAGE_NAMES = {
  frame: "frame applied", decision: "frame → pass", order: "frame → order", send: "order → socket", scan: "scan",
  book: "book + checksum", features: "features", gates: "15 gates",
};

function paintLatency(latency) {
  const stages = Object.entries(latency).filter(([, stage]) => stage.n > 0);
  const canvas = byId("latency-chart");
  canvas.style.height = `${Math.max(80, stages.length * 30 + 26)}px`;
  const { draw, width, height } = fit(canvas);
  const spoken = stages.map(([name, s]) => `${STAGE_NAMES[name] ?? words(name)}: p50 ${duration(s.p50_ns)}, p99 ${duration(s.p99_ns)}, p99.9 ${duration(s.p999_ns)}, ${s.n} times`).join("; ");
  setText("latency-text", spoken);
  canvas.setAttribute("aria-label", `Latency by stage. ${spoken}`);
  draw.font = `12.5px ${css("--mono")}`;
  draw.textBaseline = "middle";
  if (!stages.length) {
    draw.fillStyle = css("--quiet");
    draw.fillText("no observations yet", 4, height / 2);
    return;
  }
  const labelWidth = width < 420 ? 118 : 132, textWidth = width < 420 ? 62 : 186;
  const axisLow = Math.log10(Math.max(10, Math.min(...stages.map(([, s]) => s.p50_ns)) / 3));
  const axisHigh = Math.log10(Math.max(...stages.map(([, s]) => s.p999_ns)) * 1.3);
  const x = (ns) => labelWidth + ((Math.log10(Math.max(ns, 1)) - axisLow) / (axisHigh - axisLow)) * (width - labelWidth - textWidth);
  drawDecades(draw, x, Math.ceil(axisLow), Math.floor(axisHigh), height);
  stages.forEach(([name, stage], i) => {
    const top = i * 30 + 5;
    draw.fillStyle = css("--text");
    draw.fillText(STAGE_NAMES[name] ?? words(name), 0, top + 10);
    for (const [key, colour] of [["p999_ns", "--p999"], ["p99_ns", "--p99"], ["p50_ns", "--p50"]]) {
      draw.fillStyle = css(colour);
      draw.beginPath();
      draw.roundRect(labelWidth, top + 2, Math.max(3, x(stage[key]) - labelWidth), 16, 4);
      draw.fill();
    }
    draw.fillStyle = css("--quiet");
    const both = width < 420 ? duration(stage.p50_ns) : `${duration(stage.p50_ns)} · ${duration(stage.p99_ns)}`;
    draw.fillText(both, width - textWidth + 10, top + 10);
  });
}

function drawDecades(draw, x, low, high, height) {
  draw.strokeStyle = css("--line");
  draw.fillStyle = css("--quiet");
  draw.lineWidth = 1;
  let written = -Infinity; // where the last text ended: one that would touch it is left out
  for (let decade = low; decade <= high; decade += 1) {
    const at = Math.round(x(10 ** decade)) + 0.5;
    draw.beginPath();
    draw.moveTo(at, 0);
    draw.lineTo(at, height - 20);
    draw.stroke();
    const text = duration(10 ** decade).replace(/\.0+ /, " ");
    if (at - 12 < written + 6) continue;
    draw.fillText(text, at - 12, height - 9);
    written = at - 12 + draw.measureText(text).width;
  }
}

// Books ----------------------------------------------------------------------------------------------------------

function paintBooks(books) {
  const root = byId("books");
  if (!books.length) return root.replaceChildren(el("p", "empty", "No book yet."));
  const quality = Object.fromEntries((regions.instruments ?? []).map((row) => [row.name, row]));
  const names = books.map((book) => book.name).join("|");
  if (root.dataset.names !== names) {
    root.dataset.names = names;
    root.replaceChildren(...books.map(newBook));
    fillInstrumentFilter(books);
  }
  books.forEach((book, i) => paintBook(root.children[i], book, quality[book.name]));
}

function newBook(book) {
  const card = el("article", "book");
  card.setAttribute("aria-label", `Book of ${book.name}`);
  const head = el("div", "book-head");
  head.append(el("h3", "", book.name), el("span", "quality quiet"), el("span", "num touch"));
  const line = el("canvas", "spark mids");
  line.setAttribute("role", "img");
  const ladder = el("div", "ladder");
  for (const side of ["bids", "asks"]) {
    const table = el("table", side);
    table.append(el("caption", "", side === "bids" ? "Bids" : "Asks"), el("tbody"));
    ladder.append(table);
  }
  card.append(head, line, ladder);
  return card;
}

function paintBook(card, book, quality) {
  const [bid, ask] = [book.bids[0], book.asks[0]];
  const state = card.querySelector(".quality");
  state.textContent = book.verified ? "verified" : `not verified${quality?.fault ? `: ${words(quality.fault)}` : ""}`;
  state.className = `quality quiet ${book.verified ? "good" : "bad"}`;
  const spread = bid && ask ? (20000 * (ask[0] - bid[0])) / (ask[0] + bid[0]) : null;
  card.querySelector(".touch").textContent = bid && ask
    ? `${decimals(bid[0], book.price_precision)} / ${decimals(ask[0], book.price_precision)} · ${spread.toFixed(2)} bps` : "one side is empty";
  const line = card.querySelector(".mids");
  drawLine(line, midLines[book.name] ?? [], css("--quiet"));
  line.setAttribute("aria-label", `Mid of ${book.name} since this page was opened`);
  const most = Math.max(1, ...book.bids.map((l) => l[1]), ...book.asks.map((l) => l[1]));
  for (const side of ["bids", "asks"]) paintSide(card.querySelector(`.${side} tbody`), book[side], book, most);
}

function paintSide(body, levels, book, most) {
  while (body.children.length > levels.length) body.lastChild.remove();
  while (body.children.length < levels.length) body.append(newLevel());
  levels.forEach(([price, qty, own], i) => {
    const row = body.children[i];
    const [priceText, qtyText] = row.querySelectorAll(".text");
    priceText.textContent = decimals(price, book.price_precision);
    qtyText.textContent = shortQuantity(qty, book.qty_precision);
    row.className = own > 0 ? "level own" : "level";
    row.title = own > 0 ? `ours: ${decimals(own, book.qty_precision)}` : "";
    row.querySelector(".bar").style.width = `${((100 * qty) / most).toFixed(1)}%`;
  });
}

function newLevel() {
  const row = el("tr", "level");
  const price = el("td"), qty = el("td");
  price.append(el("span", "text"));
  qty.append(el("i", "bar"), el("span", "text"));
  row.append(price, qty);
  return row;
}

function shortQuantity(raw, precision) {
  const value = raw / 10 ** precision;
  return grouped(value >= 1000 ? value.toFixed(1) : value >= 1 ? value.toFixed(3) : value.toFixed(5));
}

// Decisions ------------------------------------------------------------------------------------------------------

const keyOf = (decision) => `${decision.event_seq ?? ""}/${decision.intent_seq ?? ""}/${decision.decided_wall_ns ?? ""}`;

function fillInstrumentFilter(books) {
  const select = byId("filter-instrument");
  const current = select.value;
  select.replaceChildren(new Option("all", ""), ...books.map((book) => new Option(book.name, book.name)));
  select.value = current;
}

function shownDecisions() {
  const verdict = byId("filter-verdict").value, instrument = byId("filter-instrument").value;
  return (held ?? regions.decisions ?? []).filter((row) =>
    (!verdict || row.verdict === verdict) && (!instrument || row.instrument === instrument));
}

function paintDecisions() {
  const rows = shownDecisions();
  const list = byId("decision-list");
  const atTop = list.scrollTop < 4;
  const shown = found ? keyOf(found) : chosen;
  const selected = rows.find((row) => keyOf(row) === shown) ?? (found ? undefined : rows[0]);
  reconcile(list, rows);
  for (const node of list.children) {
    if (node.dataset.key) node.setAttribute("aria-selected", String(selected !== undefined && node.dataset.key === keyOf(selected)));
  }
  if (atTop && chosen === null) list.scrollTop = 0;
  if (selected) list.setAttribute("aria-activedescendant", `decision-${keyOf(selected)}`);
  else list.removeAttribute("aria-activedescendant");
  if (found?.message) byId("waterfall").replaceChildren(el("p", "empty", found.message));
  else paintWaterfall(found ?? selected);
}

/* Show the decision of an intent or an order, of the newest or of the ledger, until another is chosen or the field is emptied. */
async function find(id) {
  byId("find").value = id;
  let answer = null;
  if (id) {
    try {
      answer = await (await fetch(`/api/v1/decisions/${encodeURIComponent(id)}`)).json();
    } catch {
      answer = { message: "The status port does not answer." };
    }
  }
  if (byId("find").value.trim() !== id) return; // another was asked for meanwhile
  found = answer;
  paintDecisions();
}

function forgetFound() {
  found = null;
  byId("find").value = "";
}

function reconcile(list, rows) {
  // Rows keep their nodes: a click that begins on one and ends after an update must still find it.
  const wanted = new Set(rows.map(keyOf));
  const present = new Map();
  for (const node of [...list.children]) {
    if (wanted.has(node.dataset.key)) present.set(node.dataset.key, node);
    else node.remove();
  }
  rows.forEach((row, i) => {
    const node = present.get(keyOf(row)) ?? decisionRow(row);
    if (list.children[i] !== node) list.insertBefore(node, list.children[i] ?? null);
  });
  if (!rows.length) list.replaceChildren(el("p", "empty", "No decision yet that matches."));
}

function decisionRow(decision) {
  const row = el("div", "decision");
  row.id = `decision-${keyOf(decision)}`;
  row.dataset.key = keyOf(decision);
  row.setAttribute("role", "option");
  const what = el("span", "what");
  what.append(el("span", decision.side === "sell" ? "sell" : "buy", decision.side), ` ${decision.instrument}`);
  const first = firstFailing(decision);
  const detail = `${words(decision.kind)} · ${trimmed(decision.verdict === "refuse" ? decision.qty_requested : decision.qty_final)} @ ${grouped(decision.price)}${first ? ` · first failing: ${words(first.name)}` : ""}`;
  row.append(el("span", `tag ${decision.verdict}`, decision.verdict), what, el("span", "when num", clock(decision.decided_wall_ns)), el("span", "detail", detail));
  return row;
}

function firstFailing(decision) {
  const first = decision.first_failing;
  if (!first) return null;
  return (decision.gates ?? []).find((gate) => gate.name === first || gate.code === first) ?? { name: first };
}

function moveChoice(step) {
  const rows = shownDecisions();
  if (!rows.length) return;
  const at = Math.max(0, rows.findIndex((row) => keyOf(row) === chosen));
  chosen = keyOf(rows[Math.max(0, Math.min(rows.length - 1, at + step))]);
  forgetFound();
  paintDecisions();
  byId("decision-list").querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
}

function paintWaterfall(decision) {
  const root = byId("waterfall");
  if (!decision) return root.replaceChildren(el("p", "empty", "The gates of the chosen decision appear here."));
  const summary = el("dl", "summary");
  const facts = [
    ["Outcome", outcome(decision)], ["Intent", `${count(decision.intent_seq)} · episode ${count(decision.episode)}`], ["Client order id", decision.cl_ord_id || "–"], ["Limit price", grouped(decision.price)],
    ["Bid / ask", `${grouped(decision.bid)} / ${grouped(decision.ask)}`], ["Wanted", trimmed(decision.qty_requested)],
    ["Allowed", trimmed(decision.qty_final)], ["Would have passed", trimmed(decision.counterfactual_qty)],
    ["Notional", `${money(decision.notional)} ${decision.currency ?? ""}`],
    ["Level", `${words(decision.level)}${decision.shadow ? " · shadow" : ""}${decision.rejudged ? " · re-judged" : ""}`],
  ];
  summary.append(...[...facts, ...wayFacts(decision), ...signalFacts(decision.signal)].map(fact));
  const table = el("table", "gate-table");
  const head = el("tr");
  for (const [text, cls] of [["Gate", "c-gate"], ["Value", "r"], ["Limit", "r c-limit"], ["Limit used", "c-use"], ["Margin", "r c-margin"], ["Result", "c-result"]]) {
    const cell = el("th", cls, text);
    cell.scope = "col";
    head.append(cell);
  }
  const body = el("tbody");
  let group = null;
  for (const gate of decision.gates ?? []) {
    if (gate.group && gate.group !== group) {
      group = gate.group;
      const row = el("tr", "group"), cell = el("td", "", group === "policy" ? "Execution policy" : "Risk guard");
      cell.colSpan = 6;
      row.append(cell);
      body.append(row);
    }
    body.append(gateRow(gate, firstFailing(decision)?.name === gate.name, gate.name === "correlation" ? decision.cluster : null));
  }
  const thead = el("thead");
  thead.append(head);
  table.append(thead, body);
  root.replaceChildren(summary, table);
}

// As `cstd why` says it: why an exit goes, which way the order takes, and where its price is from.
const EXIT_TEXTS = {
  stop: "stop: the verified mid reached it", target: "target: the best bid reached it", time: "time: held for exits.horizon_s",
  flip: "flip: the strategy wants to be flat", flatten: "flatten: an operator's", escalation: "escalation: the level is Emergency or above",
  quote: "quote: the strategy rests it at a price of its own",
};

function wayFacts(decision) {
  const facts = [["Route", decision.route === "rest" ? "REST: the private socket stays down" : "websocket"]];
  if (decision.kind === "exit") facts.push(["Exit by", EXIT_TEXTS[decision.exit_reason] ?? words(decision.exit_reason)]);
  if (decision.price_from === "rest_snapshot") facts.push(["Price from", "a REST snapshot: the book cannot be used"]);
  return facts;
}

function signalFacts(signal) {
  // The score that a decision of the ensemble was made under: members, probability, interval, and each step of the size.
  if (!signal) return [];
  const votes = (signal.votes ?? []).map((vote) => `${vote.member} ${vote.probability}`).join(", ") || "not told";
  const steps = (signal.steps ?? []).map((step) => `${words(step.step)} ${step.share}`).join(" → ");
  return [
    ["Model", `${String(signal.card_sha256).slice(0, 8)} · ${signal.model_state || "state not told"} · ${signal.model_verdict || "verdict not told"}`],
    ["Members", `${votes} · ${count(signal.members)} of ${count(signal.members_registered)} ready, ${count(signal.members_needed)} needed`],
    ["Probability", `${signal.probability} · ${signal.score} before calibration (${signal.calibration || "not told"}) · opens from ${signal.probability_min}`],
    ["Weight by age", `${signal.weight} · faded to ${signal.probability_faded} · left below ${signal.probability_exit}`],
    ...(signal.drift ? [["Drift", `${signal.drift.state} · ${signal.drift.feature || "no feature"}: PSI ${signal.drift.psi}, ${signal.drift.beyond} beyond training's own · KS ${signal.drift.ks} · ${count(signal.drift.rows)} rows${signal.shadow ? " · decided, not sent" : ""}`]] : []),
    ["90 % interval", `${signal.lower} to ${signal.upper} of net return`],
    ["Size", steps ? `${steps}; then level and caps by the gates` : `none: ${words(signal.reason)}`],
  ];
}

function outcome(decision) {
  if (decision.approval === "waits") return "passed the gates, waits for an operator";
  if (decision.approval === "no_room") return "passed the gates, no room to wait for an operator";
  if (decision.verdict === "approve") return decision.approval ? "approved, by an operator too" : "approved";
  if (decision.verdict === "reduce") return `reduced by ${words(decision.reduced_by)}`;
  return `refused: ${words(decision.verdict_reason)}`;
}

function gateRow(gate, first, cluster) {
  const row = el("tr", first ? "first-failing" : "");
  const name = el("td", "c-gate", words(gate.name));
  if (cluster?.length) name.append(el("div", "would cluster", `together with it: ${cluster.join(", ")}`));
  if (!gate.passed && gate.would_pass) name.append(el("div", "would", `passes: ${gate.would_pass}`));
  const used = limitUsed(gate);
  const use = el("td", "c-use");
  if (used !== null) {
    const bar = el("div", `use${gate.passed ? "" : gate.recorded ? " noted" : " over"}`), fill = el("i");
    fill.style.width = `${Math.max(1.5, Math.min(100, used * 100)).toFixed(1)}%`;
    bar.append(fill);
    bar.title = `${(used * 100).toFixed(0)} % of the limit`;
    use.append(bar);
  }
  const noted = !gate.passed && gate.recorded;
  const result = el("td", `c-result ${gate.passed ? "good" : noted ? "warn" : "bad"}`, gate.passed ? "✓ pass" : noted ? "● noted" : "✕ fail");
  if (gate.reason && !gate.passed) result.title = words(gate.reason);
  const unit = gate.unit ? ` ${gate.unit}` : "";
  const sign = gate.limit === null || gate.bound === "switch" ? "" : gate.bound === "min" ? "≥ " : gate.strict ? "< " : "≤ ";
  row.append(name, el("td", "num r", number(gate.value)), el("td", "num r", sign + number(gate.limit) + unit), use, el("td", "num r c-margin", number(gate.margin)), result);
  return row;
}

function limitUsed(gate) {
  // The share of the limit that is taken; for a floor it is the floor's share of the value. A switch has none.
  const value = Number(gate.value), limit = Number(gate.limit);
  if (!Number.isFinite(value) || !Number.isFinite(limit) || limit === 0) return null;
  if (gate.value === null || gate.limit === null || gate.bound === "switch") return null;
  const floor = gate.bound === "min";
  return Math.max(0, floor ? limit / (value || limit / 10) : value / limit);
}

// Tables ---------------------------------------------------------------------------------------------------------

function paintTable(id, columns, rows, emptyText) {
  const table = byId(id);
  if (!rows.length) return table.replaceChildren(row("td", [[emptyText, "empty"]]));
  const head = el("thead"), body = el("tbody");
  head.append(row("th", columns.map(([name, , cls]) => [name, cls === "num" ? "num" : ""])));
  body.append(...rows.map((data) => row("td", columns.map(([, read, cls]) => [read(data), typeof cls === "function" ? cls(data) : cls]))));
  table.replaceChildren(head, body);
}

function row(tag, cells) {
  const tr = el("tr");
  for (const [text, cls] of cells) {
    const cell = el(tag, cls, text);
    if (tag === "th") cell.scope = "col";
    tr.append(cell);
  }
  return tr;
}

const sideClass = (data) => data.side;

/* The stop, and how far the mid is from it. */
function stopText(position) {
  if (position.stop_price === null) return "";
  const distance = position.stop_distance_bps;
  return grouped(position.stop_price) + (distance === null ? "" : ` (${distance.toFixed(0)} bps)`);
}

function paintPositions(positions) {
  const held = positions.filter((position) => Number(position.qty) !== 0).length;
  setText("positions-count", held ? `${held} open` : "");
  paintTable("positions", [
    ["Instrument", (p) => p.instrument], ["Quantity", (p) => trimmed(p.qty), "num"], ["Entry", (p) => grouped(p.entry_price), "num"],
    ["Mark", (p) => grouped(p.mark_price), "num"], ["Value", (p) => money(p.value), "num"], ["Unrealized", (p) => money(p.unrealized_pnl), "num"],
    ["Realized", (p) => money(p.realized_pnl), "num"], ["Stop", stopText, "num"], ["Leaving", (p) => p.exit_reason || ""], ["Your own", (p) => trimmed(p.user_qty), "num"],
  ], positions, "No managed position.");
}

const CLOSED = new Set(["filled", "canceled", "rejected", "expired", "free"]);

function paintOrders(orders) {
  const open = orders.filter((order) => !CLOSED.has(order.state));
  setText("orders-count", open.length ? `${open.length} working` : "");
  paintTable("orders", [
    ["Sent", (o) => clock(o.sent_wall_ns), "num"], ["Instrument", (o) => o.symbol], ["Side", (o) => o.side, sideClass],
    ["State", (o) => words(o.state)], ["Limit", (o) => grouped(o.limit_price), "num"], ["Filled", (o) => `${trimmed(o.filled_qty)} / ${trimmed(o.order_qty)}`, "num"],
    ["Id", (o) => o.cl_ord_id, "order-id"],
  ], open, "No open order.");
}

function paintFills(fills) {
  setText("fills-count", fills.length ? `newest ${fills.length}` : "");
  paintTable("fills", [
    ["Time", (f) => clock(f.wall_ns), "num"], ["Instrument", (f) => f.symbol], ["Side", (f) => f.side, sideClass], ["Quantity", (f) => trimmed(f.qty), "num"],
    ["Price", (f) => grouped(f.price), "num"], ["Fee", (f) => `${trimmed(f.fee)} ${f.fee_asset}`, "num"], ["As", (f) => f.liquidity ?? "–"],
    ["Slippage", (f) => (f.slippage_bps === null || f.slippage_bps === undefined ? "–" : `${number(f.slippage_bps)} bps`), "num"],
  ], fills, "No fill yet.");
}

function paintExecution(seen) {
  const quality = seen.quality;
  setText("execution-count", quality ? `${quality.cut ? "newest " : ""}${quality.orders} orders, ${quality.fills} fills · bps, + is cost` : "");
  const figures = quality ? [
    ["Price against arrival", quality.price], ["Fees", quality.fees], ["Shortfall", quality.shortfall],
    ...quality.markouts.map((markout) => [`Markout after ${markout.horizon_s} s`, markout]), ["Score", quality.score],
  ] : [];
  paintTable("execution-figures", [
    ["Cost", ([name]) => name], ["Mean", ([, f]) => bps(f.mean_bps), "num"], ["Median", ([, f]) => bps(f.p50_bps), "num"],
    ["95 %", ([, f]) => bps(f.p95_bps), "num"], ["Of", ([, f]) => count(f.n), "num"], ["Unknown", ([, f]) => unknownOf(f), "num"],
  ], figures, seen.reason ?? "");
  paintTable("execution-queue", [
    ["Ahead, in own quantities", (q) => q.ahead], ["Rested", (q) => count(q.orders), "num"], ["Filled", (q) => count(q.filled), "num"],
    ["Share", (q) => percent(q.share), "num"], ["95 % interval", (q) => (q.low === null ? "–" : `${percent(q.low)} to ${percent(q.high)}`), "num"],
  ], quality?.queue ?? [], "");
  paintTable("execution-orders", [
    ["Decided", (o) => clock(o.wall_ns), "num"], ["Instrument", (o) => o.instrument], ["Side", (o) => o.side, sideClass], ["Kind", (o) => o.kind],
    ["Arrival", (o) => grouped(o.arrival), "num"], ["Average", (o) => grouped(o.average_price), "num"], ["Shortfall", (o) => bps(o.shortfall_bps), "num"],
    ["10 s", (o) => bps(o.markouts_bps["10"]), "num"], ["60 s", (o) => bps(o.markouts_bps["60"]), "num"], ["Score", (o) => bps(o.score_bps), "num"],
    ["Order", (o) => o.cl_ord_id, "order-id"],
  ], quality?.newest ?? [], "No order with a fill.");
}

function unknownOf(figures) {
  const reasons = Object.entries(figures.reasons ?? {}).map(([reason, fills]) => `${fills} ${reason}`);
  return reasons.length ? reasons.join(", ") : count(figures.unknown);
}

function paintGates(gates) {
  paintTable("gates", [
    ["Gate", (g) => words(g.name)], ["Kind", (g) => (g.group === "policy" ? "execution" : "risk")], ["Limit", (g) => `${number(g.limit)} ${unitOf(g)}`, "num"],
    ["Last", (g) => number(g.last_value), "num"], ["Passed", (g) => count(g.passed), "num"], ["Failed", (g) => count(g.failed), "num"], ["Noted", (g) => count(g.noted), "num"],
    ["First failing", (g) => count(g.first_failed), "num"],
  ], gates, "No gate was asked yet.");
}

function paintQuality(instruments) {
  paintTable("quality", [
    ["Instrument", (i) => i.name], ["Book", (i) => (i.fault ? `${i.state}: ${words(i.fault)}` : i.state), (i) => (i.state === "verified" ? "good" : "bad")],
    ["Venue", (i) => words(i.venue_state)], ["Openings", (i) => (i.off ? "switched off" : i.tradable ? "allowed" : "blocked"), (i) => (i.tradable && !i.off ? "good" : "warn")],
    ["Evidence", (i) => duration(i.evidence_age_ns), "num"], ["Updates", (i) => count(i.updates), "num"], ["Checksums ok", (i) => count(i.checksums_ok), "num"],
    ["bad", (i) => count(i.checksums_bad), "num"], ["Resyncs", (i) => count(i.resyncs), "num"], ["Audited", (i) => duration(i.audit_age_ns), "num"], ["Traded last hour", (i) => money(i.volume_hour), "num"],
    ["Reference", (i) => (i.reference ? i.reference.price ?? "none" : "–"), (i) => (i.reference?.required && i.reference.price === null ? "num bad" : "num")],
    ["told", (i) => (i.reference ? duration(i.reference.age_ns) : "–"), "num"],
    ["Tick", (i) => i.tick, "num"], ["Least quantity", (i) => trimmed(i.qty_min), "num"],
  ], instruments, "No instrument.");
}

// Controls -------------------------------------------------------------------------------------------------------

byId("decision-list").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8, Home: -1e6, End: 1e6 }[event.key];
  if (!step) return;
  event.preventDefault();
  moveChoice(step);
});
byId("decision-list").addEventListener("click", (event) => {
  const row = event.target.closest(".decision");
  if (!row) return;
  chosen = row.dataset.key;
  forgetFound();
  paintDecisions();
});
for (const id of ["filter-verdict", "filter-instrument"]) byId(id).addEventListener("change", paintDecisions);
byId("filter-horizon").addEventListener("change", () => paintOpportunities(regions.opportunities ?? []));
byId("find").addEventListener("change", () => find(byId("find").value.trim()));
for (const id of ["orders", "execution-orders"]) {
  byId(id).addEventListener("click", (event) => {
    const cell = event.target.closest("td.order-id");
    if (!cell) return;
    find(cell.textContent);
    byId("decisions").scrollIntoView();
  });
}
byId("hold").addEventListener("click", () => {
  held = held ? null : regions.decisions ?? [];
  byId("hold").setAttribute("aria-pressed", String(held !== null));
  byId("hold").textContent = held ? "List on hold" : "Hold list";
  paintDecisions();
});
function repaintAll() {
  for (const name of Object.keys(regions)) dirty.add(name);
  requestAnimationFrame(render);
}
addEventListener("resize", repaintAll);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaintAll);
setInterval(showBanner, 1000);
connect();
