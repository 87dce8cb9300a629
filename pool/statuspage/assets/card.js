"use strict";
// One enclave: a card with everything, or in short.

const words = { healthy: "Healthy", degraded: "Degraded", exhausted: "Exhausted", draining: "Draining" };

class Card {
  constructor(id, toggle) {
    this.root = el("article", "card");
    this.root.dataset.enclave = id;
    const head = el("div", "head"), title = el("h2");
    this.button = el("button", "", id);
    this.button.type = "button";
    this.button.addEventListener("click", toggle);
    title.append(this.button);
    const pill = el("span", "pill");
    this.shape = shape("degraded");
    this.state = el("span", "state");
    pill.append(this.shape, this.state);
    head.append(title, pill);
    this.since = el("p", "since"), this.age = el("b"), this.chips = el("span", "chip");
    this.since.append("for ", this.age, this.chips);
    this.brief = el("p", "brief");
    this.cause = el("p", "cause");
    this.conns = new Conns(id);
    this.grid = this.conns.grid;
    this.root.append(head, this.since, this.brief, this.cause, this.more(), this.grid, this.below());
  }

  // more is what stands above the connections and is left out of a short card.
  more() {
    this.upper = el("div");
    const facts = el("dl", "facts");
    this.facts = {
      conns: fact("Connections", "that callers may use, and the range they may be in"),
      flight: fact("In flight", "stream slots in use, of those there are"),
      waiters: fact("Waiting", "callers queued for a slot"),
      rate: fact("Callers", "a second"),
      stream_resets: fact("Resets", "RST_STREAM frames received"),
      exhausted: fact("Turned away", "callers who found every slot taken and the queue full, or waited too long"),
      reconnects: fact("Reconnects", "connections that replaced a lost one"),
      ejections: fact("Ejected", "connections taken out by failed health probes"),
    };
    for (const name in this.facts) facts.append(this.facts[name].box);
    const meter = el("div", "meter");
    this.meter = el("span");
    meter.append(this.meter);
    this.facts.flight.box.append(meter);
    const label = el("div", "label");
    label.append(el("h3", "", "Connections"), el("span", "", "filled: in flight of its limit"));
    this.upper.append(facts, label);
    return this.upper;
  }

  below() {
    this.lower = el("div");
    this.chart = new Chart();
    this.last = el("p", "last"), this.lastWhen = el("time"), this.lastWhat = el("span"), this.lastWhy = el("span", "why");
    this.last.append(this.lastWhat, this.lastWhen, this.lastWhy);
    this.details = el("details");
    this.events = el("ol", "events");
    this.details.append(el("summary", "", "Changes of this enclave’s state"), this.events);
    this.lower.append(this.conns.detail, this.chart.root, this.last, this.details);
    return this.lower;
  }

  show(e, data, open) {
    klass(this.root, "card " + e.state + (open ? "" : " small"));
    this.root.dataset.state = e.state;
    attr(this.root, "aria-label", e.id + ": " + e.state);
    attr(this.button, "aria-expanded", String(open));
    put(this.state, words[e.state] || e.state);
    reshape(this.shape, e.state);
    put(this.age, age(data.at - e.since));
    const missing = e.state === "draining" ? 0 : Math.max(0, e.min_conns - e.healthy_conns);
    const chips = [];
    if (e.state !== "degraded" && missing) chips.push(plural(missing, "connection", "connections") + " short of the minimum");
    if (e.waiters) chips.push(plural(e.waiters, "caller waits", "callers wait"));
    if (e.cordoned) chips.push("cordoned: no new keys");
    put(this.chips, chips.map(c => " · " + c).join(""));
    this.upper.hidden = this.lower.hidden = !open;
    this.since.hidden = !open && e.well;
    this.brief.hidden = open;
    this.cause.hidden = !e.cause || !open;
    put(this.cause, e.cause);
    const p99 = e.wait.p99[e.wait.p99.length - 1] ?? -1;
    put(this.brief, plural(e.healthy_conns, "connection", "connections") + " · " + rate(e.wait.rate) + " /s · p99 " + waited(p99, data.bounds_ms));
    this.conns.show(e, data.at, !open);
    if (open) this.showMore(e, data);
  }

  showMore(e, data) {
    const f = this.facts;
    put(f.conns.main, String(e.healthy_conns));
    put(f.conns.small, " of " + (e.min_conns === e.max_conns ? e.min_conns : e.min_conns + "–" + e.max_conns));
    const busy = e.in_flight - e.idle_streams;
    put(f.flight.main, count(busy));
    put(f.flight.small, " / " + count(e.capacity));
    f.flight.box.title = e.idle_streams ? "besides " + plural(e.idle_streams, "slot", "slots") + " held by idle warm streams, which give way" : "";
    const width = (e.capacity > 0 ? Math.min(100, 100 * busy / e.capacity) : busy > 0 ? 100 : 0).toFixed(1) + "%";
    if (this.meter.style.width !== width) this.meter.style.width = width;
    put(f.waiters.main, count(e.waiters));
    put(f.rate.main, rate(e.wait.rate));
    put(f.rate.small, " /s");
    for (const name of ["stream_resets", "exhausted", "reconnects", "ejections"]) {
      put(f[name].main, count(e[name]));
      const news = e.recent[name];
      put(f[name].small, news ? " +" + count(news) : "");
      klass(f[name].small, news ? "news" : "");
      f[name].box.title = news ? count(news) + " of them in the last " + age(data.sample_ms * e.wait.p99.length) : "";
    }
    this.chart.show(e.wait, data);
    this.showEvents(e, data.at);
  }

  showEvents(e, at) {
    this.last.hidden = !e.last_event;
    if (e.last_event) {
      put(this.lastWhen, " " + age(at - e.last_event.at) + " ago");
      put(this.lastWhat, what(e.last_event));
      const why = e.last_event.cause; // said above already when it is why the enclave is as it is
      put(this.lastWhy, why && why !== e.cause ? ": " + why : "");
    }
    this.details.hidden = e.events.length === 0;
    while (this.events.children.length > e.events.length) this.events.lastChild.remove();
    e.events.forEach((ev, i) => {
      let li = this.events.children[i];
      if (!li) {
        li = el("li");
        li.append(el("time"), el("span"), el("span", "why"));
        this.events.append(li);
      }
      put(li.children[0], clock(ev.at) + " ");
      put(li.children[1], what(ev) + " (" + ev.from + " → " + ev.to + ")");
      put(li.children[2], ev.cause ? ": " + ev.cause : "");
    });
  }
}

// What an event means for the enclave as a whole, and for a connection.
const signals = {
  admitted: ["has its first connection", "was admitted"], restored: ["serves again", "serves again"],
  lost: ["has lost its last connection", "was lost"], ejected: ["has failed its probes", "has failed its probes"],
  suspended: ["says that it is not serving", "says that it is not serving"],
  retired: ["is being drained", "only finishes what it has"], resumed: ["was resumed", "was resumed"],
};

function what(ev) {
  const said = signals[ev.signal] || [ev.signal, ev.signal];
  return ev.conn < 0 ? "The enclave " + said[0] : "Connection " + ev.conn + " " + said[1];
}
