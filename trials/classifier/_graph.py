"""How data flows from the images to the logits, read from the graph that autograd keeps."""

from collections.abc import Collection

from torch.autograd.graph import Node


class Graph:
    """The operations between the images and the logits.

    Args:
        end: the operation that gave the logits.
        start: the operation that gave the images.
    """

    def __init__(self, end: Node, start: Node) -> None:
        order = _inputs_first(end)
        self._ways = dict.fromkeys(order, 0)  # ways from the images to an operation
        for node in order:
            before = (self._ways[n] for n, _ in node.next_functions if n is not None)
            self._ways[node] = 1 if node is start else sum(before)
        after = dict.fromkeys(order, 0)  # ways from an operation to the logits
        after[end] = 1
        for node in reversed(order):
            for n, _ in node.next_functions:
                if n is not None:
                    after[n] += after[node]
        whole = self._ways[end]
        # the operations through which all that the logits know of the images flows
        self.trunk = {n for n in order if whole and self._ways[n] * after[n] == whole}

    def before(self, node: Node, stops: Collection[Node]) -> tuple[set[Node], set[Node]]:
        """The operations from which ``node`` is computed, back to the first of ``stops`` on each
        way: those between, ``node`` among them, and the stops that were met.
        """
        between, met, waiting = set[Node](), set[Node](), [node]
        while waiting:
            here = waiting.pop()
            if here in between or not self._ways.get(here):
                continue
            if here in stops:
                met.add(here)
                continue
            between.add(here)
            waiting += [n for n, _ in here.next_functions if n is not None]
        return between, met


def _inputs_first(end: Node) -> list[Node]:
    """All operations before ``end``, each after those that it reads."""
    order, seen, stack = list[Node](), set[Node](), [(end, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(n, False) for n, _ in node.next_functions if n is not None]
    return order
