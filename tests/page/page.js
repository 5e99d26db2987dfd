// SPDX-License-Identifier: Apache-2.0
// Goal: the page of `mserve-stat serve` shows a live broker, on a desk, on a phone and in the dark, to those who see it, those who hear it and those who
// type; it says when the broker goes and comes back; and names of other people stay text.
// Method: a broker with demo servants and clients that ask all the time, the page in headless Chromium, axe-core for accessibility.
//   node page.js BIN_DIR OUTPUT_DIR [CHROMIUM [AXE_FILE]]   pictures and metrics.txt go to OUTPUT_DIR; exit status 1 when something is wrong
// Without Chromium metrics are all that is tried.
'use strict';
const assert = require('node:assert');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { Chromium, withWatchdog, PATIENCE_MS } = require('./chromium.js');

const [bin, shots, chromium, axe] = process.argv.slice(2);
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'mserve-test-page-'));
const env = { ...process.env, MSERVE_DIR: folder, MSERVE_NAME: `page-${process.pid}`, QUDSPATH: folder };
const children = [];

const start = (program, args, stdio) => {
  const child = spawn(path.join(bin, program), args, { env, stdio });
  child.ended = new Promise((resolve) => { child.on('exit', resolve); child.on('error', resolve); });
  children.push(child);
  return child;
};

const stop = async (child, signal = 'SIGTERM') => {
  child.kill(signal);
  await withWatchdog(child.ended, child.spawnfile);
};

const firstLine = (stream) => withWatchdog(new Promise((resolve, reject) => {
  let text = '';
  stream.setEncoding('utf8').on('data', (more) => {
    text += more;
    if (text.includes('\n')) resolve(text.split('\n')[0]);
  });
  stream.on('end', () => reject(new Error(`ended before it said a line: ${text}`)));
}), 'a first line');

const startBroker = async () => {
  const log = fs.openSync(path.join(folder, 'broker.log'), 'a');
  const broker = start('mserve-broker', ['--ready-fd', '3', '-p', '0W', '--policy', 'match', '--servant-args', '--rows 1000 --group hdb', '4', path.join(bin, 'mserve-servant')],
    ['ignore', 'ignore', log, 'pipe']);
  assert.equal(await firstLine(broker.stdio[3]), 'ready');
  return broker;
};

// Something that HTML would take for markup: a servant's error, as kdb+ clients of ours may send it.
const HOSTILE = '<img src=x onerror=document.title=1>';

// Asks a few times a second until it is stopped; goes on when the broker went and came back.
const ask = (args, lines) => {
  const begin = () => {
    const client = start('mserve-client', [...args, '--quiet', '-'], ['pipe', 'ignore', 'ignore']);
    client.stdin.on('error', () => {}); // it ended meanwhile
    return client;
  };
  let client = begin();
  let at = 0;
  const timer = setInterval(() => {
    if (client.exitCode !== null) client = begin();
    client.stdin.write(`${lines[at++ % lines.length]}\n`);
  }, 50);
  return async () => {
    clearInterval(timer);
    await stop(client);
  };
};

const checkAxe = async (tab, what) => {
  if (!axe) return;
  if (!await tab.evaluate('typeof axe !== "undefined"')) await tab.evaluate(`${fs.readFileSync(axe, 'utf8')}; undefined`);
  const faults = await tab.evaluate(`axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})
    .then((r) => r.violations.map((v) => v.id + ': ' + v.help + ': ' + v.nodes.slice(0, 5).map((n) => n.target.join(' ') + ' ' + (n.any[0] || n.all[0] || {message: ''}).message).join('; ')))`);
  assert.deepEqual(faults, [], `axe-core, ${what}: ${faults.join('\n')}`);
  console.log(`  axe-core finds nothing: ${what}`);
};

const shoot = async (tab, name) => {
  fs.writeFileSync(path.join(shots, `${name}.png`), await tab.screenshot());
};

const checkNarrow = async (tab, width) => {
  await tab.resize({ width, height: 800, phone: true });
  await tab.until('[...document.querySelectorAll(".scroll")].every((x) => (x.scrollWidth > x.clientWidth) === (x.tabIndex === 0))');
  const wide = await tab.evaluate('document.documentElement.scrollWidth');
  assert.ok(wide <= width, `at ${width} pixels the page is ${wide} wide`);
};

const checkKeyboard = async (tab) => {
  await tab.key('Tab', 'Tab');
  assert.equal(await tab.evaluate('document.activeElement.className'), 'skip', 'the first Tab reaches the link that skips');
  await tab.key('p', 'KeyP');
  assert.equal(await tab.evaluate('document.getElementById("pause").getAttribute("aria-pressed")'), 'true');
  await tab.key('p', 'KeyP');
  assert.equal(await tab.evaluate('document.getElementById("pause").getAttribute("aria-pressed")'), 'false');
  await tab.evaluate('document.querySelector("#servants-table thead button").focus()');
  await tab.key('Enter', 'Enter');
  const names = () => tab.evaluate('[...document.querySelectorAll("#servants-table tbody th")].map((x) => x.textContent)');
  const up = await names();
  assert.deepEqual(up, [...up].sort());
  await tab.key('Enter', 'Enter');
  assert.deepEqual(await names(), [...up].reverse(), 'Enter on a column sorts, once more the other way');
  assert.equal(await tab.evaluate('document.querySelector("#servants-table thead th").getAttribute("aria-sort")'), 'descending');
  console.log('  by keyboard: skip link, pause, sorting');
};

const show = async (tab, url) => {
  await tab.resize({ width: 1280, height: 900 });
  await tab.open(url);
  await tab.until('document.querySelectorAll("#servants-table tbody th").length === 4');
  await tab.until('document.querySelectorAll("#queries-table tbody td.bad").length > 0');
  await tab.until('document.querySelectorAll("#curve path.p99").length === 1');
  assert.match(await tab.evaluate('document.getElementById("queries-table").textContent'), /<img src=x/, 'a query is shown as it was asked');
  assert.equal(await tab.evaluate('document.images.length'), 0, 'and is no part of the page');
};

// An answer of /metrics with everything in it: servants, clients, routes and times of the broker's own, of which one in 64 is measured.
const keepMetrics = async (url) => {
  const end = Date.now() + PATIENCE_MS;
  let text = '';
  while (!/mserve_route_hits_total\{/.test(text) || !/mserve_broker_in_seconds_count [1-9]/.test(text)) {
    if (Date.now() > end) throw new Error(`not all metrics came: ${text}`);
    await new Promise((resolve) => { setTimeout(resolve, 100); });
    text = await (await fetch(`${url}metrics`)).text();
  }
  fs.writeFileSync(path.join(shots, 'metrics.txt'), text);
};

// The broker says that it is ready a moment before its gateway says where it is.
const gatewayPort = async () => {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = / gateway port=(\d+)/.exec(fs.readFileSync(path.join(folder, 'broker.log'), 'utf8'));
    if (found) return found[1];
    if (Date.now() > end) throw new Error('the broker said no port');
    await new Promise((resolve) => { setTimeout(resolve, 20); });
  }
};

const main = async () => {
  const broker = await startBroker();
  const server = start('mserve-stat', ['serve', '--port', '0'], ['ignore', 'pipe', 'inherit']);
  const url = await firstLine(server.stdout);
  const port = await gatewayPort();
  const quiet = [
    ask([], ['proc1 `IBM', 'proc1 `GS', 'proc1 `UBS', 'proc1 `VOD']),
    ask(['--name', `tcp://127.0.0.1:${port}`, '--user', 'alice'], ['proc1 `IBM`GS', `nosuch["${HOSTILE}"]`, 'proc2 `UBS']),
  ];
  await keepMetrics(url);
  if (chromium) await look(url, broker, server);
  else await stop(server);
  for (const end of quiet) await end();
};

const look = async (url, first, server) => {
  let broker = first;
  const browser = new Chromium(chromium, path.join(folder, 'profile'));
  const tab = await browser.tab();
  await show(tab, url);
  await checkAxe(tab, 'light, 1280 pixels');
  await checkKeyboard(tab);
  await tab.until('document.querySelectorAll("#curve path.p50").length === 1');
  await shoot(tab, 'desktop');
  await tab.resize({ width: 1280, height: 900, dark: true });
  await checkAxe(tab, 'dark');
  await shoot(tab, 'dark');
  await checkNarrow(tab, 360);
  await checkNarrow(tab, 390);
  await checkAxe(tab, '390 pixels');
  await shoot(tab, 'phone');
  await tab.resize({ width: 390, height: 800, phone: true, dark: true });
  await shoot(tab, 'phone-dark');
  assert.deepEqual(tab.faults, [], 'the browser complained');

  await tab.resize({ width: 1280, height: 900 });
  await stop(broker);
  await tab.until('/gone since/.test(document.getElementById("notice").textContent)');
  await checkAxe(tab, 'without a broker');
  await shoot(tab, 'gone');
  broker = await startBroker();
  await tab.until('/has been back since/.test(document.getElementById("notice").textContent)');
  await tab.until('document.querySelectorAll("#servants-table tbody th").length === 4');
  await shoot(tab, 'back');
  broker.kill('SIGSTOP');
  await tab.until('/stuck since/.test(document.getElementById("notice").textContent)');
  broker.kill('SIGCONT');
  await tab.until('/has been back since/.test(document.getElementById("notice").textContent)');
  console.log('  gone, back, stuck and back again: told');
  await stop(server);
  await tab.until('/has not answered/.test(document.getElementById("notice").textContent)');
  await browser.close();
};

main().then(() => 0, (fault) => {
  console.error(`FAILED: ${fault.message}`);
  if (process.env.MSERVE_TEST_VERBOSE) console.error(fault.stack);
  return 1;
}).then(async (status) => {
  for (const child of children) if (child.exitCode === null && child.signalCode === null) { child.kill('SIGCONT'); child.kill('SIGTERM'); await child.ended; }
  fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  process.exit(status);
});
