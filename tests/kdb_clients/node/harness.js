// SPDX-License-Identifier: Apache-2.0
// Runs the cases of one kdb+ client: each on a connection of its own, over TCP and, if asked, over the Unix socket.
//
//   node CLIENT.js HOST PORT [--unix PATH] [--sync-only]
//
// --sync-only leaves out what only a gateway answers (the async conventions). Exit status 0 when every case passed.
"use strict";

const fs = require("fs");
const path = require("path");

// Only a hang reaches it, on a loaded machine as well.
const WATCHDOG_MS = 60000;

function parse(argv) {
  const options = { host: argv[0], port: Number(argv[1]), unix: undefined, syncOnly: false };
  for (let i = 2; i < argv.length; i += 1) {
    if (argv[i] === "--unix" && i + 1 < argv.length) {
      options.unix = argv[i += 1];
    } else if (argv[i] === "--sync-only") {
      options.syncOnly = true;
    } else {
      throw new Error(`unknown argument ${argv[i]}`);
    }
  }
  if (!options.host || !(options.port > 0)) {
    throw new Error("usage: node CLIENT.js HOST PORT [--unix PATH] [--sync-only]");
  }
  return options;
}

function watched(promise, what) {
  let timer;
  const watchdog = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing came for ${WATCHDOG_MS / 1000} s: ${what}`)), WATCHDOG_MS);
  });
  return Promise.race([promise, watchdog]).finally(() => clearTimeout(timer));
}

async function runCase(client, target, test) {
  const peer = await client.open(target);
  try {
    await test(peer);
    await client.finish(peer);
  } finally {
    client.close(peer);
  }
}

/**
 * @param client  open(target): promise of a connected peer; target is {host, port} or {path}.
 *                finish(peer): a promise that fails when the peer got more or less than it waited for.
 *                close(peer). sync and gateway: objects from the name of a case to its async function of a peer.
 */
async function main(client, argv) {
  const options = parse(argv);
  const targets = { tcp: { host: options.host, port: options.port } };
  if (options.unix !== undefined) {
    targets.unix = { path: options.unix };
  }
  const cases = Object.assign({}, client.sync, options.syncOnly ? {} : client.gateway);
  let failed = 0;
  for (const [transport, target] of Object.entries(targets)) {
    for (const [name, test] of Object.entries(cases)) {
      try {
        await watched(runCase(client, target, test), name);
        console.log(`ok      ${transport}: ${name}`);
      } catch (error) {
        failed += 1;
        console.log(`NOT OK  ${transport}: ${name}\n${error.stack}`);
      }
    }
  }
  // What a failed case left open must not keep us.
  process.exit(failed === 0 ? 0 : 1);
}

exports.run = (client) => {
  main(client, process.argv.slice(2)).catch((error) => {
    console.error(error.message);
    process.exit(2);
  });
};

/** Reference encodings made by other people's encoders, if they lie beside the checkout; else nothing, and it says so. */
exports.referenceVectors = () => {
  const folder = process.env.MSERVE_SHARED_DIR || path.join(__dirname, "..", "..", "..", "..", "shared");
  const file = path.join(folder, "vectors.json");
  if (!fs.existsSync(file)) {
    console.log(`SKIP: no reference vectors in ${folder}; set MSERVE_SHARED_DIR to their folder`);
    return [];
  }
  return JSON.parse(fs.readFileSync(file, "utf8")).vectors;
};
