"use strict";
/* What HTML alone cannot do. Every page works without it. */

const $ = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const isPoll = (part) => (part.getAttribute("hx-trigger") || "").includes("every");
// Live parts: they pause on request and out of sight, and step back while the server is away.
const FIRST_PAUSE_MS = 3000, LONGEST_PAUSE_MS = 60000;
const pause = $("#pause"), banner = $("#connection");
let paused = sessionStorage.getItem("paused") === "true";
let failures = 0, notBefore = 0, lastGood = Date.now(), lostAt = 0;

function showPaused() {
  pause.hidden = false;
  pause.setAttribute("aria-pressed", String(paused));
}

function timeOfDay(moment, withSeconds = true) {
  const zone = $("#clock")?.dataset.zone;
  const parts = { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone: zone };
  if (withSeconds) parts.second = "2-digit";
  return new Intl.DateTimeFormat("en-GB", parts).format(moment);
}

function failed() {
  if (Date.now() < notBefore) return;
  lostAt ||= Date.now();
  notBefore = Date.now() + Math.min(FIRST_PAUSE_MS * 2 ** failures++, LONGEST_PAUSE_MS);
  if (!banner) return;
  $("#connection-lost").textContent = timeOfDay(lostAt);
  $("#connection-values").textContent = timeOfDay(lastGood);
  banner.hidden = false;
}

function answered() {
  failures = notBefore = lostAt = 0;
  lastGood = Date.now();
  if (banner) banner.hidden = true;
}

document.addEventListener("htmx:beforeRequest", (event) => {
  if (isPoll(event.detail.elt) && (paused || document.hidden || Date.now() < notBefore)) event.preventDefault();
});
document.addEventListener("htmx:afterRequest", (event) => {
  const { elt, xhr, successful } = event.detail;
  if (xhr.status === 401) location.reload();
  else if (successful || xhr.status === 422) answered();
  else if (isPoll(elt) || xhr.status === 0) failed();
});
if (pause) {
  showPaused();
  pause.addEventListener("click", () => {
    paused = !paused;
    sessionStorage.setItem("paused", String(paused));
    showPaused();
  });
}

const clock = $("#clock");
if (clock) {
  const ahead = Date.parse(clock.dateTime) - Date.now();
  setInterval(() => {
    if (paused || document.hidden) return;
    const now = Date.now() + ahead;
    const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "short", timeZone: clock.dataset.zone }).format(now);
    clock.textContent = `${day} ${timeOfDay(now, false)}`;
  }, 5000);
}

// What changed is said once, in one line outside of all parts: states, and each quarter of a bar.
const said = new Map();

function spoken(element) {
  const copy = element.cloneNode(true);
  all("[aria-hidden=true]", copy).forEach((sign) => sign.remove());
  return copy.textContent.trim().replace(/\s+/g, " ");
}

function quarter(bar) {
  const reached = bar.position > 0 && bar.position < 1 ? Math.floor(bar.position * 4) * 25 : 0;
  return reached ? `${bar.getAttribute("aria-label") || ""} ${reached} %`.trim() : "";
}

function announce() {
  const news = [];
  for (const element of all("[data-announce][id], main progress[id]")) {
    const text = element.matches("progress") ? quarter(element) : spoken(element);
    const before = said.get(element.id);
    said.set(element.id, text);
    if (before !== undefined && before !== text && text) news.push(text);
  }
  if (news.length && $("#status")) $("#status").textContent = news.join(". ");
}

document.addEventListener("htmx:afterSettle", () => { announce(); reveal(); });

// Menus: Escape and a click outside close, arrows move.

document.addEventListener("click", (event) => {
  for (const menu of all("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  const menu = event.target.closest?.("details.menu");
  if (!menu) return;
  const items = all(".items a, .items button:enabled", menu), at = items.indexOf(event.target);
  if (event.key === "Escape") {
    menu.open = false;
    $("summary", menu).focus();
  } else if (items.length && ["ArrowDown", "ArrowUp", "Home", "End"].includes(event.key)) {
    event.preventDefault();
    menu.open = true;
    const next = { ArrowDown: at + 1, ArrowUp: at < 0 ? -1 : at - 1, Home: 0, End: -1 }[event.key];
    items.at(next % items.length).focus();
  }
});

// The minical: arrows go by days and weeks over closed days, Home and End within the week.
const STEPS = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -7, ArrowDown: 7 };
document.addEventListener("keydown", (event) => {
  const day = event.target.closest?.("table.minical td button");
  if (!day) return;
  const days = all("td button", day.closest("table")), week = all("button:enabled", day.closest("tr"));
  let goal = { Home: week[0], End: week.at(-1) }[event.key];
  const step = STEPS[event.key];
  for (let at = days.indexOf(day) + step; step && !goal && days[at]; at += step) if (!days[at].disabled) goal = days[at];
  const table = day.closest("table");
  const month = { PageUp: "[id$=month-earlier]", PageDown: "[id$=month-later]" }[event.key];
  if (!goal && !step && !month) return;
  event.preventDefault();
  if (goal) goal.focus();
  const link = month && $(month, table);
  if (!link) return;
  document.addEventListener("htmx:afterSettle", () => $(`#${table.id} td button:enabled`)?.focus(), { once: true });
  link.click();
});

// Copy buttons, and the focus on what is wrong.

function reveal() {
  all("button[data-copy][hidden]").forEach((button) => { button.hidden = !navigator.clipboard; });
}
document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  const copied = navigator.clipboard.writeText($(button.dataset.copy).textContent.trim());
  await copied.then(() => { $("#status").textContent = $("#status").dataset.copied; }, () => {});
});
reveal();
announce();
$(".error-summary:not([autofocus]), #errors:not([autofocus])")?.focus();
