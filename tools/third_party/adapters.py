"""What differs between the two Python clients; see scenarios.py."""

import asyncio
import queue

import busrt
import busrt_async

from harness import SECONDS


class Blocking:
    library = busrt

    @staticmethod
    def new_inbox():
        return queue.SimpleQueue()

    @staticmethod
    def next_from(inbox):
        try:
            return inbox.get(timeout=SECONDS)
        except queue.Empty:
            raise AssertionError('nothing was received') from None

    @staticmethod
    def handler(function):
        return function

    @staticmethod
    def run(coroutine):
        try:
            coroutine.send(None)
        except StopIteration as finished:
            return finished.value
        raise AssertionError('a blocking client has nothing to await')


class Coroutines:
    library = busrt_async

    @staticmethod
    def new_inbox():
        return asyncio.Queue()

    @staticmethod
    async def next_from(inbox):
        try:
            return await asyncio.wait_for(inbox.get(), timeout=SECONDS)
        except asyncio.TimeoutError:
            raise AssertionError('nothing was received') from None

    @staticmethod
    def handler(function):
        async def handle(argument):
            return function(argument)

        return handle
