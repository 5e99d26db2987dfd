// SPDX-License-Identifier: Apache-2.0
// Goal: dashboard and alerts ask for metrics that there are. Method: every name of ours in them is looked for in an answer of /metrics; what the
// dashboard asks is written as rules, which promtool can read.
//   node metrics.js METRICS_FILE DASHBOARD RULES OUTPUT      exit status 1 when one is not there
'use strict';
const fs = require('node:fs');

const [metrics, dashboard, rules, output] = process.argv.slice(2);
const known = new Map([...fs.readFileSync(metrics, 'utf8').matchAll(/^# TYPE (\S+) (\S+)$/gm)].map((match) => [match[1], match[2]]));
let status = 0;
let count = 0;
for (const file of [dashboard, rules]) {
  for (const name of new Set(fs.readFileSync(file, 'utf8').match(/(?<![\w:])mserve_\w+/g))) {
    const part = /^(.*)_(bucket|sum|count)$/.exec(name);
    const there = part && known.get(part[1]) === 'histogram' ? true : known.has(name) && known.get(name) !== 'histogram';
    ++count;
    if (!there) {
      console.error(`FAILED: ${file} asks for ${name}, which /metrics does not have`);
      status = 1;
    }
  }
}
console.log(`  ${count} names in dashboard and alerts, of ${known.size} metrics`);
const asked = JSON.parse(fs.readFileSync(dashboard, 'utf8')).panels.flatMap((panel) => panel.targets.map((target) => target.expr));
const plain = asked.map((expr) => expr.replaceAll('$__rate_interval', '1m').replaceAll(/\$(job|instance)/g, 'x'));
fs.writeFileSync(output, JSON.stringify({ groups: [{ name: 'dashboard', rules: plain.map((expr, i) => ({ record: `asked:${i}`, expr })) }] }));
process.exit(count > 0 ? status : 1);
