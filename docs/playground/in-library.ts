import { LorantzError } from "lorantz";
import * as gauge from "lorantz/gauge";

/** The settings of a library, and what to know of them. */
export function inLibrary(library: gauge.LibraryName, recipe: gauge.Recipe): string {
  try {
    const { settings, notes } = gauge.convert(recipe, { to: "library", library });
    return `${notes.map((note) => `# ${note}\n`).join("")}${JSON.stringify(settings, null, 2)}\n`;
  } catch (error) {
    if (!(error instanceof LorantzError)) throw error;
    return `# ${error.message}\n`;
  }
}
