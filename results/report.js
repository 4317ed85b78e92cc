"use strict";
(function () {
  const drawn = new Set();

  function ink() {
    return getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
  }

  function draw(scope) {
    for (const place of scope.querySelectorAll(".chart")) {
      if (drawn.has(place) || place.offsetWidth === 0) continue;
      const figure = JSON.parse(document.getElementById(place.dataset.figure).textContent);
      figure.layout.font.color = ink();
      if (place.offsetWidth < 520) narrow(figure.layout);
      drawn.add(place);
      Plotly.newPlot(place, figure.data, figure.layout, { responsive: true, displayModeBar: false, displaylogo: false });
    }
  }

  function narrow(layout) {
    layout.font.size = 11;
    if (layout.margin) Object.assign(layout.margin, { l: 44, r: 8 });
    for (const axis of Object.keys(layout).filter((k) => /^[xy]axis/.test(k))) {
      const title = layout[axis].title;
      if (title && title.text) title.text = title.text.replace(/: .* \(%\)$/, " (%)");
    }
  }

  function recolour() {
    for (const place of drawn) Plotly.relayout(place, { "font.color": ink() });
  }

  for (const fold of document.querySelectorAll("details")) fold.addEventListener("toggle", () => draw(fold));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  addEventListener("beforeprint", () => {
    for (const fold of document.querySelectorAll("details")) fold.open = true;
    draw(document);
    for (const place of drawn) Plotly.relayout(place, { "font.color": "#1d2126", width: 680 }); // A4 between margins
  });
  addEventListener("afterprint", () => {
    for (const place of drawn) Plotly.relayout(place, { "font.color": ink(), width: null, autosize: true });
  });
  draw(document);
})();
