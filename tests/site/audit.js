// What a page lacks for people who read it: returns a list of sentences, empty when all is well.
() => {
  const found = [];
  const say = (what, element) => found.push(`${what}: ${element.outerHTML.replace(/base64,[^"]*/g, "…").slice(0, 160)}`);

  // Contrast of every text node with what is painted behind it: 4.5:1, or 3:1 for large text (WCAG 2.2, 1.4.3).
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const seen = new Map();
  const rgba = (color) => {
    if (!seen.has(color)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = color;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      seen.set(color, [r, g, b, a / 255]);
    }
    return seen.get(color);
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((part, i) => part * a + below[i] * (1 - a));
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const color = rgba(getComputedStyle(at).backgroundColor);
      layers.push(color);
      if (color[3] === 1) break;
    }
    const canvasColor = matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
    return layers.reduceRight((below, layer) => over(layer, below), canvasColor);
  };
  const luminance = (color) => {
    const [r, g, b] = color.map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const measure = (element, style, text) => {
    let opacity = 1;
    for (let at = element; at; at = at.parentElement) opacity *= Number(getComputedStyle(at).opacity);
    if (opacity === 0) return;
    const below = behind(element);
    const [r, g, b, a] = rgba(element.namespaceURI.endsWith("svg") ? style.fill : style.color);
    const ratio = contrast(over([r, g, b, a * opacity], below), below);
    const size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    if (ratio < least) found.push(`contrast ${ratio.toFixed(2)} < ${least} of “${text.trim().slice(0, 40)}” in <${element.localName} class="${element.getAttribute("class") || ""}">`);
  };
  const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (words.nextNode()) {
    const element = words.currentNode.parentElement;
    if (!words.currentNode.data.trim() || ["SCRIPT", "STYLE", "OPTION", "TITLE", "title"].includes(element.tagName)) continue;
    const style = getComputedStyle(element);
    if (!element.checkVisibility({ visibilityProperty: true }) || style.clipPath !== "none" || element.closest(".hidden, .skip")) continue;
    measure(element, style, words.currentNode.data);
  }
  for (const field of document.querySelectorAll("[placeholder]")) {
    if (!field.value) measure(field, getComputedStyle(field, "::placeholder"), field.placeholder);
  }

  // Names for those who can't see the page.
  const named = (element) =>
    [element.getAttribute("aria-label"), element.textContent, element.title, element.querySelector("img")?.alt].some((one) => one?.trim()) ||
    element.getAttribute("aria-labelledby");
  if (!document.documentElement.lang) found.push("the page has no language");
  if (!document.title.trim()) found.push("the page has no title");
  if (document.querySelectorAll("h1").length !== 1) found.push(`the page has ${document.querySelectorAll("h1").length} h1`);
  for (const one of document.querySelectorAll("img")) if (!one.hasAttribute("alt")) say("no alt", one);
  for (const one of document.querySelectorAll("svg, [role=img]")) {
    if (!one.getAttribute("aria-label") && one.getAttribute("aria-hidden") !== "true" && !one.closest("[aria-hidden=true]")) say("no label", one);
  }
  for (const one of document.querySelectorAll("input:not([type=hidden]), select, textarea")) {
    if (!one.labels?.length && !one.getAttribute("aria-label") && !one.getAttribute("aria-labelledby")) say("no label", one);
  }
  for (const one of document.querySelectorAll("a[href], button, summary")) if (!named(one)) say("no name", one);
  for (const one of document.querySelectorAll("[aria-labelledby]")) {
    if (!document.getElementById(one.getAttribute("aria-labelledby"))) say("labelled by nothing", one);
  }
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  for (const id of new Set(ids)) if (ids.filter((one) => one === id).length > 1) found.push(`the id ${id} occurs more than once`);
  return [...new Set(found)];
};
