"""The page: the answer first, nothing loaded, nothing injected, and a browser that draws it without
complaint.
"""

import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import plane_records
import pytest
import synthetic
from pages import HOSTILE, Page, hostile
from programs import HANGS
from synthetic import trial, tuned

from results.report import bundle
from results.report.evidence import inert
from results.report.page import render, write
from trials.spec import Record, SpecError


@pytest.fixture(scope="module")
def records() -> list[Record]:
    found = synthetic.sweep(n=12)
    return found + synthetic.judged(found)


@pytest.fixture(scope="module")
def html(records: list[Record]) -> str:
    return render(records, title="A sweep", generated="2025-01-02")


def test_the_answer_comes_first(html: str) -> None:
    text = Page(html).read
    answer = "pivotal_tuning, stopped at step 1000, removes the one kind of trigger that was"
    assert text.index(answer) < text.index("What each defense can reach")
    assert text.index("95 % interval") < text.index("What each defense can reach")
    for word in (
        "oracle",
        "Provenance",
        "Δ",
        "min_asr_within_delta",
        "ArithmeticError: the model diverged",
    ):
        assert word in text


def test_says_so_when_nothing_repairs() -> None:
    weak = [tuned([(0, 0.95, 1.0), (50, 0.94, 0.3)])]
    text = Page(render(weak, title="t")).read
    assert (
        "No defense repaired the model. The best, weight_decay stopped at step 50, still leaves "
        "an ASR of 30.0 %" in text
    )
    assert "Not confirmed on report images" in text
    idle = Page(render([tuned([(0, 0.95, 0.9)], "tuning", "none")], title="t")).read
    assert "No defense was better than leaving the model alone." in idle


@pytest.mark.parametrize("victims", [1, 5])
def test_a_model_that_is_left_alone_is_not_told_of_as_if_something_had_been_done(
    victims: int,
) -> None:
    of = [synthetic.victim("badnets", seed) for seed in range(victims)]
    curve = [(0, 0.951, 0.944)]
    found = [
        tuned(curve, game, "none", of=v)
        for v in of
        for game in ("robustness", "tuning")
        if v == of[0] or game[0] == "r"
    ]
    used = tuned([(0, 0.951, 0.944), (50, 0.5, 0.3)], "tuning", "nad", {"lr": 0.123}, of=of[0])
    page = Page(render([*found, used], title="t")).read
    text = page[: page.index("What each defense can reach")]
    assert (
        "rate stays at 94.4 % (95 % interval 87.6 – 97.6 %), at a clean accuracy of 95.1 %" in text
    )
    assert not any(
        word in text for word in ("takes", "left 94.4", "→", "costs", "0.0 points", "0.123")
    )


def test_says_so_when_the_real_attack_resists() -> None:
    chosen = tuned([(0, 0.95, 1.0), (50, 0.94, 0.01)], "tuning", "nad", {"lr": 0.1})
    real = tuned(
        [(0, 0.95, 1.0), (50, 0.94, 0.5)],
        "robustness",
        "nad",
        {"lr": 0.1},
        game_params={"stop_at": 50},
    )
    text = Page(render([chosen, real], title="t")).read
    assert "repairs the planted backdoors but not the real attack" in text


def test_many_attacked_models_are_told_of_in_one_sentence() -> None:
    clean = synthetic.victim("")
    chosen = tuned([(0, 0.95, 1.0), (50, 0.94, 0.01)], "tuning", "nad", {"lr": 0.1}, of=clean)
    real = [
        tuned(
            [(0, 0.95, 1.0), (50, 0.94, eta)],
            "robustness",
            "nad",
            {"lr": 0.1},
            game_params={"stop_at": 50},
            of=of,
        )
        for name, eta in (("badnets", 0.0), ("wanet", 0.6))
        for of in (synthetic.victim(name, seed) for seed in range(5))
    ]
    text = Page(render([chosen, *real], title="t")).read
    assert "On 10 really attacked models (2 attacks)" in text and "5 of 10 were repaired" in text
    assert (
        "Most was left of wanet" in text
        and "5 of 10 really attacked models keep an ASR above 5 %" in text
    )
    assert "Against the real attack" not in text


def test_a_confirmed_number_goes_before_the_chosen_one() -> None:
    chosen = tuned([(0, 0.95, 1.0), (50, 0.94, 0.01)], "tuning", "nad", {"lr": 0.1})
    told = tuned([(0, 0.95, 1.0), (50, 0.94, 0.2)], "confirmation", "nad", {"lr": 0.1})
    told = dataclasses.replace(told, metrics={**told.metrics, "step": 50.0})
    text = Page(render([chosen, told], title="t")).read
    assert "still leaves an ASR of 20.0 %" in text
    assert "do not confirm a repair" in text


def test_a_page_without_answers_says_why() -> None:
    assert "tuned no defense" in Page(render([], title="t")).read
    failed = Record(trial=trial(), status="failed", error="boom")
    assert "None of 1 tuning trials finished" in Page(render([failed], title="t")).read
    whole = Page(render([tuned([(0, 0.95, 1.0), (50, 0.94, 0.3)], "robustness")], title="t")).read
    assert "As a defender would stop" in whole
    with pytest.raises(SpecError, match="Did you mean"):
        render([], title="t", rule="lst")


def test_loads_nothing_from_anywhere(html: str) -> None:
    page = Page(html)
    for tag, attrs in page.tags:
        assert tag not in ("link", "iframe", "img", "object", "embed", "base")
        for key in ("src", "href", "srcset", "action", "data"):
            assert (attrs.get(key) or "#").startswith("#")
    style = re.search(r"<style>(.*?)</style>", html, re.S)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    policy = next(a for t, a in page.tags if t == "meta" and a.get("http-equiv"))
    assert "default-src 'none'" in (policy["content"] or "")


def test_a_page_is_small_and_draws_only_what_its_script_can() -> None:
    found = plane_records.sweep()
    page = render([*found, *synthetic.sweep(n=12)], title="large")
    assert len(page.encode()) < 2_000_000
    figures = [json.loads(data) for data in Page(page).data]
    assert {trace["type"] for figure in figures for trace in figure["data"]} == {"bar", "scatter"}


def test_the_script_is_the_one_that_the_notice_names() -> None:
    root, file = Path(bundle.__file__).parents[1], "vendor/plotly-basic.min.js"
    digest = hashlib.sha256((root / file).read_bytes()).hexdigest()
    assert digest == "99784e3abfb07b142a15e521a439e6d9addceadb3f79553fd24c72774f0649ba"
    assert f"results/{file}" in (root.parent / "NOTICE").read_text(encoding="utf-8")


def test_names_of_others_stay_text() -> None:
    html = render(hostile(), title=HOSTILE, generated=HOSTILE)
    page = Page(html)
    tags = [t for t, _ in page.tags]
    assert "img" not in tags
    assert not any(k.startswith("on") for _, attrs in page.tags for k in attrs)
    plain = render([tuned([(0, 0.95, 1.0)])], title="t")
    scripts = [a for t, a in page.tags if t == "script" and not a]
    assert len(scripts) == len([a for t, a in Page(plain).tags if t == "script" and not a]) == 2
    assert "window.owned=1" in page.read  # shown, as text
    assert "49bold" not in page.read  # no template in a template
    assert page.data
    for data in page.data:
        assert not set("<>&") & set(data)
        labels = [t.get("name") or "" for t in json.loads(data)["data"]]
        assert not any("<" in label for label in labels)


def test_inert_json_reads_back_the_same() -> None:
    value = {"a": [HOSTILE, "\u2028", 1.5, None]}
    text = inert(value)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == value


def test_repetition_and_order_of_records_do_not_change_the_answer(
    records: list[Record], html: str
) -> None:
    def answer(text: str) -> str:
        return text[text.index("<main>") : text.index("<h2>")]

    assert answer(
        render([*records, *records[::-1]], title="A sweep", generated="2025-01-02")
    ) == answer(html)


def test_writes_the_whole_page_and_nothing_else(
    tmp_path: Path, records: list[Record], html: str
) -> None:
    target = write(
        records, tmp_path / "deep" / "page.html", title="A sweep", generated="2025-01-02"
    )
    assert target.read_text(encoding="utf-8") == html
    assert [p.name for p in target.parent.iterdir()] == ["page.html"]


def browse(page: Path, tmp_path: Path, *extra: str) -> tuple[str, str]:
    chromium = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if chromium is None:
        pytest.skip("no Chromium: install the package chromium to draw the page")
    command = [
        chromium,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
    ]
    command += [
        "--enable-logging=stderr",
        "--virtual-time-budget=30000",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    done = subprocess.run(
        [*command, *extra, "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=True,
    )
    return done.stdout, done.stderr


@pytest.mark.browser
@pytest.mark.parametrize("case", ["plain", "hostile", "empty"])
def test_a_browser_draws_it_without_complaint(
    tmp_path: Path, records: list[Record], case: str
) -> None:
    given = {"plain": records, "hostile": hostile(), "empty": []}[case]
    page = write(given, tmp_path / "page.html", title="A sweep")
    dom, log = browse(page, tmp_path)
    complaints = [line for line in log.splitlines() if "CONSOLE" in line]
    assert complaints == []
    body = re.sub(r"<script.*?</script>", "", dom, flags=re.S)
    drawn = len(re.findall(r'<svg class="main-svg"', body))
    assert (drawn == 0) if case == "empty" else (drawn >= 3)
    assert "<img" not in body
    assert "owned" not in re.sub(r"window\.owned=1", "", body)
    if case == "hostile":
        assert re.search(r"<text[^>]*>[^<]*&lt;/script&gt;", body)  # the label is drawn, as text


FRAME = """<body><iframe src="page.html" style="width:1200px;height:2000px"></iframe>
<pre id="told"></pre><script>
const page = document.querySelector("iframe");
addEventListener("message", ({ data }) => {
  page.style.width = "400px";
  if (data.page[1] <= 400) document.getElementById("told").textContent = JSON.stringify(data);
});
</script></body>"""
PROBE = """<script>
let left = 3; // looks after the window became narrow: charts follow it in the next frame
const look = setInterval(() => {
  const window = document.documentElement.clientWidth, charts = [];
  for (const chart of document.querySelectorAll(".chart:has(svg)")) {
    const parts = [...chart.querySelectorAll("svg.main-svg, svg text")];
    charts.push([Math.max(...parts.map((part) => part.getBoundingClientRect().right)), window]);
  }
  parent.postMessage({ page: [document.documentElement.scrollWidth, window], charts }, "*");
  if (window <= 400 && !--left) clearInterval(look);
}, 500);
</script></body>"""


@pytest.mark.browser
@pytest.mark.parametrize("several", [False, True])
def test_on_a_narrow_window_nothing_is_wider_than_it(
    tmp_path: Path, records: list[Record], several: bool
) -> None:
    page = write(
        plane_records.sweep(seeds=3) if several else records,
        tmp_path / "page.html",
        title="A sweep",
    )
    page.write_text(page.read_text(encoding="utf-8").replace("</body>", PROBE), encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME, encoding="utf-8")
    dom, _ = browse(frame, tmp_path, "--window-size=1600,2400")
    told = json.loads(re.search(r'<pre id="told">(.*?)</pre>', dom)[1])  # type: ignore[index]
    assert len(told["charts"]) >= 3
    assert all(width <= window <= 400 for width, window in [told["page"], *told["charts"]])
