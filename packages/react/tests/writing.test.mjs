import assert from "node:assert/strict";
import { test } from "node:test";

import { act, emit, h, handles, mount, open, pass, rows, running, settle, StrictMode, within } from "./dom.mjs";
import { error, status } from "../../client/tests/fake.mjs";
import { useMutation, useMutationState, usePending, useRejections, useStatus, useTidewire } from "../dist/index.js";

const wrote = (id, state = { state: "queued" }) => ({ id, rowsAffected: 1, columns: [], rows: [], state });

/** A component that notes what a hook gives in each render. */
function Note({ hook, log }) {
  log.push(hook());
  return null;
}

async function noted(client, hook) {
  const log = [];
  const element = () => h(StrictMode, null, within(client, h(Note, { hook, log })));
  const page = await mount(element());
  // React 18 renders twice in StrictMode, and forgets the first one.
  log.splice(0, log.length - 1);
  return { log, page, again: () => page.render(element()) };
}

const outline = ({ isPending, error, written }) => [isPending, error?.code ?? null, written?.id ?? null];

test("a write says that it is under way, and what it has given; the function stays the same", async () => {
  const { client, worker } = await open();
  const { log, again } = await noted(client, () => useMutation());
  const { write } = log.at(-1);
  let done;
  await act(async () => void (done = write("INSERT INTO a.b VALUES ($1)", [5], { queue: "q" })));
  assert.deepEqual(outline(log.at(-1)), [true, null, null]);
  assert.deepEqual(worker.call("write").args[0], [{ sql: "INSERT INTO a.b VALUES ($1)", params: [5] }]);
  assert.equal(worker.call("write").args[1].queue, "q");
  await act(() => worker.answer("write", wrote(3)));
  assert.deepEqual(outline(log.at(-1)), [false, null, 3]);
  assert.equal((await done).id, 3);
  assert.equal(log.at(-1).write, write);
  await again();
  assert.equal(log.at(-1), log.at(-2));
});

test("what is wrong with a write is an error, also of whoever waits for it, and of nobody else", async () => {
  const { client, worker } = await open();
  const { log } = await noted(client, () => useMutation());
  // Nobody waits for this one: it would end the process if that was not dealt with.
  await act(async () => void log[0].write("INSERT"));
  await act(() => worker.refuse("write", "constraint"));
  assert.deepEqual(outline(log.at(-1)), [false, "constraint", null]);
  let waits;
  await act(async () => void (waits = assert.rejects(log[0].write("INSERT"), { code: "quota" })));
  assert.deepEqual(outline(log.at(-1)), [true, null, null]);
  await act(() => worker.refuse("write", "quota"));
  await waits;
  await act(async () => void log[0].write(5));
  assert.deepEqual(outline(log.at(-1)), [false, "invalid_request", null]);
});

test("only the last call counts", async () => {
  const { client, worker } = await open();
  const { log } = await noted(client, () => useMutation());
  await act(async () => {
    void log[0].write("first");
    void log[0].write("second");
  });
  await act(() => worker.answer("write", wrote(1)));
  assert.deepEqual(outline(log.at(-1)), [true, null, null]);
  await act(() => worker.answer("write", wrote(2)));
  assert.deepEqual(outline(log.at(-1)), [false, null, 2]);
});

test("a write may be anything that the client can do, with what is known in the last render", async () => {
  const { client, worker } = await open();
  let room = 7;
  const { log, again } = await noted(client, () => {
    const here = room;
    return useMutation((client, body) => client.insert("a.b", { room: here, body }));
  });
  room = 8;
  await again();
  await act(async () => void log[0].write("hello"));
  assert.deepEqual(worker.call("write").args[0], [{ insert: "a.b", values: { room: 8, body: "hello" } }]);
  await act(() => worker.answer("write", wrote(1)));
  assert.deepEqual(outline(log.at(-1)), [false, null, 1]);
});

test("the state of a write is shown until it is decided", async () => {
  const { client, worker } = await open();
  const written = client.execute("INSERT");
  await worker.answer("write", wrote(3));
  const mutation = await written;
  const { log } = await noted(client, () => [useMutationState(mutation), useMutationState(null)]);
  await emit(worker, { type: "mutation", id: 3, state: { state: "sent" } });
  await emit(worker, { type: "mutation", id: 3, state: { state: "rejected", code: "forbidden", reason: "no" } });
  const states = [...new Set(log.map(([{ state }]) => state))];
  assert.deepEqual(states, ["queued", "sent", "rejected"]);
  assert.ok(log.every(([, none]) => none === null));
  assert.equal(log.at(-1)[0].code, "forbidden");
});

test("what waits is known, and known anew when it is another, and nothing of it stays", async () => {
  const { client, worker } = await open();
  const { log, again, page } = await noted(client, () => usePending());
  const answer = (...ids) => {
    const mutations = ids.map((id) => ({ id, writtenAt: 0, rows: [], state: { state: "queued" } }));
    return act(() => worker.answer("pending", { mutations, oldestAgeMs: ids.length > 0 ? 5 : null }));
  };
  assert.equal(log.at(-1).count, 0);
  const [handle] = handles(worker);
  await emit(worker, rows(handle, [1]));
  await answer(1);
  assert.deepEqual([log.at(-1).count, log.at(-1).oldestAge, log.at(-1).mutations[0].id], [1, 5, 1]);
  // What changes while it is asked is asked for again, once.
  await emit(worker, rows(handle, [2]));
  await emit(worker, rows(handle, [3]));
  await emit(worker, rows(handle, [4]));
  await answer(1);
  const known = log.at(-1);
  await answer(1);
  await again();
  assert.equal(log.at(-1), known);
  assert.equal(worker.ops.filter((op) => op === "pending").length, 3);
  // While it is suspended there is no answer, and then there is.
  await emit(worker, rows(handle, [5]));
  await act(() => worker.refuse("pending", "cancelled"));
  await emit(worker, status("connected"));
  await answer();
  assert.equal(log.at(-1).count, 0);
  await page.unmount();
  await pass();
  assert.deepEqual(running(worker), []);
});

test("what was rejected is listed, and dealt with", async () => {
  const { client, worker } = await open();
  const { log, page } = await noted(client, () => useRejections());
  const kept = { id: 4, writtenAt: 0, state: { state: "uncertain" }, queue: null, operations: [] };
  assert.deepEqual(log.at(-1), []);
  await act(() => worker.answer("rejections", []));
  assert.equal(log.at(-1), log[0]);
  await emit(worker, { type: "rejections" });
  await act(() => worker.answer("rejections", [kept]));
  assert.deepEqual(log.at(-1).map(({ id }) => id), [4]);
  await act(async () => {
    void log.at(-1)[0].discard();
    await worker.answer("discard", true);
    await worker.answer("rejections", []);
  });
  assert.deepEqual(log.at(-1), []);
  await page.unmount();
  await pass();
  const asked = worker.ops.length;
  await emit(worker, { type: "rejections" });
  assert.equal(worker.ops.length, asked);
});

test("the status is shown, and the client is at hand", async () => {
  const { client, worker } = await open();
  const { log } = await noted(client, () => [useStatus(), useTidewire()]);
  await emit(worker, status("needs_auth", error("needs_auth")));
  assert.deepEqual([log.at(-1)[0].word, log.at(-1)[0].reason.code], ["needs_auth", "needs_auth"]);
  assert.equal(log.at(-1)[0], client.status);
  assert.equal(log.at(-1)[1], client);
  await act(async () => {
    await Promise.all([client.close(), worker.answer("close")]);
  });
  assert.equal(log.at(-1)[0].word, "closed");
  await settle();
});
