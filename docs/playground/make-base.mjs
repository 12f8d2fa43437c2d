// Makes the small language model beside the page anew, from the sources: two minutes of a processor.
//
//   npm run playground:base

import { join } from "node:path";
import { fromSources } from "../../test/from-sources.mjs";

await fromSources(async (load) => {
  const { makeBase } = await load(join(import.meta.dirname, "base.ts"));
  await makeBase(join(import.meta.dirname, "files/base"), console.log);
});
