// SPDX-License-Identifier: Apache-2.0
// node-q, as published on npm, against whatever answers kdb+ IPC with the functions echo and proc1.
"use strict";

const assert = require("assert");
const { inspect: show } = require("util");
const nodeq = require("node-q");
const { serialize, deserialize } = require("node-q/lib/c.js");
const Long = require("long");
const { run, referenceVectors } = require("./harness.js");

const HEADER_BYTES = 8;
const INFO_KEYS = ["qsvr", "elapsed", "execution", "route", "backlog", "remaining"];

/** A connection of node-q's, with promises, and with the bytes that came beside the values. */
class Peer {
  constructor(connection) {
    this.connection = connection;
    this.messages = []; // all that came, in order
    this.chunk = Buffer.alloc(0);
    // Before node-q's own listener, so that the bytes are here when it calls back.
    connection.socket.prependListener("data", (bytes) => this.take(bytes));
  }

  take(bytes) {
    this.chunk = Buffer.concat([this.chunk, bytes]);
    while (this.chunk.length >= HEADER_BYTES && this.chunk.length >= this.chunk.readUInt32LE(4)) {
      const length = this.chunk.readUInt32LE(4);
      this.messages.push(this.chunk.subarray(0, length));
      this.chunk = this.chunk.subarray(length);
    }
  }

  /** Calls node-q's k(); {error, value, kind, body} of what it takes for the answer. */
  k(...args) {
    const number = this.connection.nextRequestNo;
    return new Promise((resolve) => {
      this.connection.k(...args, (error, value) => {
        const message = this.messages[number - 1];
        resolve({ error, value, kind: message[1], body: message.subarray(HEADER_BYTES) });
      });
    });
  }

  /** Sync query. */
  async query(...args) {
    const answer = await this.k(...args);
    assert.strictEqual(answer.kind, 2, "a response");
    return answer;
  }

  /** Async message, as node-q sends them: its first item is a string. */
  send(...args) {
    return new Promise((resolve) => this.connection.ks(...args, resolve));
  }

  /** Async message of any value: ks() takes no list that starts with a number or a list, its encoder does. */
  sendValue(value) {
    this.connection.socket.write(serialize(value));
  }

  /** The next message that answers no sync query ("deferred sync": h[]). */
  async read() {
    const answer = await this.k();
    assert.strictEqual(answer.kind, 0, "an async message");
    return answer;
  }
}

function open(target) {
  return new Promise((resolve, reject) => {
    const params = target.path === undefined ? target : { unixSocket: target.path };
    nodeq.connect(params, (error, connection) => (error ? reject(error) : resolve(new Peer(connection))));
  });
}

/** Everything that was asked for came once, and nothing else. */
async function finish(peer) {
  const flushed = await peer.query("");
  assert.strictEqual(flushed.error, undefined);
  assert.strictEqual(flushed.value, null);
  assert.strictEqual(peer.messages.length, peer.connection.nextRequestNo - 1, "messages that nobody asked for");
  assert.strictEqual(peer.chunk.length, 0);
}

// --- values of every type that node-q can write: [name, what to write, what to read] ---

const moment = new Date(Date.UTC(2024, 1, 29, 13, 14, 15, 167));
const onDay = (ms) => new Date(Date.UTC(2000, 0, 1) + ms);
const timeOfDay = ((13 * 60 + 14) * 60 + 15) * 1000 + 167;
const guid = "8c6b8b64-6815-6084-0a3e-178401251b68";

const dates = [
  ["timestamp", moment, moment],
  ["month", moment, new Date(Date.UTC(2024, 1, 1))],
  ["date", new Date(Date.UTC(2024, 1, 29)), new Date(Date.UTC(2024, 1, 29))],
  ["datetime", moment, moment],
  ["timespan", moment, onDay(timeOfDay)],
  ["minute", moment, onDay((13 * 60 + 14) * 60000)],
  ["second", moment, onDay(timeOfDay - 167)],
  ["time", moment, onDay(timeOfDay)],
];
const others = [
  ["boolean", true, true],
  ["guid", guid, guid],
  ["byte", 42, 42],
  ["short", -42, -42],
  ["int", 1 << 30, 1 << 30],
  ["long", Long.fromString("-1234567890123", false, 10), -1234567890123],
  ["real", 1.5, 1.5],
  ["float", 0.1, 0.1],
  ["char", "c", "c"],
  ["symbol", "sym", "sym"],
];
const withInfinity = ["short", "int", "long", "real", "float"];
const withNull = withInfinity.concat("guid", "char", "symbol", dates.map(([type]) => type));

const values = [
  ...others.concat(dates).map(([type, written, read]) => [type, nodeq[type](written), read]),
  ...others.concat(dates).map(([type, written, read]) => [
    `${type}s`,
    nodeq[`${type}s`]([written, written]),
    type === "char" ? read + read : [read, read],
  ]),
  ...others.concat(dates).map(([type]) => [`no ${type}s`, nodeq[`${type}s`]([]), type === "char" ? "" : []]),
  ...withNull.map((type) => [`null ${type}`, nodeq[type](null), null]),
  ...withInfinity.map((type) => [`infinite ${type}`, nodeq[type](Infinity), Infinity]),
  ...withInfinity.map((type) => [`minus infinite ${type}`, nodeq[type](-Infinity), -Infinity]),
  ["mixed list", nodeq.mixedlist([nodeq.int(1), nodeq.symbol("a"), "text", [1, 2]]), [1, "a", "text", [1, 2]]],
  ["empty list", [], []],
  ["dictionary", { a: 1, b: 2 }, { a: 1, b: 2 }],
  ["mixed dictionary", nodeq.dict({ a: nodeq.long(Long.fromInt(1)), b: "text", c: { d: null } }),
    { a: 1, b: "text", c: { d: null } }],
  ["string", "text", "text"],
  ["UTF-8 string", "prix en \u20ac", "prix en \u20ac"],
  ["symbol by its backtick", "`sym", "sym"],
  ["number", 1.25, 1.25],
  ["numbers", [1.25, -2.5], [1.25, -2.5]],
  ["Date", moment, moment],
  ["null", null, null],
];

/** The bytes of a value without a message header. */
const object = (value) => serialize(value).subarray(HEADER_BYTES);

function assertEcho(answer, value, expected, what) {
  assert.strictEqual(answer.error, undefined, what);
  assert.deepStrictEqual(answer.value, expected, what);
  assert.strictEqual(answer.body.toString("hex"), object(value).toString("hex"), what);
}

/** The message `("echo"; object)`, sync. */
function echoOf(bytes) {
  const call = serialize(nodeq.mixedlist(["echo", null]));
  const message = Buffer.concat([call.subarray(0, call.length - 2), bytes]); // `::` is two bytes
  message.writeUInt8(1, 1);
  message.writeUInt32LE(message.length, 4);
  return message;
}

const inspect = (value) => show(value, { depth: null, maxArrayLength: null });

function outcomeOf(message) {
  try {
    return { value: deserialize(message) };
  } catch (error) {
    return { error: error.message };
  }
}

// All but `::`. No servant takes them as arguments.
const isFunction = (bytes) => bytes[0] >= 100 && bytes[0] <= 112 && !(bytes[0] === 101 && bytes[1] === 0);

/** node-q reads what comes back as it reads the vector itself; it cannot write most of them, so the request is ours. */
async function echoVector(peer, id, message) {
  const bytes = message.subarray(HEADER_BYTES);
  peer.connection.socket.write(echoOf(bytes));
  const answer = await peer.k();
  assert.strictEqual(answer.kind, 2, id);
  if (isFunction(bytes)) {
    assert.ok(answer.error, `${id}: an argument that is a function`);
    return;
  }
  assert.strictEqual(answer.body.toString("hex"), bytes.toString("hex"), id);
  // As text: infinite dates are invalid to JavaScript, and none equals another.
  const got = answer.error ? { error: answer.error.message } : { value: answer.value };
  assert.strictEqual(inspect(got), inspect(outcomeOf(message)), id);
}

const sync = {
  "sync: text and list": async (peer) => {
    assert.deepStrictEqual((await peer.query("echo 1 2 3")).value, [1, 2, 3]);
    assert.deepStrictEqual((await peer.query("echo", "text")).value, "text");
    const table = (await peer.query("proc1 `IBM`GS")).value;
    assert.deepStrictEqual(table.map((row) => row.SYM), ["GS", "IBM"]);
  },

  "sync: echo of every type": async (peer) => {
    for (const [name, value, expected] of values) {
      assertEcho(await peer.query("echo", value), value, expected, name);
    }
  },

  "sync: echo of every reference vector": async (peer) => {
    for (const vector of referenceVectors()) {
      const message = Buffer.from(vector.hex, "hex");
      if (vector.kind === "value" && message[0] === 1) {
        await echoVector(peer, vector.id, message);
      }
    }
  },

  "sync: errors are errors, and the connection goes on": async (peer) => {
    assert.strictEqual((await peer.query("proc1 1")).error.message, "type");
    assert.strictEqual((await peer.query("echo", 1, 2)).error.message, "rank");
    assert.match((await peer.query("no_such_function 1")).error.message, /no_such_function/);
    assert.strictEqual((await peer.query("echo 1")).value, 1);
  },

  "sync: pipelined, answered in order": async (peer) => {
    const numbers = Array.from({ length: 200 }, (_, i) => i);
    const answers = await Promise.all(numbers.map((i) => peer.query(`echo ${i}`)));
    assert.deepStrictEqual(answers.map((answer) => answer.value), numbers);
  },

  "sync: a flush behind pipelined queries": async (peer) => {
    const answers = await Promise.all([peer.query("echo 1"), peer.query(""), peer.query("echo 2"), peer.query("")]);
    assert.deepStrictEqual(answers.map((answer) => answer.value), [1, null, 2, null]);
  },

  "sync: a large argument and a large result": async (peer) => {
    const value = nodeq.longs(Array.from({ length: 300000 }, (_, i) => Long.fromInt(i)));
    const answer = await peer.query("echo", value);
    assert.strictEqual(answer.body.compare(object(value)), 0);
  },
};

/** An echo of the value as a call in a list: never taken for text. */
const echoCall = (value) => nodeq.mixedlist(["echo", value]);

/** The start of a general list of `count` items. */
const listOf = (count) => `0000${count.toString(16).padStart(2, "0")}000000`;

const hex = (value) => object(value).toString("hex");

/** LBT's (id; query) or (id; query; options), and the answer (id; result; info). */
async function lbt(peer, ...items) {
  peer.sendValue(nodeq.mixedlist(items));
  const answer = await peer.read();
  assertInfo(answer);
  return answer;
}

function assertInfo({ error, value }) {
  assert.strictEqual(error, undefined);
  assert.strictEqual(value.length, 3, "(id; result; info)");
  const info = value[2];
  assert.deepStrictEqual(Object.keys(info).slice(0, INFO_KEYS.length), INFO_KEYS);
  assert.strictEqual(typeof info.qsvr, "string");
  for (const key of ["elapsed", "execution", "backlog", "remaining"]) {
    assert.ok(info[key] >= 0, `${key} is ${info[key]}`);
  }
}

/** NP's (query; callback), and the answer (callback; qid; query; result). */
async function np(peer, query, callback) {
  peer.sendValue(nodeq.mixedlist([query, callback]));
  const answer = await peer.read();
  assert.strictEqual(answer.error, undefined);
  assert.strictEqual(answer.value.length, 4, "(callback; qid; query; result)");
  return answer;
}

// ("echo"; text) could be a query and its callback.
const isAmbiguous = (value) => /^(f5|0a)/.test(hex(value));

const gateway = {
  "AW: deferred sync gives the bare result of every type": async (peer) => {
    for (const [name, value, expected] of values) {
      if (!isAmbiguous(value)) {
        await peer.send("echo", value);
        assertEcho(await peer.read(), value, expected, name);
      }
    }
    await peer.send("echo `a`b");
    assert.deepStrictEqual((await peer.read()).value, ["a", "b"]);
  },

  "AW: an error is the symbol error": async (peer) => {
    await peer.send("proc1 1");
    assert.strictEqual((await peer.read()).body.toString("hex"), hex(nodeq.symbol("error")));
  },

  "AW and sync: pipelined, answered in order": async (peer) => {
    const answers = [];
    for (let i = 0; i < 100; i += 2) {
      peer.send(`echo ${i}`);
      answers.push(peer.read(), peer.query(`echo ${i + 1}`));
    }
    assert.deepStrictEqual((await Promise.all(answers)).map((answer) => answer.value), [...answers.keys()]);
  },

  "LBT: (id; query) of every type": async (peer) => {
    for (const [name, value, expected] of values) {
      const answer = await lbt(peer, nodeq.int(7), echoCall(value));
      assert.deepStrictEqual(answer.value.slice(0, 2), [7, expected], name);
      const start = listOf(3) + hex(nodeq.int(7)) + hex(value);
      assert.strictEqual(answer.body.toString("hex", 0, start.length / 2), start, name);
    }
  },

  "LBT: ids come back with their type": async (peer) => {
    for (const id of [nodeq.byte(7), nodeq.short(7), nodeq.int(7), nodeq.long(Long.fromInt(7))]) {
      const answer = await lbt(peer, id, "echo 1");
      const start = listOf(3) + hex(id) + hex(nodeq.long(Long.fromInt(1)));
      assert.strictEqual(answer.body.toString("hex", 0, start.length / 2), start);
    }
  },

  "LBT: (id; query; options)": async (peer) => {
    for (const options of [{}, { role: nodeq.symbol("user") }, { priority: nodeq.int(1), note: "text" }]) {
      assert.strictEqual((await lbt(peer, nodeq.int(8), "echo 2", options)).value[1], 2);
    }
  },

  "LBT: an error is a text": async (peer) => {
    const answer = await lbt(peer, nodeq.int(9), "proc1 1");
    assert.strictEqual(answer.value[0], 9);
    assert.match(answer.value[1], /^Error: .*type/);
  },

  "LBT: many in flight, each answered once": async (peer) => {
    const answers = [];
    for (let id = 0; id < 100; id += 1) {
      peer.sendValue(nodeq.mixedlist([nodeq.int(id), `echo ${id * id}`]));
      answers.push(peer.read());
    }
    const results = new Map();
    for (const answer of await Promise.all(answers)) {
      assertInfo(answer);
      results.set(answer.value[0], answer.value[1]);
    }
    assert.strictEqual(results.size, answers.length);
    results.forEach((result, id) => assert.strictEqual(result, id * id));
  },

  "NP: (query; callback) of every type": async (peer) => {
    let last = 0;
    for (const [name, value, expected] of values) {
      const answer = await np(peer, echoCall(value), nodeq.symbol("callback"));
      const [callback, qid, query, result] = answer.value;
      assert.deepStrictEqual([callback, query, result], ["callback", ["echo", expected], expected], name);
      assert.ok(qid > last, `${name}: qid ${qid} after ${last}`);
      last = qid;
      const end = hex(echoCall(value)) + hex(value);
      assert.ok(answer.body.toString("hex").endsWith(end), name);
    }
  },

  "NP: the callback as text, the query as text": async (peer) => {
    assert.deepStrictEqual((await np(peer, echoCall(nodeq.int(1)), "callback")).value[0], "callback");
    // Ambiguous, but this connection showed pairs.
    const answer = await np(peer, "echo 2", nodeq.symbol("callback"));
    assert.deepStrictEqual([answer.value[0], answer.value[2], answer.value[3]], ["callback", "echo 2", 2]);
  },

  "NP: an error is a text": async (peer) => {
    const answer = await np(peer, nodeq.mixedlist(["proc1", nodeq.int(1)]), nodeq.symbol("callback"));
    assert.match(answer.value[3], /^Error: .*type/);
  },

  "a text behind a text is AW on a connection that showed AW": async (peer) => {
    await peer.send("echo", nodeq.int(1));
    assert.strictEqual((await peer.read()).value, 1);
    await peer.send("echo", "text");
    assert.strictEqual((await peer.read()).value, "text");
  },

  "LBT and sync on one connection": async (peer) => {
    assert.strictEqual((await lbt(peer, nodeq.int(1), "echo 1")).value[1], 1);
    assert.strictEqual((await peer.query("echo 2")).value, 2);
    assert.strictEqual((await lbt(peer, nodeq.int(3), "echo 3")).value[1], 3);
  },
};

run({ open, finish, close: (peer) => peer.connection.socket.destroy(), sync, gateway });
