"""Measure Hearthgate side by side with other ways to reach a home.

    scene     one service (nginx) and one sink for uploads, one certificate
    ways/     five ways from a visitor to an edge in front of that service
    loads     wrk, h2load and curl as visitors, one at a time
    rounds    every way in turn, round after round; medians and ratios
    report    a table, results.json and chart.svg

Run it with `python -m tests.bench` (`make bench`). Everything listens on loopback.
Absolute values belong to the machine, ratios are the point. Does not test that answers
are right beyond their status and size: that is what the system tests are for.
"""
