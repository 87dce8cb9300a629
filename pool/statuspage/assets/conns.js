"use strict";
// The connections of an enclave as a grid of cells, and the line below it that tells of one of them: the one under the
// pointer, in focus or tapped. The grid is one stop for the Tab key; the arrows move inside it.

class Conns {
  constructor(id) {
    this.grid = el("div", "conns");
    this.grid.setAttribute("role", "group");
    this.grid.setAttribute("aria-label", "Connections of " + id);
    this.detail = el("p", "detail");
    this.detail.setAttribute("aria-live", "polite");
    this.cells = [];
    this.chosen = -1; // by a tap, click or focus; stays
    this.under = -1;  // the pointer
    const at = e => this.cells.findIndex(c => c.root === e.target.closest(".cell"));
    this.grid.addEventListener("pointerover", e => { if (e.pointerType === "mouse") { this.under = at(e); this.tell(); } });
    this.grid.addEventListener("pointerleave", () => { this.under = -1; this.tell(); });
    this.grid.addEventListener("focusin", e => { this.choose(at(e)); });
    this.grid.addEventListener("click", e => { if (at(e) >= 0) this.choose(at(e)); });
    this.grid.addEventListener("keydown", e => this.key(e));
  }

  choose(i) {
    this.chosen = i;
    this.tell();
  }

  key(e) {
    if (e.key === "Escape") {
      this.choose(-1);
      return;
    }
    const row = this.cells.filter(c => c.root.offsetTop === this.cells[0].root.offsetTop).length;
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: row, ArrowUp: -row, Home: -1e6, End: 1e6 }[e.key];
    if (by === undefined) return;
    e.preventDefault();
    const to = Math.min(this.cells.length - 1, Math.max(0, this.cells.findIndex(c => c.root === document.activeElement) + by));
    this.cells[to].root.focus();
  }

  // show takes the open connections and leaves a gap for each that the minimum wants and that is not there. small: the
  // cells only show, since there are too many to ask about.
  show(enclave, at, small) {
    const list = [];
    let want = 0;
    const least = enclave.state === "draining" ? 0 : enclave.min_conns;
    for (const c of enclave.connections) {
      for (; want < c.index && want < least; want++) list.push({ index: want, state: "gone" });
      want = Math.max(want, c.index + 1);
      list.push(c);
    }
    for (; want < least; want++) list.push({ index: want, state: "gone" });
    while (this.cells.length > list.length) this.cells.pop().root.remove();
    while (this.cells.length < list.length) {
      const root = el("button", "cell");
      root.type = "button";
      const fill = el("span", "fill");
      root.append(fill);
      this.grid.append(root);
      this.cells.push({ root, fill });
    }
    if (this.chosen >= list.length) this.chosen = -1;
    list.forEach((c, i) => this.draw(this.cells[i], c, i, small));
    this.list = list, this.at = at;
    this.tell();
  }

  draw(cell, c, i, small) {
    const busy = c.state === "gone" ? 0 : c.in_flight - c.idle_streams;
    const full = c.state === "healthy" && c.limit > 0 && c.in_flight >= c.limit && c.idle_streams === 0;
    klass(cell.root, "cell " + c.state + (full ? " full" : ""));
    const limit = c.limit || (c.advertised > 0 ? c.advertised : 100); // what finishes has a limit of 0
    const share = Math.min(1, busy / limit);
    const height = busy > 0 ? Math.max(10, Math.round(100 * share)) + "%" : "0%";
    if (cell.fill.style.height !== height) cell.fill.style.height = height;
    if (cell.root.disabled !== small) cell.root.disabled = small;
    cell.root.tabIndex = !small && i === Math.max(0, this.chosen) ? 0 : -1;
    attr(cell.root, "aria-label", "connection " + c.index + ": " + (c.state === "gone" ? "not there" :
      c.state + ", " + busy + " of " + c.limit + " in flight" + (full ? ", full" : "")));
  }

  tell() {
    if (!this.list) return;
    const i = this.under >= 0 ? this.under : this.chosen, c = this.list[i];
    this.cells.forEach((cell, j) => {
      if (j === i) attr(cell.root, "aria-current", "true");
      else cell.root.removeAttribute("aria-current");
    });
    const words = c ? this.words(c) : ["", this.summary()];
    const text = words[0] + "\n" + words[1];
    if (text === this.said) return;
    this.said = text;
    this.detail.replaceChildren(el("b", "", words[0]), words[1]);
  }

  summary() {
    const of = {};
    for (const c of this.list) of[c.state] = (of[c.state] || 0) + 1;
    const parts = [];
    for (const [state, word] of [["healthy", "healthy"], ["degraded", "resting"], ["draining", "draining"], ["gone", "missing"]]) {
      if (of[state]) parts.push(of[state] + " " + word);
    }
    return parts.length ? parts.join(", ") + ". Touch a cell for more." : "No connections.";
  }

  words(c) {
    if (c.state === "gone") return ["Connection " + c.index, ": not there; being opened."];
    const parts = [c.state, c.in_flight - c.idle_streams + " of " + c.limit + " in flight"];
    if (c.idle_streams) parts.push(plural(c.idle_streams, "idle stream", "idle streams"));
    parts.push(c.advertised < 0 ? "the enclave sets no limit" : "the enclave allows " + c.advertised);
    if (c.opened) parts.push("open for " + age(this.at - c.opened));
    if (c.last_read) parts.push("last heard " + age(this.at - c.last_read) + " ago");
    return ["Connection " + c.index, ": " + parts.join(", ") + (c.cause ? ". " + c.cause : ".")];
  }
}
