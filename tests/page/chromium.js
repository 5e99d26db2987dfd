// SPDX-License-Identifier: Apache-2.0
// A headless Chromium, driven through its own pipe: no package, no port.
'use strict';
const { spawn } = require('node:child_process');

const PATIENCE_MS = 60000; // only a hang takes as long

const withWatchdog = (promise, what) => {
  let timer;
  const over = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`no end of: ${what}`)), PATIENCE_MS); });
  return Promise.race([promise, over]).finally(() => clearTimeout(timer));
};

class Chromium {
  // folder: for its profile; it is empty.
  constructor(program, folder) {
    const flags = ['--headless=new', '--remote-debugging-pipe', `--user-data-dir=${folder}`, '--no-first-run', '--disable-gpu', '--disable-dev-shm-usage',
      '--disable-background-networking', '--disable-component-update', '--disable-sync', '--hide-scrollbars'];
    if (process.getuid() === 0) flags.push('--no-sandbox'); // it refuses to run as root with one
    this.process = spawn(program, [...flags, 'about:blank'], { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
    this.waiting = new Map();
    this.listeners = [];
    this.count = 0;
    let rest = '';
    this.process.stdio[4].setEncoding('utf8').on('data', (text) => {
      const messages = (rest + text).split('\0');
      rest = messages.pop();
      for (const message of messages) this.take(JSON.parse(message));
    });
    const fail = (why) => { for (const { reject } of this.waiting.values()) reject(new Error(why)); };
    this.process.on('error', (fault) => fail(String(fault)));
    this.process.on('exit', (code) => fail(`chromium ended with ${code}`));
    this.process.stdio[3].on('error', () => {});
  }

  take(message) {
    if (message.id === undefined) {
      for (const listener of this.listeners) listener(message);
      return;
    }
    const { resolve, reject } = this.waiting.get(message.id);
    this.waiting.delete(message.id);
    if (message.error) reject(new Error(message.error.message));
    else resolve(message.result);
  }

  call(method, params = {}, sessionId = undefined) {
    const id = ++this.count;
    const answer = new Promise((resolve, reject) => { this.waiting.set(id, { resolve, reject }); });
    this.process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return withWatchdog(answer, method);
  }

  async tab() {
    const { targetId } = await this.call('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.call('Target.attachToTarget', { targetId, flatten: true });
    return new Tab(this, sessionId);
  }

  async close() {
    const ended = new Promise((resolve) => { this.process.on('exit', resolve); });
    this.call('Browser.close').catch(() => {});
    await withWatchdog(ended, 'chromium');
  }
}

class Tab {
  constructor(browser, session) {
    this.browser = browser;
    this.session = session;
    this.faults = []; // what the page complained about
    browser.listeners.push(({ method, params, sessionId }) => {
      if (sessionId !== session) return;
      if (method === 'Runtime.exceptionThrown') this.faults.push(params.exceptionDetails.exception?.description || params.exceptionDetails.text);
      if (method === 'Log.entryAdded' && params.entry.level === 'error') this.faults.push(`${params.entry.source}: ${params.entry.text} ${params.entry.url || ''}`);
    });
  }

  call(method, params) { return this.browser.call(method, params, this.session); }

  async open(url) {
    for (const domain of ['Page', 'Runtime', 'Log']) await this.call(`${domain}.enable`);
    await this.call('Page.navigate', { url });
  }

  // look: {width, height, dark, phone}
  async resize({ width, height, dark = false, phone = false }) {
    await this.call('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: phone ? 2 : 1, mobile: phone });
    await this.call('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }] });
  }

  async evaluate(expression) {
    const { result, exceptionDetails } = await this.call('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description || exceptionDetails.text);
    return result.value;
  }

  // Looks until the expression is true.
  async until(expression) {
    const end = Date.now() + PATIENCE_MS;
    while (!await this.evaluate(expression)) {
      if (Date.now() > end) throw new Error(`never true: ${expression}; the page says: ${await this.evaluate('document.body.innerText.slice(0, 2000)')}`);
      await new Promise((resolve) => { setTimeout(resolve, 50); });
    }
  }

  async key(key, code) {
    const what = { key, code, windowsVirtualKeyCode: key.length === 1 ? key.toUpperCase().charCodeAt(0) : { Tab: 9, Enter: 13 }[key], text: { Enter: '\r' }[key] || (key.length === 1 ? key : undefined) };
    await this.call('Input.dispatchKeyEvent', { type: 'keyDown', ...what });
    await this.call('Input.dispatchKeyEvent', { type: 'keyUp', ...what });
  }

  // The whole page, however long.
  async screenshot() {
    const { data } = await this.call('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true });
    return Buffer.from(data, 'base64');
  }
}

module.exports = { Chromium, withWatchdog, PATIENCE_MS };
