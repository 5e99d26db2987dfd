// SPDX-License-Identifier: Apache-2.0
// node-q through a proxy with two brokers behind it, one of which is killed:  node node-q-reconnect.js HOST PORT
// Says `asking` when both of its connections have had answers; goes on until one of them was closed and opened again, and
// both have had answers since. Exit status 0 then, 1 on a wrong answer, or when nothing came for a minute.
"use strict";

const nodeq = require("node-q");

const WATCHDOG_MS = 60000;
const PAUSE_MS = 20;
const ANSWERS = 10;
const [host, port] = process.argv.slice(2);

function fail(text) {
  console.log(`NOT OK  ${text}`);
  process.exit(1);
}

/** One connection at a time, opened again whenever it is closed; asks one query after the other. */
class Asker {
  constructor(onAnswer) {
    this.onAnswer = onAnswer;
    this.answers = 0; // of the connection that is open
    this.closed = 0;
    this.open();
  }

  open() {
    let called = false; // node-q calls again when a connection that it gave fails later
    nodeq.connect({ host, port: Number(port) }, (error, connection) => {
      if (called) {
        return;
      }
      called = true;
      if (error) {
        setTimeout(() => this.open(), PAUSE_MS);
        return;
      }
      connection.on("error", () => {}); // close follows
      connection.on("close", () => {
        this.closed += 1;
        this.answers = 0;
        this.open();
      });
      this.ask(connection);
    });
  }

  ask(connection) {
    connection.k("echo 42", (error, value) => {
      if (error || value !== 42) {
        fail(error ? error.message : `42 came back as ${value}`);
      }
      this.answers += 1;
      this.onAnswer();
      setTimeout(() => this.ask(connection), PAUSE_MS);
    });
  }
}

setTimeout(() => fail(`not done after ${WATCHDOG_MS / 1000} s`), WATCHDOG_MS);
let said = false;
const look = () => {
  const all = (count) => askers.every((asker) => asker.answers >= count);
  if (!said && all(1)) {
    said = true;
    console.log("asking");
  }
  if (askers.some((asker) => asker.closed > 0) && all(ANSWERS)) {
    console.log("ok      both ask on");
    process.exit(0);
  }
};
const askers = [new Asker(look), new Asker(look)];
