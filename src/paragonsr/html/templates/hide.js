// A click on a name in the legend hides its curves in all charts.
for (const button of document.querySelectorAll(".legend button")) button.onclick = () => {
  const shown = button.getAttribute("aria-pressed") != "true";
  button.setAttribute("aria-pressed", shown);
  const name = button.textContent, hidden = new Set(
    [...document.querySelectorAll(".legend [aria-pressed=false]")].map(other => other.textContent));
  for (const page of Bokeh.documents) for (const model of page.all_models) {
    if (model.name === name) model.visible = shown;
    if (model.tags.includes("points")) model.data = {...model.data,
      y: Array.from(model.data.height, (y, i) => hidden.has(model.data.name[i]) ? NaN : y)};
  }
};
