// Returns what is wrong with how the page looks: text whose contrast with what is behind it is below 4.5 (WCAG 2.2, 1.4.3),
// and anything that sticks out of the window to the right. "seen" counts the texts looked at.
(() => {
  const channels = color => color.match(/[\d.]+/g).map(Number);
  const linear = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = channels(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] === 1) return c;
      if (c[3] !== 0) throw new Error("half transparent background, which this does not know: " + e.className);
    }
    throw new Error("nothing behind");
  };
  const wrong = [];
  let seen = 0, least = 21;
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const e = texts.currentNode.parentElement, text = texts.currentNode.textContent.trim();
    if (!text || !e.checkVisibility() || e.tagName === "NOSCRIPT") continue;
    seen++;
    const a = luminance(channels(getComputedStyle(e).color)), b = luminance(behind(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    least = Math.min(least, ratio);
    if (ratio < 4.5) wrong.push("contrast " + ratio.toFixed(2) + ": " + e.tagName + "." + e.className + " " + text.slice(0, 40));
  }
  for (const e of document.body.querySelectorAll("*")) {
    const box = e.getBoundingClientRect();
    if (box.width > 0 && box.right > innerWidth + 0.5 && !e.closest("svg")) wrong.push("sticks out to " + box.right + ": " + e.tagName + "." + e.className);
    const style = getComputedStyle(e);
    if (e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0 && style.overflowX !== "visible" && style.display !== "inline") {
      wrong.push("clipped: " + e.tagName + "." + e.className + " " + e.textContent.slice(0, 40));
    }
  }
  if (document.documentElement.scrollWidth > innerWidth) wrong.push("scrolls sideways: " + document.documentElement.scrollWidth + " of " + innerWidth);
  return { seen, least, wrong };
})()
