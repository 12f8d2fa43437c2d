/**
 * Whether every case of a long list is wanted, as in `npm run test:all`. In `npm test` suites take of such a list what
 * reaches each kind of kernel once, because a software driver compiles a kernel in a tenth of a second.
 */
export const thorough = process.env.LORANTZ_TEST_ALL === "1";

/** The cases that are always tested, and the others where every case is wanted. */
export const cases = <Case>(always: readonly Case[], others: readonly Case[]): readonly Case[] =>
  thorough ? [...always, ...others] : always;

/** The cases that are always tested, and on the CPU, whose kernels are compiled in no time, the others as well. */
export const casesOn = <Case>(
  backend: string,
  always: readonly Case[],
  others: readonly Case[],
): readonly Case[] => (backend === "cpu" ? [...always, ...others] : cases(always, others));

/** How often a property is tried of many times: a third, or all of them where every case is wanted. */
export const runs = (many: number): number => (thorough ? many : Math.ceil(many / 3));

/** Every n-th of many that are alike, and all of them where every case is wanted. */
export const everyNth = <Case>(n: number, list: readonly Case[]): readonly Case[] =>
  thorough ? list : list.filter((_, i) => i % n === 0);
