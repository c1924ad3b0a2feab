// Step 3: the profiles with what is free now, and the amounts of the chosen one.

import { ago, byId, el, getJSON, tell } from "./dom.js";

const FIRST_LOOK = 3000; // ms; an answer of sinfo takes less
const LOOK_EVERY = 30000; // ms; the backends' own looks are not more frequent
const NAMES = { cpus: "CPUs", memory: "Memory", gpus: "GPUs", walltime: "Time" };

/** One resource: a slider over the offered amounts; only a changed amount is sent. */
function slider(name, scale, kept, least, moved) {
  const { stops } = scale;
  const last = stops.length - 1;
  const enough = stops.findIndex(([amount]) => amount >= least);
  const start = Math.max(kept ?? scale.default, enough === -1 ? last : enough);
  const hidden = el("input", { type: "hidden", name });
  const output = el("output", { class: "ph-amount", for: `ph-${name}` });
  const input = el("input", {
    type: "range", id: `ph-${name}`, class: "ph-range", min: 0, max: last, step: 1, value: start,
  });
  const label = el("label", { for: `ph-${name}` }, NAMES[name]);
  const ends = el("span", { class: "ph-ends", "aria-hidden": "true" },
    el("span", {}, stops[0][2]), el("span", {}, stops[last][2]));
  const show = () => {
    const [, value, words] = stops[Number(input.value)];
    output.textContent = words;
    input.setAttribute("aria-valuetext", words);
    hidden.value = value;
    // The default is not sent, so that it stays the facility's to change.
    hidden.disabled = Number(input.value) === scale.standard;
  };
  input.addEventListener("input", () => { show(); moved(name, Number(input.value)); });
  show();
  return {
    node: el("div", { class: "ph-choice" }, label, output, input, ends, hidden),
    words: () => (hidden.value === "0" ? "" : output.textContent),
  };
}

/** A labelled list, text or both; `below` are the lines that explain it. */
function field(id, label, control, ...below) {
  return el("div", { class: "ph-choice" }, el("label", { for: id }, label), control, ...below);
}

function choices(id, name, lines, answer) {
  return el("select", { class: "form-select", id, name },
    ...lines.map(([value, text]) =>
      el("option", { value, selected: value !== "" && value === answer }, text)));
}

export function computeStep(data, changed) {
  const box = byId("ph-choices");
  const note = byId("ph-profile-note");
  const looked = byId("ph-looked");
  const offers = JSON.parse(byId("ph-profiles").textContent);
  const profiles = new Map(offers.map((p) => [p.id, p]));
  const state = new Map(data.usable.map((u) => [u.id, u]));
  const kept = new Map(); // positions of sliders that the person moved, per profile
  const answers = { ...data.selection.choices }; // to menus, by name: profiles share many of them
  let template = null;
  let shown = null;
  let controls = [];
  let lookedAt = looked.dataset.age ? Date.now() - Number(looked.dataset.age) * 1000 : null;

  const rows = () => [...document.querySelectorAll("[data-profile]")];
  const chosen = () => document.querySelector('input[name="profile"]:checked')?.value || "";
  const misfit = (id) => (template && data.misfits[template.id]?.[id]) || "";
  const open = (id) => Boolean(state.get(id)?.usable) && !misfit(id);

  function showChoices() {
    const profile = profiles.get(chosen());
    shown = `${profile?.id} ${template?.id}`;
    controls = [];
    box.replaceChildren();
    if (!profile) return;
    const positions = kept.get(profile.id) || {};
    const moved = (name, position) => {
      kept.set(profile.id, { ...kept.get(profile.id), [name]: position });
      changed();
    };
    const facts = [];
    for (const [name, scale] of Object.entries(profile.scales)) {
      if (scale.stops.length === 1) {
        const words = scale.stops[0][2];
        if (scale.stops[0][1] !== "0") facts.push(words);
        controls.push({ words: () => (scale.stops[0][1] === "0" ? "" : words) });
        continue;
      }
      const control = slider(name, scale, positions[name], template?.requires[name] || 0, moved);
      box.append(control.node);
      controls.push(control);
    }
    if (facts.length) box.prepend(el("p", { class: "ph-hint" }, `Fixed: ${facts.join(", ")}`));
    box.prepend(el("h3", { class: "ph-adjust-title" }, profile.title));
    for (const index of data.menusOf[profile.id] || []) {
      const menu = data.menus[index];
      if (menu.lines.length > 1) box.append(menuField(menu));
    }
    if (profile.environments.length) box.append(...environments(profile));
  }

  function menuField({ name, title, lines }) {
    const id = `ph-choice-${name}`;
    const select = choices(id, `choice-${name}`, lines, answers[name]);
    select.addEventListener("change", () => { answers[name] = select.value; });
    controls.push({
      words: () => (select.value ? `${title} ${select.selectedOptions[0].textContent}` : ""),
    });
    return field(id, title, select);
  }

  function environments(profile) {
    const lines = profile.environments.map(([id, title], i) => [i ? id : "", title]);
    const select = choices("ph-environment", "environment", lines, data.selection.environment);
    const own = el("div", {});
    const showOwn = () => {
      const id = select.value || profile.environments[0][0];
      own.replaceChildren(...(profile.paths[id] ? [ownPath(profile.paths[id])] : []));
    };
    select.addEventListener("change", () => {
      data.selection.environment = select.value;
      showOwn();
    });
    controls.push({ words: () => own.querySelector("input")?.value.trim() || "" });
    showOwn();
    return [field("ph-environment", "Environment", select), own];
  }

  /** The path of the person's own environment; empty, it is the facility's. */
  function ownPath(patterns) {
    const input = el("input", {
      type: "text", class: "form-control", id: "ph-path", name: "choice-path", maxlength: 256,
      autocomplete: "off", spellcheck: "false", "aria-describedby": "ph-path-hint",
      value: answers.path || "",
    });
    input.addEventListener("change", () => {
      input.value = input.value.trim();
      answers.path = input.value;
    });
    const where = patterns.map((p) => p.replaceAll("{username}", data.account)).join(", ");
    return field("ph-path", "Path of your own environment", input,
      el("p", { class: "ph-hint", id: "ph-path-hint" },
        `A conda or venv folder, or a .sif image, in: ${where}`));
  }

  function show() {
    const before = chosen();
    for (const row of rows()) {
      const id = row.dataset.profile;
      const now = state.get(id);
      const why = now ? now.reason || misfit(id) : "not available now";
      row.querySelector("input").disabled = !open(id);
      row.querySelector("[data-words]").textContent = why || now.words;
      row.querySelector("[data-idle]").textContent = why ? "" : now.idle;
      const free = row.querySelector("[data-free]");
      const count = why ? null : now?.free;
      free.textContent = count === null || count === undefined ? "" : `${count} free`;
      free.classList.toggle("ph-free-none", count === 0);
    }
    const instead = before && !open(before) ? rows().find((r) => open(r.dataset.profile)) : null;
    if (instead) {
      const why = state.get(before)?.reason || misfit(before) || "not available now";
      const name = (id) => profiles.get(id)?.title || id;
      instead.querySelector("input").checked = true;
      tell(note, `${name(before)}: ${why}. ${name(instead.dataset.profile)} is chosen instead.`);
    } else if (before && !open(before)) {
      document.querySelector('input[name="profile"]:checked').checked = false;
      tell(note, "No profile fits this notebook. Choose another notebook, or the empty workspace.");
    } else if (!before && rows().some((r) => open(r.dataset.profile))) {
      rows().find((r) => open(r.dataset.profile)).querySelector("input").checked = true;
      tell(note, "");
    }
    byId("ph-go").disabled = !chosen();
    if (`${chosen()} ${template?.id}` !== shown) showChoices();
    changed();
  }

  function tick() {
    if (lookedAt === null) return;
    looked.textContent = `looked ${ago((Date.now() - lookedAt) / 1000)}`;
    byId("ph-look").hidden = false;
  }

  async function look() {
    const button = byId("ph-look");
    button.disabled = true;
    try {
      const answer = await getJSON(`${data.api}profiles`);
      state.clear();
      for (const profile of answer.profiles) state.set(profile.id, profile);
      if (answer.age !== null) lookedAt = Date.now() - answer.age * 1000;
      show();
      tick();
    } catch (error) {
      // What was seen before stays: an unanswered question is not news about a profile.
      looked.textContent = error.message;
    }
    button.disabled = false;
  }

  document.querySelector(".ph-profiles").addEventListener("change", () => {
    tell(note, "");
    show();
  });
  byId("ph-look").addEventListener("click", look);
  tick();
  // The first page after the Hub's start: its backends have only begun to look.
  if (lookedAt === null) setTimeout(look, FIRST_LOOK);
  setInterval(tick, 1000);
  setInterval(() => { if (!document.hidden) look(); }, LOOK_EVERY);

  return {
    template(manifest) {
      if (manifest?.id !== template?.id) tell(note, "");
      template = manifest;
      show();
    },
    words() {
      const profile = profiles.get(chosen());
      if (!profile) return "no profile chosen";
      const amounts = controls.map((control) => control.words()).filter(Boolean);
      return `${profile.title} on ${profile.place}, ${amounts.join(", ")}`;
    },
  };
}
