// A process of the tests of sweeps, which these kill: one of a pool; a coordinator, which sees to it that a number of cells
// have results in a folder; or a worker at a queue.
import { runCells } from "../../../src/experiments/sweep/executor.ts";
import { Folder } from "../../../src/experiments/sweep/folder.ts";
import { local } from "../../../src/experiments/sweep/local.ts";
import { Pool, serve } from "../../../src/experiments/sweep/pool.ts";
import { queued, workAt } from "../../../src/experiments/sweep/queue.ts";
import { openStore } from "../../../src/experiments/sweep/store.ts";
import { cellsOf, work } from "./work.ts";

/** Milliseconds after which a worker of a queue that is killed has lost its cell. */
const lock = 1000;

const [, module = "", role = "", folder = "", log = "", count = "0", milliseconds = "5"] = process.argv;
const pool = (size: number) => new Pool({ module, args: ["pool"] }, size);
const cells = () => cellsOf(log, Number(count), { milliseconds: Number(milliseconds) });

if (role === "pool") await serve(work);
else if (role === "local") {
  const { failed } = await runCells(cells(), local(pool(2)), new Folder(folder));
  process.exit(failed.length);
} else {
  // A URL: with a folder a coordinator that works too, without one a worker alone.
  const store = await openStore(role);
  await workAt(store, pool(2), { code: "tests", lock });
  if (folder) {
    const { failed } = await runCells(cells(), queued(store, { code: "tests" }), new Folder(folder));
    process.exit(failed.length);
  }
}
