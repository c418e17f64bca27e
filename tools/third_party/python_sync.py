"""The published synchronous Python client (busrt on PyPI), unchanged, against a broker."""

import harness
import scenarios
from adapters import Blocking

if __name__ == '__main__':
    suite = harness.Suite(__doc__)
    scenarios.run_all(suite, Blocking, Blocking.run)
    suite.finish()
