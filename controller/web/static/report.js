/* The pictures of the report of `simulate --html`, from the figures that it brings along. */
"use strict";
(() => {
  const {chart, el, number, placeOf, words} = charts;
  const report = JSON.parse(document.getElementById("figures").textContent);
  const kind = report.began === null ? "since" : "utc", offset = report.began || 0, end = offset + report.end;
  const drawn = [];
  const moment = at => kind === "since" ? words(at) : new Date(at * 1000).toISOString().slice(0, 16).replace("T", " ") + " UTC";
  const JOBS = [
    {name: "jobs", how: "max"}, {name: "in progress", how: "max", color: "--busy", fill: true, alpha: 0.45},
    {name: "fewest jobs", how: "min"}, {name: "fewest in progress", how: "min", color: "--busy", fill: true},
    {name: "most workers", how: "max", scale: "workers"}, {name: "least workers", how: "min", scale: "workers"},
    {name: "workers", how: "mean", scale: "workers", color: "--workers", line: 1.5},
  ];
  const BANDS = [{high: 0, low: 1, color: "--waiting", alpha: 0.4}, {high: 2, low: 3, color: "--waiting"}, {high: 4, low: 5, color: "--workers", alpha: 0.25}];
  const zoom = (from, to) => {
    const isWhole = from === null;
    drawn.forEach(draw => draw(isWhole ? offset : from, isWhole ? end : to));
    buttons.forEach(one => one.setAttribute("aria-pressed", `${isWhole ? one === buttons[0] : one.from === from && one.to === to}`));
  };
  const button = (name, from, to) => Object.assign(el("button", {type: "button", onclick: () => zoom(from, to)}, name), {from, to});
  const buttons = [button("whole run", null, null), ...report.parts.map(([name, from, to]) => button(name, offset + from, offset + to))];
  document.getElementById("parts").append(...buttons, el("span", {class: "dim"}, "Drag over a picture to see a part of it; a double click shows all."));

  report.panels.forEach((panel, place) => {
    const parent = document.getElementById(`panel-${place}`), x = panel.times.map(at => offset + at);
    const depth = panel.waiting.map((waiting, at) => waiting + panel.busy[at]);
    const jobs = [x, depth, panel.busy, panel.fewest, panel.fewest_busy, panel.most, panel.least, panel.workers], waits = [x, panel.waits];
    const sentence = at => `${moment(x[at])}: up to ${number(depth[at])} jobs (${number(panel.busy[at])} in progress), ${number(panel.workers[at])} workers requested, longest wait ${words(panel.waits[at])}`;
    const readout = el("p", {class: "readout", "aria-hidden": "true"}), slider = el("input", {type: "range", min: 0, max: x.length - 1, value: x.length - 1, "aria-label": `Moment in the pictures of ${panel.name}`, oninput: () => { upper.point(x[+slider.value]); read(x[+slider.value]); }});
    const read = time => {
      if (time === null) return;
      const at = Math.max(0, placeOf(x, time));
      readout.textContent = sentence(at);
      slider.value = at;
      slider.setAttribute("aria-valuetext", sentence(at));
    };
    const upper = chart(parent, {name: `${panel.name} jobs`, sync: panel.name, kind, height: 190, series: JOBS, bands: BANDS, right: "workers", most: report.most_workers, zoomed: zoom, cursor: read});
    const lower = chart(parent, {name: `${panel.name} waits`, sync: panel.name, kind, height: 90, duration: true, padRight: 36, series: [{name: "longest wait", how: "max", color: "--waits", fill: true}], zoomed: zoom, cursor: read});
    parent.append(slider, readout);
    drawn.push((from, to) => {
      upper.show(jobs, from, to, panel.label);
      lower.show(waits, from, to, `${panel.name}: longest waits`);
    });
    read(x[depth.indexOf(Math.max(...depth))]);
  });
  zoom(null, null);
})();
