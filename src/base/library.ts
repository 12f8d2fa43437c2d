import { LorantzError } from "./errors.ts";

/** An optional package. @throws LorantzError that says how to install it. */
export async function library<L>(
  where: string,
  name: string,
  what: string,
  load: () => Promise<unknown>,
): Promise<L> {
  try {
    return (await load()) as L; // what of it is used is checked by the tests
  } catch (error) {
    throw new LorantzError(
      `${where}: ${what} needs the package ${name}, which is not there (${(error as Error).message.split("\n")[0]}). npm install ${name}; in a page without a bundler, name it in the import map.`,
    );
  }
}
