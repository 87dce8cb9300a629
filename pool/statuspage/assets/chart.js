"use strict";
// The curve of waits: p50 dashed, p99 solid, by the steps of the histogram, so that every chart has the same scale.

const rules = [0.2, 10, 1000]; // milliseconds

class Chart {
  constructor() {
    this.root = el("div", "wait");
    const label = el("div", "label"), key = el("span", "key");
    this.p50 = el("b"), this.p99 = el("b");
    key.append(el("i", "dash"), "p50 ", this.p50, el("i"), "p99 ", this.p99);
    label.append(el("h3", "", "Wait for a slot"), key);
    this.box = el("div", "chart");
    this.box.setAttribute("role", "img");
    this.svg = svg("svg", { preserveAspectRatio: "none", "aria-hidden": "true" });
    this.area = svg("path", { class: "p99-area" });
    this.high = svg("path", { class: "p99" });
    this.low = svg("path", { class: "p50" });
    this.box.append(this.svg);
    const span = el("div", "span");
    this.from = el("span");
    span.append(this.from, el("span", "", "now"));
    this.root.append(label, this.box, span);
  }

  // scale is done once: the steps do not change while the gateway runs.
  scale(data) {
    this.top = data.bounds_ms.length + 1;
    this.width = data.points - 1;
    attr(this.svg, "viewBox", "0 0 " + this.width + " " + this.top);
    const lines = [];
    for (const ms of rules) {
      const y = this.top - data.bounds_ms.indexOf(ms);
      lines.push(svg("line", { class: "rule", x1: 0, x2: this.width, y1: y, y2: y }));
      const tick = el("span", "tick", ms < 1000 ? ms + " ms" : ms / 1000 + " s");
      tick.style.top = 100 * y / this.top + "%";
      this.box.append(tick);
    }
    this.svg.append(this.area, ...lines, this.low, this.high);
    put(this.from, age(data.sample_ms * data.points) + " ago");
  }

  show(wait, data) {
    if (!this.top) this.scale(data);
    const n = wait.p99.length, now50 = wait.p50[n - 1] ?? -1, now99 = wait.p99[n - 1] ?? -1;
    put(this.p50, waited(now50, data.bounds_ms));
    put(this.p99, waited(now99, data.bounds_ms));
    attr(this.low, "d", this.path(wait.p50, false));
    attr(this.high, "d", this.path(wait.p99, false));
    attr(this.area, "d", this.path(wait.p99, true));
    const worst = Math.max(-1, ...wait.p99);
    attr(this.box, "aria-label", "Wait for a slot: p50 " + waited(now50, data.bounds_ms) + ", p99 " + waited(now99, data.bounds_ms) +
      "; worst p99 of the last " + age(data.sample_ms * n) + ": " + waited(worst, data.bounds_ms));
  }

  // path draws values, the last at the right edge; where there were no callers it has a gap.
  path(values, filled) {
    const shift = this.width + 1 - values.length;
    let d = "";
    for (let i = 0; i < values.length; i++) {
      if (values[i] < 0) continue;
      let end = i;
      while (end + 1 < values.length && values[end + 1] >= 0) end++;
      const y = j => (this.top - values[j]).toFixed(0);
      d += "M" + (shift + i - 0.5) + " " + (filled ? this.top : y(i));
      for (let j = i; j <= end; j++) d += "V" + y(j) + "H" + (shift + j + 0.5);
      if (filled) d += "V" + this.top + "Z";
      i = end;
    }
    return d;
  }
}
