import type { Draws } from "./draws.ts";

// A grammar of questions about a school, and of their SQL.

interface Table {
  readonly name: string;
  /** Columns of texts, and of numbers. */
  readonly texts: readonly string[];
  readonly numbers: readonly string[];
}

const tables: readonly Table[] = [
  { name: "students", texts: ["student_name", "home_city"], numbers: ["birth_year", "final_grade"] },
  { name: "courses", texts: ["course_title", "class_room"], numbers: ["credit_points", "course_level"] },
  { name: "teachers", texts: ["teacher_name", "office_city"], numbers: ["monthly_salary", "service_years"] },
  { name: "libraries", texts: ["library_name", "street_name"], numbers: ["book_count", "opening_hour"] },
];
const names = ["Paris", "Lima", "Oslo", "Cairo", "Delhi", "Kyoto"];

/** A question and its answer in SQL. */
export interface Query {
  readonly question: string;
  readonly sql: string;
}

/** A query over one table or two joined ones, with up to three conditions. */
export function query(draws: Draws): Query {
  const [first, second] = draws.some(tables, 2) as [Table, Table];
  const joined = draws.chance(0.6);
  const used = joined ? [first, second] : [first];
  const at = ({ name }: Table, column: string) => `${name}.${column}`;
  const chosen = at(first, draws.pick(first.texts));
  const other = used.at(-1)!;
  const number = draws.pick(other.numbers);
  const measured = at(other, number);
  const fold = draws.pick(["COUNT", "MAX", "MIN", "AVG"]);
  const grouped = draws.chance(0.6);
  const conditions = Array.from({ length: draws.below(joined ? 3 : 4) }, () => {
    const table = draws.pick(used);
    if (draws.chance(0.5)) {
      const [column, value] = [draws.pick(table.texts), draws.pick(names)];
      return { said: `${column} ${value}`, sql: `${at(table, column)} = '${value}'` };
    }
    const [column, over, value] = [draws.pick(table.numbers), draws.chance(0.5), draws.below(10)];
    return {
      said: `${column} ${over ? "over" : "under"} ${value}`,
      sql: `${at(table, column)} ${over ? ">" : "<"} ${value}`,
    };
  });
  const top = draws.chance(0.5) ? draws.below(9) + 1 : undefined;
  const [, column] = chosen.split(".") as [string, string];
  const question = [
    `Show ${column} of ${first.name}${joined ? ` with ${second.name}` : ""}`,
    ...(grouped ? [`and ${fold.toLowerCase()} ${number}`] : []),
    ...(conditions.length > 0 ? [`where ${conditions.map(({ said }) => said).join(" and ")}`] : []),
    ...(top === undefined ? [] : [`top ${top}`]),
  ].join(" ");
  const sql = [
    `SELECT ${chosen}${grouped ? `, ${fold}( ${measured})` : ""} FROM ${first.name}`,
    ...(joined ? [`JOIN ${second.name} ON ${first.name}.school_id = ${second.name}.school_id`] : []),
    ...(conditions.length > 0 ? [`WHERE ${conditions.map(({ sql }) => sql).join(" AND ")}`] : []),
    ...(grouped ? [`GROUP BY ${chosen}`] : []),
    ...(top === undefined
      ? []
      : [`ORDER BY ${grouped ? `${fold}( ${measured})` : chosen} DESC LIMIT ${top}`]),
  ].join(" ");
  return { question, sql };
}
