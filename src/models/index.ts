export type { Architecture, BlockKind, Names, Norm, PartRole, Rope } from "./architecture.ts";
export { type BlockCache, type Cache, type CacheSizes, emptyCache } from "./cache.ts";
export {
  type Decoder,
  type DecoderInput,
  type DecoderOptions,
  type DecoderOutput,
  decoder,
} from "./decoder.ts";
export { architecture } from "./families.ts";
export {
  type AnyDecoder,
  type Completion,
  complete,
  type Generated,
  type GenerateOptions,
  generate,
} from "./generate.ts";
export { isTransposed, type Loaded, type LoadOptions, load } from "./load.ts";
export type { SampleOptions } from "./sample.ts";
export { type AdapterSize, type Summary, type SummaryOptions, stepBytes, summary } from "./summary.ts";
