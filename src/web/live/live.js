// The live page: what the sale does now.

import { byId, setAttribute, setText } from "./dom.js";
import { createI18n } from "./i18n.js";
import { messages } from "./messages.js";
import { createRush } from "./rush.js";
import { openStream } from "./stream.js";
import { createView } from "./view.js";

/** Without news for so long, in ms, the figures are called old. */
const STALE_MS = 4_000;

const LEVELS = { live: "good", opening: null, paused: "warn", stale: "bad", lost: "bad", full: "warn", ended: "bad" };

const i18n = createI18n(messages);
const view = createView(i18n);
const rush = createRush(i18n, view.codeName);

let latest = null;
let arrived = 0;
let state = "opening";
let isPaused = false;
/** Whether nobody keeps the figures true any more. */
let isOld = false;

function showSnapshot() {
  if (latest === null) return;
  view.showAll(latest, isOld);
  rush.showRush(latest, isOld);
}

function showConnection() {
  const silence = Date.now() - arrived;
  const isStale = state === "live" && silence > STALE_MS;
  const shown = isPaused ? "paused" : isStale ? "stale" : state;
  const pill = byId("connection");
  setAttribute(pill, "data-level", LEVELS[shown]);
  setText(pill, i18n.t(`connection.${shown}`, { span: i18n.span(Math.round(silence / 1000)) }));
  // Figures that nobody keeps true must not look as if all were well.
  const nowOld = !isPaused && state !== "opening" && (silence > STALE_MS || state === "ended");
  if (nowOld !== isOld) {
    isOld = nowOld;
    showSnapshot();
  }
}

function onSnapshot(snapshot) {
  arrived = Date.now();
  view.note(snapshot);
  if (isPaused) return;
  latest = snapshot;
  isOld = false;
  showSnapshot();
  showConnection();
}

byId("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  setAttribute(byId("pause"), "aria-pressed", String(isPaused));
  showPause();
  showConnection();
});

function showPause() {
  const key = isPaused ? "resume" : "pause";
  byId("pause").dataset.i18n = key;
  setText(byId("pause"), i18n.t(key));
}

i18n.onChange(() => {
  showPause();
  showSnapshot();
  showConnection();
});
setText(byId("where"), location.host);
i18n.start();
openStream("live/events", onSnapshot, (now) => {
  state = now;
  showConnection();
});
setInterval(showConnection, 1_000);
