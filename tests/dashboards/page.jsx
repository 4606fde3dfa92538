// A dashboard as Grafana lays it out: its header, rows and panels, drawn with @grafana/ui.
import React, { useEffect, useLayoutEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import {
  ThemeContext,
  createTheme,
  dateTime,
  applyFieldOverrides,
  getFieldDisplayValues,
  getDisplayProcessor,
  FieldType,
} from '@grafana/data';
import {
  BarGauge,
  BigValue,
  GlobalStyles,
  PanelChrome,
  TimeSeries,
  VizLegend,
  VizRepeater,
  useTheme2,
} from '@grafana/ui';
import { annotations, frames, variables } from './query.js';
import { StateTimeline } from './state_timeline.jsx';
import '@fontsource/inter/400.css';
import '@fontsource/inter/500.css';
import '@fontsource/roboto-mono/400.css';

const CELL = 30;
const GAP = 8;
// Defaults of Grafana's time series panel, for what a dashboard leaves out.
const CUSTOM = {
  drawStyle: 'line',
  lineInterpolation: 'linear',
  lineWidth: 1,
  fillOpacity: 0,
  gradientMode: 'none',
  spanNulls: false,
  insertNulls: false,
  showPoints: 'auto',
  pointSize: 5,
  axisPlacement: 'auto',
  axisLabel: '',
  axisColorMode: 'text',
  scaleDistribution: { type: 'linear' },
  axisCenteredZero: false,
  hideFrom: { tooltip: false, viz: false, legend: false },
  stacking: { mode: 'none', group: 'A' },
  thresholdsStyle: { mode: 'off' },
  barAlignment: 0,
};
const keep = (text) => text;

// The panel's frames with its field configuration: units, colours, thresholds, ranges, mappings.
function configured(panel, raw, theme) {
  const { defaults, overrides } = panel.fieldConfig;
  const data = raw.map((frame) => ({
    ...frame,
    fields: frame.fields.map((field) =>
      field.type === FieldType.time
        ? field
        : {
            ...field,
            config: { ...defaults, ...field.config, custom: { ...CUSTOM, ...defaults.custom } },
          },
    ),
  }));
  return applyFieldOverrides({
    data,
    fieldConfig: { defaults: {}, overrides },
    replaceVariables: keep,
    theme,
    timeZone: 'utc',
  });
}

function Marks({ config, marks }) {
  const theme = useTheme2();
  useLayoutEffect(() => {
    config.addHook('draw', (u) => {
      const { left, top, width, height } = u.bbox;
      u.ctx.save();
      u.ctx.beginPath();
      u.ctx.rect(left, top, width, height);
      u.ctx.clip();
      for (const mark of marks) {
        const from = u.valToPos(mark.time, 'x', true);
        const to = u.valToPos(mark.timeEnd, 'x', true);
        u.ctx.fillStyle = u.ctx.strokeStyle = theme.visualization.getColorByName(mark.color);
        u.ctx.globalAlpha = 0.1;
        if (mark.timeEnd > mark.time) u.ctx.fillRect(from, top, to - from, height);
        u.ctx.globalAlpha = 0.9;
        u.ctx.setLineDash([5, 5]);
        for (const x of [...new Set([from, to])]) {
          u.ctx.beginPath();
          u.ctx.moveTo(x, top);
          u.ctx.lineTo(x, top + height);
          u.ctx.stroke();
        }
      }
      u.ctx.restore();
    });
  }, [config]);
  return null;
}

function timeseries(panel, data, width, height, { range, marks }) {
  return (
    <TimeSeries
      frames={data}
      structureRev={1}
      width={width}
      height={height}
      timeRange={range.value}
      timeZone="utc"
      legend={panel.options.legend}
      options={panel.options}
    >
      {(config) => <Marks config={config} marks={marks} />}
    </TimeSeries>
  );
}

function reduced(panel, data, theme) {
  return getFieldDisplayValues({
    fieldConfig: { defaults: panel.fieldConfig.defaults, overrides: [] },
    reduceOptions: panel.options.reduceOptions,
    replaceVariables: keep,
    theme,
    data,
    sparkline: panel.options.graphMode === 'area',
    timeZone: 'utc',
  });
}

function repeated(panel, data, width, height, theme, render) {
  return (
    <VizRepeater
      source={data}
      width={width}
      height={height}
      orientation={panel.options.orientation ?? 'auto'}
      itemSpacing={8}
      renderCounter={0}
      autoGrid={panel.type !== 'bargauge'}
      minVizHeight={0}
      minVizWidth={0}
      getValues={() => reduced(panel, data, theme)}
      getAlignmentFactors={() => ({})}
      renderValue={({ value, width: w, height: h, count, orientation }) =>
        render(value, w, h, count, orientation)
      }
    />
  );
}

const KINDS = {
  timeseries,
  stat: (panel, data, width, height, { theme }) =>
    repeated(panel, data, width, height, theme, (value, w, h, count) => (
      <BigValue
        value={value.display}
        sparkline={value.sparkline}
        width={w}
        height={h}
        count={count}
        theme={theme}
        colorMode={panel.options.colorMode}
        graphMode={panel.options.graphMode}
        textMode={panel.options.textMode}
        justifyMode="auto"
      />
    )),
  bargauge: (panel, data, width, height, { theme }) =>
    repeated(panel, data, width, height, theme, (value, w, h, count, orientation) => (
      <BarGauge
        value={value.display}
        field={value.field}
        display={
          value.view
            ? getDisplayProcessor({ field: value.view.dataFrame.fields[1], theme })
            : undefined
        }
        width={w}
        height={h}
        orientation={orientation}
        theme={theme}
        displayMode={panel.options.displayMode}
        itemSpacing={8}
        lcdCellWidth={8}
        showUnfilled
        valueDisplayMode="color"
      />
    )),
  'state-timeline': (panel, data, width, height, { range, theme }) => (
    <StateTimeline
      data={data}
      width={width}
      height={height}
      range={range}
      theme={theme}
      legend={VizLegend}
    />
  ),
};

function Panel({ panel, place, context, report }) {
  const theme = useTheme2();
  const [data, setData] = useState(null);
  useEffect(() => {
    frames(context.base, panel, context.values, context.range, Math.round(place.width))
      .then((raw) => setData(configured(panel, raw, theme)))
      .catch((error) => report(panel, { error: String(error) }));
  }, []);
  useEffect(() => {
    if (!data) return;
    const values = data.flatMap((frame) => frame.fields[1].values).filter((v) => v !== null);
    report(panel, {
      series: data.length,
      points: values.length,
      names: data.map((f) => f.fields[1].config.displayNameFromDS),
      all_zero: values.every((v) => v === 0),
    });
  }, [data]);
  const draw = KINDS[panel.type];
  return (
    <div style={{ position: 'absolute', ...place }}>
      <PanelChrome
        title={panel.title}
        description={panel.description}
        width={place.width}
        height={place.height}
      >
        {(width, height) => {
          if (!data) return null;
          if (data.length === 0)
            return (
              <div style={{ textAlign: 'center', color: theme.colors.text.secondary }}>
                {panel.fieldConfig.defaults.noValue ?? 'No data'}
              </div>
            );
          return draw(panel, data, width, height, { ...context, theme });
        }}
      </PanelChrome>
    </div>
  );
}

function Header({ dashboard, context, theme }) {
  const chip = {
    border: `1px solid ${theme.colors.border.medium}`,
    borderRadius: 2,
    padding: '4px 8px',
    marginRight: 8,
  };
  const dim = { color: theme.colors.text.secondary, marginRight: 6 };
  const clock = (at) => dateTime(at).utc().format('YYYY-MM-DD HH:mm');
  return (
    <div style={{ height: 48, display: 'flex', alignItems: 'center', margin: `0 ${GAP}px` }}>
      <span style={{ fontSize: 18, fontWeight: 500, marginRight: 24 }}>{dashboard.title}</span>
      {Object.entries(context.values).map(([name, one]) => (
        <span key={name} style={chip}>
          <span style={dim}>{one.label}</span>
          {one.values.length > 1 ? `All (${one.values.length})` : one.values[0]}
        </span>
      ))}
      {dashboard.annotations.list.map((one) => (
        <span key={one.name} style={{ marginLeft: 8 }}>
          <span
            style={{
              display: 'inline-block',
              width: 12,
              height: 3,
              marginRight: 6,
              verticalAlign: 'middle',
              background: theme.visualization.getColorByName(one.iconColor),
            }}
          />
          {one.name}
        </span>
      ))}
      <span style={{ ...chip, marginLeft: 'auto', marginRight: 0 }}>
        {clock(context.range.from)} to {clock(context.range.to)} UTC
      </span>
    </div>
  );
}

function Board({ dashboard, context, report, width }) {
  const theme = useTheme2();
  const column = (width - GAP) / 24;
  const top = 48;
  const height =
    top + GAP + Math.max(...dashboard.panels.map((p) => p.gridPos.y + p.gridPos.h)) * (CELL + GAP);
  return (
    <div
      id="board"
      style={{ position: 'relative', width, height, background: theme.colors.background.canvas }}
    >
      <Header dashboard={dashboard} context={context} theme={theme} />
      {dashboard.panels.map((panel) => {
        const { x, y, w, h } = panel.gridPos;
        const place = {
          left: GAP + x * column,
          top: top + y * (CELL + GAP),
          width: w * column - GAP,
          height: h * (CELL + GAP) - GAP,
        };
        if (panel.type === 'row') {
          return (
            <div
              key={panel.id}
              style={{ position: 'absolute', ...place, lineHeight: `${CELL}px`, fontWeight: 500 }}
            >
              {panel.title}
            </div>
          );
        }
        return (
          <Panel key={panel.id} panel={panel} place={place} context={context} report={report} />
        );
      })}
    </div>
  );
}

window.draw = async ({ dashboard, base, from, to, scheme, width }) => {
  const theme = createTheme({ colors: { mode: scheme } });
  const value = { from: dateTime(from), to: dateTime(to), raw: { from: 'now-6h', to: 'now' } };
  const range = { from, to, value };
  const values = await variables(base, dashboard, range);
  const context = { base, range, values, marks: await annotations(base, dashboard, values, range) };
  const panels = dashboard.panels.filter((p) => p.type !== 'row');
  const reports = {};
  await document.fonts.ready;
  await new Promise((done) => {
    const report = (panel, what) => {
      reports[panel.title] = what;
      if (Object.keys(reports).length === panels.length) setTimeout(done, 500);
    };
    createRoot(document.getElementById('root')).render(
      <ThemeContext.Provider value={theme}>
        <GlobalStyles />
        <Board dashboard={dashboard} context={context} report={report} width={width} />
      </ThemeContext.Provider>,
    );
  });
  return { reports, marks: context.marks.map((m) => m.name) };
};
