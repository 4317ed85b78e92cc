"use strict";
(function () {
  const NARROW = 520, PAPER = 680; // pixels: below this labels are shortened; A4 between its margins
  const charts = [...document.querySelectorAll(".chart")];
  const drawn = new Map(); // chart: width and ink that it was drawn with
  let printing = false;

  function draw(place) {
    const width = printing ? PAPER : place.clientWidth;
    const ink = printing ? "#1d2126" : getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
    if (!width || drawn.get(place) === width + ink) return;
    drawn.set(place, width + ink);
    const { data, layout } = JSON.parse(document.getElementById(place.dataset.figure).textContent);
    Object.assign(layout, { width, height: parseInt(place.style.minHeight), uirevision: "kept" });
    layout.font.color = ink;
    if (width < NARROW) narrow(layout);
    Plotly.react(place, data, layout, { displayModeBar: false, displaylogo: false });
  }

  function narrow(layout) {
    layout.font.size = 11;
    if (layout.margin) Object.assign(layout.margin, { l: 44, r: 8 });
    for (const axis of Object.keys(layout).filter((k) => /^[xy]axis/.test(k))) {
      const title = layout[axis].title;
      if (title && title.text) title.text = title.text.replace(/: .* \(%\)$/, " (%)");
    }
  }

  function print(now) {
    printing = now;
    if (now) for (const fold of document.querySelectorAll("details")) fold.open = true;
    charts.forEach(draw);
  }

  // told of each chart at first, when the window changes, and when the fold that holds it is opened
  const watch = new ResizeObserver((seen) => seen.forEach((one) => draw(one.target)));
  for (const place of charts) watch.observe(place);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach(draw));
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
})();
