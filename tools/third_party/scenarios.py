"""The checks of the two Python clients, written once.

busrt (threads) and busrt_async (coroutines) have the same classes, methods and arguments. Here
everything is a coroutine; settle() awaits what is awaitable and passes on what a blocking method
has already returned, so that for the synchronous client no coroutine is ever suspended.

An adapter tells the two apart: `library`, `new_inbox()`, `next_from(inbox)`, and `handler(function)`,
which makes a plain function what the library wants for a callback.
"""

import inspect
import logging
import os

import msgpack

from harness import SECONDS, SIZES, expect_equal, payload_of, shorten

PUBLISH = 0x01
SUBSCRIBE = 0x02
UNSUBSCRIBE = 0x03
MESSAGE = 0x12
BROADCAST = 0x13
NOTIFICATION = 'notification'
CALL_WITHOUT_REPLY = 'call without reply'

OK = 0x01
NOT_REGISTERED = 0x71
INVALID_DATA = 0x72
BUSY = 0x76

METHOD_NOT_FOUND = -32601
INVALID_PARAMETERS = -32602
PEER_NOT_REGISTERED = -32113
CUSTOM_ERROR = -777
CUSTOM_ERROR_TEXT = b'out of fruit'


async def settle(result):
    return await result if inspect.isawaitable(result) else result


class Peer:
    """One client; what it receives waits in its inbox as (kind, sender, topic or method, payload)."""

    def __init__(self, adapter, address, name):
        self.adapter = adapter
        self.name = name
        self.inbox = adapter.new_inbox()
        self.client = adapter.library.client.Client(address, name)
        # The default of 1 s is short for a megabyte on a busy machine.
        self.client.timeout = SECONDS
        self.client.on_frame = adapter.handler(self._frame)
        self.rpc = None

    async def connect(self):
        await settle(self.client.connect())

    async def disconnect(self):
        await settle(self.client.disconnect())

    def use_rpc(self):
        self.rpc = self.adapter.library.rpc.Rpc(self.client)
        self.rpc.on_frame = self.adapter.handler(self._frame)
        self.rpc.on_notification = self.adapter.handler(self._notification)
        self.rpc.on_call = self.adapter.handler(self._call)

    def _frame(self, frame):
        self.inbox.put_nowait((frame.type, frame.sender, frame.topic, frame.payload))

    def _notification(self, event):
        self.inbox.put_nowait((NOTIFICATION, event.frame.sender, None, event.get_payload()))

    def _call(self, event):
        error = self.adapter.library.rpc.RpcException
        method = event.method.decode()
        if event.call_id == 0:
            self.inbox.put_nowait((CALL_WITHOUT_REPLY, event.frame.sender, method,
                                   event.get_payload()))
            return None
        if method == 'echo':
            return event.get_payload()
        if method == 'nothing':
            return None
        if method == 'fail':
            raise error(CUSTOM_ERROR_TEXT, code=CUSTOM_ERROR)
        raise error('', code=METHOD_NOT_FOUND)

    async def operate(self, operation, target, payload, qos=1):
        """Sends a frame; the code of its acknowledgement (OK when none was asked for)."""
        frame = self.adapter.library.client.Frame(payload, tp=operation, qos=qos)
        sent = await settle(self.client.send(target, frame))
        return await settle(sent.wait_completed(timeout=SECONDS))

    async def message(self, target, payload, qos=1):
        return await self.operate(MESSAGE, target, payload, qos)

    async def broadcast(self, mask, payload, qos=1):
        return await self.operate(BROADCAST, mask, payload, qos)

    async def publish(self, topic, payload, qos=1):
        return await self.operate(PUBLISH, topic, payload, qos)

    async def subscribe(self, topics):
        await settle(self.client.subscribe(topics))
        await self.barrier()

    async def unsubscribe(self, topics):
        await settle(self.client.unsubscribe(topics))
        await self.barrier()

    async def barrier(self):
        """The clients subscribe without acknowledgement, so acknowledge something after it."""
        expect_equal(await self.broadcast(f'{self.name}.nobody', b''), OK, 'barrier')

    async def receive(self):
        return await settle(self.adapter.next_from(self.inbox))

    async def expect(self, kind, sender, payload, topic=None):
        expect_equal(await self.receive(), (kind, sender, topic, payload),
                     f'next frame of {self.name}')

    async def expect_nothing_more_from(self, sender):
        """Frames of one sender to one receiver keep their order, so a last one proves the rest."""
        expect_equal(await sender.message(self.name, b'last'), OK, 'last message')
        await self.expect(MESSAGE, sender.name, b'last')

    async def call(self, target, method, parameters=b''):
        request = self.adapter.library.rpc.Request(method, parameters)
        return await settle(self.rpc.call(target, request))

    async def result(self, call):
        return (await settle(call.wait_completed(timeout=SECONDS))).get_payload()

    async def call_and_wait(self, target, method, parameters=b''):
        return await self.result(await self.call(target, method, parameters))

    async def call_without_reply(self, target, method, parameters=b''):
        request = self.adapter.library.rpc.Request(method, parameters)
        sent = await settle(self.rpc.call0(target, request))
        expect_equal(await settle(sent.wait_completed(timeout=SECONDS)), OK, 'call0')

    async def notify(self, target, payload):
        notification = self.adapter.library.rpc.Notification(payload)
        sent = await settle(self.rpc.notify(target, notification))
        expect_equal(await settle(sent.wait_completed(timeout=SECONDS)), OK, 'notification')

    async def expect_error(self, code, target, method, parameters=b''):
        """A call that must fail with this code; the text of the error."""
        try:
            result = await self.call_and_wait(target, method, parameters)
        except self.adapter.library.rpc.RpcException as error:
            expect_equal(error.rpc_error_code, code, f'error of {target} {method}')
            return error.rpc_error_payload
        raise AssertionError(f'{target} {method} returned {shorten(result)}, not error {code}')


class Scene:
    """The clients of one check; their names start with `prefix`, which no other check uses."""

    def __init__(self, adapter, address, check):
        self.adapter = adapter
        self.address = address
        self.prefix = f'{adapter.library.__name__}.{os.getpid()}.{check}'
        self.peers = []

    async def connect(self, name, rpc=False):
        peer = Peer(self.adapter, self.address, f'{self.prefix}.{name}')
        await peer.connect()
        self.peers.append(peer)
        if rpc:
            peer.use_rpc()
        return peer

    async def close(self):
        for peer in self.peers:
            await peer.disconnect()


class ComplaintCollector(logging.Handler):
    """The clients only log a broken frame or an acknowledgement nobody waits for."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.complaints = []
        logging.getLogger('busrt').addHandler(self)

    def emit(self, record):
        self.complaints.append(record.getMessage())


def run_all(suite, adapter, run):
    """Runs every scenario; `run` drives a coroutine to its end."""
    collector = ComplaintCollector()

    async def play(scenario):
        collector.complaints.clear()
        scene = Scene(adapter, suite.address, scenario.__name__)
        try:
            await scenario(scene)
        finally:
            await scene.close()
        expect_equal(collector.complaints, [], 'what the client logged')

    for scenario in SCENARIOS:
        suite.check(scenario.__name__, lambda: run(play(scenario)))


async def registration(scene):
    async def expect_refusal(name, code):
        try:
            await Peer(scene.adapter, scene.address, name).connect()
        except RuntimeError as error:
            expect_equal(str(error), f'Server response: {hex(code)}', f'refusal of {name!r}')
        else:
            raise AssertionError(f'{name!r} was not refused')

    await expect_refusal('', INVALID_DATA)
    await expect_refusal('.hidden', INVALID_DATA)
    await expect_refusal(f'{scene.prefix}.absent%%1', NOT_REGISTERED)
    taken = await scene.connect('taken')
    await expect_refusal(taken.name, BUSY)


async def messages(scene):
    first = await scene.connect('first')
    second = await scene.connect('second')
    secondary = await scene.connect('second%%1')
    expect_equal(await first.message(second.name, b'one'), OK)
    await second.expect(MESSAGE, first.name, b'one')
    expect_equal(await second.message(first.name, 'text'), OK)
    await first.expect(MESSAGE, second.name, b'text')
    expect_equal(await first.message(first.name, b'self'), OK)
    await first.expect(MESSAGE, first.name, b'self')
    expect_equal(await first.message(secondary.name, b'two'), OK)
    await secondary.expect(MESSAGE, first.name, b'two')
    expect_equal(await secondary.message(first.name, b'three'), OK)
    await first.expect(MESSAGE, secondary.name, b'three')
    expect_equal(await first.message(f'{scene.prefix}.absent', b''), NOT_REGISTERED)
    for peer in (first, second, secondary):
        await peer.expect_nothing_more_from(first)


async def broadcasts(scene):
    sender = await scene.connect('sender')
    plain = await scene.connect('group.one')
    deep = await scene.connect('group.one.deep')
    other = await scene.connect('other')
    receivers = (sender, plain, deep, other)
    for mask, wanted in (
            ('*', (sender, plain, deep, other)),
            ('group.*', (plain, deep)),
            ('group.?', (plain,)),
            ('group.?.deep', (deep,)),
            ('?.one', (plain,)),
            ('?', (sender, other)),
            ('?.?.?', (deep,)),
            ('group.one', (plain,)),
            ('group', ()),
            ('absent.*', ())):
        payload = mask.encode()
        expect_equal(await sender.broadcast(f'{scene.prefix}.{mask}', payload), OK, mask)
        for receiver in receivers:
            if receiver in wanted:
                await receiver.expect(BROADCAST, sender.name, payload)
            await receiver.expect_nothing_more_from(sender)
    # This one reaches everybody at the broker.
    expect_equal(await sender.broadcast('*', b'everybody'), OK)
    for receiver in receivers:
        await receiver.expect(BROADCAST, sender.name, b'everybody')


async def publications(scene):
    publisher = await scene.connect('publisher')
    reader = await scene.connect('reader')
    root = scene.prefix
    await reader.subscribe(f'{root}/one/+/state')
    await reader.subscribe([f'{root}/two/#', f'{root}/exact', f'{root}/+/both', f'{root}/two/both'])
    subscribed = True

    async def publish_all():
        for topic, matches in (
                ('one/a/state', True),
                ('one//state', True),
                ('one/a/b/state', False),
                ('one/state', False),
                ('one/a/state/more', False),
                ('two/a', True),
                ('two/a/b/c', True),
                ('two', False),
                ('exact', True),
                ('exact/not', False),
                ('/exact', False),
                ('two/both', True)):
            topic = f'{root}/{topic}'
            expect_equal(await publisher.publish(topic, topic.encode()), OK, topic)
            if matches and subscribed:
                await reader.expect(PUBLISH, publisher.name, topic.encode(), topic)
            await reader.expect_nothing_more_from(publisher)

    await publish_all()
    await reader.unsubscribe([f'{root}/two/#', f'{root}/exact', f'{root}/+/both'])
    await reader.unsubscribe([f'{root}/one/+/state', f'{root}/two/both'])
    subscribed = False
    await publish_all()
    await publisher.subscribe(f'{root}/own')
    expect_equal(await publisher.publish(f'{root}/own', b'own'), OK)
    await publisher.expect(PUBLISH, publisher.name, b'own', f'{root}/own')


async def announcements(scene):
    watcher = await scene.connect('watcher')
    await watcher.subscribe('#')
    newcomer = await scene.connect('newcomer')

    async def expect_announcement(subject):
        while True:
            kind, sender, topic, payload = await watcher.receive()
            expect_equal((kind, sender, topic), (PUBLISH, '.broker', '.broker/info'))
            announced = msgpack.unpackb(payload)
            # Clients of earlier checks may still be leaving.
            if announced['d'] == newcomer.name:
                expect_equal(announced['s'], subject)
                assert announced['t'] > 10**18, announced
                return

    await expect_announcement('reg')
    scene.peers.remove(newcomer)
    await newcomer.disconnect()
    await expect_announcement('unreg')


async def acknowledgements(scene):
    sender = await scene.connect('sender')
    receiver = await scene.connect('receiver')
    topic = f'{scene.prefix}/topic'
    await receiver.subscribe(topic)
    for qos in range(4):
        payload = f'qos {qos}'.encode()
        expect_equal(await sender.message(receiver.name, payload, qos), OK, 'message')
        await receiver.expect(MESSAGE, sender.name, payload)
        expect_equal(await sender.broadcast(receiver.name, payload, qos), OK, 'broadcast')
        await receiver.expect(BROADCAST, sender.name, payload)
        expect_equal(await sender.publish(topic, payload, qos), OK, 'publication')
        await receiver.expect(PUBLISH, sender.name, payload, topic)
        absent = f'{scene.prefix}.absent'
        # Without an acknowledgement the client itself says OK.
        expect_equal(await sender.message(absent, payload, qos),
                     NOT_REGISTERED if qos & 1 else OK, 'message to nobody')
        expect_equal(await sender.broadcast(f'{absent}.*', payload, qos), OK, 'broadcast to nobody')
        expect_equal(await sender.publish(f'{absent}/x', payload, qos), OK, 'topic of nobody')
    # The subscription frames can ask for an acknowledgement too.
    for operation in (SUBSCRIBE, UNSUBSCRIBE):
        frame = scene.adapter.library.client.Frame(tp=operation, qos=1)
        frame.topic = [topic, f'{topic}/#']
        sent = await settle(sender.client.send(None, frame))
        expect_equal(await settle(sent.wait_completed(timeout=SECONDS)), OK, 'subscription')
    await receiver.expect_nothing_more_from(sender)
    expect_equal(sender.client.frames, {}, 'acknowledgements still awaited')


async def order(scene):
    sender = await scene.connect('sender')
    receiver = await scene.connect('receiver')
    count = 2000
    for number in range(count):
        await sender.message(receiver.name, str(number).encode(), qos=0)
    for number in range(count):
        await receiver.expect(MESSAGE, sender.name, str(number).encode())
    await receiver.expect_nothing_more_from(sender)


async def rpc(scene):
    caller = await scene.connect('caller', rpc=True)
    handler = await scene.connect('handler', rpc=True)
    expect_equal(await caller.call_and_wait(handler.name, 'echo', b'a\0b'), b'a\0b')
    expect_equal(await handler.call_and_wait(caller.name, 'echo', b'back'), b'back')
    expect_equal(await caller.call_and_wait(handler.name, 'nothing', b'x'), b'')
    expect_equal(await caller.call_and_wait(caller.name, 'echo', b'self'), b'self')
    expect_equal(await caller.expect_error(CUSTOM_ERROR, handler.name, 'fail'), CUSTOM_ERROR_TEXT)
    await caller.expect_error(METHOD_NOT_FOUND, handler.name, 'unknown')
    await caller.expect_error(PEER_NOT_REGISTERED, f'{scene.prefix}.absent', 'echo')

    await caller.call_without_reply(handler.name, 'count', b'parameters')
    await handler.expect(CALL_WITHOUT_REPLY, caller.name, b'parameters', 'count')
    await caller.notify(handler.name, b'news')
    await handler.expect(NOTIFICATION, caller.name, b'news')

    # Publications and broadcasts pass the RPC layer by.
    await handler.subscribe(f'{scene.prefix}/topic')
    await caller.publish(f'{scene.prefix}/topic', b'\x01publication')
    await handler.expect(PUBLISH, caller.name, b'\x01publication', f'{scene.prefix}/topic')
    await caller.broadcast(handler.name, b'\x11broadcast')
    await handler.expect(BROADCAST, caller.name, b'\x11broadcast')

    # Many calls under way at once: each reply must find its own call.
    calls = [await caller.call(handler.name, 'echo', str(number).encode()) for number in range(100)]
    for number, call in enumerate(calls):
        expect_equal(await caller.result(call), str(number).encode())
    expect_equal(caller.rpc.calls, {}, 'replies still awaited')


async def broker_rpc(scene):
    caller = await scene.connect('caller', rpc=True)
    await scene.connect('caller%%1')
    await scene.connect('another')

    async def ask(method, parameters=b''):
        return msgpack.unpackb(await caller.call_and_wait('.broker', method, parameters))

    expect_equal(await ask('test'), {'ok': True})

    info = await ask('info')
    expect_equal(set(info), {'author', 'version'})
    assert all(isinstance(value, str) and value for value in info.values()), info

    before = await ask('stats')
    # A broker may tell more than its clients know.
    counters = {'r_frames', 'r_bytes', 'w_frames', 'w_bytes'}
    assert set(before) >= counters | {'uptime'}, before
    after = await ask('stats')
    for counter in counters:
        assert after[counter] > before[counter], (counter, before, after)

    listed = (await ask('client.list', msgpack.packb({'filter': f'^{scene.prefix}[.]'})))['clients']
    expect_equal([client['name'] for client in listed],
                 [f'{scene.prefix}.another', caller.name], 'listed clients')
    over_unix = scene.address.startswith('/')
    for client in listed:
        assert set(client) >= counters | {'name', 'kind', 'source', 'port', 'queue', 'instances'}, client
        expect_equal(client['kind'], 'local_ipc' if over_unix else 'tcp')
        expect_equal(client['port'], scene.address)
        if over_unix:
            expect_equal(client['source'], None)
        else:
            assert client['source'].startswith('127.0.0.1:'), client
        expect_equal(client['instances'], 2 if client['name'] == caller.name else 1)
        # An acknowledgement or a ping may be on its way.
        assert client['queue'] in (0, 1), client
    assert listed[1]['r_frames'] > 0 and listed[1]['w_frames'] > 0, listed
    everybody = [client['name'] for client in (await ask('client.list'))['clients']]
    assert caller.name in everybody and f'{caller.name}%%1' not in everybody, everybody
    expect_equal(everybody, sorted(everybody))
    expect_equal((await ask('client.list', msgpack.packb({'filter': '^absent$'})))['clients'], [])

    for size in SIZES:
        expect_equal(await caller.call_and_wait('.broker', 'benchmark.test', payload_of(size)),
                     payload_of(size), f'benchmark.test of {size}')
    unexpected = msgpack.packb({'unexpected': 1})
    for method in ('test', 'info', 'stats'):
        await caller.expect_error(INVALID_PARAMETERS, '.broker', method, unexpected)
    await caller.expect_error(METHOD_NOT_FOUND, '.broker', 'unknown', unexpected)


async def message_sizes(scene):
    sender = await scene.connect('sender')
    receiver = await scene.connect('receiver')
    for size in SIZES:
        for qos in range(4):
            await sender.message(receiver.name, payload_of(size), qos)
            await receiver.expect(MESSAGE, sender.name, payload_of(size))


async def publication_sizes(scene):
    sender = await scene.connect('sender')
    receiver = await scene.connect('receiver')
    topic = f'{scene.prefix}/topic'
    await sender.subscribe(topic)
    await receiver.subscribe(topic)
    for size in SIZES:
        for qos in range(4):
            await sender.publish(topic, payload_of(size), qos)
            for peer in (sender, receiver):
                await peer.expect(PUBLISH, sender.name, payload_of(size), topic)


async def rpc_sizes(scene):
    caller = await scene.connect('caller', rpc=True)
    handler = await scene.connect('handler', rpc=True)
    for size in SIZES:
        expect_equal(await caller.call_and_wait(handler.name, 'echo', payload_of(size)),
                     payload_of(size), f'echo of {size}')


SCENARIOS = (registration, messages, broadcasts, publications, announcements, acknowledgements,
             order, rpc, broker_rpc, message_sizes, publication_sizes, rpc_sizes)
