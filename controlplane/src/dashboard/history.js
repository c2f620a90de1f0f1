// What is asked of the history by pages, which may begin anywhere: what is old is dropped, and a store that was restored knows
// nothing from before.

import { get, Refusal } from "./api.js";

const PAGE = 50;
const ALL = 1_000;

// Revisions after `since`, or all there are where the history does not reach as far back.
async function after(since, limit) {
  try {
    return (await get(`/v1/revisions?since=${since}&limit=${limit}`)).items;
  } catch (error) {
    if (!(error instanceof Refusal) || error.status !== 410) throw error;
    return (await get(`/v1/revisions?limit=${ALL}`)).items;
  }
}

// The last ones.
export function latest(head) {
  return after(Math.max(0, head - PAGE), ALL);
}

// Those right before `first`; none if there are none.
export async function before(first) {
  const since = Math.max(0, first - 1 - PAGE);
  if (since >= first - 1) return [];
  const items = await after(since, first - 1 - since);
  return items.filter(({ revision }) => revision < first).slice(-PAGE);
}
