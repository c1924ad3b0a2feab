// Small helpers. Text from people and catalogues becomes text nodes only, never markup.

export const byId = (id) => document.getElementById(id);

export const pageData = () => JSON.parse(byId("ph-page").textContent);

/** An element with attributes (false and null are left out) and children (strings are text). */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== ""));
  return node;
}

/** Scroll a list, and not the page, until its chosen row is in view. */
export function reveal(list) {
  const row = list.querySelector("input:checked")?.closest("label");
  if (!row) return;
  const above = row.getBoundingClientRect().top - list.getBoundingClientRect().top;
  const below = above + row.offsetHeight - list.clientHeight;
  if (above < 0) list.scrollTop += above;
  else if (below > 0) list.scrollTop += Math.min(below, above);
}

/** Show a sentence in a place that is there for it, or hide the place. */
export function tell(place, sentence) {
  place.textContent = sentence;
  place.hidden = !sentence;
  place.classList.toggle("ph-hidden", !sentence);
}

async function request(url, options) {
  let response;
  try {
    response = await fetch(url, {
      credentials: "same-origin",
      ...options,
      headers: { Accept: "application/json", "X-XSRFToken": window.jhdata.xsrf_token },
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The Hub cannot be reached. Check the network and try again.");
  }
  if (response.ok) return response;
  let sentence = `The Hub answered ${response.status}. Reload the page and try again.`;
  try {
    sentence = (await response.json()).message || sentence;
  } catch {
    // Not JSON: a proxy in between answered. The sentence above says what can be done.
  }
  throw new Error(sentence);
}

export const getJSON = async (url, signal) => (await request(url, { signal })).json();

/** DELETE a server; `remove` also forgets its name. Answers the HTTP status. */
export const stopServer = async (url, remove = false) =>
  (await request(url, { method: "DELETE", body: remove ? '{"remove": true}' : undefined })).status;

/** The rounded age of something, in words. */
export function span(seconds) {
  const total = Math.max(0, Math.floor(seconds));
  if (total < 60) return `${total} s`;
  if (total < 3600) return `${Math.floor(total / 60)} min`;
  const minutes = Math.floor((total % 3600) / 60);
  return `${Math.floor(total / 3600)} h` + (minutes ? ` ${minutes} min` : "");
}

export const ago = (seconds) => (seconds < 10 ? "just now" : `${span(seconds)} ago`);

export const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
