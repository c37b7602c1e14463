/* The page at /: draws what /stream says, and the history. Text from outside goes through textContent only. */
"use strict";
(() => {
  const {chart, color, el, number, placeOf, words} = charts;
  const SPANS = {"1h": ["1 h", 3600], "6h": ["6 h", 21600], "24h": ["24 h", 86400], "7d": ["7 d", 604800]};
  const MARKS = {
    up: ["▲", "scale-up", "--good"], down: ["▼", "scale-down", "--waiting"], failure: ["✕", "failure", "--bad"],
    takeover: ["◆", "takeover", "--shadow"], override: ["■", "override", "--warn"], other: ["●", "other", "--dim"],
  };
  const SILENT_S = 16, MOST_LIVE = 1500, MARK_PX = 26;
  let state = null, offset = 0, heard = 0, source = null, tries = 0, lostAt = null, said = "";
  let span = "1h", zoom = null, entries = [], moreEntries = false, fetchedKey = "", fetching = 0, costAt = -1e9, cardNames = "";
  const cards = new Map(), live = new Map();

  /* --- time --- */
  const now = () => Date.now() / 1000 + offset;
  const seconds = iso => Date.parse(iso) / 1000;
  const exact = at => new Date(at * 1000).toLocaleString("en-GB", {dateStyle: "medium", timeStyle: "long"});
  const short = at => new Date(at * 1000).toLocaleString("en-GB", {day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23"});
  const ago = at => { const left = now() - at; return left < 1.5 ? "just now" : `${words(Math.round(left))} ago`; };
  const time = (at, shown) => el("time", {datetime: new Date(at * 1000).toISOString(), title: exact(at), "data-ago": shown ? null : at}, shown || ago(at));
  const since = at => ["since ", time(at, short(at)), " (", el("span", {"data-for": at}, words(Math.max(0, Math.round(now() - at)))), ")"];
  const until = at => el("span", {title: exact(at), "data-until": at}, left(at));
  const left = at => at - now() <= 0 ? "now" : `in ${words(Math.ceil(at - now()))}`;
  const tick = () => {
    document.querySelectorAll("[data-ago]").forEach(one => text(one, ago(+one.dataset.ago)));
    document.querySelectorAll("[data-for]").forEach(one => text(one, words(Math.max(0, Math.round(now() - one.dataset.for)))));
    document.querySelectorAll("[data-until]").forEach(one => text(one, left(+one.dataset.until)));
    if (source && Date.now() / 1000 - heard > SILENT_S) lost();
    if (state) cards.forEach(card => card.age());
  };
  const text = (one, words) => { if (one.textContent !== words) one.textContent = words; };
  const fill = (one, ...inside) => {
    const made = el("div", {}, ...inside);
    /* What is the same stays, with its focus; times in it go on by themselves. */
    if (one.dataset.was === made.innerHTML) return;
    one.dataset.was = made.innerHTML;
    one.replaceChildren(...made.childNodes);
  };

  /* --- the frame --- */
  const health = el("h1"), lead = el("p"), banner = el("p", {class: "banner", hidden: true}), faults = el("ul", {class: "faults"});
  const live_region = el("p", {class: "unseen", role: "status"}), workers = el("div"), footer = el("p", {class: "dim"});
  const unread = el("p", {class: "dim"}), events = el("tbody"), costs = el("div");
  const spans = el("div", {class: "spans", role: "group", "aria-label": "Time shown in the charts"},
    Object.entries(SPANS).map(([key, [name]]) => el("button", {type: "button", "aria-pressed": `${key === span}`, onclick: () => choose(key)}, name)),
    el("button", {type: "button", hidden: true, onclick: () => zoomTo(null)}, "Whole span"));
  const scrolls = (name, ...inside) => el("div", {class: "wide", tabindex: 0, role: "region", "aria-label": name}, ...inside);
  const table = (caption, headings, body) => el("table", {}, el("caption", {class: "unseen"}, caption),
    el("thead", {}, el("tr", {}, headings.map(one => el("th", {scope: "col"}, one)))), body);
  document.getElementById("live").replaceWith(
    el("header", {}, el("p", {class: "brand"}, "worker-autoscaler"), health, lead, faults, banner, live_region),
    el("main", {}, el("div", {class: "bar"}, spans, unread), workers,
      el("section", {"aria-labelledby": "events", class: "events"}, el("h2", {id: "events"}, "Last events"),
        scrolls("Table of the last events", table("The last 20 events, the newest first", ["When", "What", "Worker", "Why"], events))),
      el("section", {"aria-labelledby": "cost"}, el("h2", {id: "cost"}, "Cost this month"), costs)),
    el("footer", {}, footer, el("nav", {"aria-label": "Data"}, el("a", {href: "status"}, "/status"), " · ",
      el("a", {href: "history"}, "/history"), " · ", el("a", {href: "metrics"}, "/metrics"))));

  /* --- the stream --- */
  const connect = () => {
    source = new EventSource("stream");
    source.addEventListener("state", event => { listen(event); state = JSON.parse(event.data); render(); });
    source.addEventListener("alive", event => listen(event));
    source.onerror = lost;
    heard = Date.now() / 1000;
  };
  const listen = event => {
    heard = Date.now() / 1000;
    offset = seconds(JSON.parse(event.data).now) - heard;
    tries = 0;
    if (lostAt !== null) { lostAt = null; banner.hidden = true; document.body.classList.remove("lost"); fetchedKey = ""; if (state) render(); }
  };
  const lost = () => {
    if (source) source.close();
    source = null;
    if (lostAt === null) {
      lostAt = state ? now() - (Date.now() / 1000 - heard) : now();
      document.body.classList.add("lost");
      fill(banner, "No connection to the controller ", since(lostAt), state ? ". What is shown is from then." : ".", " This page tries again by itself.");
      banner.hidden = false;
      document.title = "no connection · worker-autoscaler";
      say("No connection to the controller.");
    }
    setTimeout(connect, Math.min(5000, 500 * 2 ** tries++) * (0.8 + 0.4 * Math.random()));
  };
  /* Only what changes the picture as a whole is read aloud. */
  const say = words => { if (words !== said) text(live_region, said = words); };

  /* --- the state --- */
  const HEALTH = {healthy: "All is well", degraded: "Degraded", unhealthy: "Unhealthy: the control loop has stopped"};
  const replica = holder => el("span", {title: holder}, holder.replace(/:[0-9a-f-]{32,}$/, ""));
  const leads = () => {
    const leader = state.leader, by = leader && [replica(leader.holder), `, epoch ${leader.epoch}, `, since(seconds(leader.since))];
    if (state.role === "dry run") return ["Dry run: this replica decides, and changes nothing."];
    if (state.role === "leader") return ["This replica leads", ...(leader ? [": ", ...by] : [`, epoch ${state.epoch}`]), "."];
    if (state.role === "standby") return ["This is the standby ", replica(state.holder), ". It shows the figures of the leader", ...(leader ? [", ", ...by] : [", which is not known yet"]), "."];
    return ["It is not known which replica leads", state.trouble ? `: ${state.trouble}` : "", "."];
  };
  const fails = one => el("li", {}, one.worker ? `${one.name} of ${one.worker}` : one.name === "observation" ? "the figures are old or missing" : one.name === "loop" ? "the loop has stopped turning" : `${one.name} fails`, ", ", since(seconds(one.since)));
  const render = () => {
    document.body.dataset.health = state.status;
    document.title = `${state.status} · worker-autoscaler`;
    text(health, HEALTH[state.status] || state.status);
    fill(lead, ...leads());
    fill(faults, state.failing.map(fails));
    faults.hidden = !state.failing.length;
    say(`${HEALTH[state.status] || state.status}. ${state.failing.map(one => one.name).join(", ")} ${state.role}`);
    const names = JSON.stringify(Object.keys(state.workers));
    if (names !== cardNames) {
      cardNames = names;
      cards.clear();
      Object.keys(state.workers).forEach(name => cards.set(name, card(name)));
      workers.replaceChildren(...[...cards.values()].map(one => one.section));
      fetchedKey = "";
    }
    for (const [name, one] of Object.entries(state.workers)) cards.get(name).show(one);
    const requests = state.railway_requests, policy = state.policy;
    fill(footer, requests ? `${number(requests.used)} of ${number(requests.quota)} requests to the platform used. ` : "", requests && requests.stretched ? `${requests.stretched}. ` : "",
      policy.refused ? `A newer policy was refused: ${(policy.refused.problems || []).join("; ")}. ` : "",
      policy.leader_hash ? `The leader has another policy (${policy.leader_hash}). ` : "", `Policy ${policy.hash}`, policy.loaded_at ? ", read " : "", policy.loaded_at ? time(seconds(policy.loaded_at)) : "", ".");
    const key = JSON.stringify([state.leader && state.leader.epoch, state.failing.map(one => one.name + (one.worker || "")),
      Object.values(state.workers).map(one => one && [one.configured, one.last_scale_up, one.last_scale_down, (one.overrides || []).length, one.outcome === "failed"])]);
    if (key !== fetchedKey) { fetchedKey = key; setTimeout(refresh, 300); setTimeout(refresh, 2500 + 2000 * Math.random()); }
  };

  /* --- a worker --- */
  const dots = one => {
    if (one.running === null || one.configured === null) return el("p", {class: "dim"}, "The number of running workers is unknown.");
    const coming = Math.max(0, one.configured - one.running), most = Math.max(one.max_workers || 0, one.running, one.configured);
    const label = `${one.running} running, ${one.configured} configured, at most ${most}`;
    if (most > 50) return el("p", {}, label);
    const each = (kind, count) => Array.from({length: count}, () => el("i", {class: kind}));
    return el("p", {class: "dots"}, el("span", {role: "img", "aria-label": label}, each("on", one.running), each("coming", coming), each("off", most - one.running - coming)), el("span", {class: "dim", "aria-hidden": "true"}, ` ${label}`));
  };
  const facts = (one, read) => {
    const jobs = one.depth === null ? "unknown" : [one.depth_shown || number(one.depth), one.pending === null ? "" : el("small", {}, ` ${one.pending_shown || one.pending} pending, ${one.processing_shown || one.processing} processing`)];
    const stamp = iso => iso ? time(seconds(iso)) : null, cooldown = seconds => seconds === null ? null : seconds <= 0 ? "now" : until(read + seconds);
    const shadow = one.shadow, wanted = shadow && typeof shadow === "object" ? (shadow.desired ?? null) : shadow;
    return [
      ["depth", jobs], ["oldest job waits", one.oldest_age_s === null ? null : words(one.oldest_age_s)],
      ["running", number(one.running)], ["configured", number(one.configured)], ["desired", number(one.desired)],
      ["shadow desires", typeof wanted === "number" ? number(wanted) : null],
      ["may scale up", cooldown(one.scale_up_cooldown_left_s)], ["may scale down", cooldown(one.scale_down_cooldown_left_s)],
      ["last scale-up", stamp(one.last_scale_up)], ["last scale-down", stamp(one.last_scale_down)],
      ["due soon", one.soon ? one.soon_shown || number(one.soon) : null], ["stale", one.stale ? one.stale_shown || number(one.stale) : null],
      ["requests this minute", one.rpm_limit === null ? null : `${one.rpm_used ?? "?"} of ${one.rpm_limit}`],
    ].filter(([, value]) => value !== null).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)));
  };
  const message = (of, name) => !of ? [] : (Array.isArray(of) ? of : [of]).map(one => one && one.message ? el("p", {}, `${name}: ${one.message}`) : null);
  const card = name => {
    const id = `worker-${cards.size}`, part = () => el("div"), why = el("p", {class: "why"}), top = part(), figures = el("dl"), more = part(), read = el("p", {class: "dim"});
    const drawing = el("div", {class: "drawing"}), plots = graphs(name, drawing);
    const section = el("section", {"aria-labelledby": id}, el("h2", {id}, name), why, top, more, figures, drawing, read);
    let last = null, readAt = 0;
    return {
      section, plots,
      show(one) {
        last = one;
        if (!one) { text(why, "No cycle yet."); return; }
        readAt = one.age_s === null ? null : seconds(state.now) - one.age_s;
        fill(why, one.message, " ", one.reasons.map(reason => [el("span", {class: "chip"}, reason), " "]));
        fill(top, dots(one));
        fill(figures, facts(one, readAt ?? now()));
        fill(more, (one.overrides || []).map(it => el("p", {class: "note"}, `Override ${it.override}: ${it.message} (ends `, until(seconds(it.until)), ")")),
          message(one.schedule, "Schedule"), message(one.budgets, "Budget"), message(one.pool, "Pool"), message(one.shadow, "Shadow"),
          (one.remarks || []).map(it => el("p", {class: "note"}, it.text)), (one.conditions || []).map(it => el("p", {class: it.degrades ? "note bad" : "note"}, `${it.reason}: ${it.message}, for ${words(it.for_s)}`)),
          (one.queues || []).map(it => el("p", {class: "dim"}, it.depth === null ? `Queue ${it.queue}: unknown; ${it.message}` : `Queue ${it.queue}: ${it.pending} pending, ${it.processing} processing${it.oldest_age_s === null ? "" : `, the oldest waits ${words(it.oldest_age_s)}`}; ${it.message}`)));
        fill(read, "Figures read ", readAt === null ? "at an unknown time" : time(readAt), `; outcome: ${one.outcome}.`);
        this.age();
        const points = live.get(name) || [];
        if (one.depth !== null || one.running !== null) points.push([readAt ?? now(), one.depth, one.running, one.configured, one.desired, typeof one.shadow?.desired === "number" ? one.shadow.desired : null]);
        live.set(name, points.slice(-MOST_LIVE));
        plots.draw();
      },
      age() {
        if (!last) return;
        const old = lostAt !== null || last.old || ["failed", "crashed"].includes(last.outcome) || readAt === null || now() - readAt > 3 * state.interval_s + 5;
        section.classList.toggle("old", old);
      },
    };
  };

  /* --- charts --- */
  const DEPTH = [
    {name: "most", how: "max", scale: "y"}, {name: "least", how: "min", scale: "y"},
    {name: "depth", how: "mean", color: "--waiting", line: 1.6},
  ];
  const COUNTS = [
    {name: "running", how: "mean", color: "--workers", line: 2, fill: true, alpha: 0.14}, {name: "configured", how: "mean", color: "--dim", line: 1.5, dash: [6, 3]},
    {name: "desired", how: "mean", color: "--waiting", line: 1.5, dash: [2, 3]}, {name: "shadow", how: "mean", color: "--shadow", line: 1.5, dash: [8, 3, 2, 3]},
  ];
  const kindOf = one => one.event === "scaled" ? (one.after < one.before ? "down" : "up") : one.event === "lease_acquired" ? "takeover" : one.event.startsWith("override") ? "override"
    : ["failing", "scale_failed", "crashed", "workers_crash", "workers_exited", "no_progress", "deployment_hangs", "not_honoured"].includes(one.event) ? "failure" : "other";
  const named = one => one.event === "lease_acquired" ? "takeover" : one.event === "scaled" && one.before !== undefined ? `scaled ${one.before} → ${one.after}` : one.event.replaceAll("_", " ");
  const told = one => `${named(one)}${one.source ? ` (${one.source})` : ""}: ${one.message}${one.reasons ? ` (${one.reasons.join(", ")})` : ""}`;
  const marked = name => entries.filter(one => (one.worker === name || one.worker === null) && (one.event === "recovered" || one.event === "external_change" || kindOf(one) !== "other"));

  const graphs = (name, parent) => {
    let data = null, all = [[]], from = 0, to = 1, shownKey = "";
    const readout = el("p", {class: "readout", "aria-hidden": "true"}), strip = el("div", {class: "marks", role: "toolbar", "aria-label": `Events of ${name}`}), tip = el("div", {class: "tip", role: "tooltip", id: `tip-${cards.size}`, hidden: true});
    const moment = el("input", {type: "range", min: 0, max: 1, value: 1, "aria-label": `Moment in the charts of ${name}`, oninput: () => at(all[0][+moment.value])});
    const rows = el("tbody"), details = el("details", {ontoggle: () => tabled()}, el("summary", {}, "Figures as a table"), scrolls(`Figures of ${name}`, table(`Jobs and replicas of ${name}`, ["Time", "Jobs: least", "mean", "most", "Oldest wait", "Running", "Configured", "Desired"], rows)));
    const values = place => [all[3], all[4], all[5], all[6], all[7], all[1], all[2]].map(column => column[place] ?? null);
    const sentence = place => {
      if (place < 0) return "";
      const [depth, running, configured, desired, shadow, most, least] = values(place);
      return `${short(all[0][place])}: ${number(depth)} jobs${most !== least && most !== null ? ` (${number(least)} to ${number(most)})` : ""}, ${number(running)} running, ${number(configured)} configured, ${number(desired)} desired${shadow === null ? "" : `, shadow ${number(shadow)}`}`;
    };
    const cursor = time => { if (time !== null && all[0].length) { const place = Math.max(0, placeOf(all[0], time)); text(readout, sentence(place)); moment.value = place; moment.setAttribute("aria-valuetext", sentence(place)); } };
    const at = time => { if (time !== undefined) { depth.point(time); cursor(time); } };
    const lines = u => {
      const {ctx, bbox} = u;
      ctx.save();
      ctx.setLineDash([]);
      for (const one of marked(name)) {
        const when = seconds(one.at);
        if (when < from || when > to) continue;
        const x = Math.round(u.valToPos(when, "x", true)) + 0.5;
        ctx.strokeStyle = color(MARKS[kindOf(one)][2]) + "99";
        ctx.lineWidth = devicePixelRatio;
        ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke();
      }
      ctx.restore();
    };
    const zoomed = (from, to) => zoomTo(from === null ? null : [from, to]);
    const legend = (...names) => el("p", {class: "legend"}, names.map(([label, series]) => el("span", {}, el("span", {class: `key ${series}`}), ` ${label} `)));
    parent.append(legend(["jobs: mean, and least to most", "k-depth"]));
    const depth = chart(parent, {name: `${name} depth`, sync: name, kind: "time", height: 130, series: DEPTH, bands: [{high: 0, low: 1, color: "--waiting", alpha: 0.3}], cursor, zoomed, drawn: lines, sized: () => state && place()});
    const lower = legend(["running", "k-running"], ["configured", "k-configured"], ["desired", "k-desired"], ["shadow", "k-shadow"]);
    parent.append(strip, tip, lower);
    const counts = chart(parent, {name: `${name} replicas`, sync: name, kind: "time", height: 110, series: COUNTS, cursor, zoomed, drawn: lines});
    parent.append(moment, readout, details);

    /* Marks that are too near to be pointed at are one. */
    const place = () => {
      const found = marked(name).map(one => ({...one, when: seconds(one.at)})).filter(one => one.when >= from && one.when <= to).sort((a, b) => a.when - b.when);
      const groups = [];
      for (const one of found) {
        const x = depth.plot.valToPos(one.when, "x") + depth.plot.bbox.left / devicePixelRatio, last = groups.at(-1);
        if (last && x - last.x < MARK_PX) last.of.push(one); else groups.push({x, of: [one]});
      }
      const key = JSON.stringify([groups.map(one => one.of.map(it => [it.at, it.event])), Math.round(from / 5), Math.round(to / 5), depth.plot.width]);
      if (key === shownKey) return;
      shownKey = key;
      const focused = [...strip.children].indexOf(document.activeElement);
      tip.hidden = true;
      strip.replaceChildren(...groups.map((group, index) => {
        const worst = group.of.find(one => kindOf(one) === "failure") || group.of.at(-1), [shape, kind] = MARKS[worst.event === "recovered" ? "other" : kindOf(worst)];
        const label = group.of.length > 1 ? `${group.of.length} events from ${short(group.of[0].when)}, ${told(group.of[0])}` : `${short(group.of[0].when)}, ${told(group.of[0])}`;
        const button = el("button", {type: "button", class: `mark m-${kind}`, tabindex: index === Math.max(0, Math.min(focused, groups.length - 1)) ? 0 : -1, "aria-label": label, "aria-describedby": tip.id,
          onfocus: () => tell(group, button), onmouseenter: () => tell(group, button), onclick: () => tell(group, button), onblur: () => { tip.hidden = true; }, onmouseleave: () => { if (document.activeElement !== button) tip.hidden = true; }},
          el("span", {"aria-hidden": "true"}, group.of.length > 1 ? `${group.of.length}` : shape));
        button.style.left = `${group.x - MARK_PX / 2}px`;
        return button;
      }));
      strip.hidden = !groups.length;
      if (focused >= 0 && strip.children.length) strip.children[Math.min(focused, strip.children.length - 1)].focus();
    };
    const tell = (group, button) => {
      const most = 6;
      fill(tip, group.of.slice(0, most).map(one => el("p", {}, el("b", {}, short(one.when)), ` ${told(one)}`)), group.of.length > most ? el("p", {}, `and ${group.of.length - most} more; choose a shorter time, or drag over a part of the chart`) : "");
      tip.hidden = false;
      tip.style.top = `${button.parentNode.offsetTop + 28}px`;
      tip.style.left = `${Math.max(0, Math.min(button.offsetLeft - 40, parent.clientWidth - tip.offsetWidth))}px`;
    };
    strip.addEventListener("keydown", event => {
      const each = [...strip.children], here = each.indexOf(document.activeElement);
      const next = {ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: each.length - 1}[event.key];
      if (event.key === "Escape") tip.hidden = true;
      if (next === undefined || !each[next]) return;
      event.preventDefault();
      each.forEach((one, index) => { one.tabIndex = index === next ? 0 : -1; });
      each[next].focus();
    });
    const tabled = () => {
      if (!details.open) return;
      const shown = all[0].map((at, place) => [at, place]).filter(([at]) => at >= from && at <= to).slice(-400).reverse();
      rows.replaceChildren(...shown.map(([when, place]) => el("tr", {}, el("th", {scope: "row"}, short(when)), [all[2], all[3], all[1], all[8], all[4], all[5], all[6]].map((column, which) => el("td", {}, column[place] === null || column[place] === undefined ? "–" : which === 3 ? words(column[place]) : number(column[place]), which === 6 && all[7][place] != null ? ` (shadow ${number(all[7][place])})` : "")))));
    };
    const merged = () => {
      const found = [[], [], [], [], [], [], [], [], []], end = now();
      const add = values => found.forEach((column, place) => column.push(values[place] ?? null));
      let upto = -Infinity;
      if (data) {
        const {since, every_s} = data;
        let last = data.depth_mean.length - 1;
        while (last >= 0 && data.depth_mean[last] === null && data.running[last] === null) last--;
        for (let i = 0; i <= last; i++) add([since + i * every_s, data.depth_max[i], data.depth_min[i], data.depth_mean[i], data.running[i], data.configured[i], data.desired[i], data.shadow ? data.shadow[i] : null, data.oldest_s[i]]);
        if (last >= 0) upto = since + (last + 1) * every_s;
      }
      const points = (live.get(name) || []).filter(one => one[0] >= upto);
      const isHeld = upto > end;
      if (found[0].length && !isHeld && (!points.length || points[0][0] - upto > 90 + 3 * state.interval_s)) add([upto]);
      points.forEach((one, index) => {
        if (index && one[0] - points[index - 1][0] > 3 * state.interval_s + 5) add([points[index - 1][0] + state.interval_s]);
        add([one[0], one[1], one[1], one[1], one[2], one[3], one[4], one[5]]);
      });
      if ((points.length && lostAt === null) || isHeld) add([end, ...found.slice(1).map(column => column.at(-1))]);
      return found;
    };
    return {
      take(found) { data = found; this.draw(); },
      draw() {
        all = merged();
        [from, to] = zoom || [now() - SPANS[span][1], now()];
        const last = all[0].length - 1, label = kind => last < 0 ? `${kind} of ${name}: nothing is recorded yet` : `${kind} of ${name} over ${SPANS[span][0]}; last ${sentence(last)}`;
        depth.show(all.slice(0, 4), from, to, label("Jobs"));
        counts.show([all[0], ...all.slice(4, 8)], from, to, label("Replicas"));
        lower.lastChild.hidden = all[7].every(value => value === null);
        moment.max = Math.max(0, last);
        if (document.activeElement !== moment) { moment.value = Math.max(0, last); if (!parent.matches(":hover")) text(readout, sentence(last)); }
        moment.setAttribute("aria-valuetext", sentence(+moment.value));
        place();
        tabled();
      },
    };
  };
  const zoomTo = range => {
    zoom = range && range[1] - range[0] > 5 ? range : null;
    spans.lastChild.hidden = !zoom;
    cards.forEach(one => one.plots.draw());
  };
  const choose = key => {
    span = key;
    [...spans.children].forEach((one, index) => { if (index < 4) one.setAttribute("aria-pressed", Object.keys(SPANS)[index] === key); });
    zoomTo(null);
    refresh();
  };

  /* --- the history --- */
  const get = async address => {
    const answer = await fetch(address), body = await answer.json();
    if (!answer.ok) throw new Error(body.error || `${answer.status}`);
    return body;
  };
  const refresh = async () => {
    const mine = ++fetching, of = span;
    try {
      const page = await get(`history?since=${of}&limit=500`);
      if (mine !== fetching) return;
      entries = page.entries; moreEntries = Boolean(page.more);
      for (const [name, one] of cards) {
        const found = await get(`history/samples?worker=${encodeURIComponent(name)}&since=${of}`);
        if (mine !== fetching) return;
        one.plots.take(found);
      }
      const recent = entries.length >= 20 ? entries : (await get("history?since=7d&limit=20")).entries;
      if (mine !== fetching) return;
      fill(events, recent.slice(0, 20).map(one => el("tr", {}, el("td", {}, time(seconds(one.at))), el("td", {}, named(one), one.source ? ` (${one.source})` : ""), el("td", {}, one.worker || "all"), el("td", {class: "long"}, one.message))));
      if (performance.now() - costAt > 600000) { showCost(await get("history/cost")); costAt = performance.now(); }
      text(unread, moreEntries ? "Only the newest 500 events are marked in the charts." : "");
    } catch (error) {
      if (mine === fetching && lostAt === null) text(unread, `The history cannot be read now: ${error.message}`);
    }
  };
  const showCost = found => {
    const money = value => `$${value.toLocaleString("en", {minimumFractionDigits: 2, maximumFractionDigits: 2})}`, hours = value => `${value.toLocaleString("en", {maximumFractionDigits: 1})} h`;
    if (!found.workers.some(one => one.seen_hours)) { fill(costs, el("p", {class: "dim"}, "Nothing is recorded yet.")); return; }
    fill(costs, scrolls("Table of the cost", table("Cost this month", ["Worker", "Worker-hours", "Cost", "Always on", "Saved"], el("tbody", {}, found.workers.map(one => el("tr", {}, el("th", {scope: "row"}, one.worker), el("td", {}, hours(one.worker_hours)), el("td", {}, money(one.dollars)), el("td", {}, money(one.always_on_dollars)), el("td", {}, one.always_on_dollars ? `${Math.round(100 * (1 - one.dollars / one.always_on_dollars))} %` : "–")))))),
      el("p", {class: "dim"}, "Since ", time(seconds(found.since)), ", over the time that was recorded; always on: max_replicas all that time. A worker without a worker_size counts as 0.5 GB and 0.25 vCPU."));
  };

  setInterval(tick, 1000);
  setInterval(() => { if (lostAt === null && !document.hidden) setTimeout(refresh, 8000 * Math.random()); }, 60000);
  connect();
})();
