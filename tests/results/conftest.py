"""What the tests of results share: records to store, and a store on each kind of database."""

from collections.abc import Callable, Iterator

import pytest
from one_record import record

from results.store import Store
from trials.spec import Record


@pytest.fixture
def make_record() -> Callable[..., Record]:
    return record


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url) as opened:
        yield opened
