// SPDX-License-Identifier: Apache-2.0
// A client in JavaScript: any kdb+ client will do, this one is node-q (npm install node-q). With a broker and its
// gateway running (mserve-broker 2 ./mserve-servant -p 5000):   node hello_node.js [HOST [PORT]]
"use strict";

const nodeq = require("node-q");

const [host = "localhost", port = "5000"] = process.argv.slice(2);

nodeq.connect({ host, port: Number(port) }, (failed, connection) => {
  if (failed) {
    console.error(`no gateway at ${host}:${port}: ${failed.message}`);
    process.exit(1);
  }
  const symbols = ["IBM", "GS", "UBS"];
  let left = symbols.length;
  symbols.forEach((symbol) => {
    // Text, or a function with its arguments: connection.k("proc1", symbol, ...).
    connection.k(`proc1 \`${symbol}`, (error, rows) => {
      console.log(symbol, error ? `'${error.message}` : rows);
      left -= 1;
      if (left === 0) {
        connection.close();
      }
    });
  });
});
