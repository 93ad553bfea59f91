// Lists what is wrong with the texts of a page as it is shown now: too small, too weak, or wider than the window.
() => {
  const SMALLEST = 11;
  const canvas = Object.assign(document.createElement("canvas"), {width: 1, height: 1});
  const context = canvas.getContext("2d", {willReadFrequently: true}), known = new Map(), found = new Set();

  function rgba(colour) {
    if (!known.has(colour)) {
      context.clearRect(0, 0, 1, 1);
      context.fillStyle = colour;
      context.fillRect(0, 0, 1, 1);
      const [red, green, blue, alpha] = context.getImageData(0, 0, 1, 1).data;
      known.set(colour, [red, green, blue, alpha / 255]);
    }
    return known.get(colour);
  }
  const over = ([r, g, b, a], below) => [r, g, b].map((one, at) => one * a + below[at] * (1 - a));
  const linear = one => (one /= 255) <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  function contrast(one, other) {
    const [darker, lighter] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (lighter + 0.05) / (darker + 0.05);
  }
  // Of an element with all around it, computed once for each.
  const opacities = new Map([[null, 1]]), backgrounds = new Map();
  function opacity(element) {
    if (!opacities.has(element)) opacities.set(element, getComputedStyle(element).opacity * opacity(element.parentElement));
    return opacities.get(element);
  }
  const faded = ([r, g, b, a], element) => [r, g, b, a * opacity(element)];
  backgrounds.set(null, matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255]);
  function background(element) {
    if (!backgrounds.has(element)) {
      const style = getComputedStyle(element);
      if (style.backgroundImage !== "none") found.add(`text on an image: ${label(element)}`);
      backgrounds.set(element, over(rgba(style.backgroundColor), background(element.parentElement)));
    }
    return backgrounds.get(element);
  }

  // The colour behind an element: in a picture also that of the shapes that are drawn before it under its middle.
  function behind(element) {
    const svg = element.closest("svg");
    let below = background(element);
    if (!svg) return below;
    const box = element.getBoundingClientRect();
    for (const shape of svg.querySelectorAll("rect, path, circle, polygon")) {
      if (!(shape.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING)) break;
      const style = getComputedStyle(shape);
      const point = new DOMPoint((box.left + box.right) / 2, (box.top + box.bottom) / 2);
      if (style.fill === "none" || !shape.isPointInFill(point.matrixTransform(shape.getScreenCTM().inverse()))) continue;
      const [r, g, b, a] = faded(rgba(style.fill), shape);
      below = over([r, g, b, a * style.fillOpacity], below);
    }
    return below;
  }

  const label = element => {
    const name = element.getAttribute("class") ? `${element.localName}.${element.getAttribute("class")}` : element.localName;
    return `<${name}> ${JSON.stringify(element.textContent.trim().slice(0, 40) || element.placeholder || "")}`;
  };

  function check(element, style) {
    const scale = element.closest("svg") ? Math.abs(element.getScreenCTM().d) : 1, size = parseFloat(style.fontSize) * scale;
    if (size < SMALLEST - 0.01) found.add(`text of ${size.toFixed(1)} px: ${label(element)}`);
    const below = behind(element), colour = element.closest("svg") ? style.fill : style.color;
    const ratio = contrast(over(faded(rgba(colour), element), below), below), large = size >= 24 || size >= 18.66 && style.fontWeight >= 700;
    if (ratio < (large ? 3 : 4.5) - 0.005) found.add(`contrast of ${ratio.toFixed(2)}: ${label(element)}`);
  }

  const seen = new Set(), texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (seen.has(element) || !texts.currentNode.data.trim() || element.localName === "option") continue;
    seen.add(element);
    const box = element.getBoundingClientRect();
    if (!element.checkVisibility({visibilityProperty: true}) || box.width <= 1 || box.right < 0) continue;
    check(element, getComputedStyle(element));
  }
  for (const field of document.querySelectorAll("input[placeholder]")) check(field, getComputedStyle(field, "::placeholder"));

  const {scrollWidth, clientWidth} = document.scrollingElement;
  if (scrollWidth > clientWidth) {
    const wide = [...document.body.querySelectorAll("*")].filter(one =>
      one.getBoundingClientRect().right > clientWidth + 0.5 && !one.parentElement.closest(".scroll, svg"));
    found.add(`${scrollWidth} px wide in ${clientWidth} px: ${wide.slice(0, 3).map(label).join("; ")}`);
  }
  return [...found];
}
