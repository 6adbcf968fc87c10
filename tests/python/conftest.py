"""How the property tests look for counterexamples: the same ones each time, however long one takes."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("seeded", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("seeded")
