"use strict";
// The list of images: each is { file, state, sr, original, scale, seconds, model, error }; one is shown.
const $ = id => document.getElementById(id);
const FORMATS = { png: "PNG", webp: "WebP", jpeg: "JPEG", tiff: "TIFF", bmp: "BMP", avif: "AVIF" };
const ENDINGS = { png: "png", webp: "webp", jpg: "jpeg", jpeg: "jpeg", jpe: "jpeg", jfif: "jpeg", tif: "tiff",
  tiff: "tiff", bmp: "bmp", avif: "avif" };
let images = [], shown = null, models = [], limits = {}, running = false;

function say(text, bad = false) { $("status").textContent = text; $("status").classList.toggle("bad", bad); }

async function start() {
  const answer = await (await fetch("models")).json();
  ({ models, limits } = answer);
  listModels(false);
  $("more").hidden = !models.some(model => model.more);
  $("limits").textContent =
    `PNG, JPEG, WebP, TIFF, BMP or AVIF, up to ${limits.pixels / 1e6} million pixels and ${limits.upload / 2 ** 20} MiB each`;
  if (!models.length) say("This folder contains no models: start `paragonsr serve` with a folder of weights.", true);
}

function listModels(all) {
  const chosen = $("model").value;
  $("model").replaceChildren(...models.filter(model => all || !model.more).map(model => new Option(model.title, model.name)));
  if (models.some(model => model.name === chosen && (all || !model.more))) $("model").value = chosen;
  $("more").setAttribute("aria-pressed", all);
}

// ---- the images, one after the other

function take(files) {
  for (const file of files) images.push({ file, state: "waiting" });
  if (!files.length) return;
  $("drop").hidden = true;
  $("another").hidden = false;
  if (!shown || shown.state === "failed") shown = images[images.length - files.length];
  list();
  work();
}

async function work() {
  if (running) return;
  running = true;
  for (let next; (next = images.find(image => image.state === "waiting")); ) await upscale(next);
  running = false;
}

async function upscale(image) {
  image.state = "running";
  image.model = $("model").value;
  list();
  const job = String(Math.random()).slice(2), begun = Date.now();
  const timer = setInterval(() => follow(image, job, begun), 300);
  try {
    if (image.file.size > limits.upload) throw new Error(`is larger than ${limits.upload / 2 ** 20} MiB`);
    const answer = await fetch(`upscale?model=${encodeURIComponent(image.model)}&job=${job}`,
      { method: "POST", body: image.file }).catch(error => { throw new Error("the server does not answer: " + error.message); });
    if (!answer.ok) throw new Error((await answer.json()).error);
    const sr = await answer.blob();
    image.scale = Number(answer.headers.get("X-Scale"));
    image.seconds = Number(answer.headers.get("X-Seconds"));
    if (image.sr) URL.revokeObjectURL(image.sr);
    image.sr = URL.createObjectURL(sr);
    image.original ??= await original(image.file);
    if (image.state === "running") image.state = "done";  // or another model was chosen meanwhile
  } catch (error) {
    image.state = "failed";
    image.error = error.message;
  }
  clearInterval(timer);
  if (!images.includes(image)) return;
  list();
  if (image === shown) await view();
}

// What the browser can show of the original: the file itself, or what the server has decoded.
async function original(file) {
  const own = URL.createObjectURL(file);
  const probe = new Image();
  probe.src = own;
  try { await probe.decode(); return own; } catch { URL.revokeObjectURL(own); }
  const answer = await fetch("preview", { method: "POST", body: file });
  if (!answer.ok) throw new Error((await answer.json()).error);
  return URL.createObjectURL(await answer.blob());
}

async function follow(image, job, begun) {
  const { share } = await (await fetch("progress?job=" + job)).json().catch(() => ({ share: null }));
  if (image !== shown || image.state !== "running") return;
  const seconds = ((Date.now() - begun) / 1000).toFixed(0);
  say(`Upscaling ${image.file.name} ... ${seconds} s` + (share ? `, ${Math.round(100 * share)}%` : ""));
  $("progress").hidden = false;
  if (share) $("progress").value = share; else $("progress").removeAttribute("value");
}

function list() {
  $("images").hidden = images.length < 2;
  $("images").replaceChildren(...images.map(image => {
    const button = document.createElement("button");
    const mark = { waiting: "\u2026 ", running: "\u25b8 ", done: "", failed: "! " }[image.state];
    button.textContent = mark + image.file.name;
    button.title = image.file.name;
    button.role = "option";
    button.classList.toggle("bad", image.state === "failed");
    button.setAttribute("aria-selected", image === shown);
    button.onclick = () => { shown = image; list(); view(); };
    return button;
  }));
  if (shown && (shown.state === "waiting" || shown.state === "running")) {
    say(`${shown.state === "waiting" ? "Waiting:" : "Upscaling"} ${shown.file.name} ...`);
  }
}

async function view() {
  const image = shown, ready = image && image.state === "done";
  if (!image || image.state !== "running") $("progress").hidden = true;
  if (image && image.state === "failed") say(`${image.file.name}: ${image.error}`, true);
  if (!ready) for (const id of ["stage", "tools", "keys"]) $(id).hidden = true;
  if (!ready) return;
  $("after").src = image.sr;
  $("before").src = image.original;
  await Promise.all([$("after").decode(), $("before").decode()]);
  if (image !== shown) return;
  const width = $("after").naturalWidth, height = $("after").naturalHeight;
  $("before").style.width = `${width}px`;
  $("before").style.height = `${height}px`;
  $("scale").textContent = `Network \u00d7${image.scale}`;
  listFormats(image.file.name);
  say(`${image.file.name}: ${width / image.scale} \u00d7 ${height / image.scale} to ${width} \u00d7 ${height} in ${image.seconds.toFixed(2)} s`);
  for (const id of ["stage", "tools", "keys"]) $(id).hidden = false;
  fit();
}

// ---- download

function ownFormat(name) { return ENDINGS[name.split(".").pop().toLowerCase()] ?? "png"; }

function listFormats(name) {
  const own = ownFormat(name), chosen = $("format").dataset.chosen;
  const formats = [...new Set([own, "png", "webp", "jpeg"])];
  $("format").replaceChildren(...formats.map(format =>
    new Option(FORMATS[format] + (format === own ? " (as the original)" : ""), format)));
  $("format").value = formats.includes(chosen) ? chosen : "png";
  offer();
}

// A PNG is at hand as a link; other formats are made when they are asked for.
function offer() {
  const format = $("format").value, ending = format === "jpeg" ? "jpg" : format;
  $("download").download = shown.file.name.replace(/\.[^.]*$/, "") + `_x${shown.scale}.${ending}`;
  $("download").href = shown.sr;
}

$("format").onchange = () => { $("format").dataset.chosen = $("format").value; offer(); };
$("download").onclick = async event => {
  const format = $("format").value;
  if (format === "png" || $("download").dataset.made === format) { delete $("download").dataset.made; return; }
  event.preventDefault();
  const png = await (await fetch(shown.sr)).blob();
  const answer = await fetch("convert?format=" + format, { method: "POST", body: png });
  if (!answer.ok) { say((await answer.json()).error, true); return; }
  const made = URL.createObjectURL(await answer.blob());
  $("download").href = made;
  $("download").dataset.made = format;
  $("download").click();
  setTimeout(() => { URL.revokeObjectURL(made); offer(); }, 1000);
};

// ---- zoom and pan: a point of the SR image stands at x + zoom * point in each pane

const at = { zoom: 1, x: 0, y: 0, split: 50 };

function pane() { return $("right").getBoundingClientRect(); }

function draw() {
  const box = pane(), width = at.zoom * $("after").naturalWidth, height = at.zoom * $("after").naturalHeight;
  const keep = (place, size, room) => size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, place));
  at.x = keep(at.x, width, box.width);
  at.y = keep(at.y, height, box.height);
  for (const id of ["before", "after"]) $(id).style.transform = `translate(${at.x}px, ${at.y}px) scale(${at.zoom})`;
  for (const id of ["left", "right"]) $(id).classList.toggle("pixels", at.zoom * devicePixelRatio >= 2);
  $("zoom").textContent = `${Math.round(100 * at.zoom * devicePixelRatio)}%`;
  $("stage").style.setProperty("--at", at.split + "%");
  $("handle").setAttribute("aria-valuenow", Math.round(at.split));
}

function fit() {
  const box = pane();
  at.zoom = Math.min(box.width / $("after").naturalWidth, box.height / $("after").naturalHeight, 1 / devicePixelRatio);
  at.x = at.y = 0;
  draw();
}

function zoomTo(zoom, x = pane().width / 2, y = pane().height / 2) {
  const next = Math.min(16, Math.max(0.02, zoom)), ratio = next / at.zoom;
  at.x = x - ratio * (x - at.x);
  at.y = y - ratio * (y - at.y);
  at.zoom = next;
  draw();
}

function mode(beside) {
  $("stage").className = beside ? "beside" : "slider";
  $("beside").setAttribute("aria-pressed", beside);
  $("slider").setAttribute("aria-pressed", !beside);
  if (!$("stage").hidden) fit();
}

function split(percent) { at.split = Math.min(100, Math.max(0, percent)); draw(); }

// A point of the page in the coordinates of the pane that it is in.
function local(event) {
  const box = pane(), left = $("left").getBoundingClientRect();
  const inLeft = $("stage").className.includes("beside") && event.clientX < box.left;
  return [event.clientX - (inLeft ? left.left : box.left), event.clientY - box.top];
}

const fingers = new Map();
$("stage").onpointerdown = event => {
  if (event.target === $("handle")) return;
  $("stage").setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, event);
  $("stage").classList.add("moving");
};
$("stage").onpointermove = event => {
  const before = fingers.get(event.pointerId);
  if (!before) return;
  if (fingers.size === 1) {
    at.x += event.clientX - before.clientX;
    at.y += event.clientY - before.clientY;
    draw();
  } else {
    const other = [...fingers.values()].find(finger => finger.pointerId !== event.pointerId);
    const distance = finger => Math.hypot(finger.clientX - other.clientX, finger.clientY - other.clientY);
    zoomTo(at.zoom * distance(event) / Math.max(1, distance(before)), ...local(
      { clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 }));
  }
  fingers.set(event.pointerId, event);
};
$("stage").onpointerup = $("stage").onpointercancel = event => {
  fingers.delete(event.pointerId);
  if (!fingers.size) $("stage").classList.remove("moving");
};
$("stage").addEventListener("wheel", event => {
  event.preventDefault();
  zoomTo(at.zoom * 1.0015 ** -event.deltaY, ...local(event));
}, { passive: false });
$("stage").ondblclick = event => zoomTo(1 / devicePixelRatio, ...local(event));

$("handle").onpointerdown = event => { $("handle").setPointerCapture(event.pointerId); event.stopPropagation(); };
$("handle").onpointermove = event => {
  if (!event.buttons) return;
  const box = $("stage").getBoundingClientRect();
  split(100 * (event.clientX - box.left) / box.width);
};
$("handle").onkeydown = event => {
  const step = { ArrowLeft: -2, ArrowRight: 2, Home: -100, End: 100 }[event.key];
  if (!step) return;
  split(at.split + step);
  event.preventDefault();
  event.stopPropagation();
};
document.onkeydown = event => {
  if ($("stage").hidden || event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  const move = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
  if (move) { at.x += move[0]; at.y += move[1]; draw(); }
  else if (event.key === "+" || event.key === "=") zoomTo(1.25 * at.zoom);
  else if (event.key === "-") zoomTo(at.zoom / 1.25);
  else if (event.key === "0") fit();
  else if (event.key === "1") zoomTo(1 / devicePixelRatio);
  else if (event.key === "s") mode(!$("stage").className.includes("beside"));
  else return;
  event.preventDefault();
};

// ---- the controls

$("drop").onclick = () => $("file").click();
$("drop").onkeydown = event => { if (event.key === "Enter" || event.key === " ") $("file").click(); };
$("file").onclick = event => event.stopPropagation();
$("file").onchange = () => { take([...$("file").files]); $("file").value = ""; };
$("more").onclick = () => listModels($("more").getAttribute("aria-pressed") !== "true");
$("model").onchange = () => {
  for (const image of images) image.state = "waiting";
  list();
  view();
  work();
};
$("another").onclick = () => {
  for (const image of images) for (const url of [image.sr, image.original]) if (url) URL.revokeObjectURL(url);
  images = [];
  shown = null;
  for (const id of ["stage", "tools", "keys", "images", "another", "progress"]) $(id).hidden = true;
  $("drop").hidden = false;
  say("");
};
document.ondragover = event => { event.preventDefault(); $("drop").classList.add("over"); };
document.ondragleave = () => $("drop").classList.remove("over");
document.ondrop = event => { event.preventDefault(); $("drop").classList.remove("over"); take([...event.dataTransfer.files]); };
document.onpaste = event => take([...event.clipboardData.files]);
$("slider").onclick = () => mode(false);
$("beside").onclick = () => mode(true);
$("larger").onclick = () => zoomTo(1.5 * at.zoom);
$("smaller").onclick = () => zoomTo(at.zoom / 1.5);
$("fit").onclick = fit;
$("full").onclick = () => zoomTo(1 / devicePixelRatio);
window.onresize = () => { if (!$("stage").hidden) draw(); };
mode(false);
start().catch(error => say("The server does not answer: " + error.message, true));
