"""Our RPC layer with those of others: both Python clients and busrt's command line, as callers and as handlers."""

import asyncio
import os
import re
import threading

import msgpack

import harness
from adapters import Blocking, Coroutines
from harness import SIZES, expect_equal, payload_of
from scenarios import (CALL_WITHOUT_REPLY, CUSTOM_ERROR, CUSTOM_ERROR_TEXT, INVALID_PARAMETERS,
                       METHOD_NOT_FOUND, NOTIFICATION, Peer)

PARSE_ERROR = -32700
NOT_FOUND = -32001
PEER_NOT_REGISTERED = -32113


class BuswayRpc:
    def __init__(self, suite):
        self.suite = suite
        # The asynchronous client lives on a thread of its own.
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.prefix = f'busway.{os.getpid()}'
        blocking = Peer(Blocking, suite.address, f'{self.prefix}.blocking')
        coroutines = self.on_loop(self._create(f'{self.prefix}.coroutines'))
        self.peers = ((Blocking.run, blocking), (self.on_loop, coroutines))
        for run, peer in self.peers:
            run(peer.connect())
            peer.use_rpc()

    async def _create(self, name):
        return Peer(Coroutines, self.suite.address, name)

    def on_loop(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout=60)

    def close(self):
        for run, peer in self.peers:
            run(peer.disconnect())

    def python_calls_our_service(self):
        name = f'{self.prefix}.service'
        with self.suite.busway_service(name) as service:
            for run, caller in self.peers:
                for size in SIZES:
                    expect_equal(run(caller.call_and_wait(name, 'echo', payload_of(size))),
                                 payload_of(size), f'echo of {size}')
                terms = msgpack.packb({'one': 40, 'other': 2})
                expect_equal(msgpack.unpackb(run(caller.call_and_wait(name, 'add', terms))), 42)
                expect_equal(run(caller.expect_error(CUSTOM_ERROR, name, 'fail')), CUSTOM_ERROR_TEXT)
                run(caller.expect_error(METHOD_NOT_FOUND, name, 'unknown'))
                run(caller.expect_error(INVALID_PARAMETERS, name, 'add', msgpack.packb({'one': 1})))
                run(caller.expect_error(PARSE_ERROR, name, 'add', b'\xc1'))
                run(caller.call_without_reply(name, 'echo', b'thrown away'))
                run(caller.notify(name, b'a note'))
                service.wait_for(f'^{re.escape(caller.name)} says a note$')
                self._many_at_once(run, caller, name)

    @staticmethod
    def _many_at_once(run, caller, name):
        async def call_all():
            calls = [await caller.call(name, 'echo', str(number).encode()) for number in range(500)]
            for number, call in enumerate(calls):
                expect_equal(await caller.result(call), str(number).encode())

        run(call_all())
        expect_equal(caller.rpc.calls, {}, 'replies still awaited')

    def python_reads_our_cursor(self):
        name = f'{self.prefix}.service'
        with self.suite.busway_service(name):
            for run, caller in self.peers:
                def ask(method, value):
                    return run(caller.call_and_wait(name, method, msgpack.packb(value)))

                handle = msgpack.unpackb(ask('count', 3))
                expect_equal((list(handle), len(handle['u'])), (['u'], 16))
                expect_equal([ask('N', handle) for _ in range(4)], [b'\0', b'\1', b'\2', b''])
                run(caller.expect_error(NOT_FOUND, name, 'N', msgpack.packb(handle)))
                handle = {**msgpack.unpackb(ask('count', 250)), 'n': 100}
                blocks = [msgpack.unpackb(ask('NB', handle)) for _ in range(3)]
                expect_equal(blocks, [list(range(100)), list(range(100, 200)), list(range(200, 250))])

    def our_command_line_calls_python(self):
        name = f'{self.prefix}.caller'
        for run, handler in self.peers:
            def rpc(*arguments, **expectations):
                self.suite.expect_busway('rpc', *arguments, name=name, **expectations)

            rpc('call', handler.name, 'echo', 'number=1', 'word=two', 'yes=true',
                output=r'"number": 1,\s+"word": "two",\s+"yes": true')
            large = payload_of(1 << 20).hex()
            rpc('call', handler.name, 'echo', '-', standard_input=large.encode(), output=f'^{large}$')
            rpc('call', handler.name, 'nothing', output='^$')
            rpc('call', handler.name, 'fail', code=1,
                output=f'error {CUSTOM_ERROR}: {CUSTOM_ERROR_TEXT.decode()}$')
            rpc('call', handler.name, 'unknown', code=1, output=f'error {METHOD_NOT_FOUND}: ')
            rpc('call0', handler.name, 'count', 'a=1', output='^OK$')
            run(handler.expect(CALL_WITHOUT_REPLY, name, b'\x81\xa1a\x01', 'count'))
            rpc('notify', handler.name, 'news', output='^OK$')
            run(handler.expect(NOTIFICATION, name, b'news'))

    def python_calls_our_command_line(self):
        name = f'{self.prefix}.listener'
        with self.suite.busway_listener('rpc', 'listen', name=name) as listener:
            for run, caller in self.peers:
                who = re.escape(caller.name)
                expect_equal(run(caller.call_and_wait(name, 'look', b'here')), b'', 'reply')
                listener.wait_for(rf'^call look from {who} \(4 bytes\)$', '^here$')
                run(caller.call_without_reply(name, 'leap', b'far'))
                listener.wait_for(rf'^call0 leap from {who} \(3 bytes\)$', '^far$')
                run(caller.notify(name, b'note'))
                listener.wait_for(rf'^notification from {who} \(4 bytes\)$', '^note$')

    def busrt_calls_our_service(self):
        name = f'{self.prefix}.service'
        caller = f'{self.prefix}.busrt'
        with self.suite.busway_service(name) as service:
            def call(*arguments, **expectations):
                self.suite.expect_busrt('rpc', 'call', name, *arguments, name=caller, **expectations)

            call('echo', 'a=1', 'b=x', output=r'"a": 1,\s+"b": "x"')
            large = payload_of(1 << 20).hex()
            call('echo', '-', standard_input=large.encode(), output=f'^STR:  {large}$')
            call('fail', code=1, output=f'RPC Error {CUSTOM_ERROR}: {CUSTOM_ERROR_TEXT.decode()}')
            call('unknown', code=1, output=f'RPC Error {METHOD_NOT_FOUND}: ')
            call('add', 'one=1', code=1, output=f'RPC Error {INVALID_PARAMETERS}: ')
            self.suite.expect_busrt('-s', 'rpc', 'call', name, 'add', 'one=40', 'other=2',
                                    name=caller, output=r'\*$')
            self.suite.expect_busrt('rpc', 'notify', name, 'a note', name=caller, output='^OK$')
            service.wait_for(f'^{re.escape(caller)} says a note$')

    def our_command_line_calls_busrt(self):
        name = f'{self.prefix}.listener'
        caller = f'{self.prefix}.caller'
        who = re.escape(caller)
        with self.suite.listener('rpc', 'listen', name=name) as listener:
            def rpc(*arguments, output):
                self.suite.expect_busway('rpc', *arguments, name=caller, output=output)

            rpc('call', name, 'look', 'a=1', 'b=1.5', 'c=x', 'd=false', output='^$')
            listener.wait_for('^method: look$', rf'^from {who} \({who}\)$', '^MSGPACK:$', '"a": 1',
                              '"b": 1.5', '"c": "x"', '"d": false')
            rpc('call0', name, 'hurry', output='^OK$')
            listener.wait_for('^method: hurry$', rf'^from {who} \({who}\)$')
            rpc('notify', name, 'a note', output='^OK$')
            listener.wait_for(rf'^Notification from {who} \({who}\)$', '^STR:  a note$')

    def a_peer_that_leaves_ends_the_call(self):
        caller = f'{self.prefix}.caller'
        self.suite.expect_busway('rpc', 'call', f'{self.prefix}.absent', 'look', name=caller, code=1,
                                 output='no such client is registered')
        # Neither answers nor leaves by itself.
        name = f'{self.prefix}.silent'
        with self.suite.listener('listen', name=name) as silent:
            command = [self.suite.busway, '-c', self.suite.address, '-n', caller, '--timeout', '60',
                       'rpc', 'call', name, 'look']
            with harness.Running(command) as call:
                silent.wait_for(f'^Message from {re.escape(caller)} ')
                harness.stop_process(silent.process)
                harness.wait_until(call.has_ended, 'the end of the call')
                expect_equal(call.process.returncode, 1, f'exit code, with {call.text()}')
                assert 'left before it answered' in call.text(), call.text()


def main():
    suite = harness.Suite(__doc__)
    busway = BuswayRpc(suite)
    for check in (busway.python_calls_our_service, busway.python_reads_our_cursor,
                  busway.our_command_line_calls_python, busway.python_calls_our_command_line,
                  busway.busrt_calls_our_service, busway.our_command_line_calls_busrt,
                  busway.a_peer_that_leaves_ends_the_call):
        suite.check(check.__name__, check)
    suite.check('disconnect', busway.close)
    suite.finish()


if __name__ == '__main__':
    main()
