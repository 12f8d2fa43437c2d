/** What a device can do at most, measured on the spot. */
export interface Limits {
  /** Billions of floating-point operations per second, a multiply-add counting as two. */
  readonly gflops: number;
  /** Copied memory, read and written, in 10^9 bytes per second. */
  readonly gbs: number;
  /** How it was measured. */
  readonly about: string;
  /** The same on one thread, where threads are what it has. */
  readonly oneThread?: { readonly gflops: number; readonly gbs: number };
}
