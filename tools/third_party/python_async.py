"""The published asynchronous Python client (busrt-async on PyPI), unchanged, against a broker."""

import asyncio

import harness
import scenarios
from adapters import Coroutines

if __name__ == '__main__':
    suite = harness.Suite(__doc__)
    scenarios.run_all(suite, Coroutines, asyncio.new_event_loop().run_until_complete)
    suite.finish()
