export type { AdapterFile, AdapterModule, FormatName, WholeParameter } from "./file.ts";
export { multiplierOf } from "./file.ts";
export type { FormatOptions } from "./format.ts";
export { convert, formatNames, open, readBase, toBlobs, write } from "./formats.ts";
export { type ExtractOptions, extract, inject } from "./inject.ts";
export { type AdapterReport, lint, type ModuleReport, type Reading } from "./lint.ts";
export { type MergedWeight, type MergeReport, mergeCheckpoint } from "./merge.ts";
export { withCommonAlpha as bake } from "./rescale.ts";
