// Openings that wait for an operator, and the buttons that answer them. An answer leaves this page by an operator's token alone,
// which is kept here in memory until the page is closed or loaded anew, and by two steps where it lets an order out.
"use strict";

/* global el, byId, setText, regions, board, lastMessageMs, limitUsed, fact: app.js */
/* global grouped, money, trimmed, number, count, duration, words: format.js */
/* exported paintApprovals */

const ARMED_MS = 5000;        // within which the second press sends
const SETTLE_MS = 400;        // after the first press: a double click is one press
const SAID_MS = 20000;        // how long what was said of an opening stays when it waits no more
const LOOK_AGAIN_MS = 5000;
const SILENT_MS = 3000;
const answers = new Map();    // id -> { row, said, bad, untilMs, armedMs, sending }
const margins = new Map();    // id -> { text, askedMs }
let operatorToken = "";

const answerOf = (id) => answers.get(id) ?? answers.set(id, { said: "", bad: false, untilMs: 0, armedMs: 0, sending: false }).get(id);
const isConnected = () => lastMessageMs > 0 && performance.now() - lastMessageMs < SILENT_MS && !board.stale;

function paintApprovals() {
  const waiting = regions.approvals ?? [];
  const now = performance.now();
  const present = new Set(waiting.map((row) => row.id));
  for (const row of waiting) answerOf(row.id).row = row;
  for (const [id, answer] of answers) {
    if (!present.has(id) && !answer.sending && now > answer.untilMs) {
      answers.delete(id);
      margins.delete(id);
    }
  }
  const shown = [...answers.keys()].sort((a, b) => a - b);
  byId("approvals-card").hidden = !shown.length;
  setText("approvals-count", waiting.length ? `${waiting.length} waiting` : "");
  byId("operate-form").hidden = operatorToken !== "";
  byId("operate-held").hidden = operatorToken === "";
  placeApprovals(shown);
  for (const id of shown) paintApproval(id, present.has(id));
}

/* Rows keep their nodes, so that the focus and a first press outlast an update. */
function placeApprovals(shown) {
  const root = byId("approvals");
  const nodes = new Map([...root.children].map((node) => [Number(node.dataset.id), node]));
  for (const [id, node] of nodes) if (!shown.includes(id)) node.remove();
  shown.forEach((id, i) => {
    const node = nodes.get(id) ?? newApproval(id);
    if (root.children[i] !== node) root.insertBefore(node, root.children[i] ?? null);
  });
}

function newApproval(id) {
  const node = el("article", "approval");
  node.dataset.id = id;
  const title = el("h3");
  title.id = `approval-${id}`;
  node.setAttribute("aria-labelledby", title.id);
  const buttons = el("div", "answer");
  const approve = answerButton("approve", () => pressApprove(id)), refuse = answerButton("refuse", () => send(id, "decline"));
  const said = el("p", "said");
  said.setAttribute("role", "status");
  buttons.append(approve, refuse, said);
  const shell = el("details", "shell");
  shell.append(el("summary", "", "On the command line"), el("p", "command"), el("p", "command"));
  shell.open = operatorToken === "";
  node.append(title, el("dl", "facts"), buttons, shell);
  return node;
}

function answerButton(name, press) {
  const button = el("button", name);
  button.type = "button";
  button.addEventListener("click", (event) => { if (event.detail < 2) press(); }); // the second half of a double click is none
  button.addEventListener("keydown", (event) => {
    if (event.repeat) event.preventDefault(); // a key that is held is one press
    if (event.key === "Escape") disarm();
  });
  return button;
}

function paintApproval(id, waits) {
  const node = byId("approvals").querySelector(`[data-id="${id}"]`), answer = answerOf(id), asked = answer.row;
  const what = `${asked.side} ${trimmed(asked.qty)} ${asked.instrument}`;
  const open = waits && asked.state === "waits" && !answer.sending;
  node.classList.toggle("ended", !waits);
  setNode(node.querySelector("h3"), `${count(id)} · ${what} at ${grouped(asked.price)}`);
  const facts = [
    ["Value", `${money(asked.notional)} ${asked.currency}`], ["State", waits ? words(asked.state) : "waits no more"],
    ["Waits for", duration(asked.age_s * 1e9)], ["Expires in", waits ? duration(asked.expires_in_s * 1e9) : "–"],
    ["Nearest limits", marginsOf(id)],
  ];
  node.querySelector("dl").replaceChildren(...facts.map(fact));
  node.querySelector("dl").lastChild.className = "margins";
  if (waits && asked.expires_in_s < 15) node.querySelector("dl").children[3].className = "warn";
  const [approve, refuse] = node.querySelectorAll("button"), armed = isArmed(answer);
  for (const button of [approve, refuse]) {
    button.hidden = operatorToken === "" || !waits;
    button.disabled = !open || !isConnected();
  }
  approve.classList.toggle("armed", armed);
  setNode(approve, armed ? `Send approval (${Math.ceil((answer.armedMs + ARMED_MS - performance.now()) / 1000)} s)` : "Approve");
  setNode(refuse, "Refuse");
  approve.setAttribute("aria-label", armed ? `Send the approval of opening ${id}: ${what}` : `Approve opening ${id}: ${what}; a second press sends it`);
  refuse.setAttribute("aria-label", `Refuse opening ${id}: ${what}`);
  const said = node.querySelector(".said");
  setNode(said, answer.said);
  said.className = `said${answer.bad ? " bad" : ""}`;
  const commands = node.querySelectorAll(".command");
  setNode(commands[0], asked.approve);
  setNode(commands[1], asked.decline);
}

function setNode(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/* The two gates that leave least of their limit, of the decision that asked; the deadline is the same for every order. */
function marginsOf(id) {
  const known = margins.get(id);
  if (known?.text) return known.text;
  const decision = (regions.decisions ?? []).find((row) => row.intent_seq === id && row.approval === "waits");
  if (decision) return margins.set(id, { text: nearest(decision), askedMs: 0 }).get(id).text;
  const passedBy = (regions.decisions ?? []).some((row) => row.intent_seq > id); // the newest ones have it no more
  if (passedBy && (!known || performance.now() - known.askedMs > LOOK_AGAIN_MS)) {
    margins.set(id, { text: "", askedMs: performance.now() });
    askDecision(id);
  }
  return "…";
}

async function askDecision(id) {
  try {
    const answered = await fetch(`/api/v1/decisions/${id}`);
    if (answered.ok) margins.set(id, { text: nearest(await answered.json()), askedMs: 0 });
  } catch {
    // The next look comes by itself.
  }
}

function nearest(decision) {
  const bounded = (decision.gates ?? []).map((gate) => [gate, limitUsed(gate)]).filter(([gate, used]) => used !== null && gate.name !== "time_in_force");
  bounded.sort(([, a], [, b]) => b - a);
  return bounded.slice(0, 2).map(([gate, used]) =>
    `${words(gate.name)} ${(used * 100).toFixed(0)} % used, ${number(gate.margin)} ${gate.unit} left`).join("; ") || "–";
}

// Answers --------------------------------------------------------------------------------------------------------

const isArmed = (answer) => answer.armedMs > 0 && performance.now() - answer.armedMs < ARMED_MS;

function pressApprove(id) {
  const answer = answerOf(id), now = performance.now();
  if (isArmed(answer)) {
    if (now - answer.armedMs >= SETTLE_MS) send(id, "approve");
    return;
  }
  disarm();
  answer.armedMs = now;
  say(id, "Press again within 5 s to send it; Escape takes it back.");
}

function disarm() {
  for (const [id, answer] of answers) {
    if (!answer.armedMs) continue;
    answer.armedMs = 0;
    say(id, "");
  }
}

function say(id, text, bad = false) {
  const answer = answerOf(id);
  Object.assign(answer, { said: text, bad, untilMs: text ? performance.now() + SAID_MS : 0 });
  if (answer.row) paintApprovals();
}

async function send(id, what) {
  const answer = answerOf(id);
  disarm();
  answer.sending = true;
  say(id, what === "approve" ? "Sending the approval…" : "Sending the refusal…");
  let status = 0, told = {};
  try {
    const answered = await fetch(`/api/v1/approvals/${id}`, {
      method: "POST", headers: { "Content-Type": "application/json", Authorization: `Bearer ${operatorToken}` },
      body: JSON.stringify({ answer: what }),
    });
    status = answered.status;
    told = await answered.json();
  } catch {
    told = { message: "The status port does not answer. Look at `cstd approve --list` before you send it again." };
  }
  answer.sending = false;
  if (status === 401) operatorToken = "";
  const unknown = status === 0 || status === 504;
  if (status !== 200) say(id, `${unknown ? "Not known whether it was taken" : "Not taken"}: ${told.message}${told.suggestion ? `. ${told.suggestion}` : ""}`, true);
  else if (told.answer === "approved") say(id, "Approved: the gates judge it again in the next pass; Decisions shows what they say.");
  else say(id, "Refused: it is not sent.");
}

byId("operate-form").addEventListener("submit", (event) => {
  event.preventDefault();
  operatorToken = byId("operate-token").value.trim();
  byId("operate-token").value = "";
  for (const shell of document.querySelectorAll(".shell")) shell.open = operatorToken === "";
  paintApprovals();
  byId("approvals").querySelector("button:not([hidden])")?.focus();
});
byId("operate-forget").addEventListener("click", () => {
  operatorToken = "";
  disarm();
  paintApprovals();
  byId("operate-token").focus();
});
setInterval(() => {
  for (const [id, answer] of answers) {
    if (answer.armedMs && !isArmed(answer)) {
      answer.armedMs = 0;
      say(id, "");
    }
  }
  if (answers.size) paintApprovals();
}, 500);
