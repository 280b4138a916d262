"""Every parser that faces the network, against anything.

    targets   what reads bytes of strangers, with examples of what is right
    CI        test_targets: hypothesis, some hundred tries for each
    by hand   pytest tests/fuzz --hypothesis-profile=long     a hundred times as many
              pip install atheris && python -m tests.fuzz hello --seconds 600
                                                              led by coverage

PROXY headers are only written by us; HAProxy reads them. Pages, images and mDNS
announcements have such tests beside their other ones (tests/unit/home/discovery).
"""
