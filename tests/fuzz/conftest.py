"""How long the fuzz tests try: as hypothesis does, or long if somebody asks."""

from hypothesis import settings

settings.register_profile("long", max_examples=20_000, deadline=None)
