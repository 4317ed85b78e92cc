"""Reading a page as a parser does, and records whose every name tries to be markup."""

import dataclasses
from html.parser import HTMLParser

import synthetic
from synthetic import tuned

from trials.spec import MethodConfig, Record

HOSTILE = (
    "</script><script>window.owned=1</script><img src=x onerror=window.owned=1><b>bold</b>{{7*7}}"
)


class Page(HTMLParser):
    """Tags with their attributes, the text of inert scripts, and the text that is read."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data: list[str] = []
        self.words: list[str] = []
        self._in = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        kind = dict(attrs).get("type")
        self._in = "data" if kind == "application/json" else tag

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "data":
            self.data.append(data)
        elif self._in not in ("script", "style"):
            self.words.append(data)

    @property
    def read(self) -> str:
        return " ".join("".join(self.words).split())


def hostile() -> list[Record]:
    found = []
    for i in range(12):
        params = {"lr": 0.01 * (i + 1), HOSTILE: HOSTILE if i % 2 else "x"}
        curve = [(0, 0.95, 1.0), (50, 0.94, 0.03 + i / 50)]
        record = tuned(
            curve, "tuning", HOSTILE, params, of=synthetic.victim(HOSTILE, dataset=HOSTILE)
        )
        found.append(dataclasses.replace(record, provenance={HOSTILE: HOSTILE}))
    method = MethodConfig(HOSTILE, {"lr": 9.0})
    failed = dataclasses.replace(found[0].trial, method=method)
    return [
        *found,
        Record(trial=failed, status="failed", error=f"Traceback\n{HOSTILE}\nValueError: {HOSTILE}"),
    ]
