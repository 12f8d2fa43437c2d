#!/usr/bin/env node
import { run } from "./run.ts";

// A reader that closes the pipe early, such as `head`, has seen what it wanted.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(process.exitCode ?? 0);
});

process.exitCode = await run(process.argv.slice(2));
