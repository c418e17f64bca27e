"""busrt 0.5.6's own benchmark, to its end and with no client lost on the way.

The benchmark takes a failed receive for a received frame, so the broker's log has the last word.
The reference broker fails some of these: it cuts a client that floods itself.
"""

import re

import harness
from harness import BROKER_COMPLAINT, expect_equal, lines_in_log, wait_until

STAGES = ('rpc.call', 'rpc.call+handle', 'rpc.call0', 'send+recv.qos.no',
          'send+recv.qos.processed', 'send.qos.no', 'send.qos.processed')

# Workers, iterations, payload bytes, over TCP too. With one worker most of the time is that of its calls, one by one;
# it floods itself all the same: 12,000 are more than either broker keeps for a client.
RUNS = ((1, 12000, 100, True),
        (4, 60000, 100, True),
        (1, 12000, 16384, False),
        (1, 2000, 262144, False))

SECONDS_A_RUN = 240


def benchmark(suite, workers, iterations, payload_bytes):
    offset = suite.broker_log.stat().st_size
    command = ('benchmark', '-w', str(workers), '-i', str(iterations),
               '--payload-size', str(payload_bytes))
    with suite.start_busrt(*command) as running:
        def complaints():
            return lines_in_log(suite.broker_log, BROKER_COMPLAINT, offset)

        try:
            # A benchmark that has lost its client may wait for ever.
            wait_until(lambda: running.has_ended() or complaints(), 'the end', SECONDS_A_RUN)
        except AssertionError as error:
            raise AssertionError(f'{error}; the benchmark printed {running.text()}') from None
        printed = running.text()
        expect_equal(complaints(), [], f"the broker's complaints; the benchmark printed {printed}")
        expect_equal(running.process.returncode, 0, f'exit code, with {printed}')
    assert not re.search('failed|panicked', printed), printed
    # The rows after the "Benchmark results" line: stage, iterations, seconds, milliseconds, speed.
    # A table with failures has more columns, and so does not match.
    _, _, table = printed.partition('Benchmark results')
    shown = f'{iterations:,}'.replace(',', '_')
    rows = re.findall(rf'^ (\S+) +{shown} +[\d.]+ +[\d.]+ +[\d_]+ *$', table, re.MULTILINE)
    expect_equal(sorted(rows), sorted(STAGES), f'rows of the table {printed}')


def main():
    suite = harness.Suite(__doc__)
    for workers, iterations, payload_bytes, over_tcp in RUNS:
        if over_tcp or suite.address.startswith('/'):
            if suite.quick:
                iterations //= 10
            suite.check(f'workers_{workers}_payload_{payload_bytes}',
                        benchmark, suite, workers, iterations, payload_bytes,
                        seconds=SECONDS_A_RUN + 30)
    suite.finish()


if __name__ == '__main__':
    main()
