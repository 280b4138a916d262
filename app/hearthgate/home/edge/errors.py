"""What can go wrong with the edge, as sentences for the user."""

from hearthgate.errors import HearthgateError


class EdgeError(HearthgateError):
    """Raise a subclass of this if the edge cannot do what the home wants."""

    code = "edge"
    status = 500


class EdgeRefusedError(EdgeError):
    """Raise if routes cannot become a configuration; what runs is untouched."""

    code = "edge_refused"
    message = "The edge did not accept the new configuration: {reason}"
    hint = "What was public before is unchanged. Please report this."


class EdgeFailedError(EdgeError):
    """Raise if HAProxy did not start, or did not become ready in time."""

    code = "edge_failed"
    message = "The edge did not start: {reason}"
    hint = "The log of the home has the words of HAProxy."
