"""What the runner (tools/third-party) and the suites written in Python share.

A suite is a program started as `SUITE ADDRESS --busrt CLI --busway CLI --service PROGRAM --broker-log FILE [--quick]`. It prints
`ok NAME` or `FAIL NAME` on standard output for every check, explains itself on standard error, and
exits non-zero when a check failed.
"""

import argparse
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[2]

# The longest any single answer may take. Generous, since only failures wait for it.
SECONDS = 10

# Around the clients' and brokers' buffer sizes (8192 bytes is the Python clients' own).
SIZES = (0, 1, 127, 8191, 8192, 8193, 65536, 1024 * 1024)

# In a broker's log: a client the reference has dropped, one that ours has dropped, and a panic.
BROKER_COMPLAINT = re.compile(r'.*(?:queue is full, force unregistering|cut:|panicked).*')


def payload_of(size):
    """The same bytes for the same size, NULs and bytes over 127 among them."""
    return random.Random(size).randbytes(size)


def shorten(value):
    text = repr(value)
    return text if len(text) <= 300 else f'{text[:300]}... ({len(text)} characters)'


def expect_equal(received, wanted, what='value'):
    if received != wanted:
        raise AssertionError(f'{what}: received {shorten(received)}, wanted {shorten(wanted)}')


def wait_until(condition, what, seconds=SECONDS):
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f'not within {seconds} s: {what}')
        time.sleep(0.02)


class Watchdog(Exception):
    pass


class Suite:
    """Runs the checks of one suite; one failed check does not stop the others."""

    def __init__(self, description):
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument('address', help='UNIX socket path or host:port')
        parser.add_argument('--busrt', required=True, help="busrt's command line program")
        parser.add_argument('--busway', required=True, help='our command line program')
        parser.add_argument('--service', required=True, help='our example of a service')
        parser.add_argument('--broker-log', required=True, type=Path)
        parser.add_argument('--quick', action='store_true')
        options = parser.parse_args()
        self.address = options.address
        self.busrt = options.busrt
        self.busway = options.busway
        self.service = options.service
        self.broker_log = options.broker_log
        self.quick = options.quick
        self.failed = 0
        signal.signal(signal.SIGALRM, self._alarm)

    @staticmethod
    def _alarm(_signal, _frame):
        raise Watchdog('the check hangs')

    def check(self, name, function, *arguments, seconds=60):
        signal.alarm(seconds)
        try:
            function(*arguments)
        except Exception:
            signal.alarm(0)
            self.failed += 1
            print(f'--- {name}', file=sys.stderr)
            traceback.print_exc()
            print(f'FAIL {name}', flush=True)
        else:
            signal.alarm(0)
            print(f'ok {name}', flush=True)

    def finish(self):
        sys.stdout.flush()
        sys.stderr.flush()
        # Not sys.exit(): it would wait for the threads of the synchronous client.
        os._exit(1 if self.failed else 0)

    def run_busrt(self, *arguments, name=None, standard_input=b'', seconds=SECONDS):
        """Runs a busrt command to its end; its exit code and all it printed."""
        return run(self._command(name, arguments), standard_input, seconds)

    def expect_busrt(self, *arguments, name=None, **expectations):
        """Runs a busrt command that must end as expected."""
        return expect_output(self._command(name, arguments), **expectations)

    def expect_busway(self, *arguments, name, **expectations):
        """Runs a command of ours that must end as expected."""
        return expect_output([self.busway, '-c', self.address, '-n', name, *arguments], **expectations)

    def start_busrt(self, *arguments):
        return Running(self._command(None, arguments))

    def listener(self, *arguments, name):
        return Listener(self._command(name, arguments), '^Listening to ')

    def busway_listener(self, *arguments, name):
        return Listener([self.busway, '-c', self.address, '-n', name, *arguments], '^listening as ')

    def busway_service(self, name):
        return Listener([self.service, self.address, name], '^serving as ')

    def _command(self, name, arguments):
        return [self.busrt, self.address, *(['-n', name] if name else []), *arguments]


def run(command, standard_input=b'', seconds=SECONDS):
    """Runs a command to its end; its exit code and all it printed."""
    done = subprocess.run(command, input=standard_input, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=seconds, check=False)
    return done.returncode, done.stdout.decode(errors='replace')


def expect_output(command, output='', code=0, **options):
    """Runs a command that must exit with `code` and print `output` (a pattern)."""
    exit_code, printed = run(command, **options)
    expect_equal(exit_code, code, f'exit code of {command}, which printed {printed}')
    if not re.search(output, printed, re.MULTILINE):
        raise AssertionError(f'{command} printed {printed}, wanted {output}')
    return printed


class Running:
    """A command that runs on; what it prints can be read meanwhile. Use it as a context."""

    def __init__(self, command):
        self.output = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                        stdout=self.output, stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        stop_process(self.process)
        self.output.close()

    def has_ended(self):
        return self.process.poll() is not None

    def text(self):
        size = os.fstat(self.output.fileno()).st_size
        return os.pread(self.output.fileno(), size, 0).decode(errors='replace')


class Listener(Running):
    """A running listener or service."""

    def __init__(self, command, ready):
        super().__init__(command)
        self.ready = ready

    def __enter__(self):
        try:
            # Printed once it is connected and the broker has acknowledged its topics.
            self.wait_for(self.ready)
        except BaseException:
            self.__exit__()
            raise
        return self

    def wait_for(self, *patterns):
        """Waits for every pattern, in this order."""
        pattern = re.compile(r'[\s\S]*?'.join(patterns), re.MULTILINE)

        def found():
            return pattern.search(self.text()) or self.has_ended()

        try:
            wait_until(found, pattern.pattern)
        except AssertionError as error:
            raise AssertionError(f'{error}; the listener printed {shorten(self.text())}') from None
        if self.has_ended():
            raise AssertionError(f'the listener ended: {shorten(self.text())}')


def stop_process(process, grace=5):
    """Ends a process this program started; True when it did not have to be killed."""
    if process.poll() is not None:
        return True
    process.terminate()
    try:
        process.wait(grace)
        return True
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False


def lines_in_log(log, pattern, offset=0):
    """The lines of a log that match, from a byte offset on."""
    return pattern.findall(log.read_bytes()[offset:].decode(errors='replace'))


class Broker:
    """A broker process that listens on a UNIX socket and on a TCP port."""

    def __init__(self, binary, directory):
        self.log = Path(directory) / 'broker.log'
        self.unix = str(Path(directory) / 'broker.sock')
        self.process = None
        # Somebody else may take the port between its choice and the broker's bind.
        for _attempt in range(3):
            self.tcp = f'127.0.0.1:{free_port()}'
            self._spawn(binary)
            try:
                wait_until(self._is_ready, 'the broker listens')
                return
            except AssertionError:
                if self.is_alive():
                    break
        stop_process(self.process)
        raise RuntimeError(f'the broker does not start: {self.log.read_text()}')

    def _spawn(self, binary):
        with self.log.open('wb') as log:
            # A session of its own, so that an interrupt at the terminal reaches the runner alone.
            self.process = subprocess.Popen(
                [binary, '-B', self.unix, '-B', self.tcp], stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    def _is_ready(self):
        if not self.is_alive():
            raise AssertionError('the broker ended')
        try:
            register(self.unix, 'harness.ready.unix')
            register(self.tcp, 'harness.ready.tcp')
            return True
        except OSError:
            return False

    def is_alive(self):
        return self.process.poll() is None

    def stop(self):
        """SIGTERM, then SIGKILL; True when the first was enough."""
        return stop_process(self.process)


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def register(address, name):
    """A whole handshake, since a broker may log a client that leaves in the middle of one."""
    if address.startswith('/'):
        connection = socket.socket(socket.AF_UNIX)
        target = address
    else:
        connection = socket.socket()
        host, port = address.rsplit(':', 1)
        target = (host, int(port))
    with connection:
        connection.settimeout(SECONDS)
        connection.connect(target)
        stream = connection.makefile('rb')
        greeting = stream.read(3)
        expect_equal(greeting, b'\xeb\x01\x00', 'greeting')
        connection.sendall(greeting + len(name).to_bytes(2, 'little') + name.encode())
        expect_equal(stream.read(2), b'\x01\x01', 'registration')
