"""Different published clients with each other: both Python clients and busrt's command line."""

import asyncio
import os
import re
import threading
import time

import harness
from adapters import Blocking, Coroutines
from harness import SIZES, expect_equal, payload_of
from scenarios import (BROADCAST, CALL_WITHOUT_REPLY, CUSTOM_ERROR, CUSTOM_ERROR_TEXT, MESSAGE,
                       METHOD_NOT_FOUND, NOTIFICATION, OK, PUBLISH, Peer)

# The broker drops a client that is silent for 1.25 x its timeout, which is 5 s by default.
LONGER_THAN_THE_BROKER_WAITS = 7


class Cross:
    def __init__(self, suite):
        self.suite = suite
        # The asynchronous client lives on a thread of its own, so that the blocking one can call it.
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        prefix = f'cross.{os.getpid()}'
        self.prefix = prefix
        self.blocking = Peer(Blocking, suite.address, f'{prefix}.blocking')
        self.coroutines = self.on_loop(self._create(f'{prefix}.coroutines'))
        Blocking.run(self.blocking.connect())
        self.on_loop(self.coroutines.connect())
        self.blocking.use_rpc()
        self.coroutines.use_rpc()
        self.peers = ((Blocking.run, self.blocking), (self.on_loop, self.coroutines))

    async def _create(self, name):
        return Peer(Coroutines, self.suite.address, name)

    def on_loop(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout=60)

    def close(self):
        for run, peer in self.peers:
            run(peer.disconnect())

    def python_calls_python(self):
        for (run, caller), (_run, handler) in (self.peers, self.peers[::-1]):
            for size in SIZES:
                expect_equal(run(caller.call_and_wait(handler.name, 'echo', payload_of(size))),
                             payload_of(size), f'echo of {size}')
            expect_equal(run(caller.expect_error(CUSTOM_ERROR, handler.name, 'fail')),
                         CUSTOM_ERROR_TEXT)
            run(caller.expect_error(METHOD_NOT_FOUND, handler.name, 'unknown'))

    def command_line_calls_python(self):
        name = f'{self.prefix}.caller'
        for run, handler in self.peers:
            def call(method, *parameters, kind='call', **options):
                self.suite.expect_busrt('rpc', kind, handler.name, method, *parameters,
                                        name=name, **options)

            call('echo', 'number=1', 'word=two', 'yes=true',
                 output=r'"number": 1,\s+"word": "two",\s+"yes": true')
            call('fail', code=1, output=rf'RPC Error {CUSTOM_ERROR}: {CUSTOM_ERROR_TEXT.decode()}')
            call('unknown', code=1, output=f'RPC Error {METHOD_NOT_FOUND}: ')
            call('count', 'a=1', kind='call0', output='^OK$')
            run(handler.expect(CALL_WITHOUT_REPLY, name, b'\x81\xa1a\x01', 'count'))
            self.suite.expect_busrt('rpc', 'notify', handler.name, 'news', name=name, output='^OK$')
            run(handler.expect(NOTIFICATION, name, b'news'))

    def python_calls_command_line(self):
        name = f'{self.prefix}.listener'
        with self.suite.listener('rpc', 'listen', name=name) as listener:
            for run, caller in self.peers:
                who = re.escape(caller.name)
                from_caller = rf'^from {who} \({who}\)$'
                expect_equal(run(caller.call_and_wait(name, 'look', b'here')), b'', 'reply')
                listener.wait_for('^method: look$', from_caller, '^STR:  here$')
                run(caller.call_without_reply(name, 'leap', b'far'))
                run(caller.notify(name, b'note'))
                listener.wait_for('^method: leap$', from_caller, '^STR:  far$')
                listener.wait_for(rf'^Notification from {who} \({who}\)$', '^STR:  note$')

    def python_and_command_line_frames(self):
        name = f'{self.prefix}.listener'
        topic = f'{self.prefix}/topic'
        with self.suite.listener('listen', '-t', f'{self.prefix}/#', name=name) as listener:
            for run, peer in self.peers:
                who = re.escape(peer.name)
                expect_equal(run(peer.message(name, b'direct')), OK)
                expect_equal(run(peer.broadcast(f'{self.prefix}.listen*', b'missed')), OK)
                expect_equal(run(peer.broadcast('cross.?.listener', b'to some')), OK)
                expect_equal(run(peer.publish(topic, b'published')), OK)
                listener.wait_for(rf'^Message from {who} ', '^STR:  direct$',
                                  rf'^Broadcast from {who} ', '^STR:  to some$',
                                  rf'^Publish from {who} ', f'^topic: {topic}$', '^STR:  published$')
            assert 'missed' not in listener.text(), listener.text()

        for run, peer in self.peers:
            run(peer.subscribe(topic))
        sender = f'{self.prefix}.sender'
        self.suite.expect_busrt('publish', topic, 'published', name=sender, output='^OK$')
        self.suite.expect_busrt('send', f'{self.prefix}.*', 'to all', name=sender, output='^OK$')
        for run, peer in self.peers:
            run(peer.expect(PUBLISH, sender, b'published', topic))
            run(peer.expect(BROADCAST, sender, b'to all'))

    def idle_clients_stay(self):
        """Every client keeps itself alive with pings alone."""
        name = f'{self.prefix}.idle'
        with self.suite.listener('listen', name=name) as listener:
            time.sleep(LONGER_THAN_THE_BROKER_WAITS)
            for run, peer in self.peers:
                assert peer.client.is_connected(), peer.name
                expect_equal(run(peer.message(name, b'awake')), OK)
                listener.wait_for(rf'^Message from {re.escape(peer.name)} ', '^STR:  awake$')
        expect_equal(Blocking.run(self.blocking.call_and_wait(self.coroutines.name, 'echo', b'x')), b'x')


def main():
    suite = harness.Suite(__doc__)
    cross = Cross(suite)
    for check in (cross.python_calls_python, cross.command_line_calls_python,
                  cross.python_calls_command_line, cross.python_and_command_line_frames,
                  cross.idle_clients_stay):
        suite.check(check.__name__, check)
    suite.check('disconnect', cross.close)
    suite.finish()


if __name__ == '__main__':
    main()
