"""The way of a byte: a visitor, a channel, and the pump between them."""
