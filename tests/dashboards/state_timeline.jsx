// A state timeline: a bar a series, a colour a state; Grafana's own is no part of @grafana/ui.
import React from 'react';

const LABEL_WIDTH_MAX = 170;

// [{from, to, value}]: stretches of one value; a gap where a sample is missing.
function stretches(times, values, step) {
  const out = [];
  times.forEach((time, i) => {
    const last = out[out.length - 1];
    if (values[i] === null) return;
    if (last && last.value === values[i] && time - last.to <= step) last.to = time;
    else {
      if (last && time - last.to <= step) last.to = time;
      out.push({ from: time, to: time, value: values[i] });
    }
  });
  return out;
}

export function StateTimeline({ data, width, height, range, theme, legend: Legend }) {
  const rows = data.map((frame) => {
    const [time, value] = frame.fields;
    return {
      name: value.config.displayNameFromDS,
      show: value.display,
      bars: stretches(time.values, value.values, 1.5 * time.config.interval),
    };
  });
  const states = new Map();
  rows.forEach((row) =>
    row.bars.forEach((bar) => {
      const shown = row.show(bar.value);
      states.set(shown.text, shown.color);
    }),
  );
  const label = Math.min(
    LABEL_WIDTH_MAX,
    14 + 6.6 * Math.max(...rows.map((row) => row.name.length)),
  );
  const axis = 22;
  const foot = 26;
  const tall = (height - axis - foot) / rows.length;
  const x = (time) => label + ((time - range.from) / (range.to - range.from)) * (width - label - 8);
  const hours = [];
  for (let at = Math.ceil(range.from / 3600e3) * 3600e3; at <= range.to; at += 3600e3)
    hours.push(at);
  const text = {
    fontSize: 12,
    fill: theme.colors.text.secondary,
    fontFamily: theme.typography.fontFamily,
  };
  return (
    <div>
      <svg width={width} height={height - foot}>
        {rows.map((row, i) => (
          <g key={row.name}>
            <text
              x={label - 8}
              y={tall * (i + 0.5)}
              dominantBaseline="middle"
              textAnchor="end"
              style={text}
            >
              {row.name}
            </text>
            {row.bars.map((bar) => (
              <rect
                key={bar.from}
                x={x(bar.from)}
                width={Math.max(1, x(bar.to) - x(bar.from))}
                y={tall * i + tall * 0.08}
                height={tall * 0.84}
                fill={row.show(bar.value).color}
                fillOpacity={0.75}
              />
            ))}
          </g>
        ))}
        {hours.slice(1, -1).map((at) => (
          <text key={at} x={x(at)} y={height - foot - 6} textAnchor="middle" style={text}>
            {new Date(at).toISOString().slice(11, 16)}
          </text>
        ))}
      </svg>
      <Legend
        placement="bottom"
        displayMode="list"
        items={[...states].map(([name, color]) => ({ label: name, color, yAxis: 1 }))}
      />
    </div>
  );
}
