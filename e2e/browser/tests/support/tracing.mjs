// What the main thread of a page was busy with.

const CATEGORIES = ["disabled-by-default-devtools.timeline", "__metadata"];

/** Begins to trace a page; what it gives ends that, and gives the CPU time of each task of its main thread in ms. */
async function trace(page) {
  const cdp = await page.context().newCDPSession(page);
  const events = [];
  cdp.on("Tracing.dataCollected", ({ value }) => events.push(...value));
  await cdp.send("Tracing.start", {
    transferMode: "ReportEvents",
    traceConfig: { includedCategories: CATEGORIES, recordMode: "recordContinuously" },
  });
  return async () => {
    const isComplete = new Promise((resolve) => cdp.once("Tracing.tracingComplete", resolve));
    await cdp.send("Tracing.end");
    await isComplete;
    const isMain = ({ name, args }) => name === "thread_name" && args.name === "CrRendererMain";
    const mains = new Set(events.filter(isMain).map(({ pid, tid }) => `${pid}.${tid}`));
    return events
      .filter(({ name, ph, pid, tid }) => name === "RunTask" && ph === "X" && mains.has(`${pid}.${tid}`))
      .map(({ dur, tdur }) => (tdur ?? dur) / 1_000);
  };
}

/** Whatever takes longer, somebody who scrolls sees. */
export const FRAME_MS = 16;

/** The CPU time of the longest task of a page while it does this, in ms: what else the machine does is not in it. */
export async function longestTask(page, work) {
  const end = await trace(page);
  await page.evaluate(work);
  const tasks = await end();
  if (tasks.length === 0) throw new Error("the page was not traced");
  return Math.max(...tasks);
}

/** All notes come to a page that has none, which shows how many there are, and the last hundred. It runs there. */
export async function loadAll() {
  globalThis.client = open("bob");
  const subscription = client.subscribe("SELECT * FROM app.notes", [], { batchRows: 500 });
  const results = [];
  client.watch("SELECT count(*) AS n FROM app.notes").onResult((result) => results.push(result));
  client.watch("SELECT * FROM app.notes ORDER BY _seq DESC LIMIT 100").onResult((result) => results.push(result));
  await subscription.ready();
}
