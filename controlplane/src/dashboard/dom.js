// Elements, made of what is certain to be text: what comes from the API becomes text nodes and never markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) {
      if (typeof value !== "function") throw new TypeError(`${name} takes a function`);
      element.addEventListener(name.slice(2), value);
    } else if (name === "href" && !String(value).startsWith("#")) {
      throw new TypeError("links lead to places in this page");
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== false && value != null) {
      element.setAttribute(name, String(value));
    }
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

// `h("p", {class: "quiet"}, "some text", other)`; an absent or false child is none.
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

// Sets a text only where it is another one: what is selected or read aloud stays.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Brings the children of `parent` in line with `items`. Whatever has the same key stays the element it was, with its focus.
export function reconcile(parent, items, key, make, update) {
  const there = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let next = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let child = there.get(name);
    there.delete(name);
    if (!child) {
      child = make(item);
      child.dataset.key = name;
    }
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
    update?.(child, item);
  }
  for (const child of there.values()) child.remove();
}

// A function that is called once for many calls, and no more often than people can see.
export function soon(then) {
  let timer = null;
  return () => {
    timer ??= setTimeout(() => {
      timer = null;
      then();
    }, 100);
  };
}

export function plural(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

// A text of a bounded length, for what others may have made as long as they like.
export function brief(text, most = 200) {
  return text.length <= most ? text : `${text.slice(0, most)}…`;
}
