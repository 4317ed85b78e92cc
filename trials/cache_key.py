"""A value of a sweep as the key of a cache."""

from typing import Any


class Key:
    """A spec value as a cache key: equal identity, equal key."""

    def __init__(self, value: Any) -> None:
        self.value, self.text = value, str(value.identity())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)
