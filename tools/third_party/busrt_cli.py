"""busrt 0.5.6's own command line, unchanged, against a broker."""

import os
import re

import harness
from harness import expect_equal


class CommandLine:
    def __init__(self, suite):
        self.suite = suite
        self.prefix = f'cli.{os.getpid()}'
        self.sender = f'{self.prefix}.sender'

    def send(self, *arguments, **options):
        """A command of the sender's, which says OK."""
        self.suite.expect_busrt(*arguments, name=self.sender, output=r'^OK$', **options)

    def from_sender(self, kind):
        who = re.escape(self.sender)
        return rf'^{kind} from {who} \({who}\)$'

    def listen_without_topics(self):
        """Without topics the command line subscribes to the one empty topic."""
        name = f'{self.prefix}.plain'
        with self.suite.listener('listen', name=name) as listener:
            self.send('publish', f'{self.prefix}/topic', 'unwanted')
            self.send('send', name, 'direct message')
            listener.wait_for(self.from_sender('Message'), '^STR:  direct message$')
            assert 'unwanted' not in listener.text(), listener.text()

    def listen_with_topics(self):
        root = self.prefix
        with self.suite.listener(
                'listen', '-t', f'{root}/all/#', '-t', f'{root}/one/+/state',
                '--exclude', f'{root}/all/secret', '--exclude', f'{root}/all/+/hidden',
                name=f'{self.prefix}.topics') as listener:
            for topic in ('all', 'all/secret', 'all/a/hidden', 'one/state', 'one/a/b/state', 'other'):
                self.send('publish', f'{root}/{topic}', f'unwanted {topic}')
            for topic in ('all/open', 'all/a/b', 'one/a/state', 'all/secret/deeper'):
                self.send('publish', f'{root}/{topic}', f'wanted {topic}')
                listener.wait_for(self.from_sender('Publish'), f'^topic: {root}/{topic}$',
                                  f'^STR:  wanted {topic}$')
            assert 'unwanted' not in listener.text(), listener.text()

    def publish_from_standard_input(self):
        topic = f'{self.prefix}/input'
        with self.suite.listener('listen', '-t', topic, name=f'{self.prefix}.input') as listener:
            self.send('publish', topic, standard_input=b'\xc1\x00\xff')
            listener.wait_for(self.from_sender('Publish'), f'^topic: {topic}$', '^HEX: c100ff$')
            self.send('publish', topic, standard_input=b'')
            listener.wait_for(r'^.*Incoming frame 0 byte\(s\)$', self.from_sender('Publish'))

    def send_to_client(self):
        name = f'{self.prefix}.receiver'
        with self.suite.listener('listen', name=name) as listener:
            self.send('send', name, '{"key": [1, 2]}')
            listener.wait_for(self.from_sender('Message'), '^JSON:$', '"key": ')
            self.send('send', name, standard_input=b'from standard input')
            listener.wait_for(self.from_sender('Message'), '^STR:  from standard input$')
            large = 'a large text ' * 30000
            self.send('send', name, standard_input=large.encode())
            listener.wait_for(r'Incoming frame 390_000 byte\(s\)', self.from_sender('Message'),
                              f'^STR:  {large}$')
        code, printed = self.suite.run_busrt('send', f'{self.prefix}.absent', 'x')
        # The command line panics over the broker's refusal, and that is its way to report it.
        expect_equal(code, 101, f'exit code, with {printed}')
        assert 'kind: NotRegistered' in printed, printed

    def send_to_mask(self):
        first, second, third = (f'{self.prefix}.mask.{name}' for name in ('a', 'b', 'c.d'))
        with self.suite.listener('listen', name=first) as one, \
                self.suite.listener('listen', name=second) as two, \
                self.suite.listener('listen', name=third) as three:
            self.send('send', f'{self.prefix}.mask.?', 'to some')
            self.send('send', f'{self.prefix}.mask.*', 'to all')
            self.send('send', '*', standard_input=b'to everybody')
            self.send('send', f'{self.prefix}.absent.*', 'to nobody')
            for listener in (one, two, three):
                listener.wait_for(self.from_sender('Broadcast'), '^STR:  to all$',
                                  self.from_sender('Broadcast'), '^STR:  to everybody$')
                assert 'to nobody' not in listener.text(), listener.text()
            for listener in (one, two):
                listener.wait_for(self.from_sender('Broadcast'), '^STR:  to some$')
            assert 'to some' not in three.text(), three.text()

    def rpc_listen(self):
        name = f'{self.prefix}.rpc'
        topic = f'{self.prefix}/rpc'
        who = re.escape(self.sender)
        from_caller = rf'^from {who} \({who}\)$'
        with self.suite.listener('rpc', 'listen', '-t', topic, name=name) as listener:
            self.send('rpc', 'notify', name, 'a note')
            listener.wait_for(self.from_sender('Notification'), '^STR:  a note$')
            self.send('rpc', 'notify', name, standard_input=b'\xc1\xff')
            listener.wait_for(self.from_sender('Notification'), '^HEX: c1ff$')
            self.send('rpc', 'call0', name, 'hurry', 'a=1')
            listener.wait_for('^method: hurry$', from_caller, '^MSGPACK:$', '"a": 1')
            self.suite.expect_busrt('rpc', 'call', name, 'look', 'a=1', 'b=1.5', 'c=x', 'd=false',
                                    name=self.sender, output=r'^STR:  $')
            listener.wait_for('^method: look$', from_caller, '^MSGPACK:$', '"a": 1', '"b": 1.5',
                              '"c": "x"', '"d": false')
            self.suite.expect_busrt('rpc', 'call', name, 'feed', '-', name=self.sender,
                                    standard_input=b'from standard input', output=r'^STR:  $')
            listener.wait_for('^method: feed$', from_caller, '^STR:  from standard input$')
            self.send('publish', topic, 'publication')
            listener.wait_for(self.from_sender('Publish'), f'^topic: {topic}$', '^STR:  publication$')

    def rpc_call_broker(self):
        call = ('rpc', 'call', '.broker')
        self.suite.expect_busrt(*call, 'test', output=r'^MSGPACK:\n\{\n  "ok": true\n\}$')
        self.suite.expect_busrt('-s', *call, 'test', output=r'^\{"ok":true\}$')
        self.suite.expect_busrt(*call, 'info', output=r'"author": ".+",\s+"version": ".+"')
        self.suite.expect_busrt(*call, 'benchmark.test', 'a=1', output=r'"a": 1')
        self.suite.expect_busrt(*call, 'info', 'a=1', code=1, output=r'RPC Error -32602: ')
        self.suite.expect_busrt(*call, 'unknown', code=1, output=r'RPC Error -32601: ')
        self.suite.expect_busrt('rpc', 'call', f'{self.prefix}.absent', 'test', code=1,
                                output=r'RPC Error -32113: ')

    def broker_test(self):
        self.suite.expect_busrt('broker', 'test', output=r'^MSGPACK:\n\{\n  "ok": true\n\}$')

    def broker_info(self):
        self.suite.expect_busrt('broker', 'info',
                                output=r'^ field +value *\n-+\n author +\S.*\n version +\d+\.\d+\.\d+')

    def broker_stats(self):
        rows = ''.join(rf' {field} +\d+ *\n'
                       for field in ('r_frames', 'r_bytes', 'w_frames', 'w_bytes', 'uptime'))
        self.suite.expect_busrt('broker', 'stats', output=rf'^ field +value *\n-+\n{rows}')

    def broker_client_list(self):
        name = f'{self.prefix}.listed'
        secondary = f'{name}%%1'
        number = r'[\d_]+'
        if self.suite.address.startswith('/'):
            kind, source, port = 'local_ipc', ' +', re.escape(self.suite.address)
        else:
            kind, source, port = 'tcp', r' +127\.0\.0\.1:\d+ +', re.escape(self.suite.address)
        with self.suite.listener('listen', name=name), \
                self.suite.listener('listen', name=secondary):
            printed = self.suite.expect_busrt(
                'broker', 'client.list', output=(
                    r'^ name +type +source +port +r_frames +r_bytes +w_frames +w_bytes +queue +ins *\n-+$'
                    rf'[\s\S]+^ {re.escape(name)} +{kind}{source}{port}'
                    rf' +{number} +{number} +{number} +{number} +[01] +2 *$'))
        assert re.search(r'^ \.broker +internal ', printed, re.MULTILINE), printed
        assert secondary not in printed, printed

    def taken_name(self):
        name = f'{self.prefix}.taken'
        with self.suite.listener('listen', name=name):
            code, printed = self.suite.run_busrt('broker', 'test', name=name)
            expect_equal(code, 101, f'exit code, with {printed}')
            assert 'kind: Busy' in printed, printed


def main():
    suite = harness.Suite(__doc__)
    commands = CommandLine(suite)
    for check in (commands.listen_without_topics, commands.listen_with_topics,
                  commands.publish_from_standard_input, commands.send_to_client,
                  commands.send_to_mask, commands.rpc_listen, commands.rpc_call_broker,
                  commands.broker_test, commands.broker_info, commands.broker_stats,
                  commands.broker_client_list, commands.taken_name):
        suite.check(check.__name__, check)
    suite.finish()


if __name__ == '__main__':
    main()
