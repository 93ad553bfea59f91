// The elapsed time of running runs.
{
  const UNITS = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
  setInterval(() => {
    for (const place of document.querySelectorAll("[data-elapsed]")) {
      let rest = Math.max(0, Math.floor((Date.now() - new Date(place.dataset.elapsed)) / 1000)), text = "";
      for (const [size, unit] of UNITS) {
        if (rest >= size) text += `${Math.floor(rest / size)}${unit}`;
        rest %= size;
      }
      place.textContent = text || "0s";
    }
  }, 1000);
}
