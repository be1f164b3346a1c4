// Keys, and what is nicer with a script. Every page works without it.
"use strict";

// Keys: each follows the link of that id, where the page has one.
{
  const links = {
    j: "next", ArrowRight: "next",
    k: "previous", ArrowLeft: "previous",
    J: "next-wrong", K: "previous-wrong",
    n: "next-alike", p: "previous-alike",
    r: "random-neuron", w: "random-wrong",
  };
  const follow = (id) => {
    const link = document.getElementById(id);
    if (link) link.click();
    return Boolean(link);
  };
  const typing = (element) => element.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(element.tagName);
  const scrolls = (element) => element.closest && element.closest(".scroll[tabindex]"); // arrows move what is in there

  let went = 0; // when g was pressed
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") document.activeElement?.blur();
    if (typing(event.target)) return;
    const since = Date.now() - went;
    went = 0;
    if (event.key === "/") {
      const field = document.getElementById("search");
      if (!field) return;
      field.focus();
      field.select();
    } else if (event.key === "g") {
      went = Date.now();
      return;
    } else if (event.key === "h" && since < 1500) {
      follow("home-link");
    } else if (event.key.startsWith("Arrow") && (event.shiftKey || scrolls(event.target))) {
      return;
    } else if (!(event.key in links) || !follow(links[event.key])) {
      return;
    }
    event.preventDefault();
  });
}

// Forms: choices are shown as soon as they are made, and empty fields say nothing in an address.
{
  for (const form of document.querySelectorAll("form.filters")) {
    form.addEventListener("change", () => form.requestSubmit());
  }
  document.addEventListener("submit", (event) => {
    for (const field of event.target.querySelectorAll("input, select")) {
      if (field.name && field.value === "" && field.type !== "search") field.disabled = true;
    }
  });
  window.addEventListener("pageshow", () => { // back to a page that the browser kept
    for (const field of document.querySelectorAll(":disabled")) field.disabled = false;
  });
}

// Parts that take a while come when they are near the window: blocks of [data-src], and charts that stand in an <img>.
{
  const read = async (address) => {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(String(answer.status));
    return answer.text();
  };
  const load = async (place) => {
    try {
      const parsed = new DOMParser().parseFromString(await read(place.dataset.src), "text/html");
      place.replaceChildren(...parsed.body.childNodes);
    } catch {
      place.textContent = "This could not be loaded. Open the page again to try once more.";
    }
  };
  const unfold = async (image) => { // its colours are those of the page's own style sheet then
    try {
      const text = (await read(image.src)).replace(/<style>.*?<\/style>/s, "");
      const drawn = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
      if (drawn.localName === "svg") image.replaceWith(document.importNode(drawn, true));
    } catch {
      // the picture stays
    }
  };
  const near = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        near.unobserve(target);
        (target.matches("img") ? unfold : load)(target).then(() => target.removeAttribute("aria-busy"));
      }
    },
    { rootMargin: "600px" },
  );
  for (const place of document.querySelectorAll("[data-src], .chart img")) {
    place.setAttribute("aria-busy", "true");
    near.observe(place);
  }
}

// What is under the pointer or has the focus, at once and beside it: marks of charts, and pictures.
{
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true");
  document.body.append(tip);

  const hide = () => {
    tip.hidden = true;
    document.querySelector(".chart .reading")?.remove();
  };
  const show = (text, box) => {
    tip.hidden = false;
    tip.textContent = text;
    const right = document.documentElement.clientWidth - tip.offsetWidth - 8;
    tip.style.left = `${window.scrollX + Math.max(4, Math.min(box.right + 8, right))}px`;
    const above = box.top - tip.offsetHeight - 6;
    tip.style.top = `${window.scrollY + (above < 0 ? box.bottom + 6 : above)}px`;
  };
  const told = (element) => { // takes the browser's own, later label away
    const title = element.querySelector(":scope > title");
    if (title || element.title) {
      element.dataset.tip = title ? title.textContent : element.title;
      element.closest(".chart a")?.setAttribute("aria-label", element.dataset.tip);
      if (title) title.remove();
      else element.removeAttribute("title");
    }
    return element.dataset.tip;
  };
  const nearest = (svg, x, y) => { // the point within reach of the pointer
    let found = null;
    let least = 16 ** 2;
    for (const point of svg.querySelectorAll("circle")) {
      const box = point.getBoundingClientRect();
      const distance = ((box.left + box.right) / 2 - x) ** 2 + ((box.top + box.bottom) / 2 - y) ** 2;
      if (distance < least) [found, least] = [point, distance];
    }
    return found;
  };
  const reading = (svg, event) => { // a density where the pointer is
    const inside = (one) => {
      const box = one.getBoundingClientRect();
      return event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top - 4 && event.clientY <= box.bottom + 4;
    };
    const path = [...svg.querySelectorAll(".density")].find(inside);
    if (!path) return hide();
    const { x } = new DOMPoint(event.clientX, event.clientY).matrixTransform(path.getScreenCTM().inverse());
    const box = path.getBBox();
    const numbers = path.getAttribute("d").match(/-?[\d.]+(?:e-?\d+)?/g).map(Number);
    let y = box.y + box.height;
    for (let i = 2; i < numbers.length && numbers[i] >= numbers[i - 2]; i += 2) {
      const [x0, y0, x1, y1] = numbers.slice(i - 2, i + 2);
      if (x >= x0 && x <= x1 && x1 > x0) y = y0 + ((x - x0) / (x1 - x0)) * (y1 - y0);
    }
    const { name, score, peak } = path.dataset;
    const density = ((box.y + box.height - y) / box.height) * Number(peak);
    document.querySelector(".chart .reading")?.remove();
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    line.setAttribute("class", "reading");
    line.setAttribute("d", `M${x},${box.y}V${box.y + box.height}`);
    path.after(line);
    show(`${name}: density ${density.toFixed(2)} at ${score} ${((x - box.x) / box.width).toFixed(2)}`, line.getBoundingClientRect());
  };

  const marked = ".chart svg *:has(> title), .chart svg [data-tip], .card, .still";
  let point = null; // of a scatter
  const over = (event) => {
    const svg = event.target.closest?.(".chart svg");
    if (svg?.querySelector(".density") && event.clientX !== undefined) return reading(svg, event);
    let mark = event.target.closest?.(marked) || event.target.querySelector?.(":scope > circle");
    point?.classList.remove("under");
    point = svg?.querySelector("circle") && event.clientX !== undefined ? nearest(svg, event.clientX, event.clientY) : null;
    point?.classList.add("under");
    mark = point || mark;
    const text = mark && told(mark);
    if (text) show(text, mark.getBoundingClientRect());
    else hide();
  };
  document.addEventListener("pointermove", over);
  document.addEventListener("focusin", over);
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  document.addEventListener("click", (event) => { // a click beside a small point means the point
    if (point && event.target.closest(".chart svg") && !event.target.closest("a")) {
      const link = point.closest("a").href.baseVal;
      if (event.ctrlKey || event.metaKey) window.open(link);
      else window.location.assign(link);
    }
  });
}

// A rectangle drawn into a scatter: the page of the neurons in it.
for (const svg of document.querySelectorAll(".scatter svg")) {
  const plot = svg.querySelector(".plot");
  if (!plot) continue;
  const [left, right, low, high] = plot.dataset.within.split(" ").map(Number);
  const { width, height } = plot.getBBox();
  const at = (event) => {
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(plot.getScreenCTM().inverse());
    return [Math.max(0, Math.min(width, x)), Math.max(0, Math.min(height, y))];
  };
  let start = null;
  let drawn = null;
  let dragged = false;
  const end = () => {
    drawn?.remove();
    start = drawn = null;
  };
  svg.addEventListener("dragstart", (event) => event.preventDefault()); // of a point's link
  svg.addEventListener("pointerdown", (event) => {
    dragged = false;
    if (event.button === 0 && event.pointerType === "mouse") start = at(event);
  });
  window.addEventListener("pointermove", (event) => {
    if (!start) return;
    const [x, y] = at(event);
    if (!drawn && Math.hypot(x - start[0], y - start[1]) < 6) return;
    if (!drawn) {
      drawn = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      drawn.setAttribute("class", "drawn");
      plot.after(drawn);
      dragged = true;
    }
    drawn.setAttribute("x", Math.min(x, start[0]));
    drawn.setAttribute("y", Math.min(y, start[1]));
    drawn.setAttribute("width", Math.abs(x - start[0]));
    drawn.setAttribute("height", Math.abs(y - start[1]));
  });
  window.addEventListener("pointerup", () => {
    const box = drawn && ["x", "y", "width", "height"].map((name) => Number(drawn.getAttribute(name)));
    end();
    if (!box || box[2] < 4 || box[3] < 4) return;
    const [x, y, wide, tall] = box;
    const across = (part) => left + (part / width) * (right - left);
    const up = (part) => high - (part / height) * (high - low);
    const address = new URL(window.location);
    const within = [across(x), across(x + wide), up(y + tall), up(y)].map((value) => String(Math.round(value * 1e4) / 1e4));
    address.searchParams.set("within", within.join(","));
    address.searchParams.delete("page");
    address.hash = "scatter";
    window.location.assign(address);
  });
  svg.addEventListener("click", (event) => {
    if (!dragged) return;
    event.preventDefault(); // the end of a rectangle on a point is no click on it
    event.stopPropagation();
  }, true);
  document.addEventListener("keydown", (event) => event.key === "Escape" && end());
}
