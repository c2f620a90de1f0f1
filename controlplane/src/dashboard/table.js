// A table of any number of rows, of which a page is shown. Rows keep their elements, and so their focus, while they are
// refreshed.

import { isForbidden, words } from "./api.js";
import { h, plural, reconcile, say } from "./dom.js";

const PAGE = 20;

export class Table {
  // `columns`: [{title, text(item)} or {title, node(latest)}], where `latest()` is the item as it was last shown; a column's
  // `tone(item)` becomes a class. `filter(item)` is the text that is searched, if one can search.
  constructor({ caption, columns, key, empty, filter, changed = () => {} }) {
    Object.assign(this, { columns, key, empty, filter, changed, items: [], page: 0, sought: "", more: false });
    this.unknown = "Asking …";
    this.latest = new WeakMap();
    this.body = h("tbody");
    this.summary = h("span", { class: "quiet", role: "status" });
    this.back = h("button", { type: "button", onclick: () => this.turn(-1) }, "Previous");
    this.on = h("button", { type: "button", onclick: () => this.turn(1) }, "Next");
    const search =
      filter &&
      h("input", {
        type: "search",
        placeholder: "Filter",
        "aria-label": `Filter ${caption}`,
        oninput: (event) => this.seek(event.target.value),
      });
    const head = columns.map(({ title, number }) => h("th", { scope: "col", class: number && "number" }, title));
    const table = h("table", {}, h("caption", {}, caption), h("thead", {}, h("tr", {}, ...head)), this.body);
    this.element = h(
      "div",
      { class: "table" },
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption }, table),
      h("div", { class: "foot" }, search, this.summary, h("span", { class: "pages" }, this.back, this.on)),
    );
    this.draw();
  }

  show(items, more = false) {
    this.items = items;
    this.more = more;
    this.unknown = null;
    this.draw();
  }

  // Why it is not known what there is. What was known stays where it may only be out of date.
  fail(error) {
    this.unknown = words(error);
    if (isForbidden(error)) this.items = [];
    this.draw();
  }

  seek(text) {
    this.sought = text.trim().toLowerCase();
    this.page = 0;
    this.draw();
    this.changed();
  }

  turn(by) {
    this.page += by;
    this.draw();
    this.changed();
  }

  found() {
    if (!this.sought) return this.items;
    return this.items.filter((item) => this.filter(item).toLowerCase().includes(this.sought));
  }

  // What stands on this page.
  visible() {
    return this.shown ?? [];
  }

  draw() {
    const found = this.found();
    this.page = Math.max(0, Math.min(this.page, Math.ceil(found.length / PAGE) - 1));
    const from = this.page * PAGE;
    this.shown = found.slice(from, from + PAGE);
    reconcile(this.body, this.shown, this.key, () => this.row(), (row, item) => this.update(row, item));
    const all = `${plural(found.length, "row")}${this.more ? " of more" : ""}`;
    const part = `${from + 1}–${from + this.shown.length} of ${all}`;
    const nothing = this.unknown ?? (this.sought ? "Nothing is found." : this.empty);
    const stale = this.unknown ? `, and out of date: ${this.unknown}` : "";
    say(this.summary, found.length === 0 ? nothing : (found.length > PAGE ? part : all) + stale);
    this.back.hidden = this.on.hidden = found.length <= PAGE;
    this.back.disabled = this.page === 0;
    this.on.disabled = from + PAGE >= found.length;
  }

  row() {
    const row = h("tr");
    const latest = () => this.latest.get(row);
    for (const column of this.columns) {
      const cell = h("td", { class: column.number && "number" });
      cell.made = column.node ? () => column.node(latest) : null;
      row.append(cell);
    }
    return row;
  }

  update(row, item) {
    this.latest.set(row, item);
    this.columns.forEach((column, n) => {
      const cell = row.cells[n];
      if (cell.made) {
        cell.append(cell.made());
        cell.made = null;
      }
      if (column.text) say(cell, column.text(item));
      column.refresh?.(cell, item);
      if (column.tone) cell.className = [column.number && "number", column.tone(item)].filter(Boolean).join(" ");
    });
  }
}
