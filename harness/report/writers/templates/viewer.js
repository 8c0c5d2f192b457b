"use strict";
// Shows one slice of a case in all panels; layers are pictures that lie upon each other.
const data = JSON.parse(document.getElementById("data").textContent);
const slider = document.getElementById("slice");
const panels = [...document.querySelectorAll(".panel")];
const box = name => document.getElementById(name);
const variants = [...document.querySelectorAll("[data-variant]")];

function show(layer, kind, content) {
  layer.hidden = !content;
  if (content) layer.src = `data:image/${kind};base64,${content}`;
}

function draw() {
  const at = Number(slider.value);
  box("number").textContent = `slice ${at + 1} of ${data.slices}`;
  panels.forEach((panel, modality) => {
    show(panel.querySelector(".image"), "webp", data.images[modality][at]);
    show(panel.querySelector(".truth"), "png", box("truth").checked && data.truth[at]);
    variants.forEach((switched, number) => {
      show(panel.querySelector(`.prediction-${number}`), "png", switched.checked && data.predictions[number][at]);
      show(panel.querySelector(`.difference-${number}`), "png",
        switched.checked && box("differences").checked && data.differences[number][at]);
    });
  });
}

function go(at) {
  slider.value = Math.min(Math.max(at, 0), data.slices - 1);
  draw();
}

function turn(checkbox) {
  checkbox.checked = !checkbox.checked;
  draw();
}

document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const step = {ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10}[event.key];
  if (step) go(Number(slider.value) + step);
  else if (event.key === "Home") go(0);
  else if (event.key === "End") go(data.slices - 1);
  else if (event.key === "t") turn(box("truth"));
  else if (event.key === "d") turn(box("differences"));
  else if (event.key === "w") go(data.first);
  else if (variants[Number(event.key) - 1]) turn(variants[Number(event.key) - 1]);
  else return;
  event.preventDefault();
});
box("panels").addEventListener("wheel", event => {
  if (event.ctrlKey || !event.deltaY) return;
  event.preventDefault();
  go(Number(slider.value) - Math.sign(event.deltaY));
}, {passive: false});
slider.addEventListener("input", draw);
document.querySelectorAll("input[type=checkbox]").forEach(one => one.addEventListener("change", draw));
document.querySelectorAll("button[data-slice]").forEach(button => button.addEventListener("click", () => {
  variants.forEach((one, number) => { one.checked = number === Number(button.dataset.number); });
  go(Number(button.dataset.slice));
}));
go(data.first);
