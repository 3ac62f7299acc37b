"""Hooks: what may look at, or change, a sampling run from outside the solver.

A hook sees every step of every solver at the same three places; it draws random numbers, if it needs any, from the
streams it is given, so samples stay independent of their batch.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..paths.base import Ends
from ..state import State
from ..streams import Streams
from ..system import Network, System


class Hook:
    """A hook that does nothing; subclasses replace what they need."""

    def network(self, network: Network) -> Network:
        """Wrap the network (guidance)."""
        return network

    def ends(
        self, system: System, state: State, t: float, ends: Mapping[str, Ends]
    ) -> Mapping[str, Ends]:
        """Change the believed ends after a network call at `t`."""
        return ends

    def state(self, system: System, state: State, t: float, streams: Streams) -> State:
        """Change the state at a knot: called at t = 0 and after every step, with the time reached."""
        return state
