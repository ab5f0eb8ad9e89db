// A shop to play a sale in. Every window is a shopper of its own.

import { createApi, isOpen, newKey, Problem, SomebodyElse } from "./api.js";
import { createCart } from "./cart.js";
import { createCoupons } from "./coupons.js";
import { byId, el, setAttribute, setText, show } from "./dom.js";
import { createI18n } from "./i18n.js";
import { messages } from "./messages.js";
import { createOrders } from "./orders.js";
import { createSale } from "./sale.js";
import { createShelf } from "./shelf.js";
import { createWallet } from "./wallet.js";

const i18n = createI18n(messages);
const api = createApi(i18n);

/** How long good news stands, in ms. */
const PASSES_MS = 10_000;

/** What stands in notices, to be said again in the other language: `{level, sentence, help, about, timer}`. */
const said = new Map();

/** What notices ask for that nobody knows the end of yet, and whose turn it is in each. */
const open = new Map();
const turns = new Map();

/** Notices in which a button was clicked: it goes, and what is said next gets its focus. */
const clicked = new Set();

/**
 * Shows a sentence in a notice; null takes it away. The API's own sentences stay in the language they came in. `help`
 * is a button `{name, text, work, isQuiet}`; `about` an order `{orderId, status}`: in another state the sentence is old.
 */
function say(node, level, sentence, { help = null, about = null } = {}) {
  // What nobody knows the end of stays until somebody does.
  if (sentence === null && open.has(node)) return;
  clearTimeout(said.get(node)?.timer);
  said.delete(node);
  node.querySelector("button")?.remove();
  if (sentence !== null) {
    const timer = level === "good" ? setTimeout(() => pass(node), PASSES_MS) : null;
    said.set(node, { level, sentence, help, about, timer });
    if (help) {
      const style = help.isQuiet ? "quiet" : "primary";
      node.append(el("button", { class: style, type: "button", "data-testid": help.name, on: { click: help.work } }));
    }
  }
  setAttribute(node, "data-level", level);
  showSentence(node);
  show(node, sentence !== null);
}

function showSentence(node) {
  const { sentence, help } = said.get(node) ?? {};
  setText(node.querySelector("p") ?? node, sentence ? sentence() : "");
  if (help) setText(node.querySelector("button"), help.text());
}

/** Old news goes, but not from under somebody's hand. */
function pass(node) {
  if (node.matches(":hover, :focus-within")) said.get(node).timer = setTimeout(() => pass(node), PASSES_MS);
  else say(node, null, null);
}

/** What was said about an order goes when the order has become something else. */
function forgetOld(orders) {
  for (const [node, { about }] of said) {
    const order = about && orders.find((one) => one.orderId === about.orderId);
    if (order && order.status !== about.status) say(node, null, null);
  }
}

i18n.onChange(() => {
  for (const node of said.keys()) showSentence(node);
});

/**
 * Does what is to happen once, and says in a card's notice how it went. A task has `work(key)`, which sends it and may
 * be called again with the same key; `unknown`, a text for when nobody knows; `done(answer)`; and if need be
 * `offer(error)`, which answers a button, and `after()`.
 */
function attempt(node, task) {
  const who = api.session;
  // What became of the one before comes first: who clicks again in the dark wants it once, not twice.
  const work = () => ask(node, open.get(node) ?? { ...task, who, key: newKey() });
  const turn = (turns.get(node) ?? Promise.resolve()).then(work);
  turns.set(node, turn.catch(() => {}));
  return turn;
}

async function ask(node, task) {
  if (task.who !== api.session || task.isAsking) return;
  task.isAsking = true;
  const wasOpen = open.has(node);
  if (node.contains(document.activeElement)) clicked.add(node);
  for (const [other, { level }] of said) {
    // An error is old as soon as something else is done, wherever it stands; whether the shop answers is no such thing.
    if (other === node || (level === "bad" && other !== byId("trouble"))) say(other, null, null);
  }
  if (wasOpen) showAsking(node, true);
  try {
    const answer = await task.work(task.key);
    if (task.who !== api.session) return;
    open.delete(node);
    say(node, null, null);
    task.done(answer);
  } catch (error) {
    if (task.who !== api.session) return;
    if (isOpen(error, wasOpen)) {
      open.set(node, task);
      task.openSince = performance.now();
      // A silent bank is no reason to repeat: the shop itself has answered.
      if (error.text) task.isAskedAgain = true;
      const text = () => i18n.t(task.isAsking ? "ask.asking" : "ask.again");
      const help = { name: "ask-again", text, work: () => ask(node, task) };
      say(node, "warn", () => i18n.t(error.text ?? task.unknown, task.values), { help });
    } else if (error instanceof Problem) {
      open.delete(node);
      say(node, "bad", () => why(error), { help: task.offer?.(error) });
    } else {
      throw error;
    }
  } finally {
    task.isAsking = false;
    if (open.get(node) === task) showAsking(node, false);
    if (task.who === api.session) {
      if (!node.hidden && clicked.delete(node) && document.activeElement === document.body) node.focus();
      task.after?.();
    }
  }
}

function showAsking(node, isAsking) {
  showSentence(node);
  setAttribute(node.querySelector("button"), "aria-disabled", isAsking ? "true" : null);
}

/** Once the shop answers again, what it has not answered is asked once without a click. */
function askOpen(since) {
  for (const [node, task] of open) {
    if (task.isAskedAgain || task.openSince > since) continue;
    task.isAskedAgain = true;
    ask(node, task);
  }
}

/** The API's own sentence, and what else it knows. */
function why(error) {
  const more = error.body ?? {};
  const values = {
    product: products.find((product) => product.productId === more.productId)?.name ?? `#${more.productId}`,
    limit: i18n.number(more.limitPerUser),
    bought: i18n.number(more.alreadyBought),
    left: (more.insufficientItems ?? []).map((item) => `${item.productName} × ${i18n.number(item.availableStock)}`).join(", "),
    shortfall: i18n.money(more.shortfall),
    amount: i18n.money(more.finalAmount),
    time: more.opensAt || more.closedAt ? i18n.time(more.opensAt ?? more.closedAt) : "",
  };
  const extra = i18n.has(`why.${error.code}`) ? ` ${i18n.t(`why.${error.code}`, values)}` : "";
  return (error.detail || error.message) + extra;
}

let products = [];

const wallet = createWallet({ api, i18n, say, attempt });
const sale = createSale({ api, i18n, say, attempt, wallet, after: afterOrder, toOrders: () => goTo("orders-title", "orders-card") });
const coupons = createCoupons({ api, i18n, say, attempt, onHeld: sale.offerCoupons });
const cart = createCart({ api, i18n, say, attempt, wallet, after: afterOrder });
const orders = createOrders({ api, i18n, say, attempt, wallet, after: refreshMine, onSeen: forgetOld });
const shelf = createShelf({ i18n, phaseOf: sale.phaseOf, choose: putOnStage, addToCart: cart.add });

/** Brings a card into view, and whoever uses a keyboard or a screen reader to its heading. */
function goTo(heading, card) {
  byId(heading).focus({ preventScroll: true });
  byId(card).scrollIntoView({ block: "start" });
}

function afterOrder(order) {
  if (order) orders.note(order);
  refreshMine();
}

/** All that is the shopper's own. */
function refreshMine() {
  return settle([wallet.refresh(), coupons.refresh(), cart.refresh(), orders.refresh(), refreshProducts()]);
}

/** Waits for all; says so when the shop does not answer. */
async function settle(all) {
  const outcomes = await Promise.allSettled(all);
  const failed = outcomes.find(({ status, reason }) => status === "rejected" && !(reason instanceof SomebodyElse));
  say(byId("trouble"), "bad", failed ? () => failed.reason?.detail || i18n.t("trouble") : null);
}

async function refreshProducts() {
  const [{ products: all }, { products: ranked }] = await Promise.all([
    api.getPublic("api/products?limit=100"),
    api.getPublic("api/products/popular?days=3&limit=100"),
  ]);
  products = all;
  const onStage = products.find((product) => product.productId === sale.productId) ?? hottest();
  if (onStage) {
    sale.setSold(ranked.find((product) => product.productId === onStage.productId)?.soldQuantity ?? 0);
    sale.choose(onStage);
  }
  shelf.showProducts(products.filter((product) => product !== onStage));
}

/** What is in its sale now, else what comes next, else what few may have. */
function hottest() {
  const now = Date.now();
  const starts = (product) => (product.saleStartsAt ? Date.parse(product.saleStartsAt) : 0);
  const isOpen = (product) => (product.saleStartsAt || product.saleEndsAt) && starts(product) <= now && !(Date.parse(product.saleEndsAt) <= now);
  const upcoming = products.filter((product) => starts(product) > now).sort((a, b) => starts(a) - starts(b));
  return products.find(isOpen) ?? upcoming[0] ?? products.find((product) => product.limitPerUser) ?? products[0];
}

function putOnStage(product) {
  sale.choose(product);
  sale.setSold(0);
  goTo("sale-name", "sale");
  settle([refreshProducts()]);
}

/** Works again and again while somebody can see it. */
function every(ms, work) {
  let isBusy = false;
  const tick = async () => {
    if (document.hidden || isBusy) return;
    isBusy = true;
    try {
      await work();
    } catch {
      // The next time may be better; the page shows that it is not live.
    } finally {
      isBusy = false;
    }
  };
  setInterval(tick, ms);
  document.addEventListener("visibilitychange", tick);
  window.addEventListener("focus", tick);
}

function showShopper() {
  setText(byId("shopper"), api.session.userId);
  const { liveUrl } = api.session;
  show(byId("live-link"), Boolean(liveUrl));
  if (liveUrl) setAttribute(byId("live-link"), "href", liveUrl);
  show(byId("former-shopper"), api.former !== null);
  if (api.former) setText(byId("former-shopper"), i18n.t("hint.formerShopper", { name: api.former.userId }));
}

i18n.onChange(() => {
  if (api.session) showShopper();
});

/** The window becomes somebody else: nothing of the one before stays on the page. */
async function become(another) {
  try {
    await another();
  } catch (error) {
    say(byId("trouble"), "bad", () => error.detail || i18n.t("trouble"));
    return;
  }
  open.clear();
  turns.clear();
  clicked.clear();
  for (const node of [...said.keys()]) say(node, null, null);
  for (const part of [wallet, sale, coupons, cart, orders]) part.forget();
  showShopper();
  await refreshMine();
}

byId("new-shopper").addEventListener("click", () => become(api.becomeNew));
byId("former-shopper").addEventListener("click", () => become(api.becomeFormer));

let isAway = false;

/** Reads the stock, and with it whether the shop answers. */
async function look() {
  const since = performance.now();
  try {
    await sale.refreshStock();
  } catch (error) {
    isAway = true;
    for (const task of open.values()) task.isAskedAgain = false;
    throw error;
  }
  if (isAway) refreshMine();
  isAway = false;
  askOpen(since);
}

async function start() {
  try {
    await api.start();
  } catch (error) {
    say(byId("trouble"), "bad", () => error.detail || i18n.t("trouble"));
    setTimeout(start, 3_000);
    return;
  }
  showShopper();
  await refreshMine();
  every(1_000, look);
  every(3_000, () => settle([refreshProducts()]));
  every(2_000, coupons.refresh);
  let round = 0;
  every(2_000, async () => {
    round += 1;
    if (orders.isWaiting() || round % 5 === 0) await Promise.all([orders.refresh(), wallet.refresh()]);
  });
}

i18n.start();
start();
