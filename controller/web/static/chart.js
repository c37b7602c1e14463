/* Charts over time, of the page and of the report of `simulate --html`, drawn by uPlot.
   A value holds from its time until the next. Where a pixel is longer than a step, it shows extremes and means. */
"use strict";
const charts = (() => {
  const color = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  /* An element; what comes from outside is only ever its text. */
  const el = (tag, given = {}, ...inside) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(given)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...inside.flat(9).filter(one => one !== null && one !== undefined && one !== ""));
    return made;
  };

  const two = (whole, large, name, small, smallName) => {
    const rest = Math.floor((whole % large) / small);
    return `${Math.floor(whole / large).toLocaleString("en")} ${name}` + (rest ? ` ${rest} ${smallName}` : "");
  };
  /* As units.in_words: `7.4 s`, `1 min 14 s`, `2 h 5 min`, `1 d 12 h`. */
  const words = seconds => {
    if (!Number.isFinite(seconds)) return "an unknown time";
    if (seconds < 9.95) return `${seconds.toFixed(1).replace(/\.0$/, "")} s`;
    const whole = Math.round(seconds);
    if (whole < 60) return `${whole} s`;
    if (whole < 3600) return two(whole, 60, "min", 1, "s");
    if (whole < 86400) return two(Math.round(whole / 60) * 60, 3600, "h", 60, "min");
    return two(Math.round(whole / 3600) * 3600, 86400, "d", 3600, "h");
  };
  const number = value => value === null || value === undefined ? "unknown"
    : value.toLocaleString("en", {maximumFractionDigits: value < 10 ? 1 : 0});

  const pick = {
    min: (a, b) => a === null ? b : b === null ? a : Math.min(a, b),
    max: (a, b) => a === null ? b : b === null ? a : Math.max(a, b),
  };

  /* The columns between two times, in at most about `most` steps. how: of each column, min, max or mean. */
  const within = (columns, how, from, to, most) => {
    const x = columns[0];
    let first = 0, last = x.length;
    while (first + 1 < x.length && x[first + 1] <= from) first++;
    while (last > first + 1 && x[last - 1] > to) last--;
    if (last - first <= 2 * most) return columns.map(column => column.slice(first, last + 1));
    const width = (to - from) / most, found = columns.map(() => []);
    for (let pixel = 0, at = first; pixel < most && at < last; pixel++) {
      const start = from + pixel * width, begun = at;
      while (at < last && x[at] < start + width) at++;
      /* The value before still holds where this pixel begins. */
      const low = begun > first && (begun === at || x[begun] > start) ? begun - 1 : begun, high = Math.max(at, low + 1);
      found[0].push(start);
      how.forEach((by, column) => {
        const values = columns[column + 1].slice(low, high);
        const known = values.filter(value => value !== null);
        found[column + 1].push(!known.length ? null : by === "mean"
          ? known.reduce((sum, value) => sum + value, 0) / known.length : known.reduce(pick[by]));
      });
    }
    return found;
  };

  const clock = utc => {
    const zone = utc ? {timeZone: "UTC"} : {};
    const form = options => new Intl.DateTimeFormat("en-GB", {...options, ...zone});
    const day = form({day: "numeric", month: "short"}), time = form({hour: "2-digit", minute: "2-digit"});
    const exact = form({hour: "2-digit", minute: "2-digit", second: "2-digit"});
    return (splits, step) => {
      let before = null;
      return splits.map(at => {
        const date = new Date(at * 1000), today = day.format(date), hour = time.format(date);
        const shown = step >= 86400 || hour === "00:00" ? today : step < 60 ? exact.format(date)
          : before === null && step >= 21600 ? `${today} ${hour}` : hour;
        before = today;
        return shown;
      });
    };
  };
  const since = (splits, step) => splits.map(at => {
    const [size, name] = step >= 86400 ? [86400, "d"] : step >= 3600 ? [3600, "h"] : step >= 60 ? [60, "min"] : [1, "s"];
    return at ? `${+(at / size).toFixed(2)} ${name}` : "0";
  });
  const clockSteps = [1, 5, 10, 30, 60, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200,
    ...[1, 2, 7, 14, 28, 91, 182, 364].map(days => days * 86400)];

  const every = new Set();
  const redraw = () => every.forEach(one => one.redraw());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  const watched = new ResizeObserver(entries => entries.forEach(entry => entry.target.resized && entry.target.resized()));

  /* series: {name, color, how, line, fill, alpha, dash, scale}; bands: {high, low, color, alpha} by place in series.
     kind: "time", "utc" or "since", of the x axis. right: the name of the scale that has its axis there.
     zoomed(from, to): the reader chose a part; cursor(time or null). */
  const chart = (parent, spec) => {
    const how = spec.series.map(one => one.how);
    const place = el("div", {class: "plot"});
    parent.append(place);
    let columns = [[], ...spec.series.map(() => [])], range = [0, 1];
    const alpha = (name, share) => () => {
      const hex = color(name);
      return share === undefined ? hex : hex + Math.round(share * 255).toString(16).padStart(2, "0");
    };
    const axis = {
      stroke: alpha("--text"), font: "12px system-ui, sans-serif", gap: 4, ticks: {show: false},
      grid: {stroke: alpha("--grid"), width: 1},
    };
    const whole = {incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 1e7, 1e8]};
    const y = {range: (_, low, high) => [0, Math.max(1, spec.least || 0, high || 0) * 1.06]};
    const labels = spec.kind === "since" ? since : clock(spec.kind === "utc");
    const options = {
      width: 300, height: spec.height, legend: {show: false}, padding: [8, spec.right ? 0 : spec.padRight || 20, 0, 0],
      scales: {x: {time: false, range: () => range}, y, ...(spec.right ? {[spec.right]: {range: (_, low, high) => [0, (spec.most || Math.max(1, high || 0)) * 1.06]}} : {})},
      axes: [
        {...axis, size: 24, space: 64, incrs: clockSteps, values: (_, splits, __, ___, step) => labels(splits, step)},
        {...axis, ...(spec.duration ? {values: (_, splits) => splits.map(words), incrs: [1, 5, 15, 30, 60, 300, 900, 1800, 3600, 7200, 10800, 14400, 21600, 43200, ...clockSteps.slice(14)]} : {...whole, values: (_, splits) => splits.map(number)}), size: spec.wide || 52, space: 28},
        ...(spec.right ? [{...axis, ...whole, scale: spec.right, side: 1, size: 36, space: 28, grid: {show: false}, stroke: alpha("--workers")}] : []),
      ],
      series: [{}, ...spec.series.map(one => ({
        label: one.name, scale: one.scale || "y", width: one.line || 0, dash: one.dash, points: {show: false},
        stroke: one.line ? alpha(one.color) : undefined, fill: one.fill ? alpha(one.color, one.alpha) : undefined,
        fillTo: 0, paths: uPlot.paths.stepped({align: 1}),
      }))],
      bands: (spec.bands || []).map(one => ({series: [one.high + 1, one.low + 1], fill: alpha(one.color, one.alpha)})),
      cursor: {y: false, points: {show: false}, drag: {x: true, y: false, setScale: false}, sync: {key: spec.sync || spec.name}},
      hooks: {
        setSelect: [u => {
          const {left, width} = u.select;
          if (width < 8) return;
          u.setSelect({left: 0, width: 0, top: 0, height: 0}, false);
          if (spec.zoomed) spec.zoomed(u.posToVal(left, "x"), u.posToVal(left + width, "x"));
        }],
        setCursor: [u => spec.cursor && spec.cursor(u.cursor.left >= 0 ? u.posToVal(u.cursor.left, "x") : null)],
        draw: [u => spec.drawn && spec.drawn(u)],
      },
    };
    const plot = new uPlot(options, columns, place);
    plot.root.setAttribute("role", "img");
    plot.over.addEventListener("dblclick", () => spec.zoomed && spec.zoomed(null, null));
    const draw = () => plot.setData(within(columns, how, ...range, Math.max(50, Math.floor(plot.width - 60))));
    place.resized = () => {
      const width = Math.floor(place.clientWidth);
      if (width > 0 && width !== plot.width) { plot.setSize({width, height: spec.height}); draw(); if (spec.sized) spec.sized(); }
    };
    watched.observe(place);
    every.add(plot);
    const made = {
      plot,
      show(data, from, to, label) {
        columns = data; range = [from, to];
        plot.root.setAttribute("aria-label", label);
        draw();
      },
      point(at) {
        plot.setCursor({left: plot.valToPos(at, "x"), top: 10});
      },
    };
    place.resized();
    return made;
  };

  /* The last place whose time is not after `at`; -1: none. */
  const placeOf = (x, at) => {
    let low = -1, high = x.length;
    while (high - low > 1) { const middle = (low + high) >> 1; if (x[middle] <= at) low = middle; else high = middle; }
    return low;
  };
  return {chart, color, el, number, placeOf, words};
})();
