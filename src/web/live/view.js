// Shows a snapshot.

import { byId, el, keyed, part, setAttribute, setBar, setText, show } from "./dom.js";
import { UNKNOWN } from "./i18n.js";
import { createHistory, draw, hasValues } from "./spark.js";
import { findings, level } from "./verdict.js";

/** Snapshots that charts reach back: two minutes. */
const HISTORY = 120;

/** Reasons that are shown. */
const REASONS_MAX = 6;

const BREAKER = ["told.closed", "told.halfOpen", "told.open"];

export function createView(i18n) {
  const { t } = i18n;
  const charted = ["accepted", "refused", "failed", "p50", "p99", "rush-p50", "rush-p99"];
  const history = Object.fromEntries(charted.map((name) => [name, createHistory(HISTORY)]));

  const codeName = (code) => (i18n.has(`code.${code}`) ? t(`code.${code}`) : code);
  const sinkName = (sink) => (i18n.has(`sink.${sink}`) ? t(`sink.${sink}`) : sink);

  /** Notes what charts show. */
  function note(snapshot) {
    history.accepted.push(snapshot.orders.acceptedPerS);
    history.refused.push(snapshot.orders.refusedPerS);
    history.failed.push(snapshot.orders.failedPerS);
    history.p50.push(snapshot.latency.orders.p50Ms);
    history.p99.push(snapshot.latency.orders.p99Ms);
    history["rush-p50"].push(snapshot.latency.rush.p50Ms);
    history["rush-p99"].push(snapshot.latency.rush.p99Ms);
  }

  /** `isOld`: nobody keeps the figures true any more, and what was well may not be. */
  function showAll(snapshot, isOld) {
    setAttribute(byId("main"), "data-old", String(isOld));
    showVerdict(snapshot, isOld);
    showOrders(snapshot.orders);
    showLatency(snapshot);
    showStock(snapshot.stock);
    showRanking(snapshot.ranking);
    showCoupons(snapshot.coupons);
    showProcess(snapshot, isOld);
    showBooks(snapshot);
    showTold(snapshot.sinks, snapshot.noticesDue);
    setText(byId("viewers"), t("viewers", { n: i18n.number(snapshot.viewers) }));
  }

  function showVerdict(snapshot, isOld) {
    const found = findings(snapshot, sinkName);
    const verdict = isOld ? "stale" : level(found);
    setAttribute(byId("verdict"), "data-level", isOld ? "bad" : verdict);
    setText(byId("verdict-title"), t(`verdict.${verdict}`));
    const create = ({ level }) =>
      el("li", { "data-level": level }, el("strong", { "data-part": "what" }), el("span", { "data-part": "do" }));
    keyed(byId("findings"), found, ({ key, values }) => `${key} ${values.sink ?? ""}`, create, (node, finding) => {
      const values = readable(finding.values);
      setAttribute(node, "data-level", finding.level);
      setAttribute(node, "data-testid", `finding-${finding.key}`);
      setText(part(node, "what"), t(`finding.${finding.key}`, values));
      setText(part(node, "do"), t(`finding.${finding.key}.do`, values));
    });
    document.title = verdict === "good" ? titleOf(snapshot.orders) : `⚠ ${t(`verdict.${verdict}`)} · flashsale`;
  }

  /** What a finding tells, written as people read it. */
  function readable({ n, rate, seconds, duration, ...rest }) {
    const values = { ...rest };
    if (n !== undefined) values.n = i18n.number(n);
    if (rate !== undefined) values.n = i18n.rate(rate);
    if (seconds !== undefined) values.span = i18n.span(seconds);
    if (duration !== undefined) values.ms = i18n.ms(duration);
    return values;
  }

  const titleOf = (orders) => (orders.acceptedPerS > 0 ? `${i18n.rate(orders.acceptedPerS)}/s · flashsale` : "flashsale live");

  function showOrders(orders) {
    for (const kind of ["accepted", "refused", "failed"]) {
      const rate = orders[`${kind}PerS`];
      setText(byId(`${kind}-per-s`), i18n.rate(rate));
      setText(byId(`${kind}-total`), t("orders.total", { n: i18n.number(orders[kind]) }));
      setAttribute(byId(`${kind}-per-s`).parentElement, "data-quiet", String(!(rate > 0)));
    }
    const lines = [
      { name: "accepted", history: history.accepted, isFilled: true },
      { name: "refused", history: history.refused },
      { name: "failed", history: history.failed },
    ];
    const top = draw(byId("orders-spark"), lines, 10);
    setText(byId("orders-top"), t("orders.top", { n: i18n.number(top) }));

    const reasons = [...orders.failures.map((code) => ({ ...code, isFailure: true })), ...orders.refusals];
    reasons.sort((a, b) => (b.perS ?? 0) - (a.perS ?? 0) || b.total - a.total);
    const shown = reasons.slice(0, REASONS_MAX);
    const most = Math.max(1, ...shown.map((reason) => reason.total));
    keyed(byId("reasons"), shown, (reason) => reason.code, createReason, (node, reason) => {
      setText(part(node, "name"), codeName(reason.code));
      const rate = reason.perS > 0 ? `${i18n.rate(reason.perS)}/s · ` : "";
      setText(part(node, "count"), rate + i18n.number(reason.total));
      setAttribute(part(node, "bar"), "data-level", reason.isFailure ? "bad" : "warn");
      setBar(part(node, "bar"), reason.total / most);
    });
    show(byId("no-reasons"), shown.length === 0);
  }

  function createReason(reason) {
    return el(
      "li",
      { title: reason.code, "data-testid": `reason-${reason.code}` },
      el("span", { "data-part": "name" }),
      el("strong", { "data-part": "count" }),
      el("span", { class: "bar", "data-part": "bar", "aria-hidden": "true" }, el("span")),
    );
  }

  function showLatency({ isDev, latency, lane }) {
    for (const name of ["orders", "rush", "redis"]) {
      setText(byId(`${name}-p50`), i18n.ms(latency[name].p50Ms));
      setText(byId(`${name}-p99`), i18n.ms(latency[name].p99Ms));
    }
    show(byId("rush-times"), isDev);
    const lines = ["rush-p50", "rush-p99", "p50", "p99"].map((name) => ({ name, history: history[name] }));
    // Without an order there is nothing to look at.
    show(byId("latency-chart"), lines.some((line) => hasValues(line.history)));
    const top = draw(byId("latency-spark"), lines, 1);
    setText(byId("latency-top"), t("latency.top", { ms: i18n.ms(top) }));
    show(byId("latency-dashed"), hasValues(history["rush-p99"]));
    setText(byId("lane-queue"), i18n.number(lane.queue));
    setText(byId("lane-batch"), i18n.number(lane.opsPerBatch, 1));
  }

  function showStock(stock) {
    setText(byId("stock-as-of"), stock ? t("stock.asOf", { time: i18n.time(stock.asOf) }) : UNKNOWN);
    setText(byId("stock-more"), stock?.more > 0 ? t("stock.more", { n: i18n.number(stock.more) }) : "");
    keyed(byId("stock-bars"), stock?.products ?? [], (product) => product.productId, createBar, (node, product) => {
      const left = i18n.number(product.stock);
      const all = product.stock + product.sold;
      const share = all > 0 ? product.stock / all : 0;
      setText(part(node, "name"), product.name);
      setText(part(node, "left"), product.stock > 0 ? t("stock.left", { n: left }) : t("stock.soldOut"));
      setText(part(node, "detail"), [windowOf(product), t("stock.sold", { n: i18n.number(product.sold) })].filter(Boolean).join(" · "));
      setAttribute(node, "data-testid", `stock-${product.productId}`);
      meter(part(node, "bar"), share, t("stock.meter", { name: product.name, n: left }));
    });
  }

  function windowOf(product) {
    if (product.window === "UPCOMING") return t("stock.upcoming", { time: i18n.time(product.startsAt) });
    if (product.window === "OVER") return t("stock.over");
    if (product.window === "OPEN" && product.endsAt !== null) return t("stock.open", { time: i18n.time(product.endsAt) });
    return "";
  }

  function createBar() {
    return el(
      "li",
      {},
      el("span", { "data-part": "name" }),
      el("span", { class: "left", "data-part": "left" }),
      el("div", { class: "bar", "data-part": "bar", role: "meter", "aria-valuemin": 0, "aria-valuemax": 100 }, el("span")),
      el("span", { class: "detail", "data-part": "detail" }),
    );
  }

  function meter(bar, share, label) {
    setAttribute(bar, "aria-valuenow", Math.round(share * 100));
    setAttribute(bar, "aria-label", label);
    setAttribute(bar, "data-level", share <= 0.1 ? "bad" : share <= 0.3 ? "warn" : null);
    setBar(bar, share);
  }

  function showRanking(ranking) {
    const ranked = ranking.map((product, i) => ({ ...product, place: i + 1 }));
    const create = () =>
      el(
        "li",
        {},
        el("span", { class: "place", "data-part": "place" }),
        el("span", { "data-part": "name" }),
        el("span", { class: "sold", "data-part": "sold" }),
      );
    keyed(byId("ranks"), ranked, (product) => product.productId, create, (node, product) => {
      setText(part(node, "place"), product.place);
      setText(part(node, "name"), product.name);
      setText(part(node, "sold"), t("ranking.sold", { n: i18n.number(product.sold) }));
    });
    show(byId("no-ranks"), ranked.length === 0);
  }

  function showCoupons(coupons) {
    show(byId("coupons"), coupons.length > 0);
    keyed(byId("coupon-bars"), coupons, (coupon) => coupon.couponId, createBar, (node, coupon) => {
      const left = t("coupons.left", { n: i18n.number(coupon.remaining), total: i18n.number(coupon.total) });
      setText(part(node, "name"), coupon.name);
      setText(part(node, "left"), left);
      meter(part(node, "bar"), coupon.total > 0 ? coupon.remaining / coupon.total : 0, `${coupon.name}: ${left}`);
    });
  }

  function showProcess(snapshot, isOld) {
    const isReady = snapshot.notReady.length === 0;
    const readiness = isOld ? "unknown" : isReady ? "ready" : "notReady";
    pill("readiness", isOld ? null : isReady ? "good" : "bad", t(`process.${readiness}`));
    const reasons = isOld ? [] : snapshot.notReady;
    keyed(byId("not-ready"), reasons, (reason) => reason, () => el("li"), (node, reason) => setText(node, reason));
    keyed(byId("gates"), snapshot.gates, (gate) => gate.cell, createGate, (node, gate) => {
      setText(part(node, "name"), t("process.gate", { cell: gate.cell }));
      setAttribute(part(node, "mark"), "aria-label", t("explain"));
      setText(part(node, "hint"), t("process.gate.hint"));
      const state = gate.isOpen ? t("process.open", { epoch: gate.epoch }) : t("process.closed");
      setText(part(node, "state"), isOld ? t("process.unknown") : state);
      setAttribute(node, "data-level", isOld ? null : gate.isOpen ? "good" : "bad");
      setAttribute(node, "data-testid", `gate-${gate.cell}`);
    });
    fact("script-errors", i18n.number(snapshot.lane.scriptErrors), snapshot.lane.scriptErrors > 0 ? "bad" : null);
    fact("held", i18n.number(snapshot.heldTooLong), snapshot.heldTooLong > 0 ? "warn" : null);
  }

  /** As the explained facts of the page itself. */
  function createGate() {
    const hint = el("details", { class: "hint" }, el("summary", { text: "?", "data-part": "mark" }), el("p", { "data-part": "hint" }));
    return el("div", {}, el("dt", {}, el("span", { "data-part": "name" }), " ", hint), el("dd", { "data-part": "state" }));
  }

  function showBooks({ at, log, verify }) {
    const isKnown = verify.differences !== null;
    const differ = verify.differences > 0;
    const state = !isKnown ? "unknown" : differ ? "differ" : "agree";
    pill("books-state", !isKnown ? null : differ ? "bad" : "good", t(`books.${state}`));
    fact("writer-lag", lagOf(log), log.lagSeconds >= 10 ? "warn" : null);
    fact("committed", i18n.rate(log.committedPerS), null);
    fact("log-entries", i18n.number(log.entries), null);
    fact("parked", i18n.number(log.parked), log.parked > 0 ? "bad" : null);
    fact("differences", verify.differences === 0 ? t("books.none") : i18n.number(verify.differences), differ ? "bad" : null);
    fact("compared", comparedAt(at, verify.last), null);
  }

  function comparedAt(at, last) {
    if (last === null) return t("books.never");
    return t("books.at", { time: i18n.time(last * 1000), span: i18n.span(Math.max(0, at / 1000 - last)) });
  }

  function lagOf({ lagEvents, lagSeconds }) {
    if (lagEvents === null) return UNKNOWN;
    if (lagEvents === 0) return t("books.upToDate");
    return t("books.lagValue", { events: i18n.number(lagEvents), span: i18n.span(lagSeconds) });
  }

  function showTold(sinks, due) {
    const columns = ["state", "lag", "waiting", "dead", "rate"];
    // With roles of their own, as narrow windows make lists of the rows.
    const create = () =>
      el(
        "tr",
        { role: "row" },
        el("th", { "data-part": "name", scope: "row", role: "rowheader" }),
        ...columns.map((column) => el("td", { "data-part": column, role: "cell" })),
      );
    keyed(byId("sinks"), sinks, (sink) => sink.sink, create, (node, sink) => {
      setAttribute(node, "data-testid", `sink-${sink.sink}`);
      for (const column of columns) setAttribute(part(node, column), "data-label", t(`told.${column}`));
      setText(part(node, "name"), sinkName(sink.sink));
      const state = sink.isStopped ? "told.stopped" : BREAKER[sink.breaker ?? 0];
      setText(part(node, "state"), sink.breaker === null && !sink.isStopped ? UNKNOWN : t(state));
      setAttribute(part(node, "state"), "data-level", sink.isStopped || sink.breaker === 2 ? "bad" : sink.breaker === 1 ? "warn" : null);
      setText(part(node, "lag"), lagOf(sink));
      setText(part(node, "waiting"), i18n.number(sink.waiting));
      setText(part(node, "dead"), i18n.number(sink.deadLetters));
      setAttribute(part(node, "dead"), "data-level", sink.deadLetters > 0 ? "warn" : null);
      setText(part(node, "rate"), i18n.rate(sink.deliveredPerS));
    });
    show(byId("no-sinks"), sinks.length === 0);
    const { restock = 0, alert = 0 } = due;
    const isDue = restock + alert > 0;
    setText(byId("notices-due"), isDue ? t("told.due", { restock: i18n.number(restock), alert: i18n.number(alert) }) : "");
  }

  function pill(id, wanted, text) {
    setAttribute(byId(id), "data-level", wanted);
    setText(byId(id), text);
  }

  function fact(id, text, wanted) {
    setText(byId(id), text);
    setAttribute(byId(id), "data-level", wanted);
  }

  return { note, showAll, codeName };
}
