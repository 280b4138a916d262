"""What both sides must agree on: the bytes, described without moving any.

    hello      the ClientHello at the start of a visitor's stream
    proxy      the PROXY header that tells the edge who the visitor is
    channel    the preamble that parks a channel and the opening that gives it away
    control    the messages of the control connection
    pairing    the one line that joins a home to a relay
    names      hostnames and addresses in the one spelling that is compared

Pure functions over bytes and values. Nothing here opens a socket, reads a clock or a
file, or knows which side it runs on. Byte layouts: docs/protocol.md.
"""
