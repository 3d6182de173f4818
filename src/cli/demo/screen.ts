/** What the demo shows: a status line that is rewritten in place on a terminal. */
import type { CliContext } from "../context.ts";

const clearLine = "\r\u001b[K";

export class Screen {
  readonly #context: CliContext;
  readonly #inPlace: boolean;
  readonly #json: boolean;
  #status = "";

  constructor(context: CliContext, json: boolean) {
    this.#context = context;
    this.#json = json;
    this.#inPlace = !json && context.runtime.host.isTerminal("stdout");
  }

  /** Text that stays; a status that is given is the one below it on a terminal. */
  async say(text: string, status = this.#status): Promise<void> {
    if (this.#json) return;
    if (!this.#inPlace || this.#status === "") return await this.#context.print(text);
    this.#status = status;
    await this.#context.write(`${clearLine}${text}\n${status}`);
  }

  /** One line of JSON, where that was asked for. */
  async event(value: Readonly<Record<string, unknown>>): Promise<void> {
    if (this.#json) await this.#context.printJson(value);
  }

  /** The status: replaces the one before on a terminal, follows it elsewhere, once per change. */
  async status(text: string): Promise<void> {
    if (this.#json || text === this.#status) return;
    this.#status = text;
    if (this.#inPlace) await this.#context.write(clearLine + text);
    else await this.#context.print(text);
  }

  /** What comes next on the terminal begins a line. */
  async end(): Promise<void> {
    if (this.#inPlace && this.#status !== "") await this.#context.write("\n");
    this.#status = "";
  }
}
