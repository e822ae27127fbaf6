from tests.road.conftest import site

__all__ = ["site"]
