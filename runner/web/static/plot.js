// Hover, keyboard and zoom of plots. A zoomed plot is another page, with axes of its own.
{
  const SVG = "http://www.w3.org/2000/svg", WIDTH = 1000;

  function seconds(value) {
    if (value >= 60) return `${Math.floor(value / 60)}m${Math.round(value % 60)}s`;
    const [scale, unit] = value >= 1 || value === 0 ? [1, "s"] : value >= 1e-3 ? [1e3, "ms"] : [1e6, "µs"];
    return `${Number((value * scale).toPrecision(3))} ${unit}`;
  }

  function shown(value, unit) {
    if (unit === "s") return seconds(value);
    if (unit === "bytes") return `${(value / 2 ** 20).toFixed(1)} MiB`;
    return unit === "files" ? `${value.toLocaleString("en")} files` : `${value.toFixed(2)}${unit}`;
  }

  function readPoints(data) {
    const low = data.log ? Math.log(data.low) : data.low, high = data.log ? Math.log(data.high) : data.high;
    const points = [];
    for (const line of data.series) {
      let x = 0, run = 0, at = 0;
      line.value.forEach((value, index) => {
        x += line.x[index]; run += line.run[index]; at += line.at[index];
        const share = ((data.log ? Math.log(Math.max(value, data.low)) : value) - low) / (high - low);
        points.push({x, run, at, value, line, y: data.start + (data.end - data.start) * share});
      });
    }
    return points.sort((one, other) => one.x - other.x || one.run - other.run);
  }

  function make(parent, tag, name, attributes) {
    const one = parent.appendChild(document.createElementNS(SVG, tag));
    one.setAttribute("class", name);
    for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
    return one;
  }

  function enhance(figure) {
    if (figure.enhanced) return;
    figure.enhanced = true;
    const area = figure.querySelector(".area"), drawing = area.querySelector("svg");
    const data = JSON.parse(figure.querySelector("script").textContent), points = readPoints(data);
    const tip = figure.appendChild(document.createElement("div"));
    tip.className = "plot-tip";
    tip.hidden = true;
    tip.setAttribute("role", "status");
    const height = drawing.getAttribute("height");
    const rule = make(drawing, "path", "cursor", {}), dot = make(drawing, "path", "cursor point", {});
    const selection = make(drawing, "rect", "selection", {y: 0, height, width: 0});
    let current = -1, from = null, to = null;

    function place(event) {
      const box = area.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width * WIDTH, event.clientY - box.top, box.width / WIDTH];
    }

    function nearest(event) {
      const [x, y, scale] = place(event);
      let best = -1, least = Infinity;
      points.forEach((point, index) => {
        const distance = Math.hypot((point.x - x) * scale, (point.y - y) / 4);
        if (distance < least) [best, least] = [index, distance];
      });
      return best;
    }

    function show(index) {
      current = index;
      const point = points[index];
      rule.setAttribute("d", `M${point.x} 0V${height}`);
      dot.setAttribute("d", `M${point.x} ${point.y}h0`);
      const value = document.createElement("b"), run = document.createElement(figure.dataset.runs === undefined ? "span" : "a");
      value.textContent = shown(point.value, data.unit);
      run.textContent = `run ${point.run}`;
      if (run.localName === "a") run.href = figure.dataset.runs + point.run;
      tip.replaceChildren(value, `${point.line.name}, `, run, document.createElement("br"),
        new Date(point.at * 1000).toLocaleString("sv"));
      tip.hidden = false;
      const left = area.getBoundingClientRect().left - figure.getBoundingClientRect().left;
      const x = left + point.x / WIDTH * area.clientWidth, right = x + 12 + tip.offsetWidth > figure.clientWidth;
      tip.style.left = `${Math.max(4, right ? x - 12 - tip.offsetWidth : x + 12)}px`;
      tip.style.top = `${area.getBoundingClientRect().top - figure.getBoundingClientRect().top + Math.min(point.y, height - 40) - 10}px`;
    }

    function hide() {
      tip.hidden = true;
      tip.classList.remove("kept");
      rule.removeAttribute("d");
      dot.removeAttribute("d");
      select(null, null);
    }

    function select(start, end) {
      [from, to] = [start, end];
      selection.setAttribute("x", Math.min(from ?? 0, to ?? 0));
      selection.setAttribute("width", from === null ? 0 : Math.abs(to - from));
    }

    function zoom() {
      const within = points.filter(point => point.x >= Math.min(from, to) && point.x <= Math.max(from, to));
      const instants = within.map(point => point.at);
      select(null, null);
      if (instants.length < 2) return;
      const address = new URL(location.href);
      address.searchParams.set("since", iso(Math.min(...instants) - 1));
      address.searchParams.set("until", iso(Math.max(...instants) + 2));
      location.assign(address);
    }

    const iso = at => new Date(at * 1000).toISOString().replace(".000", "");
    const zooming = figure.dataset.zoom !== undefined;

    area.addEventListener("pointerdown", event => {
      if (!zooming || event.button !== 0) return;
      area.setPointerCapture(event.pointerId);
      const [x] = place(event);
      select(x, x);
    });
    area.addEventListener("pointermove", event => {
      if (from !== null) select(from, Math.min(WIDTH, Math.max(0, place(event)[0])));
      else if (!tip.classList.contains("kept")) show(nearest(event));
    });
    area.addEventListener("pointerup", event => {
      const dragged = from !== null && Math.abs(to - from) * area.clientWidth / WIDTH > 6;
      if (dragged) return zoom();
      select(null, null);
      show(nearest(event));
      tip.classList.add("kept");
    });
    area.addEventListener("pointercancel", hide);
    figure.addEventListener("pointerleave", () => { if (!tip.classList.contains("kept")) hide(); });
    figure.addEventListener("focusout", event => { if (!figure.contains(event.relatedTarget)) hide(); });
    // Arrows move, with Shift they select, Enter zooms or opens the run, Escape ends all that.
    figure.addEventListener("keydown", event => {
      const steps = {ArrowRight: 1, ArrowLeft: -1, PageDown: 25, PageUp: -25, Home: -Infinity, End: Infinity};
      if (event.key in steps) {
        const start = current < 0 ? 0 : points[current].x;
        show(Math.min(points.length - 1, Math.max(0, current + steps[event.key])));
        if (event.shiftKey && zooming) select(from ?? start, points[current].x);
        else select(null, null);
      } else if (event.key === "Escape") hide();
      else if (event.key === "Enter" && from !== null && from !== to) zoom();
      else if (event.key === "Enter" && current >= 0 && figure.dataset.runs !== undefined) location.assign(figure.dataset.runs + points[current].run);
      else return;
      event.preventDefault();
    });
  }

  const enhanceAll = () => document.querySelectorAll("[data-plot]").forEach(enhance);
  enhanceAll();
  document.addEventListener("refreshed", enhanceAll);
}
