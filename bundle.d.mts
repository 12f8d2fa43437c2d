/** All of `lorantz/browser` as one module for pages without a bundler. */
export function bundle(
  entry: string,
  conditions: readonly string[],
  options: import("vite").BuildEnvironmentOptions,
): Promise<unknown>;
