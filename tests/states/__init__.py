"""State folders as released versions have left them, for ever.

    tests/states/0.1.0/home/       the data folder of a home
    tests/states/0.1.0/relay/      that of its relay
    tests/states/0.1.0/root.pem    what the certificates of that home hang on
    tests/states/0.1.0/facts.yaml  what is in it, and which ports it was made with

Once a version is released its folder is never touched again: tests/system/
test_released_states.py starts the present code on each. Recorded by the code of that
version itself, with all that it can keep: two services with a hostname, one of them
with a password, one that is off, a TCP port, a service without anything.

    make demo                               # once, for what it installs
    .venv/bin/python -m tests.states        # writes tests/states/VERSION

The keys in there were made for this and are good for nothing else. Locks, sockets and
what a start makes anew are left out. Certificates are valid for twenty years.
"""
