/** How the program is called. */

import { parseArgs } from "node:util";

import { messageOf } from "../errors.js";
import { Misuse } from "./failure.js";

export const HELP = `tidewire-types writes the tables of a Tidewire server as TypeScript.

  npx tidewire-types --url https://sync.example.com [options]

  --url URL         where the server is, as the client has it
  --token TOKEN     a token of who may read the tables; better, give it in the environment as TIDEWIRE_TOKEN,
                    where other users of the machine do not see it
  --out FILE        what is written, tidewire-types.ts without it
  --namespace NAME  only the tables of this namespace; may be given several times
  --check           write nothing, and fail when the file is not what the server has
  --watch           go on, and write the file again whenever the tables have changed
  --every SECONDS   how often --watch looks, every 2 seconds without it
  --help            this text

It ends with 0, with 1 when something went wrong, and with 2 when it was called wrongly.
`;

/** What the program is to do. */
export interface Task {
  /** The address of a statement. */
  readonly url: URL;
  readonly token: string;
  readonly out: string;
  /** The only namespaces that are wanted; none is all of them. */
  readonly namespaces: readonly string[];
  readonly what: "write" | "check" | "watch";
  /** Between two looks, in milliseconds. */
  readonly every: number;
}

const OUT = "tidewire-types.ts";
const EVERY_S = 2;
/** Below this the server would be asked for nothing else. */
const EVERY_S_MIN = 0.1;
/** A timer does not take more than 24 days. */
const EVERY_S_MAX = 86_400;

/** Reads the arguments; `undefined` when help is wanted. Throws {@link Misuse}. */
export function readArguments(
  given: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Task | undefined {
  const values = parse(given);
  if (values.help) return undefined;
  if (values.check && values.watch) throw new Misuse("--check looks once and --watch goes on: give one of them");
  if (values.every !== undefined && !values.watch) throw new Misuse("--every is for --watch: give both, or none");
  if (values.url === undefined) throw new Misuse("there is no --url: say where the server is");
  const token = values.token ?? environment["TIDEWIRE_TOKEN"] ?? "";
  if (token.trim() === "") {
    throw new Misuse("there is no token: set TIDEWIRE_TOKEN, or give --token; `tidewire token` makes one");
  }
  if (values.out === "") throw new Misuse("--out is empty: name the file to write");
  return {
    url: statementsAt(values.url),
    token: token.trim(),
    out: values.out ?? OUT,
    namespaces: values.namespace ?? [],
    what: values.check ? "check" : values.watch ? "watch" : "write",
    every: toMilliseconds(values.every),
  };
}

function parse(given: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...given],
      options: {
        url: { type: "string" },
        token: { type: "string" },
        out: { type: "string" },
        namespace: { type: "string", multiple: true },
        check: { type: "boolean" },
        watch: { type: "boolean" },
        every: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    });
    return values;
  } catch (error) {
    // An argument that is no option may be a token that was given wrongly, so it is not repeated.
    const { code } = error as { code?: string };
    if (code === "ERR_PARSE_ARGS_UNEXPECTED_POSITIONAL") {
      throw new Misuse("what is given is no option: each begins with --");
    }
    // The rest of what Node says is advice on other programs.
    throw new Misuse(messageOf(error).split(/\.?(?: |\n|$)(?=[A-Z]|$)/)[0] as string);
  }
}

/** Where the statements of a server go. Clients may know it by `wss:`, and by the path of their own. */
function statementsAt(given: string): URL {
  let url: URL;
  try {
    url = new URL(given);
  } catch {
    throw new Misuse(`the url ${given} is none: write it like https://sync.example.com`);
  }
  const protocol = { "https:": "https:", "wss:": "https:", "http:": "http:", "ws:": "http:" }[url.protocol];
  if (!protocol) throw new Misuse(`the url ${given} is none of a server: it begins with https: or wss:`);
  // `fetch` takes no url with a password, and nobody is to see one in what is said of it.
  if (url.username || url.password) {
    throw new Misuse("the url has a user or a password in it: leave that out, the token says who it is");
  }
  const path = url.pathname.replace(/\/+$/, "").replace(/\/v1\/(sync|sql)$/, "");
  return new URL(`${protocol}//${url.host}${path}/v1/sql`);
}

function toMilliseconds(given: string | undefined): number {
  const seconds = given === undefined ? EVERY_S : Number(given.trim() || "none");
  if (!(seconds >= EVERY_S_MIN && seconds <= EVERY_S_MAX)) {
    throw new Misuse(`--every is a number of seconds, from ${EVERY_S_MIN} to ${EVERY_S_MAX}`);
  }
  return seconds * 1000;
}
