/*
 * Ragline website widget.
 *
 *   <script src="https://host/widget.js" data-site="default" async></script>
 *
 * Optional attributes: data-locale (ru | en), data-position (right | left), data-colour (#rgb or #rrggbb),
 * data-title. The page may call window.ragline.open(), .close() and .send(text) once `ragline:ready` has been
 * dispatched on window. A page with a Content-Security-Policy allows the host in script-src and connect-src.
 */
(() => {
  "use strict";

  // Only now: currentScript is null in every later callback.
  const script = document.currentScript || document.querySelector('script[data-site][src*="widget.js"]');
  if (!script || window.ragline?.open) return; // a tag manager may insert the tag twice

  const options = script.dataset;
  const site = options.site || "default";
  const base = new URL(`widget/${encodeURIComponent(site)}/`, new URL(".", script.src));
  const locale = /^ru\b/i.test(options.locale || document.documentElement.lang || navigator.language) ? "ru" : "en";
  const LIMIT = 4000;

  const words = {
    en: {
      open: "Open chat", close: "Close chat", title: "Support chat", log: "Messages", label: "Message",
      placeholder: "Write a message…", send: "Send", sending: "Sending…", failed: "Not sent", retry: "Retry",
      lost: "Connection lost. Reconnecting…", refused: "The chat is unavailable right now.", typing: "Typing…",
      visitor: "You", assistant: "Assistant", operator: "Operator", sources: "Sources", unread: "Unread messages",
      over: "Too long, characters over the limit",
    },
    ru: {
      open: "Открыть чат", close: "Закрыть чат", title: "Чат поддержки", log: "Сообщения", label: "Сообщение",
      placeholder: "Напишите сообщение…", send: "Отправить", sending: "Отправляем…", failed: "Не отправлено",
      retry: "Повторить", lost: "Нет связи. Подключаемся снова…", refused: "Чат сейчас недоступен.",
      typing: "Печатает…", visitor: "Вы", assistant: "Ассистент", operator: "Оператор", sources: "Источники",
      unread: "Непрочитанных сообщений", over: "Слишком длинно, лишних знаков",
    },
  }[locale];

  // ---------------------------------------------------------------- look

  const CSS = `
    /* In the cascade an !important rule of the shadow tree beats every rule of the page. */
    :host { all: initial !important; position: fixed !important; display: block !important; width: 0 !important;
      height: 0 !important; z-index: 2147483000 !important; color-scheme: light dark !important; }
    /* Set inside, where a rule of the page for * cannot reach them. */
    .root { --surface: #fff; --text: #1b1f24; --muted: #59626e; --bubble: #eef1f4; --line: #d8dde3; --field: #858e9a;
      --error: #b3261e; --notice: #fff3d6; --notice-text: #5c4300; --side: max(20px, env(safe-area-inset-right)); }
    @media (prefers-color-scheme: dark) { .root { --surface: #181b1f; --text: #eceef1; --muted: #a5aeb9;
      --bubble: #292e35; --line: #343a43; --field: #757f8c; --error: #ff9d92; --notice: #463711; --notice-text: #ffe3a3; } }
    *, *::before, *::after { box-sizing: border-box; }
    [hidden] { display: none !important; }
    .root { font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; color: var(--text);
      text-align: start; -webkit-text-size-adjust: 100%; }
    button, textarea { font: inherit; color: inherit; margin: 0; }
    button { cursor: pointer; }
    :focus-visible { outline: 2px solid var(--text); outline-offset: 2px; }
    svg { display: block; fill: none; stroke: currentColor; stroke-width: 2; stroke-linecap: round; stroke-linejoin: round; }
    .sr { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }

    .launcher { position: fixed; z-index: 1; right: var(--side); bottom: max(20px, env(safe-area-inset-bottom));
      width: 56px; height: 56px; padding: 0; display: grid; place-items: center; border: 1px solid transparent;
      border-radius: 50%; background: var(--accent); color: var(--ink); transition: transform .15s;
      box-shadow: 0 1px 3px rgb(0 0 0 / .3), 0 8px 24px rgb(0 0 0 / .2); }
    .launcher:hover { transform: scale(1.05); }
    .launcher:focus-visible { outline-color: var(--ink); outline-offset: -6px; }
    .badge { position: absolute; top: -4px; right: -4px; min-width: 22px; height: 22px; padding: 0 6px; border-radius: 11px;
      background: #b3261e; color: #fff; font-size: 12px; font-weight: 700; line-height: 22px; text-align: center; }

    .panel { position: fixed; right: var(--side); bottom: calc(max(20px, env(safe-area-inset-bottom)) + 68px); width: 384px;
      height: min(620px, calc(100vh - 108px)); height: min(620px, calc(100dvh - 108px)); display: flex;
      flex-direction: column; overflow: hidden; background: var(--surface); border: 1px solid var(--line);
      border-radius: 18px; box-shadow: 0 2px 6px rgb(0 0 0 / .12), 0 18px 48px rgb(0 0 0 / .24); animation: rise .18s ease-out; }
    @keyframes rise { from { opacity: 0; transform: translateY(10px); } }
    .left .launcher, .left .panel { right: auto; left: max(20px, env(safe-area-inset-left)); }
    .head { flex: none; padding: 15px 18px; background: var(--accent); color: var(--ink); }
    h2 { margin: 0; font-size: 16px; line-height: 26px; font-weight: 650; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
    .notice { flex: none; padding: 8px 18px; background: var(--notice); color: var(--notice-text); font-size: 13px; }
    .scroll { flex: 1; min-height: 0; overflow-y: auto; overscroll-behavior: contain; padding: 16px 16px 4px; }
    .scroll:focus-visible { outline-offset: -3px; }

    .log { display: flex; flex-direction: column; }
    .day { align-self: center; margin: 6px 0 10px; color: var(--muted); font-size: 12px; }
    .msg { display: flex; flex-direction: column; align-items: flex-start; max-width: 88%; margin-bottom: 12px; }
    .bubble { max-width: 100%; padding: 9px 13px; border-radius: 16px 16px 16px 5px; background: var(--bubble);
      overflow-wrap: anywhere; white-space: pre-wrap; }
    .msg.visitor { align-self: flex-end; align-items: flex-end; }
    .visitor .bubble { border-radius: 16px 16px 5px 16px; background: var(--accent); color: var(--ink); }
    .operator .bubble { background: var(--surface); box-shadow: inset 0 0 0 1.5px var(--field); }
    .bubble a { color: inherit; text-decoration: underline; text-underline-offset: 2px; }
    .bubble a:focus-visible { outline-color: currentColor; }
    .bubble div:empty { height: .6em; }
    .bubble :is(ul, ol) { margin: 3px 0; padding-inline-start: 1.35em; }
    code { font: .9em ui-monospace, Menlo, Consolas, monospace; padding: 1px 4px; border-radius: 5px; background: rgb(128 128 128 / .18); }
    .meta, .sources { margin: 3px 5px 0; color: var(--muted); font-size: 12px; overflow-wrap: anywhere; }
    .error { color: var(--error); }
    .retry { min-height: 24px; padding: 0 4px; border: 0; border-radius: 5px; background: none; font-weight: 600; text-decoration: underline; }
    .dots { display: inline-flex; gap: 4px; margin-bottom: 12px; padding: 14px; border-radius: 16px 16px 16px 5px; background: var(--bubble); }
    .dots i { width: 7px; height: 7px; border-radius: 50%; background: var(--muted); animation: blink 1.2s infinite; }
    .dots i:nth-child(2) { animation-delay: .2s; } .dots i:nth-child(3) { animation-delay: .4s; }
    @keyframes blink { 0%, 60%, 100% { opacity: .3; } 30% { opacity: 1; } }

    .compose { flex: none; display: flex; align-items: flex-end; gap: 8px; margin: 0; padding: 8px 12px 12px; }
    /* Below 16px iOS zooms the page in when the text box takes focus. */
    textarea { flex: 1; min-width: 0; height: 44px; max-height: min(140px, 34vh); padding: 9px 14px; resize: none; font-size: 16px;
      line-height: 24px; border: 1px solid var(--field); border-radius: 22px; background: var(--surface); scrollbar-width: thin; }
    textarea::placeholder { color: var(--muted); opacity: 1; }
    textarea:focus-visible { outline-color: var(--muted); outline-offset: -1px; }
    .send { flex: none; width: 44px; height: 44px; padding: 0; display: grid; place-items: center; border: 1px solid transparent;
      border-radius: 50%; background: var(--accent); color: var(--ink); }
    .over { flex: none; margin: 0; padding: 6px 18px 0; font-size: 12px; }

    /* Phones, and desktops zoomed in until they are as narrow. The launcher becomes the close button of the header. */
    @media (max-width: 480px), (max-height: 400px) {
      .root .panel { inset: var(--top, 0) 0 auto; width: auto; height: 100vh; height: 100dvh; border: 0; border-radius: 0;
        padding: 0 env(safe-area-inset-right) 0 env(safe-area-inset-left); }
      .root.squeezed .panel { height: var(--height); }
      .head { margin: 0 calc(0px - env(safe-area-inset-right)) 0 calc(0px - env(safe-area-inset-left));
        padding: calc(15px + env(safe-area-inset-top)) 64px 15px max(18px, env(safe-area-inset-left)); }
      .root:not(.squeezed) .compose { padding-bottom: max(12px, env(safe-area-inset-bottom)); }
      .root .launcher[aria-expanded="true"] { top: calc(6px + env(safe-area-inset-top) + var(--top, 0px)); bottom: auto; left: auto;
        right: max(8px, env(safe-area-inset-right)); width: 44px; height: 44px; box-shadow: none; }
    }
    @media (prefers-reduced-motion: reduce) { * { animation: none !important; transition: none !important; } }
    @media print { .root { display: none; } }
  `;

  /** The accent and, over it, black or white: one of the two always has a contrast of 4.5 or more. */
  function palette(colour) {
    let hex = /^#([0-9a-f]{3}|[0-9a-f]{6})$/i.test(colour) ? colour.slice(1) : "0f766e";
    if (hex.length === 3) hex = hex.replace(/./g, "$&$&");
    const [r, g, b] = [0, 2, 4].map((at) => {
      const part = parseInt(hex.slice(at, at + 2), 16) / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    const ink = 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000" : "#fff"; // WCAG 2 relative luminance
    return `.root { --accent: #${hex}; --ink: ${ink}; }`;
  }

  // ---------------------------------------------------------------- nodes

  function h(tag, props = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(props)) {
      if (name in node) node[name] = value;
      else node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  }

  function icon(path) {
    const make = (tag, attributes) => {
      const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
      return node;
    };
    const svg = make("svg", { viewBox: "0 0 24 24", width: 24, height: 24, "aria-hidden": "true" });
    svg.append(make("path", { d: path }));
    return svg;
  }

  // Message text is never parsed as HTML: marks and links become nodes, all else stays text.
  const LINKS = "(https?:\\/\\/[^\\s<>\"«»]+)|([\\w.+-]{1,64}@[\\w-]+(?:\\.[\\w-]+)+)";
  const MARKS = "`([^`\\n]+)`|\\*\\*(?=\\S)([^\\n]+?)\\*\\*|\\[([^\\]\\n]+)\\]\\(((?:https?:\\/\\/|mailto:|tel:)[^\\s)]+)\\)";

  function link(href, text) {
    let url;
    try {
      url = new URL(href);
    } catch {
      return text;
    }
    if (!["http:", "https:", "mailto:", "tel:"].includes(url.protocol)) return text;
    return h("a", { href: url.href, target: "_blank", rel: "noopener noreferrer nofollow", title: href }, text);
  }

  /** The nodes of one line. `marks`: Markdown's bold, code and links too, not only bare addresses. */
  function inline(text, marks) {
    const nodes = [];
    let done = 0;
    for (const match of text.matchAll(new RegExp(marks ? `${MARKS}|${LINKS}` : `()()()()${LINKS}`, "gi"))) {
      const [whole, code, bold, label, target, address, mail] = match;
      let end = match.index + whole.length;
      let node;
      if (code) node = h("code", {}, code);
      else if (bold) node = h("strong", {}, ...inline(bold, false));
      else if (label) node = link(target, label);
      else if (mail) node = link(`mailto:${mail}`, mail);
      else {
        // The full stop after an address is the sentence's; a bracket is the address's if it opened there.
        const bare = address.replace(address.includes("(") ? /[.,;:!?*'”’]+$/ : /[.,;:!?*'”’)\]]+$/, "");
        end -= address.length - bare.length;
        node = link(bare, bare);
      }
      nodes.push(text.slice(done, match.index), node);
      done = end;
    }
    nodes.push(text.slice(done));
    return nodes.filter((node) => node !== "");
  }

  /** The nodes of an answer: lines, with lists where lines begin with a bullet or a number. */
  function rich(text) {
    const nodes = [];
    let list = null;
    for (const line of text.trim().split(/\r?\n/)) {
      const item = /^\s*(?:[-*•]|(\d{1,3})[.)])\s+(\S.*)$/.exec(line);
      if (!item) {
        list = null;
        nodes.push(h("div", {}, ...inline(line, true)));
        continue;
      }
      const tag = item[1] ? "ol" : "ul";
      if (list?.localName !== tag) nodes.push((list = h(tag, item[1] ? { start: Number(item[1]) } : {})));
      list.append(h("li", {}, ...inline(item[2], true)));
    }
    return nodes;
  }

  const badge = h("span", { className: "badge", hidden: true, id: "unread", "aria-hidden": "true" });
  const launcher = h("button", { className: "launcher", type: "button", "aria-controls": "panel", "aria-expanded": "false" });
  launcher.setAttribute("aria-label", words.open);
  launcher.append(icon("M21 12a8.5 8.5 0 0 1-12.6 7.4L3.5 20.5l1.2-4.6A8.5 8.5 0 1 1 21 12zM8.5 10.5h7M8.5 14h4.5"), badge);
  const glyph = { open: launcher.firstChild, close: icon("M6 6l12 12M18 6L6 18") };

  const title = h("h2", { id: "title" }, options.title || words.title);
  const notice = h("div", { className: "notice", role: "status", hidden: true });
  const log = h("div", { className: "log", role: "log", "aria-live": "polite", "aria-label": words.log });
  const typing = h("div", { role: "status" });
  const scroll = h("div", { className: "scroll", tabIndex: 0, role: "group", "aria-label": words.log }, log, typing);
  const over = h("p", { className: "over error", id: "over", role: "status", hidden: true });
  const field = h("textarea", { id: "field", rows: 1, placeholder: words.placeholder, enterKeyHint: "send" });
  field.setAttribute("aria-describedby", "over");
  const send = h("button", { className: "send", type: "submit", "aria-label": words.send }, icon("M12 19V5M6 11l6-6 6 6"));
  const form = h("form", { className: "compose" },
    h("label", { className: "sr", htmlFor: "field" }, words.label), field, send);
  const panel = h("div", { className: "panel", id: "panel", role: "dialog", "aria-labelledby": "title", hidden: true },
    h("div", { className: "head" }, title), notice, scroll, over, form);
  const body = h("div", { className: "root", lang: locale }, launcher, panel);
  body.classList.toggle("left", /left/.test(options.position));

  // ---------------------------------------------------------------- memory

  const KEY = `ragline:${base.origin}:${site}`;
  let token = null; // the visitor's
  let seen = 0; // the newest message the visitor has had on screen

  function recall() {
    try {
      const kept = JSON.parse(localStorage.getItem(KEY)) || {};
      token = typeof kept.token === "string" ? kept.token : null;
      seen = Number(kept.seen) || 0;
    } catch {
      // Storage is blocked or not ours: this page's memory has to do.
    }
  }

  function remember() {
    try {
      localStorage.setItem(KEY, JSON.stringify({ token, seen }));
    } catch {
      // As above: the conversation lasts as long as the page.
    }
  }

  // ---------------------------------------------------------------- requests

  class Refusal extends Error {
    /** `status` 0: no answer came. `detail`: the server's words for the visitor, if any. */
    constructor(status, detail, wait) {
      super(detail || `status ${status}`);
      Object.assign(this, { status, detail, wait, transient: !status || [408, 425, 429].includes(status) || status >= 500 });
    }
  }

  const backoff = (failures) => Math.min(30, 2 ** failures) * 1000 * (0.75 + Math.random() / 2);

  async function request(path, payload, bearer) {
    const headers = {};
    if (payload) headers["Content-Type"] = "application/json";
    if (bearer) headers.Authorization = `Bearer ${bearer}`;
    let response, data;
    try {
      response = await fetch(new URL(path, base), {
        method: payload ? "POST" : "GET", headers, body: payload && JSON.stringify(payload),
        credentials: "omit", cache: "no-store", signal: AbortSignal.timeout(20000),
      });
      data = await response.json().catch((error) => { if (response.ok) throw error; });
    } catch {
      throw new Refusal(0);
    }
    if (response.ok) return data;
    const detail = [data?.detail].flat().map((part) => part?.msg ?? part).filter((part) => typeof part === "string");
    const after = response.headers.get("Retry-After");
    const wait = after && (Number(after) || (Date.parse(after) - Date.now()) / 1000);
    throw new Refusal(response.status, detail.join(" "), wait ? Math.min(120, Math.max(1, wait)) * 1000 : 0);
  }

  let ready = false; // the server has confirmed the token on this page
  let opening = null;
  let renewed = false;

  function session() {
    if (ready) return Promise.resolve();
    opening ??= request("session", { token, locale }).then((data) => {
      if (data.token !== token) forget();
      token = data.token;
      ready = true;
      remember();
      if (!options.title && data.title) title.textContent = data.title;
      if (data.greeting) greet(data.greeting);
    }).finally(() => { opening = null; });
    return opening;
  }

  /** A request in the visitor's name. A 401 costs the old session and gets one new one, not a loop of them. */
  async function authed(path, payload) {
    await session();
    const used = token;
    try {
      const data = await request(path(), payload, used);
      renewed = false;
      return data;
    } catch (error) {
      if (error.status !== 401 || (renewed && token === used)) throw error;
      if (token === used) {
        renewed = true;
        token = null;
        ready = false;
      }
      await session();
      return request(path(), payload, token);
    }
  }

  // ---------------------------------------------------------------- conversation

  let items = []; // {role, text, at, seq?, id?, state?: sending | failed | refused, node}
  let cursor = 0; // the newest seq of the feed; our own receipts do not move it, an earlier answer may be on its way
  let unread = 0;
  let welcome = null;
  const days = new Map();

  /** A new session numbers from one: what belongs to the old one goes, what waits to be sent stays. */
  function forget() {
    items = items.filter((item) => item.state);
    cursor = seen = 0;
    hangUp();
    render();
  }

  function greet(text) {
    welcome = h("div", { className: "msg assistant", "data-role": "greeting" }, h("div", { className: "bubble" }, ...rich(text)));
    render();
  }

  const clock = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit" });
  const midnight = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();

  function dayName(date) {
    const ago = Math.round((midnight(new Date()) - midnight(date)) / 864e5);
    const name = ago >= 0 && ago < 2
      ? new Intl.RelativeTimeFormat(locale, { numeric: "auto" }).format(-ago, "day")
      : new Intl.DateTimeFormat(locale, { day: "numeric", month: "long", year: ago > 300 ? "numeric" : undefined }).format(date);
    return name[0].toUpperCase() + name.slice(1);
  }

  function draw(item) {
    const own = item.role === "visitor";
    item.meta = h("div", { className: "meta" });
    item.node = h("div", { className: `msg ${item.role}`, "data-role": item.role },
      h("span", { className: "sr" }, `${words[item.role]}: `),
      h("div", { className: "bubble" }, ...(own ? inline(item.text, false) : rich(item.text))));
    const named = [...new Set((item.citations || []).map((source) => source.title).filter(Boolean))];
    if (named.length) item.node.append(h("div", { className: "sources" }, `${words.sources}: ${named.join(" · ")}`));
    item.node.append(item.meta);
    mark(item);
  }

  /** Shows where a message stands: under it, and as data-state for the page's own tests. */
  function mark(item) {
    const { meta, node, state } = item;
    node.dataset.state = state || "sent";
    if (item.seq) node.dataset.seq = item.seq;
    meta.replaceChildren();
    if (state === "failed" || state === "refused") {
      meta.append(h("span", { className: "error" }, item.error ? `${words.failed}: ${item.error}` : words.failed));
      if (!item.final) {
        meta.append(" ", h("button", { className: "retry", type: "button", onclick: () => again(item) }, words.retry));
      }
      return;
    }
    // Hidden from screen readers: the author is read before the text, and "sending" would be read each time.
    const before = state ? words.sending : item.role === "visitor" ? "" : `${words[item.role]} · `;
    meta.append(h("span", { "aria-hidden": "true" }, before));
    if (!state) meta.append(h("time", { dateTime: item.at.toISOString() }, clock.format(item.at)));
  }

  function render(news) {
    // What is not yet numbered is ours and newest. The sort is stable, so it keeps its own order.
    items.sort((a, b) => (a.seq ?? Infinity) - (b.seq ?? Infinity) || 0);
    const wanted = welcome ? [welcome] : [];
    let last;
    for (const item of items) {
      const day = midnight(item.at);
      if (day !== last) {
        if (!days.has(day)) days.set(day, h("div", { className: "day" }, dayName(item.at)));
        if (!wanted.includes(days.get(day))) wanted.push(days.get(day));
      }
      last = day;
      if (!item.node) draw(item);
      wanted.push(item.node);
    }
    // Nodes in place stay untouched: a moved node would be announced a second time.
    const low = atEnd();
    for (const node of [...log.childNodes]) if (!wanted.includes(node)) node.remove();
    wanted.forEach((node, at) => { if (log.childNodes[at] !== node) log.insertBefore(node, log.childNodes[at] ?? null); });
    if (news || low) settle(news);
  }

  const atEnd = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;

  /** Scrolls to the end, or to the beginning of a message that is taller than the list. */
  function settle(item) {
    scroll.scrollTop = scroll.scrollHeight;
    const tall = item?.node && item.node.offsetHeight > scroll.clientHeight - 24;
    if (tall) scroll.scrollTop = item.node.offsetTop - scroll.offsetTop - 12;
  }

  function receive(messages) {
    const reading = !atEnd();
    let newest = null;
    for (const message of messages) {
      cursor = Math.max(cursor, message.seq);
      if (items.some((item) => item.seq === message.seq)) continue;
      const role = ["visitor", "operator"].includes(message.role) ? message.role : "assistant";
      const sent = new Date(message.sent_at);
      const at = isNaN(sent) ? new Date() : sent;
      const own = role === "visitor" && items.find((item) => item.id && item.id === message.client_id);
      if (own) {
        delivered(own, message.seq);
        continue;
      }
      newest = { role, text: String(message.text ?? ""), at, seq: message.seq, citations: message.citations };
      items.push(newest);
      if (role !== "visitor") showTyping(false);
    }
    render(reading && newest?.role !== "visitor" ? null : newest); // who reads further up is not pulled down
    look();
  }

  /** Everything received is on screen: nothing is unread. */
  function look() {
    if (!live()) return;
    count(0);
    if (cursor > seen) {
      seen = cursor;
      remember();
    }
  }

  function count(number) {
    unread = number;
    badge.hidden = !unread;
    badge.textContent = unread > 9 ? "9+" : unread;
    // A description, so that the button keeps its name.
    if (unread) launcher.setAttribute("aria-description", `${words.unread}: ${unread}`);
    else launcher.removeAttribute("aria-description");
  }

  // ---------------------------------------------------------------- sending

  let queue = []; // in the order written; the head blocks the rest, so that order holds
  let pumping = false;
  let tries = 0;
  let pumpTimer;

  // crypto.randomUUID exists on https and localhost only.
  const uuid = () => "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (digit) =>
    (digit ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (digit / 4)))).toString(16));

  function enqueue(text) {
    const item = { role: "visitor", text, at: new Date(), id: uuid(), state: "sending" };
    items.push(item);
    queue.push(item);
    render(item);
    pump();
  }

  function again(item) {
    field.focus(); // the button that had the focus is about to go
    if (!queue.includes(item)) queue.push(item);
    for (const waiting of queue) change(waiting, "sending");
    tries = 0;
    pump();
  }

  function change(item, state, error = "", final = false) {
    if (item.state === state && item.error === error) return;
    Object.assign(item, { state, error, final });
    mark(item);
  }

  function delivered(item, seq) {
    queue = queue.filter((other) => other !== item);
    // The feed may have brought it before the receipt did.
    items = items.filter((other) => other === item || !seq || other.seq !== seq);
    item.seq = seq ?? item.seq;
    change(item, undefined);
    render();
  }

  /** Sends what waits. A retry carries the same id, so the server takes a message once however often it is sent. */
  async function pump() {
    clearTimeout(pumpTimer);
    if (pumping) return;
    pumping = true;
    while (queue.length) {
      const item = queue[0];
      try {
        const receipt = await authed(() => "messages", { id: item.id, text: item.text, locale });
        tries = 0;
        delivered(item, receipt.seq);
        if (queue.length) change(queue[0], "sending");
        active = Date.now();
        plan(stream ? 5000 : 1500);
      } catch (error) {
        // Out of reach is waited out; a server that answers gets eight tries, or one bad message blocks the rest.
        if (error.transient && (!error.status || tries < 8)) {
          for (const waiting of queue) change(waiting, "failed");
          pumpTimer = setTimeout(pump, error.wait || backoff(tries++));
          break;
        }
        queue = queue.filter((other) => other !== item);
        tries = 0;
        // The same body would be refused again, so no "retry" then.
        change(item, "refused", error.detail, [413, 422].includes(error.status));
      }
    }
    pumping = false;
  }

  // ---------------------------------------------------------------- receiving

  let isOpen = false;
  let stream = null;
  let streamTimer;
  let streamAfter = 0;
  let drops = 0;
  let polling = false;
  let failures = 0;
  let pollTimer;
  let active = 0; // when the visitor last did something here
  let typingTimer;

  const live = () => isOpen && !document.hidden;

  function showNotice(text) {
    notice.hidden = !text; // before the text: only a change of what is shown is read aloud
    if (notice.textContent !== text) notice.textContent = text;
  }

  function showTyping(on) {
    clearTimeout(typingTimer);
    typing.replaceChildren();
    if (!on) return;
    const dots = h("span", { className: "dots", "aria-hidden": "true" }, h("i"), h("i"), h("i"));
    typing.append(h("span", { className: "sr" }, words.typing), dots);
    typingTimer = setTimeout(showTyping, 60000, false); // the "off" may have been lost with a stream
    render();
  }

  /** Looks for messages next in `delay` ms; with a stream that is only a net under it. */
  function plan(delay) {
    clearTimeout(pollTimer);
    pollTimer = setTimeout(poll, delay);
  }

  async function poll() {
    clearTimeout(pollTimer);
    if (polling) return;
    if (!live()) return peek();
    polling = true;
    let next;
    try {
      const { messages = [] } = await authed(() => `messages?after=${cursor}`);
      if (failures && queue.length) pump(); // the server is back: no need to wait out the backoff
      failures = 0;
      showNotice("");
      receive(messages);
      if (Date.now() >= streamAfter) connect();
      const idle = Date.now() - active;
      const waiting = items.at(-1)?.role === "visitor" && idle < 60000;
      next = messages.length >= 50 ? 0 : (stream && !waiting) || idle > 300000 ? 25000 : 4000;
    } catch (error) {
      showNotice(error.transient ? words.lost : error.detail || words.refused);
      next = error.wait || (error.transient ? backoff(failures++) : 60000);
    }
    polling = false;
    log.ariaBusy = "false";
    plan(next);
  }

  function connect() {
    if (stream || !live() || !ready) return;
    clearTimeout(streamTimer);
    const url = new URL("events", base);
    url.search = new URLSearchParams({ token, after: cursor });
    const source = (stream = new EventSource(url));
    let since = Infinity;
    source.onopen = () => { since = Date.now(); };
    source.onmessage = (event) => receive([JSON.parse(event.data)]);
    source.addEventListener("typing", (event) => showTyping(JSON.parse(event.data).on));
    source.onerror = () => {
      if (stream !== source) return;
      hangUp();
      // An EventSource does not say why it failed; a poll does (401, no network), and fills the gap.
      drops = Date.now() - since > 10000 ? 0 : drops + 1;
      const pause = backoff(drops);
      streamAfter = Date.now() + pause;
      streamTimer = setTimeout(connect, pause);
      poll();
    };
  }

  function hangUp() {
    clearTimeout(streamTimer);
    stream?.close();
    stream = null;
    showTyping(false);
  }

  /** Counts what is unread behind a closed panel; for visitors who have a session only, and for a while. */
  async function peek() {
    if (!token || isOpen || document.hidden) return;
    try {
      const { messages = [] } = await request(`messages?after=${Math.max(seen, cursor)}`, null, token);
      if (!isOpen) count(messages.filter((message) => message.role !== "visitor").length);
    } catch (error) {
      if (error.status !== 401) return plan(60000);
      ready = false; // the next opening asks for a session
    }
    if (Date.now() - active < 600000) plan(20000);
  }

  // ---------------------------------------------------------------- the panel

  const phone = matchMedia("(max-width: 480px), (max-height: 400px)");

  function fit() {
    panel.ariaModal = String(phone.matches);
    // iOS lays its keyboard over the page: the visible part is known to visualViewport only. Pinch zoom is left alone.
    const view = window.visualViewport;
    const squeezed = isOpen && phone.matches && view && view.scale < 1.01 && innerHeight - view.height > 60;
    body.classList.toggle("squeezed", Boolean(squeezed));
    body.style.setProperty("--top", squeezed ? `${view.offsetTop}px` : "0px");
    body.style.setProperty("--height", squeezed ? `${view.height}px` : "100%");
    if (isOpen && squeezed) settle();
  }

  function grow() {
    const low = atEnd();
    field.style.height = "auto";
    field.style.height = `${Math.min(140, Math.max(44, field.scrollHeight + 2))}px`;
    const extra = [...field.value.trim()].length - LIMIT;
    over.hidden = extra <= 0;
    over.textContent = extra > 0 ? `${words.over}: ${extra}` : "";
    field.ariaInvalid = String(extra > 0);
    if (low) settle();
  }

  function open() {
    if (!isOpen) {
      isOpen = true;
      active = Date.now();
      panel.hidden = false;
      launcher.setAttribute("aria-expanded", "true");
      launcher.setAttribute("aria-label", words.close);
      glyph.open.replaceWith(glyph.close);
      if (!ready) recall(); // another tab may have begun the conversation
      if (!cursor) log.ariaBusy = "true"; // or the whole history would be read aloud
      count(0);
      fit();
      settle();
      wake();
    }
    field.focus({ preventScroll: true });
  }

  function close() {
    if (!isOpen) return;
    const inside = root.activeElement;
    isOpen = false;
    panel.hidden = true;
    launcher.setAttribute("aria-expanded", "false");
    launcher.setAttribute("aria-label", words.open);
    glyph.close.replaceWith(glyph.open);
    fit();
    if (inside) launcher.focus({ preventScroll: true });
    active = Date.now();
    wake();
  }

  /** After every change of what the visitor sees: the stream only runs while someone looks (browsers allow six per host). */
  function wake() {
    if (!live()) hangUp();
    if (document.hidden) clearTimeout(pollTimer);
    else if (isOpen) poll();
    else plan(20000);
  }

  form.onsubmit = (event) => {
    event.preventDefault();
    const text = field.value.trim();
    if (text && over.hidden) {
      field.value = "";
      grow();
      enqueue(text);
    }
    field.focus({ preventScroll: true });
  };
  field.oninput = grow;
  launcher.onclick = () => (isOpen ? close() : open());

  body.onkeydown = (event) => {
    event.stopPropagation(); // the page's one-key shortcuts see the host element, not a text box
    if (event.isComposing || event.keyCode === 229) return; // Enter and Esc belong to the input method then
    if (event.key === "Escape" && isOpen) {
      event.preventDefault();
      close();
      launcher.focus({ preventScroll: true });
    } else if (event.key === "Enter" && event.target === field && !event.shiftKey) {
      event.preventDefault();
      form.requestSubmit();
    } else if (event.key === "Tab" && isOpen && phone.matches) {
      // Full screen hides the page, so the focus must not wander off behind.
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
  addEventListener("online", () => { failures = drops = tries = streamAfter = 0; wake(); if (queue.length) pump(); });
  addEventListener("offline", () => { hangUp(); wake(); }); // the poll finds out whether our server is out of reach too
  addEventListener("pagehide", hangUp); // an open stream would keep the page out of the back-forward cache
  addEventListener("pageshow", (event) => { if (event.persisted) wake(); });
  phone.addEventListener("change", fit);
  window.visualViewport?.addEventListener("resize", fit);
  window.visualViewport?.addEventListener("scroll", fit);

  // ---------------------------------------------------------------- start

  const host = document.createElement("ragline-widget");
  const root = host.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet(); // needs no style-src permission, unlike a <style> element
  sheet.replaceSync(CSS + palette(options.colour || options.color));
  root.adoptedStyleSheets = [sheet];
  root.append(body);

  function start() {
    // Beside <body>, not in it: some frameworks replace the body, and a transform on it would move the launcher.
    document.documentElement.append(host);
    recall();
    if (token) (window.requestIdleCallback || setTimeout)(peek);
  }
  if (document.body) start();
  else addEventListener("DOMContentLoaded", start, { once: true });

  window.ragline = {
    open,
    close,
    send(text) {
      open();
      if (String(text ?? "").trim()) enqueue(String(text).trim());
    },
  };
  dispatchEvent(new Event("ragline:ready"));
})();
