// A process of the conformance tests, which these kill: `worker`, one of a pool; or a coordinator, which sees to it that a
// number of cells have results in a folder.

import { runCells } from "../../src/experiments/sweep/executor.ts";
import { Folder } from "../../src/experiments/sweep/folder.ts";
import { local } from "../../src/experiments/sweep/local.ts";
import { Pool, serve } from "../../src/experiments/sweep/pool.ts";
import { cellsOf, work } from "./work.ts";

const [, module = "", role, folder = "", log = "", count = "0", milliseconds = "5"] = process.argv;
const pool = (size: number) => new Pool({ module, args: ["worker"] }, size);
if (role === "worker") await serve(work);
else {
  const cells = cellsOf(log, Number(count), { milliseconds: Number(milliseconds) });
  const { failed } = await runCells(cells, local(pool(2)), new Folder(folder));
  process.exit(failed.length === 0 ? 0 : 1);
}
