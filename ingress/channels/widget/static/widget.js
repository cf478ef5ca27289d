/*
 * Ragline website widget: <script src="https://host/widget.js" data-site="default" async></script>
 *
 * Optional: data-locale (ru | en), data-position (right | left), data-colour (#rgb or #rrggbb), data-title.
 * After the window's event `ragline:ready`: window.ragline.open(), .close(), .send(text).
 * A Content-Security-Policy has to allow the host: script-src, connect-src.
 */
(() => {
"use strict";

// Null in every later callback.
const script = document.currentScript || document.querySelector('script[data-site][src*="widget.js"]');
if (!script || window.ragline?.open) return;

const options = script.dataset;
const site = options.site || "default";
const base = new URL(`widget/${encodeURIComponent(site)}/`, new URL(".", script.src));
const locale = /^ru\b/i.test(options.locale || document.documentElement.lang || navigator.language) ? "ru" : "en";

const words = {
  open: ["Open chat", "Открыть чат"], close: ["Close chat", "Закрыть чат"], title: ["Support chat", "Чат поддержки"],
  log: ["Messages", "Сообщения"], label: ["Message", "Сообщение"],
  placeholder: ["Write a message…", "Напишите сообщение…"], send: ["Send", "Отправить"],
  sending: ["Sending…", "Отправляем…"], failed: ["Not sent", "Не отправлено"], retry: ["Retry", "Повторить"],
  lost: ["Connection lost. Reconnecting…", "Нет связи. Подключаемся снова…"],
  refused: ["The chat is unavailable right now.", "Чат сейчас недоступен."], typing: ["Typing…", "Печатает…"],
  visitor: ["You", "Вы"], assistant: ["Assistant", "Ассистент"], operator: ["Operator", "Оператор"],
  sources: ["Sources", "Источники"], page: ["p.", "стр."], unread: ["Unread messages", "Непрочитанных сообщений"],
  over: ["Too long, characters over the limit", "Слишком длинно, лишних знаков"],
};
for (const name in words) words[name] = words[name][locale === "ru" ? 1 : 0];

// -- look

const NARROW = "(max-width: 480px), (max-height: 400px)";
const CSS = `
/* Here !important beats every rule of the page. */
:host { all: initial !important; position: fixed !important; display: block !important;
  z-index: 2147483000 !important; color-scheme: light dark !important; }
/* Inside, out of reach of the page's rules for *. */
.root { --surface: #fff; --text: #1b1f24; --muted: #59626e; --bubble: #eef1f4; --field: #858e9a;
  --error: #b3261e; --right: env(safe-area-inset-right); --left: env(safe-area-inset-left);
  --bottom: max(20px, env(safe-area-inset-bottom)); color: var(--text); text-align: start;
  font: 15px/1.45 system-ui, sans-serif; -webkit-text-size-adjust: 100%; }
@media (prefers-color-scheme: dark) { .root { --surface: #181b1f; --text: #eceef1; --muted: #a5aeb9; --bubble: #292e35;
  --field: #757f8c; --error: #ff9d92; } }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
button, textarea { font: inherit; color: inherit; margin: 0; }
button { cursor: pointer; }
:focus-visible { outline: 2px solid; outline-offset: 2px; }
:is(.launcher, .send, .scroll):focus-visible { outline-offset: -5px; }
textarea:focus-visible { outline-offset: -2px; }
svg { width: 24px; fill: none; stroke: currentColor; stroke-width: 2; stroke-linecap: round; stroke-linejoin: round; }
.sr { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.launcher, .send { flex: none; width: 44px; height: 44px; padding: 0; display: grid; place-items: center;
  border: 1px solid transparent; border-radius: 50%; background: var(--accent); color: var(--ink); }
.launcher { position: fixed; z-index: 1; right: max(20px, var(--right)); bottom: var(--bottom); width: 56px; height: 56px;
  box-shadow: 0 4px 16px rgb(0 0 0 / .3); }
.badge { position: absolute; top: -4px; right: -4px; min-width: 22px; padding: 0 6px; border-radius: 11px;
  background: #b3261e; color: #fff; font-size: 12px; font-weight: 700; line-height: 22px; }
.panel { position: fixed; right: max(20px, var(--right)); bottom: calc(var(--bottom) + 68px); width: 384px;
  height: min(620px, 100dvh - 108px); display: flex; flex-direction: column;
  overflow: hidden; background: var(--surface); border: 1px solid var(--bubble); border-radius: 18px;
  box-shadow: 0 18px 48px rgb(0 0 0 / .24); }
.left > * { right: auto; left: max(20px, var(--left)); }
.head { padding: 15px 18px; background: var(--accent); color: var(--ink); }
h2 { margin: 0; font-size: 16px; line-height: 26px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.notice { padding: 8px 18px; background: var(--bubble); font-size: 13px; }
.scroll { flex: 1; min-height: 0; overflow-y: auto; overscroll-behavior: contain; overflow-anchor: none; padding: 16px 16px 4px; }
.log, .msg { display: flex; flex-direction: column; }
.day, .meta, .sources { margin: 3px 5px 0; color: var(--muted); font-size: 12px; overflow-wrap: anywhere; }
.day { align-self: center; margin: 6px 0 10px; }
.msg { align-items: flex-start; max-width: 88%; margin-bottom: 12px; }
.bubble { max-width: 100%; padding: 9px 13px; border-radius: 16px; background: var(--bubble);
  overflow-wrap: anywhere; white-space: pre-wrap; }
.msg.visitor { align-self: flex-end; align-items: flex-end; }
.visitor .bubble { background: var(--accent); color: var(--ink); }
.operator .bubble { background: var(--surface); box-shadow: inset 0 0 0 1.5px var(--field); }
.bubble a { color: inherit; }
.pick { min-height: 44px; margin-top: 6px; border: 1px solid var(--field); background: none; text-align: start; }
.pick:disabled { color: var(--muted); cursor: default; }
.error { color: var(--error); }
.retry { min-height: 24px; padding: 0 4px; border: 0; background: none; font-weight: 600; text-decoration: underline; }
[role="status"] .bubble { width: fit-content; margin-bottom: 12px; color: var(--muted); }
form { flex: none; display: flex; align-items: flex-end; gap: 8px; padding: 8px 12px 12px; }
/* Below 16px iOS zooms the page in when the text box takes focus. */
textarea { flex: 1; min-width: 0; height: 44px; max-height: min(140px, 34vh); padding: 9px 14px; resize: none;
  font-size: 16px; line-height: 24px; border: 1px solid var(--field); border-radius: 22px; background: var(--surface); }
textarea::placeholder { color: var(--muted); opacity: 1; }
/* Phones, and desktops zoomed in as far. The launcher becomes the header's close button. */
@media ${NARROW} {
  .root .panel { inset: var(--top, 0) 0 auto; width: auto; height: 100dvh; border: 0; border-radius: 0;
    padding: 0 var(--right) 0 var(--left); }
  .root.squeezed .panel { height: var(--height); }
  .head { margin: 0 calc(0px - var(--right)) 0 calc(0px - var(--left));
    padding: calc(15px + env(safe-area-inset-top)) 64px 15px max(18px, var(--left)); }
  .root:not(.squeezed) form { padding-bottom: max(12px, env(safe-area-inset-bottom)); }
  .root .launcher[aria-expanded="true"] { top: calc(6px + env(safe-area-inset-top) + var(--top, 0px)); bottom: auto; left: auto;
    right: max(8px, var(--right)); width: 44px; height: 44px; box-shadow: none; }
}
@media print { .root { display: none; } }
`;

/** The accent and, over it, black or white by contrast. */
function palette(colour) {
  const hex = /^#([0-9a-f]{3}){1,2}$/i.test(colour) ? colour.slice(1) : "0f766e";
  const [r, g, b] = hex.match(hex.length === 3 ? /./g : /../g)
    .map((part) => (parseInt(part, 16) / (16 ** part.length - 1)) ** 2.2);
  const ink = 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff"; // WCAG 2 luminance
  return `.root { --accent: #${hex}; --ink: ${ink}; }`;
}

// -- nodes

/** `selector`: tag.class.class */
function h(selector, props = {}, ...children) {
  const [tag, ...classes] = selector.split(".");
  const node = document.createElement(tag);
  node.className = classes.join(" ");
  for (const [name, value] of Object.entries(props)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function icon(drawing) {
  const [svg, path] = ["svg", "path"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", drawing);
  svg.append(path);
  return svg;
}

// Bold, named link, address, mail address.
const MARKS = new RegExp(
  "\\*\\*(?=\\S)([^*\\n]+)\\*\\*|\\[([^\\]\\n]+)\\]\\(((?:https?:\\/\\/|mailto:|tel:)[^\\s)]+)\\)" +
  "|(https?:\\/\\/[^\\s<>\"«»]*[^\\s<>\"«».,;:!?*'”’)\\]])|([\\w.+-]{1,64}@[\\w-]+(?:\\.[\\w-]+)+)", "gi");

/** The nodes of a text, which is never parsed as HTML: marks and links become nodes. */
function rich(text) {
  const nodes = [];
  let done = 0;
  for (const match of text.matchAll(MARKS)) {
    const [whole, bold, label, target, address, mail] = match;
    const href = target || address || `mailto:${mail}`;
    nodes.push(text.slice(done, match.index), bold ? h("strong", {}, bold)
      : h("a", { href, target: "_blank", rel: "noreferrer nofollow", title: href }, label || address || mail));
    done = match.index + whole.length;
  }
  return [...nodes, text.slice(done)];
}

const CHAT = "M21 12a8.5 8.5 0 0 1-12.6 7.4L3.5 20.5l1.2-4.6A8.5 8.5 0 1 1 21 12zM8.5 10.5h7M8.5 14h4.5";
const CROSS = "M6 6l12 12M18 6L6 18";
const badge = h("span.badge", { hidden: true, ariaHidden: "true" });
const launcher = h("button.launcher", { ariaExpanded: "false", ariaLabel: words.open }, icon(CHAT), badge);
const title = h("h2", { id: "title" }, options.title || words.title);
const notice = h("div.notice", { role: "status", hidden: true });
const log = h("div.log", { role: "log", ariaLabel: words.log });
const growing = h("div", { ariaLive: "off" }); // read aloud is only the whole message, in the log
const typing = h("div", { role: "status" });
const scroll = h("div.scroll", { tabIndex: 0, role: "group", ariaLabel: words.log }, log, growing, typing);
const field = h("textarea", { rows: 1, placeholder: words.placeholder, enterKeyHint: "send", ariaLabel: words.label });
const form = h("form", {}, field,
  h("button.send", { ariaLabel: words.send }, icon("M12 19V5M6 11l6-6 6 6")));
const panel = h("div.panel", { role: "dialog", "aria-labelledby": "title", hidden: true },
  h("div.head", {}, title), notice, scroll, form);
const body = h("div.root", { lang: locale }, launcher, panel);
body.classList.toggle("left", /left/.test(options.position));

// -- memory

const KEY = `ragline:${base.origin}:${site}`;
let token = null, seen = 0; // the newest message seen

function recall() {
  try {
    ({ token = null, seen = 0 } = JSON.parse(localStorage.getItem(KEY)) || {});
  } catch {} // no storage: the conversation lasts as long as the page
}

function remember() {
  try {
    localStorage.setItem(KEY, JSON.stringify({ token, seen }));
  } catch {}
}

// -- requests

/** `status` 0: no answer came. `detail`: the server's words for the visitor, if any. */
const refusal = (status, detail = "", wait = 0) => Object.assign(new Error(detail || status),
  { status, detail, wait, transient: [0, 408, 425, 429].includes(status) || status >= 500 });

const lost = () => { throw refusal(0); };

const backoff = (failures) => Math.min(30, 2 ** failures) * 1000 * (0.75 + Math.random() / 2);

async function call(path, bearer, payload, { signal = AbortSignal.timeout(20000), ...headers } = {}) {
  if (payload) headers["Content-Type"] = "application/json";
  if (bearer) headers.Authorization = `Bearer ${bearer}`;
  const response = await fetch(new URL(path, base), {
    method: payload ? "POST" : "GET", headers, body: payload && JSON.stringify(payload),
    credentials: "omit", cache: "no-store", signal,
  }).catch(lost);
  return checked(response);
}

async function checked(response) {
  if (response.ok) return response;
  const { detail } = (await response.json().catch(() => null)) || {};
  const wait = (Math.min(120, response.headers.get("Retry-After")) || 0) * 1000;
  throw refusal(response.status, typeof detail === "string" ? detail : "", wait * (1 + Math.random() / 4));
}

async function request(...about) {
  const response = await call(...about);
  return response.json().catch(lost);
}

let ready = false; // the server has confirmed the token on this page
let opening = null;

function session() {
  if (ready) return Promise.resolve();
  opening ??= request("session", null, { token, locale }).then((data) => {
    if (data.token !== token) forget();
    token = data.token;
    ready = true;
    remember();
    if (!options.title && data.title) title.textContent = data.title;
    if (data.greeting) {
      welcome = bubble("assistant", data.greeting);
      render();
    }
    if (data.files) load(data.files);
  }).finally(() => { opening = null; });
  return opening;
}

let tray; // what is attached, once its script is here; without it the chat goes on

const load = (rules) => import(new URL("widget-files.js", script.src)).then((files) => {
  tray ??= files.default({ rules, locale, base, h, icon, form, checked, atEnd, settle, token: () => token });
  items.forEach(tray.draw);
}).catch(() => {});

/** In the visitor's name. A 401 gets one new session, no loop. */
async function authed(path, payload, renew = true) {
  await session();
  const used = token;
  try {
    return await request(path(), used, payload);
  } catch (error) {
    if (error.status !== 401 || !renew) throw error;
    if (token === used) {
      token = null;
      ready = false;
    }
    return authed(path, payload, false);
  }
}

// -- conversation

let items = []; // {role, text, at, files?, seq?, id?, state?: sending | failed | refused, node}
let cursor = 0; // the newest seq of the feed; receipts do not move it, an earlier answer may be on its way
let draft = "", place = ""; // what is written so far of the answer to come, and where in it the stream stands
let welcome = null;
const days = new Map();

/** A new session numbers from one: the old one's messages go, what waits to be sent stays. */
function forget() {
  items = items.filter((item) => item.state);
  cursor = seen = 0;
  write("");
  hangUp();
  render();
}

const clock = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat(locale, { dateStyle: "long" });

const bubble = (role, text) =>
  h(`div.msg.${role}`, {}, h("span.sr", {}, `${words[role]}: `), h("div.bubble", {}, ...rich(text)));

function draw(item) {
  item.meta = h("div.meta", {});
  item.node = bubble(item.role, item.text || (item.files || []).map(({ name }) => name).join(", "));
  tray?.draw(item);
  const named = [...new Set((item.citations || []).filter((source) => source.title)
    .map(({ title, page }) => (page ? `${title}, ${words.page} ${page}` : title)))];
  if (named.length) item.node.append(h("div.sources", {}, `${words.sources}: ${named.join(" · ")}`));
  item.picks = (item.options || []).map(({ title, data }) =>
    h("button.bubble.pick", { onclick: () => enqueue(title, data) }, title));
  item.node.append(...item.picks, item.meta);
  mark(item);
}

/** Shows under a message where it stands. */
function mark(item) {
  const { meta, state } = item;
  meta.replaceChildren();
  if (state === "failed" || state === "refused") {
    meta.append(h("span.error", {}, item.error ? `${words.failed}: ${item.error}` : words.failed));
    if (!item.final) meta.append(" ", h("button.retry", { onclick: () => again(item) }, words.retry));
    return;
  }
  // Hidden from screen readers: "sending" would be read each time, the author is before the text.
  const before = state ? words.sending : item.role === "visitor" ? "" : `${words[item.role]} · `;
  meta.append(h("span", { ariaHidden: "true" }, before));
  if (!state) meta.append(h("time", { dateTime: item.at.toISOString() }, clock.format(item.at)));
}

function render(news) {
  // What has no number yet is ours and newest; the sort is stable.
  items.sort((a, b) => (a.seq ?? Infinity) - (b.seq ?? Infinity) || 0);
  const wanted = welcome ? [welcome] : [];
  for (const item of items) {
    const day = item.at.toDateString();
    if (!days.has(day)) days.set(day, h("div.day", {}, calendar.format(item.at)));
    if (!wanted.includes(days.get(day))) wanted.push(days.get(day));
    if (!item.node) draw(item);
    wanted.push(item.node);
  }
  let over = false; // until the visitor says something
  for (const { role, picks } of [...items].reverse()) {
    for (const button of picks) button.disabled = over;
    over ||= role === "visitor";
  }
  // A moved node would be announced a second time.
  const low = atEnd();
  for (const node of [...log.childNodes]) if (!wanted.includes(node)) node.remove();
  wanted.forEach((node, at) => { if (log.childNodes[at] !== node) log.insertBefore(node, log.childNodes[at] ?? null); });
  if (news || low) settle(news);
}

const atEnd = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;

/** Scrolls to the end, or to the beginning of a message taller than the list. */
function settle(item) {
  scroll.scrollTop = scroll.scrollHeight;
  const node = item?.node;
  if (node?.offsetHeight > scroll.clientHeight - 24) scroll.scrollTop = node.offsetTop - scroll.offsetTop - 12;
}

function receive(messages) {
  const reading = !atEnd();
  let newest = null;
  for (const message of messages) {
    cursor = Math.max(cursor, message.seq);
    const { seq, client_id, text, sent_at } = message;
    if (items.some((item) => item.seq === seq)) continue;
    const own = client_id && items.find(({ id }) => id === client_id);
    if (own) {
      delivered(own, seq);
      continue;
    }
    newest = { ...message, text: text.trim(), at: new Date(sent_at) };
    items.push(newest);
  }
  render(reading && newest?.role !== "visitor" ? null : newest); // who reads further up is not pulled down
  if (messages.some(({ role }) => role !== "visitor")) {
    write(""); // after the message stands there, or the list would jump
    showTyping(false);
  }
  look();
}

/** What came is on screen. */
function look() {
  if (!live()) return;
  count(0);
  if (cursor > seen) {
    seen = cursor;
    remember();
  }
}

function count(unread) {
  badge.hidden = !unread;
  badge.textContent = unread > 9 ? "9+" : unread;
  // Keeps the button's name.
  launcher.setAttribute("aria-description", unread ? `${words.unread}: ${unread}` : "");
}

// -- sending

let pumping = false, tries = 0, pumpTimer;

/** In the order written; the first blocks the rest. */
const waiting = () => items.filter(({ state }) => state && state !== "refused");

// crypto.randomUUID exists on https and localhost only.
const newId = () => crypto.getRandomValues(new Uint32Array(4)).join("-");

/** `choice`: what the button of that title carries. */
function enqueue(text, choice, files) {
  if (choice) scroll.focus({ preventScroll: true }); // not the text box: phones would raise a keyboard
  const item = { role: "visitor", text, choice, files, at: new Date(), id: newId(), state: "sending" };
  items.push(item);
  render(item);
  pump();
}

function again(item) {
  field.focus(); // the button that had the focus is about to go
  change(item, "sending");
  changeAll("sending");
  tries = 0;
  pump();
}

function change(item, state, error = "", final) {
  if (item.state === state && item.error === error) return;
  Object.assign(item, { state, error, final });
  mark(item);
}

const changeAll = (state) => waiting().forEach((item) => change(item, state));

function delivered(item, seq) {
  // The feed may have brought it before the receipt did.
  items = items.filter((other) => other === item || other.seq !== seq);
  item.seq = seq;
  change(item, undefined);
  render();
}

/** Sends what waits. A retry has the same id: the server takes it once. */
async function pump() {
  clearTimeout(pumpTimer);
  if (pumping) return;
  pumping = true;
  for (let item; (item = waiting()[0]); ) {
    try {
      const { id, text, choice } = item;
      const media = await tray?.upload(item);
      const receipt = await authed(() => "messages", { id, text, choice, media, locale });
      tries = 0;
      delivered(item, receipt.seq);
      changeAll("sending");
      active = Date.now();
      plan(hears ? 5000 : 1500);
    } catch (error) {
      // Out of reach is waited out; a server that answers gets eight tries, or it blocks the rest.
      if (error.transient && (!error.status || tries < 8)) {
        changeAll("failed");
        pumpTimer = setTimeout(pump, error.wait || backoff(tries++));
        break;
      }
      tries = 0;
      // The same body would be refused again: no "retry".
      change(item, "refused", error.detail, error.status > 412);
    }
  }
  pumping = false;
}

// -- receiving

let isOpen = false, stream = null;
let hears = false; // the stream brings at least heartbeats: no proxy holds it back
let polling = false, streamAfter = 0, drops = 0, failures = 0, pollTimer;
let active = 0; // when the visitor last did something here

const live = () => isOpen && !document.hidden;

function showNotice(text) {
  notice.hidden = !text; // first: only a change of what is shown is read aloud
  if (notice.textContent !== text) notice.textContent = text;
}

function showTyping(on) {
  typing.replaceChildren(...(on ? [h("div.bubble", {}, words.typing)] : []));
  if (on) render();
}

function plan(delay) {
  clearTimeout(pollTimer);
  pollTimer = setTimeout(poll, delay);
}

/** Asks for what the stream does not bring, and opens it. */
async function poll() {
  clearTimeout(pollTimer);
  if (polling) return;
  if (!live()) return peek();
  const heard = hears;
  if (heard && !items.some((item) => item.seq > cursor)) return plan(10000);
  polling = true;
  let next;
  try {
    const { messages = [] } = await authed(() => `messages?after=${cursor}`);
    if (failures) pump(); // the server is back
    failures = 0;
    showNotice("");
    receive(messages);
    if (heard && messages.length) hangUp(); // it should have brought them
    connect();
    next = messages.length >= 200 ? 0 : Date.now() - active > 300000 ? 25000 : 4000;
  } catch (error) {
    showNotice(error.transient && error.status !== 429 ? words.lost : error.detail || words.refused);
    next = error.wait || (error.transient ? backoff(failures++) : 60000);
  }
  polling = false;
  log.ariaBusy = "false";
  plan(next);
}

// No EventSource: it sends no headers, and a token in the address ends up in logs.
async function connect() {
  if (stream || !live() || !ready || Date.now() < streamAfter) return;
  const own = (stream = new AbortController());
  const begun = Date.now();
  let watchdog, wait;
  const listen = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => own.abort(), 40000); // a heartbeat comes every 15 s
  };
  listen();
  try {
    const last = cursor ? { "Last-Event-ID": cursor + place } : {};
    const response = await call("events", token, null, { signal: own.signal, Accept: "text/event-stream", ...last });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ; ) {
      const { value, done } = await reader.read();
      if (done || stream !== own) break;
      hears = true;
      failures = 0;
      showNotice("");
      listen();
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      events.forEach(take);
    }
  } catch (error) {
    wait = error.wait; // what else is wrong, the next poll finds out
  }
  clearTimeout(watchdog);
  if (stream !== own) return;
  hangUp();
  drops = Date.now() - begun > 10000 ? 0 : drops + 1;
  const pause = wait || backoff(drops);
  streamAfter = Date.now() + pause;
  plan(Math.min(pause, 4000));
}

/** One event of the stream; the server writes its data on one line. */
function take(event) {
  const { event: kind, id, data = "{}" } = Object.fromEntries(event.split("\n").map((line) => line.split(/: (.*)/s)));
  const said = JSON.parse(data);
  if (kind === "message") receive([said]);
  if (kind === "typing") showTyping(said.on);
  if (kind === "delta") write([...draft].slice(0, said.offset).join("") + said.text, id.replace(/^\d+/, ""));
  if (kind === "reset") write("");
}

/** `text` without the bold or the link at its end that is not whole yet. */
function whole(text) {
  const line = text.lastIndexOf("\n") + 1;
  const bold = text.slice(line).split("**");
  if (bold.length % 2 === 0) bold.pop();
  return text.slice(0, line) + bold.join("**").replace(/(\*|\[[^\]]*(\](\([^)\s]*)?)?)$/, "");
}

/** Shows the growing text, until its message comes. */
function write(text, at = "") {
  const low = atEnd();
  draft = text;
  place = at;
  growing.replaceChildren(...(text ? [bubble("assistant", whole(text))] : []));
  typing.classList.toggle("sr", !!text);
  if (low) settle({ node: growing });
}

function hangUp() {
  stream?.abort();
  stream = null;
  hears = false;
  showTyping(false);
}

/** Counts what is unread behind a closed panel; for a while, and with a session only. */
async function peek() {
  if (!token || isOpen || document.hidden) return;
  try {
    const { messages = [] } = await request(`messages?after=${Math.max(seen, cursor)}`, token);
    if (!isOpen) count(messages.filter((message) => message.role !== "visitor").length);
  } catch (error) {
    if (error.status !== 401) return plan(60000);
    ready = false; // the next opening asks for a session
  }
  if (Date.now() - active < 600000) plan(20000);
}

// -- the panel

const phone = matchMedia(NARROW);

function fit() {
  panel.ariaModal = String(phone.matches);
  // iOS lays its keyboard over the page: visualViewport knows what is left. Pinch zoom is left alone.
  const view = visualViewport;
  const squeezed = isOpen && phone.matches && view.scale < 1.01 && innerHeight - view.height > 60;
  body.classList.toggle("squeezed", squeezed);
  body.style.setProperty("--top", squeezed ? `${view.offsetTop}px` : "0px");
  body.style.setProperty("--height", `${view.height}px`);
  if (squeezed) settle();
}

function grow() {
  const low = atEnd();
  field.style.height = "auto";
  field.style.height = `${Math.min(140, Math.max(44, field.scrollHeight + 2))}px`;
  const extra = [...field.value.trim()].length - 4000;
  field.setCustomValidity(extra > 0 ? `${words.over}: ${extra}` : ""); // shown when it is to be sent
  if (low) settle();
}

function show(on) {
  isOpen = on;
  active = Date.now();
  panel.hidden = !on;
  launcher.ariaExpanded = String(on);
  launcher.ariaLabel = on ? words.close : words.open;
  launcher.firstChild.replaceWith(icon(on ? CROSS : CHAT));
  fit();
}

function open() {
  if (!isOpen) {
    show(true);
    if (!ready) recall(); // another tab may have begun
    if (!cursor) log.ariaBusy = "true"; // or all history is read aloud
    count(0);
    settle();
    wake();
  }
  field.focus({ preventScroll: true });
}

function close() {
  if (!isOpen) return;
  const inside = root.activeElement;
  show(false);
  if (inside) launcher.focus();
  wake();
}

/** The stream runs only while someone looks: browsers allow six per host. */
function wake() {
  if (!live()) hangUp();
  if (document.hidden) clearTimeout(pollTimer);
  else if (isOpen) poll();
  else plan(20000);
}

form.onsubmit = (event) => {
  event.preventDefault();
  const text = field.value.trim();
  const files = tray?.take();
  if (text || files?.length) {
    field.value = "";
    grow();
    enqueue(text, undefined, files);
  }
  field.focus({ preventScroll: true });
};
field.oninput = grow;
launcher.onclick = () => (isOpen ? close() : open());
body.onkeydown = (event) => {
  event.stopPropagation(); // the page's one-key shortcuts see no text box
  if (event.isComposing || event.keyCode === 229) return; // Enter and Esc belong to the input method then
  if (event.key === "Escape" && isOpen) {
    event.preventDefault();
    close();
  } else if (event.key === "Enter" && event.target === field && !event.shiftKey) {
    event.preventDefault();
    form.requestSubmit();
  } else if (event.key === "Tab" && isOpen && phone.matches) {
    // Full screen hides the page: no focus there.
    const stops = [launcher, ...panel.querySelectorAll('a, button, textarea, [tabindex="0"]')];
    const at = stops.indexOf(root.activeElement);
    if (at === (event.shiftKey ? 0 : stops.length - 1)) {
      event.preventDefault();
      stops.at(event.shiftKey ? -1 : 0).focus();
    }
  }
};
body.onkeyup = body.onkeypress = (event) => event.stopPropagation();

document.addEventListener("visibilitychange", wake);
addEventListener("online", () => { failures = drops = tries = streamAfter = 0; wake(); pump(); });
addEventListener("offline", () => { hangUp(); wake(); }); // the poll finds out whether our server is gone too
addEventListener("pagehide", hangUp); // an open stream keeps the page out of the back-forward cache
addEventListener("pageshow", (event) => { if (event.persisted) wake(); });
phone.onchange = fit;
for (const kind of ["resize", "scroll"]) visualViewport.addEventListener(kind, fit);

// -- start

const host = document.createElement("ragline-widget");
const root = host.attachShadow({ mode: "open" });
const sheet = new CSSStyleSheet(); // needs no style-src permission, unlike a <style> element
sheet.replaceSync(CSS + palette(options.colour || options.color));
root.adoptedStyleSheets = [sheet];
root.append(body);

function start() {
  // Beside <body>: some frameworks replace it, and a transform on it would move the launcher.
  document.documentElement.append(host);
  recall();
  plan(1000);
}
if (document.body) start();
else addEventListener("DOMContentLoaded", start, { once: true });

window.ragline = {
  open,
  close,
  send(text) {
    open();
    text = String(text ?? "").trim();
    if (text) enqueue(text);
  },
};
dispatchEvent(new Event("ragline:ready"));
})();
