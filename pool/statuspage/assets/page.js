"use strict";
// Asks for the picture every second and draws it; says so when nobody answers.

const every = 1000, patience = 3000; // milliseconds
const roomy = 12; // so many enclaves have cards with everything; beyond, those that are well are shown in short

const $ = id => document.getElementById(id);
const cards = new Map();  // by enclave ID
const wishes = new Map(); // what the reader has opened or closed
let heard = 0, silentSince = 0, latest = null;

const totals = {};
for (const [name, term] of [["enclaves", "Enclaves healthy"], ["conns", "Connections"], ["flight", "In flight"],
  ["waiters", "Callers waiting"], ["rate", "Callers"], ["p99", "p99 wait for a slot"]]) {
  totals[name] = fact(term);
  $("totals").append(totals[name].box);
}
const verdictShape = shape("healthy"), verdictText = el("span");
$("verdict").append(verdictShape, verdictText);
verdictShape.toggleAttribute("hidden", true);

for (const [name, text, fill] of [["healthy", "healthy; filled as far as it is in use", "45%"], ["healthy full", "at its limit", "100%"],
  ["degraded", "resting: carries no calls", ""], ["draining", "finishes what it has", "30%"], ["gone", "not there", ""]]) {
  const li = el("li"), cell = el("span", "cell " + name), level = el("span", "fill");
  cell.setAttribute("aria-hidden", "true");
  level.style.height = fill;
  cell.append(level);
  li.append(cell, text);
  $("legend").append(li);
}

let timer = 0, asking = false;

async function poll() {
  clearTimeout(timer);
  asking = true;
  const data = await ask();
  asking = false;
  timer = setTimeout(poll, document.hidden ? 5 * every : every);
  if (data) {
    latest = data;
    heard = Date.now();
    silentSince = 0;
    show(data);
  } else {
    silentSince ||= heard || Date.now();
  }
  showSilence();
}

// ask returns the picture; null: nobody answered in time, or not with one.
async function ask() {
  const stop = new AbortController(), late = setTimeout(() => stop.abort(), patience);
  try {
    const answer = await fetch("?data", { signal: stop.signal, cache: "no-store", credentials: "same-origin" });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  } finally {
    clearTimeout(late);
  }
}

function showSilence() {
  const silent = silentSince > 0;
  document.body.classList.toggle("silent", silent);
  $("silence").hidden = !silent;
  if (silent) {
    put($("silence"), heard ? "The gateway has not answered since " + clock(heard) + ", " + age(Date.now() - heard) +
      " ago. What is below is how it was then." : "The gateway does not answer. Trying again every second.");
    put($("clock"), "no answer");
  } else {
    put($("clock"), "live, " + clock(latest.at));
  }
}

function show(data) {
  beat();
  showTotals(data);
  const seen = new Set();
  let detailed = 0;
  const places = [];
  for (const e of data.enclaves) {
    seen.add(e.id);
    let card = cards.get(e.id);
    if (!card) {
      card = new Card(e.id, () => { wishes.set(e.id, card.button.getAttribute("aria-expanded") !== "true"); show(latest); });
      cards.set(e.id, card);
    }
    const usual = data.enclaves.length <= roomy || !e.well && detailed < roomy;
    const open = wishes.get(e.id) ?? usual;
    if (open) detailed++;
    card.show(e, data, open);
    places.push([card, open ? $("cards") : $("rest")]);
  }
  for (const [id, card] of cards) {
    if (!seen.has(id)) {
      card.root.remove();
      cards.delete(id);
      wishes.delete(id);
    }
  }
  arrange(places);
  $("cards").classList.toggle("pairs", [1, 2, 4].includes($("cards").children.length)); // three in a row leave one over
}

// arrange puts the cards in their order, and leaves alone those that are in it. What has the focus keeps it.
function arrange(places) {
  const focus = document.activeElement, next = new Map([[$("cards"), 0], [$("rest"), 0]]);
  for (const [card, home] of places) {
    const i = next.get(home);
    next.set(home, i + 1);
    if (home.children[i] !== card.root) home.insertBefore(card.root, home.children[i] || null);
  }
  if (focus && focus !== document.activeElement && focus !== document.body) focus.focus();
}

function showTotals(data) {
  const sum = name => data.enclaves.reduce((n, e) => n + e[name], 0);
  const of = state => data.enclaves.filter(e => e.state === state).length;
  const all = data.enclaves.length, fine = of("healthy") + of("exhausted");
  put(totals.enclaves.main, String(fine));
  put(totals.enclaves.small, " of " + all);
  put(totals.conns.main, count(sum("healthy_conns")));
  put(totals.conns.small, " of at least " + count(sum("min_conns")));
  put(totals.flight.main, count(sum("in_flight") - sum("idle_streams")));
  put(totals.flight.small, " / " + count(sum("capacity")));
  put(totals.waiters.main, count(sum("waiters")));
  put(totals.rate.main, rate(data.wait.rate));
  put(totals.rate.small, " /s");
  put(totals.p99.main, waited(data.wait.p99[data.wait.p99.length - 1] ?? -1, data.bounds_ms));

  const bad = ["degraded", "exhausted", "draining"].filter(of);
  const parts = bad.map(s => of(s) + " " + s);
  const short = data.enclaves.filter(e => e.state === "healthy" && !e.well && e.healthy_conns < e.min_conns).length;
  if (short) parts.push(short + " short of connections");
  const state = bad[0] || "healthy";
  const text = all === 0 ? "No enclaves are configured." : parts.length === 0 ?
    (all === 1 ? "The enclave is healthy." : "All " + all + " enclaves are healthy.") : "Of " + plural(all, "enclave", "enclaves") + ": " + parts.join(", ") + ".";
  put(verdictText, text);
  reshape(verdictShape, state);
  verdictShape.toggleAttribute("hidden", false);
  klass($("verdict"), state);
  put($("title"), data.title);
  const title = (parts.length ? parts.join(", ") : "all well") + " – " + data.title;
  if (document.title !== title) document.title = title;
}

function beat() {
  $("beat").classList.remove("on");
  void $("beat").offsetWidth; // starts the animation again
  $("beat").classList.add("on");
}

document.addEventListener("visibilitychange", () => { if (!document.hidden && !asking) poll(); });
poll();
