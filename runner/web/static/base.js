// Relative times, refresh in place, and the notice of a stale page. The pages are complete without this script.
{
  const UNITS = [[63072000, 31536000, "y"], [172800, 86400, "d"], [3600, 3600, "h"], [60, 60, "min"], [0, 1, "s"]];

  function relative(instant) {
    const seconds = (new Date(instant) - Date.now()) / 1000, distance = Math.floor(Math.abs(seconds));
    if (distance === 0) return "now";
    const [, size, unit] = UNITS.find(([least]) => distance >= least);
    const text = `${Math.floor(distance / size)} ${unit}`;
    return seconds > 0 ? `in ${text}` : `${text} ago`;
  }

  function updateTimes() {
    for (const time of document.querySelectorAll("time:not([data-fixed])")) time.textContent = relative(time.dateTime);
  }

  const root = document.body.dataset.root;
  let revision = document.body.dataset.revision ?? null, failedSince = null;

  async function poll() {
    if (document.hidden) return;
    try {
      const answer = await fetch(`${root}revision`, {cache: "no-cache"});
      if (!answer.ok) throw new Error(answer.statusText);
      const current = await answer.text();
      if (revision !== null && current !== revision) await refresh();
      revision = current;
      failedSince = null;
    } catch {
      failedSince ??= Date.now();
    }
    showStale();
  }

  function showStale() {
    const notice = document.getElementById("stale");
    notice.hidden = failedSince === null;
    if (failedSince !== null) notice.textContent = `The server does not answer; this page is from ${relative(failedSince)}.`;
  }

  // Finds an element again in a newer page: by its number, or a link by its address.
  function selectorOf(element) {
    if (element.id) return `#${CSS.escape(element.id)}`;
    return element.localName === "a" && `a[href="${CSS.escape(element.getAttribute("href"))}"]`;
  }

  // Replaces only the parts that differ, so that focus, open menus and scroll positions stay.
  async function refresh() {
    const answer = await fetch(location.href, {cache: "no-cache"});
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const fresh = page.getElementById(part.id);
      if (!fresh || part.contains(document.activeElement) && part.querySelector("form :focus")) continue;
      if (part.outerHTML === fresh.outerHTML) continue;
      const focused = part.contains(document.activeElement) && selectorOf(document.activeElement), scrolled = [...part.querySelectorAll(".scroll")].map(one => one.scrollLeft);
      part.replaceWith(fresh);
      fresh.querySelectorAll(".scroll").forEach((one, index) => { one.scrollLeft = scrolled[index] ?? 0; });
      if (focused) fresh.querySelector(focused)?.focus({preventScroll: true});
      fresh.dispatchEvent(new CustomEvent("refreshed", {bubbles: true}));
    }
    updateTimes();
  }

  updateTimes();
  setInterval(updateTimes, 1000);
  setInterval(poll, 2000);
  document.addEventListener("visibilitychange", poll);
  poll();
}
