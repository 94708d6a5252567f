"use strict";
(() => {
  const all = (query, within = document) => [...within.querySelectorAll(query)];

  // A select shows one of the panels that it names.
  for (const select of all("select[data-shows]")) {
    const panels = all(":scope > .panel", document.getElementById(select.dataset.shows));
    const show = () => panels.forEach((panel) => { panel.hidden = panel.dataset.panel !== select.value; });
    select.addEventListener("change", show);
    show();
  }

  // The legend's buttons hide and show a codec in every drawing.
  for (const button of all(".toggle")) {
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", on);
      all("#curves [data-codec]").filter((part) => part.dataset.codec === button.dataset.codec)
        .forEach((part) => part.classList.toggle("off", !on));
    });
  }

  // Points are read by pointer, or by arrow keys: left and right along a curve, up and down between codecs.
  const said = document.getElementById("said");
  let current = null;
  const read = (mark) => {
    if (current) current.classList.remove("on");
    current = mark;
    mark.classList.add("on");
    said.textContent = mark.dataset.says;
  };
  for (const panel of all("#curves > .panel")) {
    panel.addEventListener("pointerover", (event) => {
      const mark = event.target.closest(".mark");
      if (mark) read(mark);
    });
    panel.addEventListener("click", (event) => {
      const mark = event.target.closest(".mark");
      if (mark) read(mark);
    });
    panel.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
      const step = steps[event.key];
      const curves = all(".curve:not(.off)", panel).map((curve) => all(".mark", curve));
      if (!step || !curves.length) return;
      event.preventDefault();
      const row = curves.findIndex((marks) => marks.includes(current));
      if (row < 0) return read(curves[0][0]);
      const next = curves[(row + step[0] + curves.length) % curves.length];
      const place = curves[row].indexOf(current) + step[1];
      read(next[Math.max(0, Math.min(next.length - 1, place))]);
    });
  }

  // Two crops on top of each other, divided by the slider or by a finger on the picture.
  for (const panel of all("#crops > .panel")) {
    const box = panel.querySelector(".compare");
    const slider = panel.querySelector(".divide");
    const left = panel.querySelector(".left");
    const right = panel.querySelector(".right");
    const divide = () => box.style.setProperty("--at", `${slider.value}%`);
    const choose = () => {
      const texts = { above: "", below: "" };
      for (const image of all("img", box)) {
        image.classList.toggle("above", image.dataset.side === left.value);
        image.classList.toggle("below", image.dataset.side === right.value);
        if (image.dataset.side === left.value) texts.above = image.dataset.says;
        if (image.dataset.side === right.value) texts.below = image.dataset.says;
      }
      panel.querySelector(".sides").textContent = `left: ${texts.above} | right: ${texts.below}`;
    };
    const follow = (event) => {
      if (event.type === "pointermove" && !event.buttons) return;
      const place = box.getBoundingClientRect();
      slider.value = (100 * (event.clientX - place.left)) / place.width;
      divide();
    };
    box.addEventListener("pointerdown", follow);
    box.addEventListener("pointermove", follow);
    box.addEventListener("dragstart", (event) => event.preventDefault());
    slider.addEventListener("input", divide);
    left.addEventListener("change", choose);
    right.addEventListener("change", choose);
    divide();
    choose();
  }

  const opacity = document.getElementById("opacity");
  if (opacity) {
    const fade = () => document.documentElement.style.setProperty("--cells", opacity.value / 100);
    opacity.addEventListener("input", fade);
    fade();
  }
})();
