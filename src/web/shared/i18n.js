// Two languages: texts, numbers and times. The choice is kept in the browser.

const STORED = "flashsale-language";
const LOCALES = { en: "en-GB", ko: "ko-KR" };

/** Shown where nothing is known. */
export const UNKNOWN = "–";

function stored() {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}

function first() {
  const wanted = [stored(), ...(navigator.languages ?? [navigator.language])];
  for (const tag of wanted) {
    const language = String(tag ?? "").slice(0, 2).toLowerCase();
    if (language in LOCALES) return language;
  }
  return "en";
}

export function createI18n(messages) {
  let language = first();
  const listeners = [];

  /** The text of a key; `{name}` stands for a value. */
  function t(key, values = {}) {
    const message = messages[language][key] ?? key;
    return message.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
  }

  const has = (key) => key in messages[language];

  function apply() {
    document.documentElement.lang = language;
    for (const node of document.querySelectorAll("[data-i18n]")) node.textContent = t(node.dataset.i18n);
    for (const node of document.querySelectorAll("[data-i18n-label]")) {
      node.setAttribute("aria-label", t(node.dataset.i18nLabel));
    }
    for (const node of document.querySelectorAll("[data-i18n-placeholder]")) {
      node.setAttribute("placeholder", t(node.dataset.i18nPlaceholder));
    }
    for (const button of document.querySelectorAll("[data-language]")) {
      button.setAttribute("aria-pressed", String(button.dataset.language === language));
    }
    for (const listener of listeners) listener();
  }

  function choose(chosen) {
    language = chosen;
    try {
      localStorage.setItem(STORED, chosen);
    } catch {
      // A browser that keeps nothing: the choice holds until the page is left.
    }
    apply();
  }

  /** Writes the texts into the page, and has its switch work. */
  function start() {
    for (const button of document.querySelectorAll("[data-language]")) {
      button.addEventListener("click", () => choose(button.dataset.language));
    }
    apply();
  }

  const known = (value) => typeof value === "number" && Number.isFinite(value);

  function number(value, digits = 0) {
    if (!known(value)) return UNKNOWN;
    return new Intl.NumberFormat(LOCALES[language], { maximumFractionDigits: digits }).format(value);
  }

  /** Few things per second with a decimal, many without. */
  const rate = (value) => number(value, known(value) && value < 10 ? 1 : 0);

  /** An amount in won. */
  const money = (amount) => (known(amount) ? t("money", { amount: number(amount) }) : UNKNOWN);

  /** Milliseconds, with as many digits as matter. */
  function ms(value) {
    if (!known(value)) return UNKNOWN;
    if (value >= 1000) return t("seconds", { n: number(value / 1000, 1) });
    return t("milliseconds", { n: number(value, value < 10 ? 1 : 0) });
  }

  /** A stretch of time in its two largest units. */
  function span(seconds) {
    if (!known(seconds)) return UNKNOWN;
    if (seconds < 10) return t("seconds", { n: number(seconds, seconds < 1 ? 1 : 0) });
    const whole = Math.round(seconds);
    if (whole < 120) return t("seconds", { n: number(whole) });
    if (whole < 7200) return t("minutes", { n: number(Math.floor(whole / 60)) });
    if (whole < 172_800) return t("hours", { n: number(Math.floor(whole / 3600)) });
    return t("days", { n: number(Math.floor(whole / 86_400)) });
  }

  /** A time of today, or a day with its time. */
  function time(at) {
    const date = new Date(at);
    const isToday = date.toDateString() === new Date().toDateString();
    const style = isToday ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "short" };
    return new Intl.DateTimeFormat(LOCALES[language], style).format(date);
  }

  return {
    t,
    has,
    start,
    apply,
    number,
    rate,
    money,
    ms,
    span,
    time,
    onChange: (listener) => listeners.push(listener),
    get language() {
      return language;
    },
  };
}
