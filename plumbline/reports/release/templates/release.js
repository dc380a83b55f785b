
"use strict";
// Filters of the failure cases; without this script every case is shown.
const filters = document.querySelector(".filters");
if (filters) {
  const cases = [...document.querySelectorAll(".case")];
  const selects = [...filters.querySelectorAll("select")];
  const shown = filters.querySelector("output");
  const apply = () => {
    let count = 0;
    for (const one of cases) {
      one.hidden = !selects.every((select) => !select.value || one.dataset[select.name] === select.value);
      count += one.hidden ? 0 : 1;
    }
    const more = document.querySelector(".more");
    if (more && count < cases.length) more.open = true;
    shown.textContent = count === cases.length ? `all ${count} shown` : `${count} of ${cases.length} shown`;
  };
  for (const select of selects) {
    for (const value of [...new Set(cases.map((one) => one.dataset[select.name]))].sort()) {
      select.append(new Option(value, value));
    }
    select.addEventListener("change", apply);
  }
  filters.hidden = false;
  apply();
  addEventListener("beforeprint", () => {
    for (const one of cases) one.hidden = false;
    for (const one of document.querySelectorAll("details")) one.open = true;
  });
  addEventListener("afterprint", apply);
}
