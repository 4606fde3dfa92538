// Asks Prometheus as Grafana's data source does: variables, intervals, legends, data frames.
import { FieldType, createDataFrame, rangeUtil } from '@grafana/data';

const SCRAPE_SECONDS = 15; // the data source's timeInterval, as in deploy/compose/grafana

export async function api(base, path, words) {
  const answer = await fetch(`${base}/api/v1/${path}?${new URLSearchParams(words)}`);
  const body = await answer.json();
  if (body.status !== 'success')
    throw new Error(`${path}: ${body.error}: ${JSON.stringify(words)}`);
  return body.data;
}

// Values of the dashboard's query variables, all selected; what a panel puts in is their allValue.
export async function variables(base, dashboard, range) {
  const out = {};
  for (const one of dashboard.templating.list.filter((v) => v.type === 'query')) {
    const [, selector, label] = one.query.query.match(/^label_values\((.*), *(\w+)\)$/);
    const match = replaced(selector, out);
    const words = { 'match[]': match, start: range.from / 1000, end: range.to / 1000 };
    const values = await api(base, `label/${label}/values`, words);
    if (values.length === 0) throw new Error(`variable ${one.name}: no values for ${match}`);
    out[one.name] = { label: one.label, values, all: one.allValue };
  }
  return out;
}

function replaced(text, values, more = {}) {
  return text.replace(/\$(\w+)/g, (whole, name) => more[name] ?? values[name]?.all ?? whole);
}

// Grafana's $__interval for a panel `width` pixels wide and $__rate_interval, in seconds.
export function intervals(range, width) {
  const limit = `${SCRAPE_SECONDS}s`;
  const step = Math.round(rangeUtil.calculateInterval(range.value, width, limit).intervalMs / 1000);
  return { step, rate: Math.max(step + SCRAPE_SECONDS, 4 * SCRAPE_SECONDS) };
}

export function legend(format, labels) {
  return format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] ?? '');
}

// One frame a series, as the Prometheus data source gives them.
export async function frames(base, panel, values, range, width) {
  const { step, rate } = intervals(range, width);
  const times = {
    start: Math.floor(range.from / 1000 / step) * step,
    end: Math.floor(range.to / 1000 / step) * step,
  };
  const out = [];
  for (const target of panel.targets) {
    const query = replaced(target.expr, values, {
      __rate_interval: `${rate}s`,
      __interval: `${step}s`,
    });
    const data = await api(base, 'query_range', { query, ...times, step });
    for (const series of data.result) out.push(frame(target, series, step));
  }
  return out;
}

function frame(target, series, step) {
  const name = legend(target.legendFormat, series.metric);
  return createDataFrame({
    refId: target.refId,
    fields: [
      {
        name: 'Time',
        type: FieldType.time,
        values: series.values.map(([at]) => at * 1000),
        config: { interval: step * 1000 },
      },
      {
        name: 'Value',
        type: FieldType.number,
        labels: series.metric,
        config: { displayNameFromDS: name },
        values: series.values.map(([, text]) => number(text)),
      },
    ],
  });
}

function number(text) {
  const value = { '+Inf': Infinity, '-Inf': -Infinity, NaN: null }[text];
  return value === undefined ? Number(text) : value;
}

// Marks of the dashboard's annotations: [{time, timeEnd, color, name}], neighbours merged.
export async function annotations(base, dashboard, values, range) {
  const out = [];
  for (const one of dashboard.annotations.list.filter((a) => a.enable)) {
    const step = rangeUtil.intervalToSeconds(one.step);
    const query = replaced(one.expr, values);
    const data = await api(base, 'query_range', {
      query,
      start: range.from / 1000,
      end: range.to / 1000,
      step,
    });
    const at = [...new Set(data.result.flatMap((s) => s.values.map(([t]) => t * 1000)))].sort(
      (a, b) => a - b,
    );
    let last = null;
    for (const time of at) {
      if (last && time - last.timeEnd <= step * 1000) last.timeEnd = time;
      else out.push((last = { time, timeEnd: time, color: one.iconColor, name: one.name }));
    }
  }
  return out;
}
