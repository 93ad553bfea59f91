// Bars and marks: a tooltip without delay, and the arrow keys instead of a tab stop for each.
{
  const GROUPS = ".strip, .track";
  const tip = document.createElement("div");
  tip.className = "bubble";
  tip.hidden = true;
  document.body.append(tip);

  function show(link) {
    const title = link.querySelector("title");
    if (title) {
      link.setAttribute("aria-label", title.textContent);
      title.remove();
    }
    tip.textContent = link.getAttribute("aria-label");
    tip.hidden = !tip.textContent;
    const box = link.getBoundingClientRect(), width = tip.offsetWidth;
    tip.style.left = `${Math.max(4, Math.min(box.left + box.width / 2 - width / 2, document.documentElement.clientWidth - width - 4))}px`;
    tip.style.top = `${box.top < 40 ? box.bottom + 6 : box.top - tip.offsetHeight - 6}px`;
  }

  function join(root) {
    for (const group of root.querySelectorAll(GROUPS)) {
      const links = [...group.querySelectorAll("a")];
      links.forEach((link, place) => { link.setAttribute("tabindex", place === links.length - 1 ? 0 : -1); });
    }
  }

  const linkOf = event => event.target.closest?.("a")?.closest(GROUPS) && event.target.closest("a");
  for (const kind of ["pointerover", "focusin"]) document.addEventListener(kind, event => {
    const link = linkOf(event);
    if (link) show(link); else tip.hidden = true;
  });
  for (const kind of ["scroll", "focusout"]) document.addEventListener(kind, () => { tip.hidden = true; }, true);
  document.addEventListener("keydown", event => {
    const link = linkOf(event);
    if (event.key === "Escape") tip.hidden = true;
    if (!link || !["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return;
    const links = [...link.closest(GROUPS).querySelectorAll("a")], place = links.indexOf(link);
    const next = {ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: links.length - 1}[event.key];
    if (!links[next]) return;
    event.preventDefault();
    link.setAttribute("tabindex", -1);
    links[next].setAttribute("tabindex", 0);
    links[next].focus();
  });
  document.addEventListener("refreshed", event => { tip.hidden = true; join(event.target); });
  join(document);
}
