/** What the command line says about a command line that it cannot read. */
import {
  type ApplicationText,
  ArgumentScannerError,
  formatMessageForArgumentScannerError,
  text_en,
} from "npm:@stricli/core@1.3.0";
import { describeError } from "./exit.ts";

/** `; did you mean --config or --data?` */
function orElse(corrections: readonly string[]): string {
  // Stricli puts the names of commands into backticks.
  const names = corrections.map((name) => name.replaceAll("`", ""));
  return names.length === 0 ? "" : `; did you mean ${names.join(" or ")}?`;
}

/** A flag that takes no value comes with the text "true". */
function isSwitch(error: { previousInput: string; input: string }): boolean {
  return error.previousInput === "true" && error.input === "true";
}

/** One sentence about arguments that do not fit. */
function describeArguments(error: unknown): string {
  if (!(error instanceof ArgumentScannerError)) return describeError(error).replace(/^covey: /, "");
  return formatMessageForArgumentScannerError(error, {
    FlagNotFoundError: ({ input, corrections }) =>
      `there is no flag --${input}${orElse(corrections.map((name) => `--${name}`))}`,
    AliasNotFoundError: ({ input }) => `there is no flag -${input}`,
    ArgumentParseError({ externalFlagNameOrPlaceholder: name, input, exception }) {
      // Stricli does not tell a flag from a positional argument; here the latter are upper case.
      const shown = name === name.toUpperCase() ? name : `--${name}`;
      const why = exception instanceof Error ? exception.message : String(exception);
      return `${shown} ${JSON.stringify(input)}: ${why}`;
    },
    UnexpectedFlagError(error) {
      const { externalFlagName: name, previousInput, input } = error;
      return isSwitch(error)
        ? `--${name} is given twice; give it once`
        : `--${name} is given twice, as ${JSON.stringify(previousInput)} and as ` +
          `${JSON.stringify(input)}; give it once`;
    },
    UnsatisfiedFlagError: ({ externalFlagName: name, nextFlagName: next }) =>
      `--${name} needs a value${next === undefined ? "" : `, and --${next} follows`}`,
    UnexpectedPositionalError({ input }) {
      const file = /\.(?:toml|json)$/i.test(input);
      return `${JSON.stringify(input)} is one argument too many` +
        (file ? `; a configuration file is named with --config` : "");
    },
    UnsatisfiedPositionalError: ({ placeholder }) => `${placeholder} is missing`,
  });
}

export const text: ApplicationText = {
  ...text_en,
  briefs: {
    ...text_en.briefs,
    argumentEscapeSequence: "What follows is an argument, never a flag",
  },
  noCommandRegisteredForInput: ({ input, corrections }) =>
    `covey: there is no command ${JSON.stringify(input)}${orElse(corrections)}`,
  exceptionWhileParsingArguments: (error) => `covey: ${describeArguments(error)}`,
  exceptionWhileLoadingCommandFunction: describeError,
  exceptionWhileLoadingCommandContext: describeError,
  exceptionWhileRunningCommand: describeError,
  commandErrorResult: describeError,
};
