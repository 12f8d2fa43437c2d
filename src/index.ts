// The public surface, name by name.

export type { DeviceDType, DType, FloatDType, HostArray, HostArrayOf } from "./base/dtype.ts";
export {
  DeviceError,
  DisposedError,
  DTypeError,
  LorantzError,
  ShapeError,
  ValueError,
} from "./base/errors.ts";
export type { Shape } from "./base/shape.ts";
export type { Device } from "./runtime/device.ts";
export { type BackendName, type InitOptions, init } from "./runtime/init.ts";
export {
  chromeTrace,
  type HostSpan,
  type KernelRun,
  type Profile,
  profile,
  profileTable,
  type TraceEvent,
} from "./runtime/profile.ts";
export { acos, asin, atan, atan2, tan } from "./tensor/angles.ts";
export {
  all,
  any,
  countNonzero,
  floorDivide,
  fmod,
  hypot,
  type IsCloseOptions,
  isClose,
  isInf,
  lerp,
  logaddexp,
  logicalAnd,
  logicalOr,
  logicalXor,
  type NanToNumOptions,
  nanToNum,
  remainder,
  trunc,
} from "./tensor/arithmetic.ts";
export {
  type DiagonalOptions,
  type DiffOptions,
  diag,
  diagonal,
  diff,
  flatten,
  linspace,
  type MeshgridOptions,
  meshgrid,
  moveaxis,
  roll,
  tile,
  unstack,
} from "./tensor/arrange.ts";
export type { At, AtIndex, Window } from "./tensor/at.ts";
export {
  type Argument,
  type Compiled,
  type CompileOptions,
  compile,
  type Inspection,
  type MemoryPlan,
  type Work,
} from "./tensor/compile.ts";
export {
  arange,
  eye,
  full,
  type Nested,
  ones,
  onesLike,
  scalar,
  type TensorOptions,
  tensor,
  zeros,
  zerosLike,
} from "./tensor/creation.ts";
export { customVjp } from "./tensor/custom-vjp.ts";
export { debugNans } from "./tensor/debug-nans.ts";
export { einsum, tensordot } from "./tensor/einsum.ts";
export {
  cat,
  elu,
  gelu,
  geluTanh,
  leakyRelu,
  logSigmoid,
  oneHot,
  relu,
  sigmoid,
  silu,
  softplus,
  stack,
  where,
} from "./tensor/functions.ts";
export { Gang } from "./tensor/gang.ts";
export { type Gradients, type GradOptions, grad, valueAndGrad, vjp } from "./tensor/grad.ts";
export { acosh, asinh, atanh, cosh, exp2, log10, sinh } from "./tensor/hyperbolic.ts";
export { type Derivatives, hessian, hvp, type Jacobian, jacfwd, jacrev, jvp } from "./tensor/jacobian.ts";
export * as linalg from "./tensor/linalg.ts";
export { type MatrixOrder, matrixNorm, type NormOptions, norm } from "./tensor/norms.ts";
export {
  type BlockFormat,
  isPacked,
  type Packed,
  type PackedBlocks,
  type PackedFloats,
  type PackFormat,
  type PackOptions,
  pack,
  unpack,
} from "./tensor/packed.ts";
export * as random from "./tensor/random.ts";
export { remat } from "./tensor/remat.ts";
export { type ScanOptions, scan } from "./tensor/scan.ts";
export {
  type BincountOptions,
  bincount,
  cummax,
  cummin,
  cumprod,
  logcumsumexp,
  searchsorted,
} from "./tensor/scans.ts";
export {
  argsort,
  type MedianOptions,
  median,
  type QuantileOptions,
  quantile,
  type SortOptions,
  sort,
  type TopkOptions,
  topk,
  type Unique,
  unique,
} from "./tensor/sort.ts";
export {
  type AnyTensor,
  type Axes,
  type Extremes,
  type FloatTensor,
  type Index,
  type KeepDim,
  type Operand,
  type Same,
  Tensor,
  type VarianceOptions,
} from "./tensor/tensor.ts";
export * as tree from "./tensor/tree.ts";
export { type VmapOptions, vmap } from "./tensor/vmap.ts";
export { type WindowsOptions, windows } from "./tensor/windows.ts";
