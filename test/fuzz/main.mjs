// Runs main.ts from the sources.
import { fileURLToPath } from "node:url";
import { fromSources } from "../from-sources.mjs";

await fromSources(async (load) => {
  const { main } = await load(fileURLToPath(new URL("main.ts", import.meta.url)));
  process.exitCode = await main();
});
