// An imitation of the BUS/RT JavaScript client, against a broker. It is NOT the published client,
// which is on no package registry that these tests can rely on. It repeats that client's writes one
// by one, since a broker sees exactly those: the name's length and the name apart, a frame's head
// and its payload apart, a ping at once after the registration and every second from then on.

"use strict";

const net = require("node:net");

const [address] = process.argv.slice(2);

const SECONDS = 10;
const SIZES = [0, 1, 127, 8191, 8192, 8193, 65536, 1024 * 1024];

const Operation = {
  Nop: 0x00,
  Publish: 0x01,
  Subscribe: 0x02,
  Unsubscribe: 0x03,
  Message: 0x12,
  Broadcast: 0x13,
  Acknowledgement: 0xfe
};

const RpcKind = { Notification: 0x00, Request: 0x01, Reply: 0x11, Error: 0x12 };

const OK = 1;
const PROCESSED = 1;
const PING = Buffer.alloc(9);

class BusError extends Error {
  constructor(code, data = Buffer.alloc(0)) {
    super(`bus error ${code}: ${data}`);
    this.code = code;
    this.data = data;
  }
}

// A mutual exclusion: the function runs once all that came before it have ended.
class Lock {
  tail = Promise.resolve();

  run(task) {
    const result = this.tail.then(task);
    this.tail = result.catch(() => {});
    return result;
  }
}

class Bus {
  constructor(name) {
    this.name = name;
    this.frameId = 0;
    this.acknowledgements = new Map();
    this.lock = new Lock();
    this.onFrame = () => {};
    this.wake = () => {};
  }

  async connect() {
    this.socket = new net.Socket();
    this.socket.setNoDelay(true);
    for (const event of ["readable", "end", "close", "error"]) {
      this.socket.on(event, () => this.wake());
    }
    await new Promise((resolve, reject) => {
      this.socket.once("error", reject);
      if (address.startsWith("/")) {
        this.socket.connect(address, resolve);
      } else {
        const [host, port] = address.split(":");
        this.socket.connect(Number(port), host, resolve);
      }
    });
    const greeting = await this.read(3);
    expectEqual(greeting, Buffer.from([0xeb, 1, 0]), "greeting");
    await this.write(greeting);
    await this.expectOk();
    const name = Buffer.from(this.name, "utf8");
    const length = Buffer.alloc(2);
    length.writeUInt16LE(name.length);
    await this.write(length);
    await this.write(name);
    await this.expectOk();
    this.connected = true;
    process.nextTick(() => this.readFrames().catch((error) => this.fail(error)));
    process.nextTick(() => this.ping().catch((error) => this.fail(error)));
  }

  async expectOk() {
    const [code] = await this.read(1);
    if (code !== OK) {
      this.disconnect();
      throw new BusError(-32000 - code);
    }
  }

  disconnect() {
    this.connected = false;
    this.socket.destroy();
  }

  fail(error) {
    if (this.connected) {
      this.disconnect();
      complain(`${this.name}: ${error.stack}`);
    }
  }

  // As the client's stream library does it: one write, then a wait for the buffer to drain if it is full.
  write(chunk) {
    return new Promise((resolve, reject) => {
      if (!this.socket.writable) {
        reject(new Error("write after end"));
      } else if (this.socket.write(chunk)) {
        resolve();
      } else {
        const written = () => {
          this.socket.off("drain", written);
          this.socket.off("close", written);
          resolve();
        };
        this.socket.on("drain", written);
        this.socket.on("close", written);
      }
    });
  }

  async read(size) {
    for (;;) {
      const chunk = this.socket.read(size);
      if (chunk !== null) {
        expectEqual(chunk.length, size, "bytes before the end of the stream");
        return chunk;
      }
      if (this.socket.readableEnded || this.socket.destroyed) {
        throw new Error("the broker closed the connection");
      }
      await new Promise((resolve) => (this.wake = resolve));
    }
  }

  async readFrames() {
    while (this.connected) {
      const head = await this.read(6);
      if (head[0] === Operation.Nop) {
        continue;
      }
      if (head[0] === Operation.Acknowledgement) {
        const id = head.readUInt32LE(1);
        const acknowledge = this.acknowledgements.get(id);
        this.acknowledgements.delete(id);
        if (acknowledge) {
          acknowledge(head[5]);
        } else {
          complain(`${this.name}: nobody waits for acknowledgement ${id}`);
        }
        continue;
      }
      const body = await this.read(head.readUInt32LE(1));
      const frame = { operation: head[0] };
      let [sender, rest] = splitAtNul(body);
      frame.sender = sender.toString();
      if (frame.operation === Operation.Publish) {
        let topic;
        [topic, rest] = splitAtNul(rest);
        frame.topic = topic.toString();
      }
      frame.payload = rest;
      process.nextTick(() => this.onFrame(frame));
    }
  }

  async ping() {
    while (this.connected) {
      await this.lock.run(() => this.write(PING));
      await new Promise((resolve) => setTimeout(resolve, 1000).unref());
    }
  }

  // Resolves, once written, to a promise of the acknowledgement's code (undefined when none is due).
  async sendFrame(operation, qos, writes) {
    return this.lock.run(async () => {
      this.frameId += 1;
      const acknowledged =
        qos & 1
          ? new Promise((resolve) => this.acknowledgements.set(this.frameId, resolve))
          : Promise.resolve();
      const head = Buffer.alloc(9);
      head.writeUInt32LE(this.frameId);
      head[4] = operation | (qos << 6);
      const length = writes.reduce((sum, part) => sum + part.length, 0);
      head.writeUInt32LE(length, 5);
      const [first, ...others] = writes;
      await this.write(Buffer.concat([head, first]));
      for (const part of others) {
        await this.write(part);
      }
      return { acknowledged };
    });
  }

  async send(operation, target, payload, qos = PROCESSED, rpcHead = Buffer.alloc(0)) {
    const writes = [Buffer.concat([Buffer.from(target), Buffer.alloc(1), rpcHead])];
    if (payload !== undefined) {
      writes.push(payload);
    }
    return (await this.sendFrame(operation, qos, writes)).acknowledged;
  }

  message(target, payload, qos) {
    return this.send(Operation.Message, target, payload, qos);
  }

  broadcast(mask, payload, qos) {
    return this.send(Operation.Broadcast, mask, payload, qos);
  }

  publish(topic, payload, qos) {
    return this.send(Operation.Publish, topic, payload, qos);
  }

  async subscribe(topics, operation = Operation.Subscribe) {
    const body = Buffer.from([].concat(topics).join("\0"));
    const sent = await this.sendFrame(operation, PROCESSED, [body]);
    return sent.acknowledged;
  }

  unsubscribe(topics) {
    return this.subscribe(topics, Operation.Unsubscribe);
  }
}

class Rpc {
  constructor(bus) {
    this.bus = bus;
    this.callId = 0;
    this.calls = new Map();
    this.onFrame = () => {};
    this.onNotification = () => {};
    this.onCall = () => {
      throw new BusError(-32601);
    };
    bus.onFrame = (frame) =>
      this.handle(frame).catch((error) => complain(`${bus.name}: ${error.stack}`));
  }

  notify(target, payload) {
    return this.bus.send(
      Operation.Message, target, payload, PROCESSED, Buffer.from([RpcKind.Notification]));
  }

  callWithoutReply(target, method, payload) {
    return this.bus.send(Operation.Message, target, payload, PROCESSED, requestHead(0, method));
  }

  async call(target, method, payload) {
    this.callId += 1;
    const callId = this.callId;
    const replied = new Promise((resolve, reject) => this.calls.set(callId, { resolve, reject }));
    // Until it is returned nobody else handles its failure.
    replied.catch(() => {});
    const code = await this.bus.send(
      Operation.Message, target, payload, PROCESSED, requestHead(callId, method));
    if (code !== OK) {
      this.calls.delete(callId);
      throw new BusError(-32000 - code);
    }
    return replied;
  }

  async handle(frame) {
    if (frame.operation !== Operation.Message) {
      this.onFrame(frame);
      return;
    }
    const { sender, payload } = frame;
    const kind = payload[0];
    if (kind === RpcKind.Notification) {
      this.onNotification({ sender, payload: payload.subarray(1) });
    } else if (kind === RpcKind.Request) {
      const idBytes = payload.subarray(1, 5);
      const callId = idBytes.readUInt32LE();
      const [method, parameters] = splitAtNul(payload.subarray(5));
      let head, result;
      try {
        result = await this.onCall({ sender, callId, method: method.toString(), payload: parameters });
        result = result === undefined ? Buffer.alloc(0) : result;
        head = Buffer.concat([Buffer.from([RpcKind.Reply]), idBytes]);
      } catch (error) {
        const code = Buffer.alloc(2);
        code.writeInt16LE(error.code === undefined ? -32603 : error.code);
        head = Buffer.concat([Buffer.from([RpcKind.Error]), idBytes, code]);
        result = error.data;
      }
      if (callId !== 0) {
        await this.bus.send(Operation.Message, sender, result, PROCESSED, head);
      }
    } else if (kind === RpcKind.Reply || kind === RpcKind.Error) {
      const callId = payload.readUInt32LE(1);
      const call = this.calls.get(callId);
      this.calls.delete(callId);
      if (!call) {
        throw new Error(`nobody waits for reply ${callId}`);
      } else if (kind === RpcKind.Error) {
        call.reject(new BusError(payload.readInt16LE(5), payload.subarray(7)));
      } else {
        call.resolve(payload.subarray(5));
      }
    } else {
      throw new Error(`invalid RPC frame ${kind}`);
    }
  }
}

function requestHead(callId, method) {
  const id = Buffer.alloc(4);
  id.writeUInt32LE(callId);
  return Buffer.concat([Buffer.from([RpcKind.Request]), id, Buffer.from(method), Buffer.alloc(1)]);
}

function splitAtNul(bytes) {
  const end = bytes.indexOf(0);
  if (end === -1) {
    throw new Error("a frame without its NUL");
  }
  return [bytes.subarray(0, end), bytes.subarray(end + 1)];
}

// The checks.

const complaints = [];

function complain(text) {
  complaints.push(text);
}

function show(value) {
  const text = Buffer.isBuffer(value)
    ? `${value.length} bytes, ${value.subarray(0, 40).toString("hex")}`
    : JSON.stringify(value);
  return text === undefined || text.length <= 300 ? text : `${text.slice(0, 300)}...`;
}

function expectEqual(received, wanted, what = "value") {
  const equal =
    Buffer.isBuffer(received) && Buffer.isBuffer(wanted)
      ? received.equals(wanted)
      : received === wanted;
  if (!equal) {
    throw new Error(`${what}: received ${show(received)}, wanted ${show(wanted)}`);
  }
}

async function expectError(code, promise) {
  try {
    await promise;
  } catch (error) {
    expectEqual(error.code, code, "error code");
    return error.data;
  }
  throw new Error(`no error ${code}`);
}

function within(seconds, what, promise) {
  let timer;
  const expired = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${seconds} s: ${what}`)), seconds * 1000);
  });
  return Promise.race([promise, expired]).finally(() => clearTimeout(timer));
}

function payloadOf(size) {
  const payload = Buffer.alloc(size);
  for (let index = 0; index < size; index += 1) {
    payload[index] = (index * 31 + (index >> 8) * 7 + size) & 0xff;
  }
  return payload;
}

class Inbox {
  items = [];
  waiting = () => {};

  put(item) {
    this.items.push(item);
    this.waiting();
  }

  async next() {
    if (this.items.length === 0) {
      await within(SECONDS, "a frame", new Promise((resolve) => (this.waiting = resolve)));
    }
    return this.items.shift();
  }

  async expect(wanted) {
    const received = await this.next();
    for (const key of Object.keys(wanted)) {
      expectEqual(received[key], wanted[key], key);
    }
  }
}

// The clients of one check, under a name prefix of its own.
class Scene {
  constructor(check) {
    this.prefix = `javascript.${process.pid}.${check}`;
    this.clients = [];
  }

  async connect(name) {
    const bus = new Bus(`${this.prefix}.${name}`);
    await within(SECONDS, "registration", bus.connect());
    this.clients.push(bus);
    bus.inbox = new Inbox();
    bus.onFrame = (frame) => bus.inbox.put(frame);
    return bus;
  }

  async connectRpc(name) {
    const bus = await this.connect(name);
    const rpc = new Rpc(bus);
    rpc.name = bus.name;
    rpc.inbox = bus.inbox;
    rpc.onFrame = (frame) => rpc.inbox.put(frame);
    rpc.onNotification = (event) => rpc.inbox.put({ ...event, method: "(notification)" });
    rpc.onCall = (event) => {
      if (event.callId === 0) {
        rpc.inbox.put(event);
      } else if (event.method === "echo") {
        return event.payload;
      } else if (event.method === "fail") {
        throw new BusError(-777, Buffer.from("out of fruit"));
      } else if (event.method !== "nothing") {
        throw new BusError(-32601);
      }
    };
    return rpc;
  }

  close() {
    this.clients.forEach((bus) => bus.disconnect());
  }
}

// Frames of one sender to one receiver keep their order, so a last one proves that no other came.
async function expectNothingMore(receiver, sender) {
  const payload = Buffer.from("last");
  expectEqual(await sender.message(receiver.name, payload), OK, "last message");
  await receiver.inbox.expect({ operation: Operation.Message, sender: sender.name, payload });
}

const checks = {
  async registration(scene) {
    const taken = await scene.connect("taken");
    // Not the empty name: the published client never ends its write of nothing.
    await expectError(-32114, new Bus(".hidden").connect());
    await expectError(-32118, new Bus(taken.name).connect());
    await expectError(-32113, new Bus(`${scene.prefix}.absent%%1`).connect());
    await scene.connect("taken%%1");
  },

  async messages(scene) {
    const first = await scene.connect("first");
    const second = await scene.connect("second");
    for (let qos = 0; qos < 4; qos += 1) {
      const payload = Buffer.from(`qos ${qos}`);
      const acknowledged = qos & 1 ? OK : undefined;
      expectEqual(await first.message(second.name, payload, qos), acknowledged);
      await second.inbox.expect({ operation: Operation.Message, sender: first.name, payload });
      expectEqual(await first.message(first.name, payload, qos), acknowledged);
      await first.inbox.expect({ operation: Operation.Message, sender: first.name, payload });
      expectEqual(
        await first.message(`${scene.prefix}.absent`, payload, qos), qos & 1 ? 0x71 : undefined);
    }
    // Without a payload the client makes one write fewer.
    expectEqual(await first.message(second.name), OK);
    await second.inbox.expect({ sender: first.name, payload: Buffer.alloc(0) });
    await expectNothingMore(second, first);
    expectEqual(first.acknowledgements.size, 0, "acknowledgements still awaited");
  },

  async publications(scene) {
    const publisher = await scene.connect("publisher");
    const reader = await scene.connect("reader");
    const root = scene.prefix;
    expectEqual(await reader.subscribe([`${root}/one/+/state`, `${root}/two/#`]), OK);
    expectEqual(await reader.subscribe(`${root}/exact`), OK);
    expectEqual(await publisher.subscribe(`${root}/exact`), OK);
    const publishAll = async (isSubscribed) => {
      for (const [topic, matches] of [
        ["one/a/state", true], ["one/state", false], ["two/a/b", true], ["two", false],
        ["exact", true], ["other", false]
      ]) {
        const payload = Buffer.from(topic);
        expectEqual(await publisher.publish(`${root}/${topic}`, payload), OK);
        if (matches && isSubscribed) {
          await reader.inbox.expect({
            operation: Operation.Publish, sender: publisher.name, topic: `${root}/${topic}`, payload
          });
        }
        await expectNothingMore(reader, publisher);
      }
      await publisher.inbox.expect({ operation: Operation.Publish, topic: `${root}/exact` });
    };
    await publishAll(true);
    expectEqual(
      await reader.unsubscribe([`${root}/one/+/state`, `${root}/two/#`, `${root}/exact`]), OK);
    await publishAll(false);
  },

  async broadcasts(scene) {
    const sender = await scene.connect("sender");
    const plain = await scene.connect("group.one");
    const deep = await scene.connect("group.one.deep");
    for (const [mask, wanted] of [
      ["*", [sender, plain, deep]], ["group.?", [plain]], ["group.*", [plain, deep]],
      ["?", [sender]], ["?.?.deep", [deep]], ["group.one", [plain]], ["absent.*", []]
    ]) {
      const payload = Buffer.from(mask);
      expectEqual(await sender.broadcast(`${scene.prefix}.${mask}`, payload), OK);
      for (const receiver of [sender, plain, deep]) {
        if (wanted.includes(receiver)) {
          await receiver.inbox.expect({
            operation: Operation.Broadcast, sender: sender.name, payload
          });
        }
        await expectNothingMore(receiver, sender);
      }
    }
  },

  async rpc(scene) {
    const first = await scene.connectRpc("first");
    const second = await scene.connectRpc("second");
    for (const [caller, handler] of [[first, second], [second, first], [first, first]]) {
      expectEqual(
        await caller.call(handler.name, "echo", Buffer.from("a\0b")), Buffer.from("a\0b"));
      expectEqual(await caller.call(handler.name, "nothing"), Buffer.alloc(0));
      expectEqual(
        await expectError(-777, caller.call(handler.name, "fail")), Buffer.from("out of fruit"));
      await expectError(-32601, caller.call(handler.name, "unknown"));
      await expectError(-32113, caller.call(`${scene.prefix}.absent`, "echo"));
      expectEqual(await caller.callWithoutReply(handler.name, "count", Buffer.from("one")), OK);
      await handler.inbox.expect(
        { sender: caller.name, method: "count", payload: Buffer.from("one") });
      expectEqual(await caller.notify(handler.name, Buffer.from("news")), OK);
      await handler.inbox.expect(
        { sender: caller.name, method: "(notification)", payload: Buffer.from("news") });
    }
    const calls = Array.from({ length: 100 }, (_item, index) =>
      first.call(second.name, "echo", Buffer.from(`${index}`)));
    for (const [index, result] of (await Promise.all(calls)).entries()) {
      expectEqual(result, Buffer.from(`${index}`));
    }
  },

  async broker_rpc(scene) {
    const caller = await scene.connectRpc("caller");
    const yes = Buffer.concat([Buffer.from([0x81, 0xa2]), Buffer.from("ok"), Buffer.from([0xc3])]);
    expectEqual(await caller.call(".broker", "test"), yes);
    for (const [method, fields] of [
      ["info", ["author", "version"]],
      ["stats", ["uptime", "r_frames", "r_bytes", "w_frames", "w_bytes"]],
      ["client.list", ["clients", caller.name]]
    ]) {
      const result = await caller.call(".broker", method);
      for (const field of fields) {
        expectEqual(result.includes(field), true, `${field} in the result of ${method}`);
      }
    }
    await expectError(-32602, caller.call(".broker", "test", yes));
    await expectError(-32601, caller.call(".broker", "unknown"));
  },

  async sizes(scene) {
    const caller = await scene.connectRpc("caller");
    const handler = await scene.connectRpc("handler");
    const sender = await scene.connect("sender");
    const receiver = await scene.connect("receiver");
    const topic = `${scene.prefix}/topic`;
    expectEqual(await receiver.subscribe(topic), OK);
    for (const size of SIZES) {
      const payload = payloadOf(size);
      for (let qos = 0; qos < 4; qos += 1) {
        await sender.message(receiver.name, payload, qos);
        await receiver.inbox.expect({ operation: Operation.Message, sender: sender.name, payload });
        await sender.publish(topic, payload, qos);
        await receiver.inbox.expect(
          { operation: Operation.Publish, sender: sender.name, topic, payload });
        await sender.broadcast(receiver.name, payload, qos);
        await receiver.inbox.expect(
          { operation: Operation.Broadcast, sender: sender.name, payload });
      }
      expectEqual(await caller.call(handler.name, "echo", payload), payload, `echo of ${size}`);
      expectEqual(await caller.call(".broker", "benchmark.test", payload), payload);
    }
  }
};

async function main() {
  let failed = 0;
  for (const [name, check] of Object.entries(checks)) {
    const scene = new Scene(name);
    try {
      await within(60, `the check ${name}`, check(scene));
      expectEqual(complaints.splice(0).join("\n"), "", "complaints");
      console.log(`ok ${name}`);
    } catch (error) {
      failed += 1;
      console.error(`--- ${name}\n${error.stack}\n${complaints.splice(0).join("\n")}`);
      console.log(`FAIL ${name}`);
    } finally {
      scene.close();
    }
  }
  process.exitCode = failed ? 1 : 0;
}

main();
