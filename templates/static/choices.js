// Labelled lists, and lists in which another value may be typed.

import { el } from "./dom.js";

const OTHER = "\u0000other"; // no value that a form can send

/** A labelled control; `below` are the lines that explain it. */
export function field(id, label, control, ...below) {
  return el("div", { class: "ph-choice" }, el("label", { for: id }, label), control, ...below);
}

export function choices(id, name, lines, answer) {
  return el("select", { class: "form-select", id, name },
    ...lines.map(([value, text]) =>
      el("option", { value, selected: value !== "" && value === answer }, text)));
}

/** A list whose last line, "Other…", opens a field to type in; only one of the two is sent. */
export function typedField(id, { name, title, lines, typed }, answer, answered, changed) {
  const listed = lines.some(([value]) => value === answer);
  const shown = [...lines, [OTHER, "Other …"]];
  const select = choices(id, `choice-${name}`, shown, listed ? answer : OTHER);
  const input = el("input", {
    type: "text", class: "form-control", id: `${id}-typed`, maxlength: 256, required: true,
    autocomplete: "off", spellcheck: "false", "aria-describedby": `${id}-hint`,
    value: listed || answer === OTHER ? "" : answer,
  });
  const other = el("div", { class: "ph-choice-other" },
    el("label", { class: "visually-hidden", for: `${id}-typed` }, `Other ${title}`), input,
    el("p", { class: "ph-hint", id: `${id}-hint` }, `One like ${typed}`));
  const typing = () => select.value === OTHER;
  const show = () => {
    other.hidden = !typing();
    input.disabled = !typing();
    (typing() ? input : select).setAttribute("name", `choice-${name}`);
    (typing() ? select : input).removeAttribute("name");
    answered(typing() ? input.value.trim() || OTHER : select.value);
  };
  select.addEventListener("change", () => {
    show();
    if (typing()) input.focus();
  });
  input.addEventListener("input", () => { show(); changed(); });
  input.addEventListener("change", () => { input.value = input.value.trim(); });
  show();
  return {
    node: field(id, title, select, other),
    words: () => {
      if (typing()) return input.value.trim();
      return select.value ? select.selectedOptions[0].textContent : "";
    },
  };
}
