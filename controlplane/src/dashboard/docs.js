// The API as a page: /openapi.json, part by part. It asks for nothing else, and whatever it shows is text.

import { h } from "./dom.js";

let api;

const anchor = (kind, name) => `${kind}-${name}`;

// What a `$ref` stands for, with the last part of it as its name.
function resolved(of) {
  if (!of?.$ref) return { name: null, value: of };
  const parts = of.$ref.slice(2).split("/").map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  return { name: parts.at(-1), value: parts.reduce((value, part) => value?.[part], api) };
}

// What stands between backticks is code.
const prose = (said) => (said ?? "").split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));

const text = (value) => JSON.stringify(value, null, 2);

// A schema in a few words; named ones lead to where they are shown.
function words(schema) {
  if (schema === undefined || schema === true) return "anything";
  if (schema.$ref) {
    const { name } = resolved(schema);
    return h("a", { href: `#${anchor("schema", name)}` }, name);
  }
  if (schema.anyOf) return schema.anyOf.flatMap((one, index) => (index ? [" or ", words(one)] : [words(one)]));
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  const types = [schema.type ?? "anything"].flat().join(" or ");
  if (schema.items) return [`${types} of `, words(schema.items)];
  if (typeof schema.additionalProperties === "object") return [`${types} of names to `, words(schema.additionalProperties)];
  return types;
}

function bounds(schema) {
  const named = {
    minimum: "at least", maximum: "at most", minLength: "characters at least", maxLength: "characters at most",
    minItems: "items at least", maxItems: "items at most", maxProperties: "members at most", pattern: "matches", format: "as",
  };
  const said = Object.entries(named).filter(([name]) => name in schema).map(([name, words]) => `${words} ${schema[name]}`);
  if ("default" in schema) said.push(`default ${JSON.stringify(schema.default)}`);
  return said.join(", ");
}

function member(name, schema, required) {
  return [
    h("dt", {}, name, required ? " (required)" : "", ": ", words(schema)),
    h("dd", {}, prose(schema.description), " ", h("span", { class: "quiet" }, bounds(schema))),
  ];
}

function members(schema) {
  const required = new Set(schema.required);
  const shown = Object.entries(schema.properties ?? {}).map(([name, one]) => member(name, one, required.has(name)));
  return shown.length ? h("dl", {}, shown) : null;
}

function parameters(operation) {
  const all = (operation.parameters ?? []).map((parameter) => resolved(parameter).value);
  if (!all.length) return null;
  const shown = all.map(({ name, in: place, required, schema, description }) => [
    h("dt", {}, `${name} (${place}${required ? ", required" : ""}): `, words(schema)),
    h("dd", {}, prose(description), " ", h("span", { class: "quiet" }, bounds(schema))),
  ]);
  return [h("h4", {}, "Parameters"), h("dl", {}, shown)];
}

function contents(content) {
  return Object.entries(content ?? {}).map(([media, { schema, example, examples }]) => [
    h("p", {}, `${media}: `, words(schema)),
    example === undefined ? null : h("pre", {}, text(example)),
    Object.values(examples ?? {}).map(({ value }) => h("pre", {}, text(value))),
  ]);
}

function body(operation) {
  if (!operation.requestBody) return null;
  const { required, content } = operation.requestBody;
  return [h("h4", {}, required ? "Body" : "Body, which may be left out"), contents(content)];
}

function responses(operation) {
  const shown = Object.entries(operation.responses).map(([status, response]) => {
    const { value } = resolved(response);
    return h("details", {}, h("summary", {}, `${status} `, prose(value.description)), contents(value.content));
  });
  return [h("h4", {}, "Answers"), shown];
}

// For a shell: within single quotes nothing means anything but a quote.
const quoted = (value) => `'${String(value).replaceAll("'", "'\\''")}'`;

function sample(parameter) {
  const { value: schema } = resolved(parameter.schema);
  return schema.examples?.[0] ?? schema.default ?? schema.enum?.[0] ?? "";
}

function curl(method, path, operation) {
  const given = (operation.parameters ?? []).map((parameter) => resolved(parameter).value).filter(({ required }) => required);
  let url = path;
  const query = [];
  for (const parameter of given) {
    const value = encodeURIComponent(sample(parameter)).replaceAll("%3A", ":");
    if (parameter.in === "path") url = url.replace(`{${parameter.name}}`, value);
    else if (parameter.in === "query") query.push(`${parameter.name}=${value}`);
  }
  if (query.length) url += `?${query.join("&")}`;
  const line = ["curl"];
  if (method !== "get") line.push("-X", method.toUpperCase());
  line.push(quoted(location.origin + url));
  if (operation.security?.length) line.push("-H", '"Authorization: Bearer $VULCAN_TOKEN"');
  const json = operation.requestBody?.content["application/json"];
  if (json?.example !== undefined) line.push("--json", quoted(JSON.stringify(json.example)));
  return line.join(" ");
}

function operation(path, method, one) {
  const section = h(
    "details",
    { class: "operation", id: anchor("operation", one.operationId) },
    h("summary", {}, h("span", { class: "method" }, method.toUpperCase()), h("span", { class: "route" }, path), ` ${one.summary}`),
    h("p", {}, prose(one.description)),
    h("pre", {}, curl(method, path, one)),
    parameters(one),
    body(one),
    responses(one),
  );
  section.dataset.words = `${method} ${path} ${one.summary} ${one.description}`.toLowerCase();
  return section;
}

function part({ name, description }) {
  const there = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).filter(([, one]) => one.tags.includes(name)).map(([method, one]) => operation(path, method, one)));
  return h("section", { id: anchor("part", name) }, h("h2", {}, name), h("p", { class: "quiet" }, prose(description)), there);
}

function schema([name, one]) {
  const example = one.examples?.[0];
  return h(
    "details",
    { class: "operation", id: anchor("schema", name) },
    h("summary", {}, h("span", { class: "route" }, name)),
    h("p", {}, prose(one.description), " ", h("span", { class: "quiet" }, bounds(one))),
    one.properties ? null : h("p", {}, words(one)),
    members(one),
    example === undefined ? null : h("pre", {}, text(example)),
  );
}

// A link may lead into what is closed.
function open() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target?.localName === "details") target.open = true;
  target?.scrollIntoView();
}

function filter(wanted) {
  for (const one of document.querySelectorAll(".operation[data-words]")) one.hidden = !one.dataset.words.includes(wanted);
}

async function start() {
  const trouble = document.getElementById("trouble");
  try {
    const answer = await fetch("/openapi.json", { credentials: "omit", redirect: "error", signal: AbortSignal.timeout(30_000) });
    if (!answer.ok) throw new Error(`The answer has status ${answer.status}.`);
    api = await answer.json();
    const names = [...api.tags.map(({ name }) => [name, anchor("part", name)]), ["schemas", "part-schemas"]];
    document.getElementById("parts").append(...names.map(([name, id]) => h("a", { href: `#${id}` }, name)));
    document.getElementById("main").replaceChildren(
      h("h1", {}, `${api.info.title} ${api.info.version}`),
      h("p", {}, prose(api.info.description)),
      ...api.tags.map(part),
      h("section", { id: "part-schemas" }, h("h2", {}, "schemas"), Object.entries(api.components.schemas).map(schema)),
    );
    open();
  } catch (error) {
    trouble.textContent = `The document is not there: ${error.message}`;
    trouble.hidden = false;
  }
}

addEventListener("hashchange", open);
document.getElementById("filter").addEventListener("input", ({ target }) => filter(target.value.trim().toLowerCase()));
start();
