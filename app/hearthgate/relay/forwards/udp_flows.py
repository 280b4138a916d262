"""The flows of UDP forwards, and which of them goes when there is no room.

    full ──▶ the unproven one that was silent for longest
             else the proven one that was silent for longest, if it was for a while
             else nobody: the new visitor is refused

Each home has a table and each address has one, so an address that forges others' ports
only pushes out its own, and a crowd of forged addresses only pushes out each other.
"""

from typing import Generic, TypeVar

from hearthgate.shared.net.udp import Address

_PROVEN_AFTER = 2  # datagrams that came after we had answered: it hears us

Key = tuple[int, Address]  # the socket that a visitor came to, and the visitor


class Flow:
    """What one visitor and one service send each other."""

    __slots__ = (
        "accepted",
        "answered",
        "credit",
        "id",
        "key",
        "last",
        "proofs",
        "to_home",
        "to_visitor",
        "visitor",
    )

    def __init__(self, key: Key, now: float) -> None:
        self.key = key
        self.visitor = key[1]
        self.id = 0
        self.accepted = False  # the home knows it
        self.answered = False  # something went to the visitor since its last datagram
        self.proofs = 0
        self.credit = 0  # bytes that may go to it because it has gone on once
        self.to_home = 0  # bytes
        self.to_visitor = 0  # as far as it got them
        self.last = now

    @property
    def is_proven(self) -> bool:
        """Whether the visitor is where it says it is."""
        return self.proofs >= _PROVEN_AFTER

    def prove(self, credit: int) -> None:
        """Count that the visitor went on; after an answer this is a proof.

        The first one is worth a credit. It is good for this flow only: if the others
        of its address had it too, each proof would pay for more of them.
        """
        if self.answered:
            self.answered = False
            self.proofs += 1
            self.credit += credit

    def spend(self, size: int) -> bool:
        """Take some of the credit; False, and nothing, if there is not enough."""
        if size > self.credit:
            return False
        self.credit -= size
        return True


FlowT = TypeVar("FlowT", bound=Flow)


class Table(Generic[FlowT]):
    """The flows of one home, or of one address."""

    def __init__(self) -> None:
        # Each with the time of its last datagram when it was put there: about in the
        # order of these times, put right when somebody has to go.
        self._unproven: dict[FlowT, float] = {}
        self._proven: dict[FlowT, float] = {}

    def __len__(self) -> int:
        return len(self._unproven) + len(self._proven)

    def add(self, flow: FlowT) -> None:
        """Keep a new flow."""
        self._unproven[flow] = flow.last

    def remove(self, flow: FlowT) -> None:
        """Forget a flow."""
        self._unproven.pop(flow, None)
        self._proven.pop(flow, None)

    def most_idle(self, spared_since: float) -> FlowT | None:
        """Return who goes; no proven one that was heard since a moment."""
        found = self._oldest(self._unproven)
        if found is None:
            found = self._oldest(self._proven)
            if found is not None and found.last >= spared_since:
                return None
        return found

    def _oldest(self, part: dict[FlowT, float]) -> FlowT | None:
        while part:
            flow, last = next(iter(part.items()))
            if flow.last == last and flow.is_proven is (part is self._proven):
                return flow
            del part[flow]
            (self._proven if flow.is_proven else part)[flow] = flow.last
        return None
