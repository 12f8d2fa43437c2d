#!/usr/bin/env node
import { ended, watchStreams } from "./print.ts";
import { run } from "./run.ts";

watchStreams();
process.exitCode = await ended(await run(process.argv.slice(2)));
