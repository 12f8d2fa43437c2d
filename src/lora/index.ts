export type { AdapterConfig, AdapterInit, InitScale } from "./config.ts";
export { type Adapted, adaptedLayers, type InjectConfig, inject } from "./inject.ts";
export { type LoraLinear, linear } from "./linear.ts";
export { merge, unmerge } from "./merge.ts";
export { partition, type Role, roleOf, trainableCount } from "./roles.ts";
export { type Scaling, type ScalingConfig, scaling } from "./scaling.ts";
