"use strict";
(function () {
  const EVERY = 2000; // milliseconds
  const now = document.getElementById("now"), state = document.getElementById("state"), report = document.getElementById("report");
  let shown = "";

  async function text(path) {
    const answer = await fetch(path, { cache: "no-store" });
    if (!answer.ok) throw new Error((await answer.text()) || answer.status);
    return answer;
  }

  // a new report is drawn out of sight and then takes the old one's place, so that nothing jumps
  function replace(version) {
    const coming = document.createElement("iframe"), before = report.querySelector("iframe:not(.coming)");
    report.querySelectorAll("iframe.coming").forEach((one) => one.remove());
    coming.className = "coming";
    coming.title = "Report of what is stored";
    coming.src = "/report?" + encodeURIComponent(version);
    coming.addEventListener("load", () => {
      const fit = () => { coming.style.height = coming.contentDocument.body.offsetHeight + 1 + "px"; };
      fit();
      new ResizeObserver(() => requestAnimationFrame(fit)).observe(coming.contentDocument.body);
      if (before) before.remove();
      coming.className = "";
    });
    report.append(coming);
  }

  async function look() {
    try {
      const answer = await text("/now"), version = answer.headers.get("x-report");
      now.innerHTML = await answer.text();
      state.textContent = "Renewed every two seconds; below it the report of what is stored.";
      if (version !== shown) { shown = version; replace(version); }
    } catch (problem) {
      state.textContent = "Not reached: " + problem.message + ". The numbers are the last ones heard.";
    }
    setTimeout(look, EVERY);
  }
  look();
})();
