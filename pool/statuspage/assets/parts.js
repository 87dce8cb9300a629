"use strict";
// Small things that the other scripts use. What comes from the gateway becomes text here and never markup.

// el makes an element with a class and text.
function el(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

// put sets the text of an element, if it is another one: a screen reader and the layout notice every change.
function put(e, text) {
  if (e.textContent !== text) e.textContent = text;
}

function attr(e, name, value) {
  if (e.getAttribute(name) !== value) e.setAttribute(name, value);
}

function klass(e, name) {
  if (e.getAttribute("class") !== name) e.setAttribute("class", name);
}

function svg(tag, attributes) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const name in attributes) e.setAttribute(name, attributes[name]);
  return e;
}

// Every state has a shape of its own: a disc, a cross, a square, an arrow downwards.
const shapes = {
  healthy: "M8 1.5a6.5 6.5 0 1 0 0 13a6.5 6.5 0 1 0 0 -13Z",
  degraded: "M3.6 1.2 8 5.6l4.4-4.4 2.4 2.4L10.4 8l4.4 4.4-2.4 2.4L8 10.4l-4.4 4.4-2.4-2.4L5.6 8 1.2 3.6Z",
  exhausted: "M2 2h12v12H2Z",
  draining: "M5.5 1h5v6h4.2L8 15 1.3 7h4.2Z",
};

function shape(state) {
  const s = svg("svg", { viewBox: "0 0 16 16", class: "shape", "aria-hidden": "true" });
  s.append(svg("path", { d: shapes[state] || shapes.degraded }));
  return s;
}

function reshape(s, state) {
  attr(s.firstChild, "d", shapes[state] || shapes.degraded);
}

// fact makes a term and its value for a <dl>.
function fact(name, title) {
  const box = el("div"), value = el("dd"), main = el("span"), small = el("small");
  const term = el("dt", "", name);
  if (title) term.title = title;
  value.append(main, small);
  box.append(term, value);
  return { box, main, small };
}

function count(n) {
  if (n < 1e4) return String(n);
  if (n < 1e6) return (n / 1e3).toFixed(n < 1e5 ? 1 : 0) + "k";
  if (n < 1e9) return (n / 1e6).toFixed(1) + "M";
  return (n / 1e9).toFixed(1) + "G";
}

function rate(n) {
  return n === 0 ? "0" : n < 10 ? n.toFixed(1) : count(Math.round(n));
}

// age says how long ms milliseconds are.
function age(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min" + (s < 600 && s % 60 ? " " + (s % 60) + " s" : "");
  if (s < 86400) return Math.floor(s / 3600) + " h" + (Math.floor(s % 3600 / 60) ? " " + Math.floor(s % 3600 / 60) + " min" : "");
  return Math.floor(s / 86400) + " d " + Math.floor(s % 86400 / 3600) + " h";
}

function clock(ms) {
  return new Date(ms).toLocaleTimeString([], { hour12: false });
}

function plural(n, one, many) {
  return n + " " + (n === 1 ? one : many);
}

// waited puts an index of bounds into words: what no wait was longer than.
function waited(index, bounds) {
  if (index < 0) return "–";
  if (index === 0) return "none";
  const long = ms => ms < 1000 ? ms + " ms" : ms / 1000 + " s";
  return index < bounds.length ? "≤ " + long(bounds[index]) : "> " + long(bounds[bounds.length - 1]);
}
