// The pending page: real progress in words, and a Stop button for *this* server.

import { byId, el, pageData, span, stopServer } from "./dom.js";

const data = pageData();
const began = Date.now() - data.age * 1000;
let stopping = false;
let finished = false;

function line(text, at, replaces) {
  // The Hub's own first line has no time; the time of arrival would be wrong after a reload.
  const time = at ? new Date(at * 1000) : null;
  const clock = time
    ? el("time", { datetime: time.toISOString() }, time.toLocaleTimeString())
    : el("span", { class: "ph-no-time" });
  const log = byId("progress-log");
  // A place in the queue that changes for hours is one line.
  if (replaces && log.lastElementChild?.hasAttribute("data-passing")) log.lastElementChild.remove();
  log.append(el("li", { "data-passing": replaces }, clock, el("span", { class: "ph-line" }, text)));
}

function progress(value) {
  const percent = Math.min(100, Math.max(0, Number(value) || 0));
  byId("progress-bar").setAttribute("aria-valuenow", String(percent));
  byId("ph-bar").style.width = `${percent}%`;
}

function failed(sentence) {
  finished = true;
  byId("ph-pending-title").textContent = "The session could not be started";
  byId("ph-pending-lead").hidden = true;
  byId("progress-bar").hidden = true;
  byId("progress-message").textContent = "Nothing is running.";
  byId("ph-failed").textContent = sentence;
  byId("ph-failed").hidden = false;
  byId("stop-server-btn").hidden = true;
  byId("ph-back").href = data.form;
  byId("ph-back").hidden = false;
}

function onNews(event) {
  const news = JSON.parse(event.data);
  if (news.progress !== undefined) progress(news.progress);
  // A session that became ready while it is being stopped is not opened any more.
  if (news.ready && stopping) return;
  if (news.ready) {
    source.close();
    finished = true;
    byId("progress-message").textContent = "Ready. The notebook opens now.";
    // The Hub redirects this page to the running session.
    window.location.reload();
    return;
  }
  if (news.failed) {
    source.close();
    if (stopping) { window.location.assign(data.home); return; }
    failed(String(news.message || "").replace(/^Spawn failed: /, "") || "The Hub does not know why.");
    return;
  }
  // Only the plain text is used: html_message may hold what other people wrote.
  if (news.message) {
    byId("progress-message").textContent = news.message;
    line(news.message, news.at, Boolean(news.replaces));
  }
}

function reloadSoon() {
  setTimeout(() => { if (!finished && !stopping) window.location.reload(); }, 3000);
}

function follow() {
  const stream = new EventSource(data.progress);
  // After a dropped connection the Hub tells everything again from the beginning.
  stream.onopen = () => byId("progress-log").replaceChildren();
  stream.onmessage = onNews;
  // A dropped connection is opened again by the browser. CLOSED means that the Hub refused:
  // the start has ended meanwhile, and the page itself knows how.
  stream.onerror = () => { if (stream.readyState === EventSource.CLOSED) reloadSoon(); };
  return stream;
}

// A Hub that was restarted has no stream of events for a session that it looks for.
const source = data.checking ? null : follow();
if (data.checking) {
  for (const text of data.lines) line(text);
  byId("progress-message").textContent = data.lines.at(-1) || "The Hub asks whether it still runs …";
  reloadSoon();
}

byId("stop-server-btn").addEventListener("click", async () => {
  const button = byId("stop-server-btn");
  stopping = true;
  button.disabled = true;
  button.textContent = "Stopping …";
  try {
    await stopServer(data.stop);
    source?.close();
    window.location.assign(data.home);
  } catch (error) {
    stopping = false;
    button.disabled = false;
    button.textContent = "Stop";
    byId("ph-failed").textContent = `Not stopped: ${error.message}`;
    byId("ph-failed").hidden = false;
  }
});

setInterval(() => {
  if (!finished) byId("ph-elapsed").textContent = `waiting for ${span((Date.now() - began) / 1000)}`;
}, 1000);
document.documentElement.dataset.phReady = "true";
