/*
 * Files in the Ragline website widget: chosen, pasted or dropped, shown while they wait and in the message they go with.
 * Loaded by widget.js when its server takes files.
 */

const WORDS = {
  attach: ["Attach files", "Прикрепить файлы"], attached: ["Attached files", "Прикреплённые файлы"],
  added: ["Attached", "Прикреплено"], remove: ["Remove", "Убрать"], drop: ["Drop files here", "Перетащите файлы сюда"],
  large: ["The file is too large. The limit is", "Файл слишком большой. Не больше"],
  many: ["Files in one message at most", "Файлов в одном сообщении не больше"],
  unreadable: ["The file cannot be opened.", "Файл не открывается."], uploading: ["Uploading", "Загружается"],
};
/** Pixels of a picture's longer side: sharp on a phone's screen in a bubble. */
const LONGEST = 640;
const CLIP = "M20 11.5l-8.2 8.2a5 5 0 0 1-7.1-7.1l8.6-8.6a3.3 3.3 0 0 1 4.7 4.7l-8.6 8.5a1.6 1.6 0 0 1-2.3-2.3l7.7-7.7";
const PAGE = "M14 3H7a2 2 0 0 0-2 2v14a2 2 0 0 0 2 2h10a2 2 0 0 0 2-2V8zM14 3v5h5M9 13h6M9 17h4";
const CROSS = "M7 7l10 10M17 7L7 17";
const CSS = `
textarea::placeholder { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.attach { flex: none; width: 44px; height: 44px; margin: 0 -4px 0 -6px; padding: 0; display: grid; place-items: center;
  border: 0; border-radius: 50%; background: none; color: var(--muted); }
.attach:hover { color: var(--text); }
.tray { padding: 8px 12px 0; border-top: 1px solid var(--bubble); }
.tray ul { display: flex; flex-wrap: wrap; gap: 8px; max-height: min(164px, 26vh); margin: 0; padding: 4px; overflow-y: auto;
  list-style: none; }
.tray li { position: relative; display: flex; max-width: 100%; }
.tray .refusals { margin: 0; padding: 2px 4px; font-size: 13px; overflow-wrap: anywhere; }
.file { display: grid; grid-template-columns: 24px minmax(0, 1fr); align-content: center; align-items: center; gap: 0 9px;
  max-width: 100%; }
.file svg { grid-row: 1 / 3; }
.tray .file { width: 210px; height: 64px; padding: 4px 40px 4px 10px; border-radius: 12px; background: var(--bubble); }
.tray .picture { display: block; position: relative; width: 64px; padding: 0; overflow: hidden; }
.file .name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.bubble .file .name { white-space: normal; }
.file small { grid-column: 2; font-size: 12px; line-height: 1.3; white-space: nowrap; }
.file progress { grid-column: 1 / -1; width: 100%; height: 4px; border: 0; border-radius: 2px; overflow: hidden;
  appearance: none; background: color-mix(in srgb, currentColor 25%, transparent); }
.file progress::-webkit-progress-bar { background: none; }
.file progress::-webkit-progress-value { background: currentColor; }
.file progress::-moz-progress-bar { background: currentColor; }
.picture progress { position: absolute; inset: auto 6px 6px; width: calc(100% - 12px); height: 5px; color: #fff;
  background: rgb(0 0 0 / .55); }
.file canvas { display: block; }
.tray canvas { width: 64px; height: 64px; border: 1px solid var(--field); border-radius: 12px; object-fit: cover; }
.bubble canvas { max-width: 100%; max-height: 240px; border-radius: 10px; }
.bubble .picture { display: block; position: relative; width: fit-content; }
.bubble .files { display: grid; gap: 8px; }
.bubble .files:not(:last-child) { margin-bottom: 6px; }
.bubble:has(canvas) { padding: 6px; }
.bubble:has(canvas) :is(.file:not(.picture), .said) { padding: 2px 6px; }
.remove { position: absolute; top: -4px; right: -4px; width: 26px; height: 26px; padding: 0; display: grid; place-items: center;
  border: 1px solid var(--field); border-radius: 50%; background: var(--surface); }
.remove svg { width: 16px; }
.remove::after { content: ""; position: absolute; inset: -6px; }
.dropping::after { content: attr(data-drop); position: absolute; z-index: 2; inset: 8px; display: grid; place-items: center;
  border: 2px dashed var(--field); border-radius: 12px; background: var(--surface); font-weight: 600; pointer-events: none; }
@media (forced-colors: active) { .file { outline: 1px solid; } }
`;

/**
 * `rules`: what the server says of files, {largest (bytes), most (of one message), accept}. The others are of widget.js.
 * Gives `take()`: the files that wait, which are the caller's then; `upload(item)`: what the message of `item` carries;
 * `draw(item)`: shows the files of `item` in its bubble.
 */
export default function files({ rules, locale, base, h, icon, form, checked, atEnd, settle, token }) {
  const words = Object.fromEntries(Object.entries(WORDS).map(([name, texts]) => [name, texts[+(locale === "ru")]]));
  const megabytes = (digits) => new Intl.NumberFormat(locale,
    { style: "unit", unit: "megabyte", maximumFractionDigits: digits });
  const kilobytes = new Intl.NumberFormat(locale, { style: "unit", unit: "kilobyte", maximumFractionDigits: 0 });
  const panel = form.parentNode;
  const root = form.getRootNode();
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(CSS);
  root.adoptedStyleSheets = [...root.adoptedStyleSheets, sheet];

  let waiting = []; // {file, type, name, size, node, id?, uploading?, request?}
  const input = h("input", { type: "file", multiple: true, accept: rules.accept, hidden: true, tabIndex: -1 });
  const button = h("button.attach", { type: "button", ariaLabel: words.attach, title: words.attach }, icon(CLIP));
  const list = h("ul", { ariaLabel: words.attached });
  const refusals = h("div.refusals.error", { role: "alert" });
  const said = h("div.sr");
  const tray = h("div.tray", { hidden: true }, refusals, list);
  form.prepend(input, button);
  // What is said is heard only where the place for it was there before.
  form.before(h("div", { role: "status" }, said), tray);
  panel.dataset.drop = words.drop;

  const size = (bytes) => bytes < 1e6 ? kilobytes.format(Math.max(1, bytes / 1024)) : megabytes(1).format(bytes / 2 ** 20);

  function change(work) {
    const low = atEnd();
    work();
    tray.hidden = !waiting.length && !refusals.childNodes.length;
    list.hidden = !waiting.length;
    if (low) settle();
  }

  // -- what is shown of a file

  const row = (name, bytes) => h("div.file", {}, icon(PAGE), h("span.name", { title: name }, name),
    h("small", {}, bytes == null ? "" : size(bytes)));

  /** A picture is drawn, not linked: pages may forbid addresses of blobs. One that cannot be read stays a name. */
  async function picture(one) {
    const bitmap = await createImageBitmap(one.file);
    const scale = Math.min(1, LONGEST / Math.max(bitmap.width, bitmap.height));
    const canvas = h("canvas", { role: "img", ariaLabel: one.name,
      width: Math.max(1, Math.round(bitmap.width * scale)), height: Math.max(1, Math.round(bitmap.height * scale)) });
    const pen = canvas.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    const low = atEnd();
    one.node.classList.add("picture");
    one.node.replaceChildren(canvas, ...one.node.querySelectorAll("progress"));
    if (low) settle();
  }

  function progress(one, share) {
    let bar = one.node.querySelector("progress");
    if (share >= 1) return bar?.remove();
    if (!bar) one.node.append(bar = h("progress", { max: 1, ariaLabel: `${words.uploading}: ${one.name}` }));
    bar.value = share;
  }

  function draw({ node, text, files: sent }) {
    const bubble = node?.querySelector(".bubble");
    if (!sent?.length || !bubble) return;
    const written = text ? [h("div.said", {}, ...bubble.childNodes)] : [];
    const shown = sent.map((one) => one.node || row(one.name || one.type, one.size));
    bubble.replaceChildren(h("div.files", {}, ...shown), ...written);
  }

  // -- choosing

  function refuse(name, reason) {
    change(() => refusals.append(h("div", {}, `${name}: ${reason}`)));
  }

  function add(chosen) {
    change(() => refusals.replaceChildren());
    const taken = [];
    for (const file of chosen) {
      if (waiting.length >= rules.most) {
        refuse(file.name, `${words.many} ${rules.most}.`);
        break;
      }
      if (file.size > rules.largest) {
        refuse(file.name, `${words.large} ${megabytes(0).format(rules.largest / 2 ** 20)}.`);
        continue;
      }
      const [kind] = file.type.split("/");
      const type = { image: "photo", audio: "audio", video: "video" }[kind] || "document";
      const one = { file, type, name: file.name.slice(-255), size: file.size, node: row(file.name, file.size) };
      const remove = h("button.remove", { type: "button", ariaLabel: `${words.remove}: ${one.name}`,
        onclick: () => drop(one) }, icon(CROSS));
      one.place = h("li", {}, one.node, remove);
      taken.push(one);
      change(() => {
        waiting.push(one);
        list.append(one.place);
      });
      if (type === "photo") picture(one).catch(() => {});
      send(one).catch((error) => { // what is only out of reach is tried again when the message is sent
        if (!error.transient && waiting.includes(one)) {
          drop(one);
          refuse(one.name, error.detail);
        }
      });
    }
    if (taken.length) said.textContent = `${words.added}: ${taken.map(({ name }) => name).join(", ")}`;
  }

  function drop(one) {
    const at = waiting.indexOf(one);
    const focused = one.place.contains(root.activeElement);
    one.dropped = true;
    one.request?.abort();
    change(() => {
      waiting = waiting.filter((other) => other !== one);
      one.place.remove();
    });
    if (focused) (waiting[at] || waiting[at - 1])?.place.querySelector("button").focus();
    if (focused && !waiting.length) button.focus();
  }

  // -- sending

  let queue = Promise.resolve(); // one at a time: browsers allow six connections per host

  /** Uploads a file once; a failed upload can be asked for again. */
  function send(one) {
    if (one.id) return Promise.resolve();
    one.uploading ??= queue = queue.catch(() => {}).then(() => transfer(one)).finally(() => {
      progress(one, 1);
      one.request = one.uploading = null;
    });
    return one.uploading;
  }

  async function transfer(one) {
    if (one.dropped) return;
    await one.file.slice(0, 1).arrayBuffer().catch(() => { // a folder, or deleted since
      throw Object.assign(new Error(), { status: 422, detail: words.unreadable });
    });
    progress(one, 0);
    const request = one.request = new XMLHttpRequest(); // fetch tells no progress
    const response = await new Promise((resolve) => {
      const url = new URL("files", base);
      url.searchParams.set("locale", locale);
      request.open("POST", url);
      request.setRequestHeader("Authorization", `Bearer ${token()}`);
      request.setRequestHeader("Content-Type", "application/octet-stream");
      request.timeout = 300000;
      request.upload.onprogress = ({ loaded, total }) => progress(one, Math.min(0.99, loaded / total));
      request.onloadend = () => resolve(request.status && new Response(request.response,
        { status: request.status, headers: { "Retry-After": request.getResponseHeader("Retry-After") || "" } }));
      request.send(one.file);
    });
    if (!response) throw Object.assign(new Error(), { status: 0, transient: true });
    one.id = (await (await checked(response)).json()).file;
  }

  /** A file that is refused only now holds nothing up, where something is left to be sent. */
  async function upload(item) {
    for (const one of item.files || []) {
      await send(one).catch((error) => {
        if (error.transient) throw error;
        if (!item.text && item.files.length === 1) throw Object.assign(error, { detail: `${one.name}: ${error.detail}` });
        item.files = item.files.filter((other) => other !== one);
        one.node.remove();
        refuse(one.name, error.detail);
      });
    }
    return item.files?.map(({ id, type, name }) => ({ file: id, type, name }));
  }

  function take() {
    const taken = waiting;
    change(() => {
      waiting = [];
      list.replaceChildren();
      refusals.replaceChildren();
      said.textContent = "";
    });
    return taken;
  }

  // -- ways in

  button.onclick = () => input.click();
  input.onchange = () => {
    add([...input.files]);
    input.value = ""; // the same file can be chosen again
    form.querySelector("textarea").focus({ preventScroll: true });
  };
  panel.addEventListener("paste", (event) => {
    const { files: pasted = [], types } = event.clipboardData || {};
    // A text processor puts a picture of the text beside it.
    if (!pasted.length || (types.includes("text/plain") && types.includes("text/html"))) return;
    event.preventDefault();
    add([...pasted]);
  });
  const carries = (event) => event.dataTransfer?.types.includes("Files");
  panel.addEventListener("dragover", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    panel.classList.add("dropping");
  });
  panel.addEventListener("dragleave", (event) => {
    if (!panel.contains(event.relatedTarget)) panel.classList.remove("dropping");
  });
  panel.addEventListener("drop", (event) => {
    panel.classList.remove("dropping");
    if (!carries(event)) return;
    event.preventDefault();
    add([...event.dataTransfer.files]);
  });

  return { take, upload, draw };
}
