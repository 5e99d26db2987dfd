// SPDX-License-Identifier: Apache-2.0
// Keeps the page up to date. Whatever comes from the broker is only ever put into the page as text: names, routes and
// queries are other people's bytes.
'use strict';
(() => {
  const POINTS = 300; // as many as the server remembers, one a second
  const SLOW = 2; // queries and events every other second
  const byId = (id) => document.getElementById(id);
  const state = {
    paused: false, keys: true, points: [], after: 0, epoch: '', look: null, status: null, totals: null, asleep: null,
    phase: '', goneAt: null, backAt: null, since: null, queries: null, events: null, whole: null, ticks: 0,
  };

  // ---- Words for numbers.

  const dash = '\u2013';
  const digits = (x) => (x < 9.995 ? x.toFixed(2) : x < 99.95 ? x.toFixed(1) : x.toFixed(0));
  const timeText = (ns) => {
    if (!Number.isFinite(ns)) return dash;
    if (ns < 999.5) return `${Math.round(ns)} ns`;
    for (const [size, unit] of [[1e3, '\u00b5s'], [1e6, 'ms']]) if (ns < size * 999.5) return `${digits(ns / size)} ${unit}`;
    return ns < 3.6e12 ? `${digits(ns / 1e9)} s` : `${digits(ns / 3.6e12)} h`;
  };
  const countText = (n) => {
    if (!Number.isFinite(n)) return dash;
    for (const [size, unit] of [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e4, 'k']]) if (n >= size) return digits(n / (unit === 'k' ? 1e3 : size)) + unit;
    return String(Math.round(n));
  };
  const rateText = (n) => (!Number.isFinite(n) ? dash : n < 9.95 && n > 0 ? n.toFixed(1) : countText(n));
  const bytesText = (n) => {
    for (const [size, unit] of [[2 ** 30, 'GiB'], [2 ** 20, 'MiB'], [2 ** 10, 'KiB']]) if (n >= size) return `${digits(n / size)} ${unit}`;
    return `${n} B`;
  };
  const shareText = (share) => (!Number.isFinite(share) ? dash : `${share >= 0.0995 || share === 0 ? Math.round(share * 100) : (share * 100).toFixed(1)} %`);
  const agoText = (s) => {
    const parts = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
    const at = parts.findIndex(([size]) => s >= size);
    if (at < 0) return '0 s';
    const [size, unit] = parts[at];
    const rest = parts[at + 1];
    const more = rest ? Math.floor((s % size) / rest[0]) : 0;
    return `${Math.floor(s / size)} ${unit}` + (more ? ` ${more} ${rest[1]}` : '');
  };
  const clockText = (date) => date.toLocaleTimeString(undefined, { hour12: false });
  // Of "2024-01-02T10:00:00.000000000", which is UTC.
  const utc = (text) => (typeof text === 'string' ? new Date(`${text.slice(0, 23)}Z`) : new Date(NaN));
  const momentText = (text) => {
    const date = utc(text);
    if (Number.isNaN(date.getTime())) return dash;
    const days = Math.abs(Date.now() - date) > 43200000;
    return (days ? `${date.toLocaleDateString()} ` : '') + clockText(date);
  };
  // Of "0D00:00:00.000554432".
  const spanNs = (text) => {
    const m = /^(\d+)D(\d\d):(\d\d):(\d\d)\.(\d{9})$/.exec(text || '');
    return m ? (((+m[1] * 24 + +m[2]) * 60 + +m[3]) * 60 + +m[4]) * 1e9 + +m[5] : NaN;
  };

  // ---- Tables. A cell is text, or {text, bar, mark, title}.

  const put = (node, text) => { if (node.textContent !== text) node.textContent = text; };
  const element = (tag, attributes, text) => {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };

  const fill = (cell, value) => {
    const what = typeof value === 'object' && value !== null ? value : { text: value };
    const text = String(what.text);
    const kind = what.mark || '';
    for (const word of ['good', 'warn', 'bad']) cell.classList.toggle(word, word === kind);
    cell.classList.toggle('mark', kind !== '');
    if (what.title !== undefined && cell.title !== what.title) cell.title = what.title;
    if (what.bar === undefined) {
      put(cell, text);
      return;
    }
    if (!cell.firstElementChild) {
      const bar = element('span', { class: 'bar', 'aria-hidden': 'true' });
      bar.append(element('span'));
      cell.replaceChildren(bar, element('span'));
    }
    cell.firstElementChild.firstElementChild.style.width = `${Math.min(1, Math.max(0, what.bar || 0)) * 100}%`;
    put(cell.lastElementChild, text);
  };

  // columns: [{name, of(row), number, key(row), kind}]; the first is the head of its row. A column with `key` can be sorted by.
  const makeTable = (id, columns, empty) => {
    const table = byId(id);
    const body = element('tbody');
    const order = { by: -1, down: false };
    const row = element('tr');
    const show = { rows: [] };
    columns.forEach((column, at) => {
      const head = element('th', { scope: 'col', class: column.number ? 'number' : '' });
      if (column.key) {
        const button = element('button', { type: 'button' }, column.name);
        button.addEventListener('click', () => {
          order.down = order.by === at ? !order.down : Boolean(column.number);
          order.by = at;
          for (const other of row.children) other.removeAttribute('aria-sort');
          head.setAttribute('aria-sort', order.down ? 'descending' : 'ascending');
          draw(show.rows);
        });
        head.append(button);
      } else {
        head.textContent = column.name;
      }
      if (column.title) head.title = column.title;
      row.append(head);
    });
    const headPart = element('thead');
    headPart.append(row);
    table.append(headPart, body);

    const newRow = () => {
      const line = element('tr');
      columns.forEach((column, at) => {
        line.append(element(at === 0 ? 'th' : 'td', { ...(at === 0 ? { scope: 'row' } : {}), class: [column.number ? 'number' : '', column.kind || ''].join(' ').trim() }));
      });
      return line;
    };
    const draw = (rows, why) => {
      show.rows = rows;
      let shown = rows;
      if (order.by >= 0) {
        const key = columns[order.by].key;
        shown = [...rows].sort((a, b) => {
          const [x, y] = [key(a), key(b)];
          return (x < y ? -1 : x > y ? 1 : 0) * (order.down ? -1 : 1);
        });
      }
      if (shown.length === 0) {
        const line = element('tr');
        line.append(element('td', { class: 'none', colspan: columns.length }, why || empty));
        if (body.children.length !== 1 || body.textContent !== line.textContent) body.replaceChildren(line);
        return;
      }
      if (body.querySelector('.none')) body.replaceChildren();
      while (body.children.length > shown.length) body.lastElementChild.remove();
      while (body.children.length < shown.length) body.append(newRow());
      shown.forEach((item, i) => columns.forEach((column, j) => fill(body.children[i].children[j], column.of(item))));
    };
    return draw;
  };

  // States of servants: a sign and a word, never a colour alone.
  const stateCell = (word) => ({ text: word === 'attached' ? 'serving' : word, mark: word === 'attached' ? 'good' : /stopped|closed/.test(word) ? 'bad' : 'warn' });
  const ring = (used, size) => ({ text: size > 0 ? shareText(used / size) : dash, bar: size > 0 ? used / size : 0 });
  const time = (ns) => (ns > 0 ? timeText(ns) : dash);
  const ratio = (part, all) => (all > 0 ? { text: shareText(part / all), bar: part / all } : { text: dash, bar: 0 });
  const countColumn = (name, field, title) => ({ name, of: (r) => countText(r[field]), number: true, key: (r) => r[field], title });
  const faultColumn = (name, field, title) => ({ name, of: (r) => ({ text: countText(r[field]) }), number: true, key: (r) => r[field], title });

  const drawServants = makeTable('servants-table', [
    { name: 'Servant', of: (r) => ({ text: r.name, title: r.name }), key: (r) => r.name, kind: 'name' },
    { name: 'State', of: (r) => stateCell(r.state), key: (r) => r.state },
    { name: 'Running', of: (r) => ({ text: `${r.running} of ${r.credit}`, bar: r.credit > 0 ? r.running / r.credit : 0 }), number: true, key: (r) => r.running, title: 'Requests that it runs, of those that it may hold at once' },
    { name: 'Requests/s', of: (r) => rateText(r.requests_per_s), number: true, key: (r) => r.requests_per_s || 0 },
    { name: 'Busy', of: (r) => ratio(r.busy, 1), number: true, key: (r) => r.busy || 0, title: 'Share of the last second in which it ran requests' },
    { name: 'Queue p50', of: (r) => (r.execution_p50 > 0 ? timeText(r.queue_p50) : dash), number: true, key: (r) => r.queue_p50, title: 'How long its requests had waited' },
    { name: 'Run p50', of: (r) => time(r.execution_p50), number: true, key: (r) => r.execution_p50 },
    { name: 'Run p99', of: (r) => time(r.execution_p99), number: true, key: (r) => r.execution_p99 },
    { name: 'Affinity', of: (r) => ratio(r.hits, r.requests), number: true, key: (r) => (r.requests > 0 ? r.hits / r.requests : 0), title: 'Requests whose route it held' },
    countColumn('Answered', 'answered'),
    faultColumn('Errors', 'errors', 'Answers that were errors'),
    faultColumn('Overruns', 'overruns', 'Requests that ran too long'),
    { name: 'Ring in', of: (r) => ring(r.in_bytes, r.in_capacity), number: true, key: (r) => r.in_bytes, title: 'How full its ring to the broker is' },
    { name: 'Ring out', of: (r) => ring(r.out_bytes, r.out_capacity), number: true, key: (r) => r.out_bytes, title: 'How full the broker\u2019s ring to it is' },
    { name: 'Number', of: (r) => String(r.number), number: true, key: (r) => r.number, title: 'What mserve-stat ctl calls it' },
    { name: 'Pid', of: (r) => String(r.pid), number: true, key: (r) => r.pid },
    { name: 'Tier', of: (r) => String(r.tier), number: true, key: (r) => r.tier },
    { name: 'Tags', of: (r) => ({ text: r.tags || dash, title: r.tags }), key: (r) => r.tags, kind: 'clip' },
    { name: 'Since', of: (r) => momentText(r.since), key: (r) => r.since },
  ], 'No servant is attached: requests wait, or are refused.');

  const drawClients = makeTable('clients-table', [
    { name: 'Client', of: (r) => ({ text: r.name, title: r.name }), key: (r) => r.name, kind: 'name' },
    { name: 'Requests/s', of: (r) => rateText(r.requests_per_s), number: true, key: (r) => r.requests_per_s || 0 },
    countColumn('Requests', 'requests'),
    countColumn('Answered', 'answered'),
    faultColumn('Errors', 'errors', 'Statuses of the broker\u2019s own'),
    countColumn('Kept', 'kept', 'Answers that had to wait because it did not read'),
    { name: 'Kept now', of: (r) => (r.kept_bytes > 0 ? { text: bytesText(r.kept_bytes), mark: 'warn' } : bytesText(0)), number: true, key: (r) => r.kept_bytes },
    { name: 'Ring in', of: (r) => ring(r.in_bytes, r.in_capacity), number: true, key: (r) => r.in_bytes, title: 'How full its ring to the broker is' },
    { name: 'Ring out', of: (r) => ring(r.out_bytes, r.out_capacity), number: true, key: (r) => r.out_bytes, title: 'How full the broker\u2019s ring to it is' },
    { name: 'Role', of: (r) => r.role, key: (r) => r.role },
    { name: 'Number', of: (r) => String(r.number), number: true, key: (r) => r.number },
    { name: 'Pid', of: (r) => String(r.pid), number: true, key: (r) => r.pid },
    { name: 'User id', of: (r) => String(r.uid), number: true, key: (r) => r.uid },
    { name: 'Since', of: (r) => momentText(r.since), key: (r) => r.since },
  ], 'No client is attached.');

  const drawRoutes = makeTable('routes-table', [
    { name: 'Route', of: (r) => ({ text: r.route, title: r.route }), key: (r) => r.route, kind: 'name' },
    { name: 'Answered', of: (r) => ({ text: (r.error > 0 ? '\u2264 ' : '') + countText(r.answered), title: r.error > 0 ? `${r.answered - r.error} to ${r.answered}` : String(r.answered) }), number: true, key: (r) => r.answered },
    { name: 'Affinity', of: (r) => ratio(r.hits, r.answered - r.error), number: true, key: (r) => r.hits / Math.max(1, r.answered - r.error) },
    { name: 'Run mean', of: (r) => time(r.execution_mean), number: true, key: (r) => r.execution_mean },
  ], 'No request had a route yet.');

  const drawEvents = makeTable('events-table', [
    { name: 'Time', of: (r) => ({ text: momentText(r.time), title: `${r.time} UTC` }) },
    { name: 'Event', of: (r) => ({ text: r.event, ...(r.event === 'closed' || r.event === 'stopped' ? { mark: 'warn' } : {}) }) },
    { name: 'Session', of: (r) => (r.session > 0 ? String(r.session) : dash), number: true },
    { name: 'What', of: (r) => { const text = [r.code, r.text].filter(Boolean).join(': '); return { text: text || dash, title: text }; }, kind: 'rest' },
  ], 'Nothing has happened yet.');

  const drawQueries = makeTable('queries-table', [
    { name: 'Time', of: (r) => ({ text: momentText(r.time_returned), title: `${r.time_returned} UTC` }) },
    { name: 'Status', of: (r) => ({ text: r.status, mark: r.status === 'ok' ? 'good' : 'bad' }) },
    { name: 'Elapsed', of: (r) => timeText(spanNs(r.elapsed)), number: true },
    { name: 'Query', of: (r) => { const text = typeof r.query === 'string' ? r.query : JSON.stringify(r.query); return { text, title: text.slice(0, 2000) }; }, kind: 'long' },
    { name: 'User', of: (r) => ({ text: r.user || dash, title: r.user || '' }), kind: 'clip' },
    { name: 'Route', of: (r) => ({ text: r.route || dash, title: r.route || '' }), kind: 'clip' },
    { name: 'Servant', of: (r) => ({ text: r.qsvr || dash, title: r.qsvr || '' }), kind: 'clip' },
  ], 'No query was answered lately.');

  const percentiles = [['p50', 'p50'], ['p90', 'p90'], ['p99', 'p99'], ['p999', 'p99.9'], ['max', 'Max'], ['mean', 'Mean'], ['count', 'Count']];
  const words = { queue: 'queue', execution: 'execution', round_trip: 'round trip', broker_in: 'broker in', broker_out: 'broker out' };
  const timesBody = {};
  const makeTimes = () => {
    const table = byId('times');
    const row = element('tr');
    row.append(element('th', { scope: 'col' }, 'Time'));
    for (const [, name] of percentiles) row.append(element('th', { scope: 'col', class: 'number' }, name));
    const headPart = element('thead');
    headPart.append(row);
    table.append(headPart);
    for (const [key, name] of [['second', 'in the last second'], ['start', 'since the broker started']]) {
      const body = element('tbody');
      const line = element('tr');
      line.append(element('th', { scope: 'rowgroup', colspan: percentiles.length + 1 }, name));
      body.append(line);
      for (const word of Object.values(words)) {
        const one = element('tr');
        one.append(element('th', { scope: 'row' }, word));
        for (let i = 0; i < percentiles.length; ++i) one.append(element('td', { class: 'number' }, dash));
        body.append(one);
      }
      table.append(body);
      timesBody[key] = body;
    }
  };
  const drawTimes = (key, rows) => {
    Object.keys(words).forEach((word, at) => {
      const found = (rows || []).find((row) => row.time === word);
      percentiles.forEach(([field], i) => {
        const cell = timesBody[key].children[at + 1].children[i + 1];
        put(cell, !found ? dash : field === 'count' ? countText(found.count) : found.count > 0 ? timeText(found[field]) : dash);
      });
    });
  };

  // ---- Tiles.

  const tiles = new Map();
  const tile = (name, value, note, kind) => {
    let box = tiles.get(name);
    if (!box) {
      box = element('div');
      box.append(element('dt', {}, name), element('dd', { class: 'value' }), element('dd', { class: 'quiet' }));
      byId('tiles').append(box);
      tiles.set(name, box);
    }
    box.className = kind || '';
    put(box.children[1], value);
    put(box.children[2], note);
  };

  const drawTiles = () => {
    const totals = state.look.totals;
    const last = state.points.length > 0 ? state.points[state.points.length - 1] : null;
    const serving = state.look.servants.filter((s) => s.state === 'attached').length;
    const slots = state.look.servants.reduce((sum, s) => sum + s.credit, 0);
    const dispatched = totals.hits + totals.claims + totals.steals + totals.spills;
    const oldS = totals.queue_age_ns / 1e9;
    tile('Requests', last ? `${rateText(last.requests_per_s)}/s` : dash, `${countText(totals.requests)} in all`);
    tile('Queued', countText(totals.queued), totals.queued > 0 ? `oldest ${timeText(totals.queue_age_ns)}` : 'nobody waits', totals.queued > 0 && oldS > 1 ? 'warn' : '');
    tile('Running', countText(totals.running), `of ${countText(slots)} at once`);
    tile('Servants', `${serving} of ${totals.servants}`, serving === totals.servants ? 'serving' : `serve; ${totals.servants - serving} held`, serving === 0 ? 'bad' : serving < totals.servants ? 'warn' : '');
    tile('Affinity', shareText(dispatched > 0 ? totals.hits / dispatched : NaN), `of ${countText(dispatched)} routed`);
    tile('Refused', countText(totals.refused), totals.refused > 0 ? 'at once' : 'none');
    tile('Broker errors', last ? `${rateText(last.errors_per_s)}/s` : dash, `${countText(totals.errors)} in all`, last && last.errors_per_s > 0 ? 'warn' : '');
    tile('Time-outs', countText(totals.queue_timeouts + totals.overruns), totals.queue_timeouts + totals.overruns > 0 ? `${countText(totals.queue_timeouts)} in the queue` : 'none');
    tile('Closed', countText(totals.poisoned + totals.slow + totals.stalled), totals.poisoned > 0 ? `${countText(totals.poisoned)} poisoned` : 'none poisoned', totals.poisoned > 0 ? 'warn' : '');
    tile('Data thread', state.asleep === null ? dash : shareText(1 - state.asleep), 'awake, last s');
  };

  // ---- The curve: percentiles over time on a logarithmic axis, and requests per second below.

  const svgNs = 'http://www.w3.org/2000/svg';
  const shape = (tag, attributes, text) => {
    const node = document.createElementNS(svgNs, tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const series = ['p50', 'p90', 'p99'];

  const drawCurve = () => {
    const svg = byId('curve');
    const width = svg.clientWidth || 600;
    const height = svg.clientHeight || 270;
    const left = 52, right = 88, top = 10, gap = 22, strip = 44;
    const bottom = height - strip - gap - 18;
    const inner = Math.max(10, width - left - right);
    svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    const parts = [];
    const points = state.points;
    const newest = points.length > 0 ? points[points.length - 1].at_ms : Date.now();
    // As much of the five minutes as there is, so that the curve of a broker that just started can be seen.
    const covered = points.length > 0 ? (newest - points[0].at_ms) / 60000 : 0;
    const span = covered <= 1 ? 1 : covered <= 2 ? 2 : 5;
    const x = (ms) => left + inner * (1 - (newest - ms) / (span * 60000));
    const used = points.filter((p) => p.answered > 0);
    let low = Infinity, high = 0;
    for (const p of used) { low = Math.min(low, Math.max(p.p50, 1)); high = Math.max(high, p.p99); }
    if (high === 0) { low = 1e4; high = 1e6; }
    let from = Math.floor(Math.log10(low)), to = Math.ceil(Math.log10(Math.max(high, low * 1.01)));
    if (to <= from) to = from + 1;
    const y = (ns) => bottom - (bottom - top) * (Math.log10(Math.max(ns, 10 ** from)) - from) / (to - from);
    for (let power = from; power <= to; ++power) {
      parts.push(shape('line', { class: 'grid', x1: left, x2: left + inner, y1: y(10 ** power), y2: y(10 ** power) }));
      parts.push(shape('text', { x: left - 6, y: y(10 ** power) + 4, 'text-anchor': 'end' }, timeText(10 ** power).replace(/\.0+/, '')));
    }
    const step = span === 5 ? (inner > 320 ? 1 : 2.5) : span / 2;
    for (let m = 0; m <= span; m += step) {
      const at = x(newest - m * 60000);
      parts.push(shape('line', { class: 'grid', x1: at, x2: at, y1: top, y2: height - 16 }));
      parts.push(shape('text', { x: at, y: height - 3, 'text-anchor': m === 0 ? 'end' : m === span ? 'start' : 'middle' }, m === 0 ? 'now' : m < 1 ? `${m * 60} s ago` : `${m} min ago`));
    }
    // Where nobody asked there is no time, so the line has a gap.
    for (const name of series) {
      let path = '', before = null;
      for (const p of points) {
        if (p.answered > 0) path += `${before && before.answered > 0 && p.at_ms - before.at_ms < 3000 ? 'L' : 'M'}${x(p.at_ms).toFixed(1)} ${y(p[name]).toFixed(1)}h0`;
        before = p;
      }
      if (path) parts.push(shape('path', { class: name, d: path, 'stroke-linecap': 'round' }));
    }
    const last = used[used.length - 1];
    if (last) {
      // Labels at the right end, pushed apart.
      let lowest = bottom + 4;
      for (const name of series) {
        const at = Math.min(y(last[name]) + 4, lowest);
        parts.push(shape('text', { class: name, x: left + inner + 6, y: at }, `${name} ${timeText(last[name])}`));
        lowest = at - 13;
      }
    }
    const most = Math.max(1, ...points.map((p) => p.requests_per_s));
    const base = height - 18;
    if (points.length > 1) {
      const tops = points.map((p) => `${x(p.at_ms).toFixed(1)} ${(base - strip * p.requests_per_s / most).toFixed(1)}`);
      parts.push(shape('path', { class: 'rate', d: `M${x(points[0].at_ms).toFixed(1)} ${base}L${tops.join('L')}L${x(newest).toFixed(1)} ${base}Z` }));
    }
    parts.push(shape('text', { x: left - 6, y: base - strip + 8, 'text-anchor': 'end' }, countText(most)));
    parts.push(shape('text', { x: left - 6, y: base, 'text-anchor': 'end' }, '0'));
    parts.push(shape('text', { x: left + inner + 6, y: base - strip / 2 + 4 }, 'requests/s'));
    svg.replaceChildren(...parts);
    const spread = (name) => {
      const all = used.map((p) => p[name]);
      return `${timeText(last[name])} (${timeText(Math.min(...all))} to ${timeText(Math.max(...all))})`;
    };
    put(byId('curve-text'), !last ? 'No request was answered in the time shown.'
      : `Round trip as the broker sees it, over ${agoText(Math.max(1, Math.round((newest - points[0].at_ms) / 1000)))}: half within ${spread('p50')}, 90 % within ${spread('p90')}, 99 % within ${spread('p99')}; at most ${countText(most)} requests/s.`);
  };

  // ---- What is said in words.

  const note = (kind, text) => {
    const box = byId('notice');
    if (box.className !== kind) box.className = kind;
    put(box, text);
  };

  // phase: 'ok', 'stuck', 'no_broker' of the broker, or 'silent' when the server itself does not answer.
  const enter = (phase, reason) => {
    const now = new Date();
    const changed = phase !== state.phase;
    if (changed) {
      if (phase !== 'ok') state.goneAt = state.phase === 'ok' || state.phase === '' ? now : state.goneAt || now;
      if (phase === 'ok') state.backAt = state.phase !== '' ? now : null;
      state.phase = phase;
    }
    document.body.classList.toggle('old', phase !== 'ok');
    const status = state.status;
    const seen = state.look !== null ? ' Below is what it showed last.' : '';
    const texts = {
      stuck: ['bad', 'stuck', `The broker has been stuck since ${clockText(state.goneAt || now)}: ${reason}.${seen}`],
      no_broker: ['bad', state.look ? 'gone' : 'not there', state.look ? `The broker has been gone since ${clockText(state.goneAt || now)}: ${reason}.${seen}` : `No broker is there: ${reason}. This page goes on looking.`],
      silent: ['bad', 'unknown', `mserve-stat serve has not answered since ${clockText(state.goneAt || now)}.${seen} This page goes on asking.`],
    };
    const box = byId('state');
    if (phase === 'ok') {
      box.className = 'state good';
      put(box, `running for ${agoText(status.uptime_s)}`);
      const recent = state.backAt && now - state.backAt < 60000;
      note(recent ? 'good' : '', recent ? `The broker has been back since ${clockText(state.backAt)}, as process ${status.pid}.` : '');
    } else {
      const [kind, word, text] = texts[phase];
      box.className = `state ${kind}`;
      put(box, word);
      note(kind, text);
    }
  };

  // ---- Asking.

  const ask = async (path) => {
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), 5000);
    try {
      const answer = await fetch(path, { signal: stop.signal, cache: 'no-store' });
      return { ok: answer.ok, value: await answer.json() };
    } finally {
      clearTimeout(timer);
    }
  };

  const take = (all) => {
    const { status, look, points } = all;
    if (status.epoch !== state.epoch) {
      state.epoch = status.epoch;
      state.points = [];
      state.totals = null;
      if (state.look && status.status !== 'ok') state.look = null;
    }
    state.status = status;
    for (const p of points) if (state.points.length === 0 || p.number > state.points[state.points.length - 1].number) state.points.push(p);
    state.points.splice(0, Math.max(0, state.points.length - POINTS));
    state.after = state.points.length > 0 ? state.points[state.points.length - 1].number : 0;
    if (look) {
      const before = state.totals;
      const passed = before ? look.totals.told_at - before.told_at : 0;
      if (passed > 0) state.asleep = Math.min(1, Math.max(0, (look.totals.asleep_ns - before.asleep_ns) / passed));
      if (!before || passed > 0) state.totals = look.totals;
      state.look = look;
    }
  };

  const draw = () => {
    put(byId('broker'), state.status.broker);
    document.title = `${state.phase === 'ok' ? '' : '\u2716 '}mserve ${state.status.broker}`;
    put(byId('versions'), `mserve-stat ${state.status.version}` + (state.status.pid ? `, broker process ${state.status.pid}, policy ${state.look ? state.look.policy : dash}` : ''));
    put(byId('updated'), `updated ${clockText(new Date())}`);
    if (!state.look) return;
    const { servants, clients, routes, latency } = state.look;
    drawTiles();
    drawTimes('second', state.points.length > 0 ? latency : []); // one look alone holds all since the start
    drawTimes('start', state.whole);
    drawServants(servants);
    drawClients(clients);
    drawRoutes(routes.slice(0, 20));
    put(byId('servants-count'), `${servants.length}`);
    put(byId('clients-count'), `${clients.length}`);
    put(byId('routes-count'), routes.length > 20 ? `20 of ${routes.length}` : `${routes.length}`);
    drawCurve();
    reach();
  };

  // What does not scroll is no stop of the Tab key.
  const reach = () => {
    for (const box of document.querySelectorAll('.scroll')) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
      else box.removeAttribute('tabindex');
    }
  };

  const slow = async (queries) => {
    const [whole, events, rows] = await Promise.all([ask('/api/latency.json'), ask('/api/events.json?n=20'), queries ? ask('/api/queries.json?n=20') : null]);
    if (whole.ok) state.whole = whole.value;
    if (events.ok) drawEvents(events.value.reverse());
    if (!queries) drawQueries([], 'This server was started with --no-queries.');
    else if (rows.ok) drawQueries(rows.value.reverse());
    else if (rows.value.error !== 'no_broker') drawQueries([], `They are not shown: ${rows.value.reason}.`);
  };

  const look = async () => {
    let all;
    try {
      all = await ask(`/api/page.json?after=${state.after}`);
    } catch (fault) {
      enter('silent', '');
      return;
    }
    take(all.value);
    try {
      if (all.value.status.status === 'ok' && state.ticks++ % SLOW === 0) await slow(all.value.queries);
    } catch (fault) {
      // The next round tells.
    }
    enter(all.value.status.status, all.value.status.reason);
    draw();
  };

  const run = async () => {
    if (!state.paused && document.visibilityState !== 'hidden') await look();
    setTimeout(run, 1000);
  };

  const pause = () => {
    state.paused = !state.paused;
    const button = byId('pause');
    button.setAttribute('aria-pressed', String(state.paused));
    button.firstChild.textContent = state.paused ? 'Paused ' : 'Pause ';
    if (!state.paused) look();
  };

  makeTimes();
  for (const table of [drawServants, drawClients, drawRoutes, drawEvents, drawQueries]) table([], 'Nothing is known yet.');
  byId('pause').addEventListener('click', pause);
  byId('keys').addEventListener('change', (event) => { state.keys = event.target.checked; });
  document.addEventListener('keydown', (event) => {
    if (event.key === 'p' && state.keys && !event.ctrlKey && !event.altKey && !event.metaKey && !event.repeat) pause();
  });
  new ResizeObserver(() => {
    if (state.look) drawCurve();
    reach();
  }).observe(byId('curve'));
  run();
})();
