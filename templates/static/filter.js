// A search field over a list of radio rows. A chosen row stays visible, whatever is typed.

import { plural } from "./dom.js";

export function filterList(input, list, count, word) {
  const apply = () => {
    const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    let all = 0;
    for (const row of list.querySelectorAll("label")) {
      if ("always" in row.dataset) continue;
      const text = (row.dataset.find || row.textContent).toLowerCase();
      const matches = wanted.every((part) => text.includes(part));
      row.hidden = !matches && !row.querySelector("input").checked;
      all += 1;
      found += matches ? 1 : 0;
    }
    count.textContent = wanted.length ? `${found} of ${plural(all, word)}` : "";
  };
  input.addEventListener("input", apply);
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    // Enter in a search field must not start a session.
    event.preventDefault();
    const first = list.querySelector("label:not([hidden]):not([data-always]) input");
    if (first) first.focus();
  });
  return apply;
}
